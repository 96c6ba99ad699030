using System.Diagnostics;
using System.Globalization;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A disk that fails or is full never makes a save look done, costs no older checkpoint, and does not end the training at once.</summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class DiskTests
{
    private Disturbed runs = null!;

    [OneTimeSetUp]
    public void SetUp() => runs = new Disturbed("--set", "training.selection.probeEvery=0");

    [OneTimeTearDown]
    public void TearDown() => runs.Dispose();

    [TestCase("EIO")]
    [TestCase("ENOSPC")]
    [TestCase("EINTR")]
    [TestCase("SHORT")]
    [Category(Tier.Long)]
    public void A_call_that_fails_once_costs_nothing_but_a_checkpoint(string kind)
    {
        string log = runs.PathOf(kind) + ".log";
        Assert.That(runs.TrainWith("none", 0, $"{kind}-calls", log: log).Code, Is.EqualTo(ExitCode.Ok));
        string[] calls = File.ReadAllLines(log);
        int[] numbers = [.. Enumerable.Range(1, calls.Length).Where(call => kind != "SHORT" || calls[call - 1].Contains("write "))];
        int tried = 0, noticed = 0;
        foreach (int index in Soak.Spread(numbers.Length, sample: 6))
        {
            int call = numbers[index - 1];
            string run = $"{kind}-{call}", what = $"{kind} of call {calls[call - 1]}";
            var ended = runs.TrainWith(kind, call, run);
            tried++;
            noticed += ended.Text.Contains("could not be written") || ended.Code != ExitCode.Ok ? 1 : 0;
            // either it ends well with everything saved, or it says that it could not
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok).Or.EqualTo(ExitCode.DiskOrIo), $"{what}: {ended.Text}");
            if (ended.Code == ExitCode.Ok)
                Assert.That(runs.Outcome(run), Is.EqualTo(runs.Reference), what);
            Assert.That(runs.Fault(run), Is.Null, what);
            runs.Forget(run);
        }
        Soak.Say($"{kind} in {tried} of {numbers.Length} calls of a training's saves: {noticed} noticed, the others without effect or done again; no false success, no checkpoint lost");
        if (kind == "EIO")
            Assert.That(noticed, Is.GreaterThan(tried / 2));
    }

    /// <summary>Names that are saved again: each better epoch is the best.</summary>
    [Test]
    [Category(Tier.Long)]
    public void A_file_system_that_cannot_exchange_names_keeps_the_same_checkpoints()
    {
        using var runs = new Disturbed("--set", "training.selection.probeEvery=0") { Epochs = 6 };
        string log = runs.PathOf("no-exchange.log");
        var ended = runs.TrainWith("NOEXCHANGE", 0, "no-exchange", log: log);
        Assert.That(File.ReadAllText(log), Does.Contain(" renameat2 "), "a name is saved again");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(ended.Text, Does.Not.Contain("could not be written"));
        Assert.That(runs.Outcome("no-exchange"), Is.EqualTo(runs.Reference));
        Assert.That(runs.Fault("no-exchange"), Is.Null);
    }

    /// <summary>What a power cut would show and no kill does: whatever is renamed lies on the disk whole before it gets its name, and so does the name before the next step.</summary>
    [Test]
    public void Everything_is_on_the_disk_before_it_has_its_name()
    {
        string log = runs.PathOf("order.log");
        Assert.That(runs.TrainWith("none", 0, "order", log: log).Code, Is.EqualTo(ExitCode.Ok));
        var (dirty, renamed, renames) = (new HashSet<string>(StringComparer.Ordinal), new HashSet<string>(StringComparer.Ordinal), 0);
        foreach (string line in File.ReadLines(log))
        {
            string[] words = line.Split(' ', 3); // number, call, path
            string path = words[2], folder = Path.GetDirectoryName(path)!;
            switch (words[1])
            {
                case "write" or "pwrite" or "ftruncate":
                    dirty.Add(path);
                    dirty.Add(folder);
                    break;
                case "fsync":
                    dirty.Remove(path);
                    renamed.Remove(path);
                    break;
                case "rename" or "renameat2":
                    Assert.That(dirty.Where(name => name == path || name.StartsWith(path + "/", StringComparison.Ordinal)), Is.Empty, $"{line}: written, but not flushed");
                    Assert.That(renamed, Is.Empty, $"{line}: what was renamed before is not flushed");
                    renamed.Add(folder);
                    renames++;
                    break;
            }
        }
        Assert.That(renames, Is.GreaterThan(4));
        Assert.That(renamed, Is.Empty, "renamed, but not flushed");
    }

    [Test]
    public void A_failing_fsync_is_noticed()
    {
        string log = runs.PathOf("fsync.log");
        runs.TrainWith("none", 0, "fsync-calls", log: log);
        var calls = File.ReadLines(log).Select((line, i) => (line, i)).Where(c => c.line.Contains(" fsync ")).Select(c => c.i + 1).ToList();
        Assert.That(calls, Has.Count.GreaterThan(10));
        foreach (int index in Soak.Spread(calls.Count, sample: 3))
        {
            var ended = runs.TrainWith("EIO", calls[index - 1], $"fsync-{index}", more: ["--set", "training.failedSaves=0"]);
            Assert.That(ended.Code, Is.EqualTo(ExitCode.DiskOrIo), ended.Text);
            Assert.That(runs.Unreadable($"fsync-{index}"), Is.Null);
        }
    }

    [Test]
    [Category(Tier.Long)]
    public void A_disk_that_stays_broken_ends_the_training_in_one_line_with_the_older_checkpoint_there()
    {
        string log = runs.PathOf("broken.log");
        runs.TrainWith("none", 0, "broken-calls", log: log);
        int first = File.ReadLines(log).TakeWhile(line => !line.EndsWith("LATEST.tmp", StringComparison.Ordinal) || !line.Contains(" rename ")).Count() + 2;
        var ended = runs.TrainWith("EIO", first + 1, "broken", forever: true);
        string[] errors = [.. ended.Text.Split('\n').Where(line => line.StartsWith("avedis: ", StringComparison.Ordinal))];
        Assert.Multiple(() =>
        {
            Assert.That(ended.Code, Is.EqualTo(ExitCode.DiskOrIo), ended.Text);
            Assert.That(errors, Has.Length.EqualTo(1));
            Assert.That(errors[0], Does.Contain("could not be written").And.Contain("step-00000008").And.Contain("--resume"));
            Assert.That(Checkpoint.Latest(runs.CheckpointsOf("broken")), Does.EndWith("step-00000008"));
            Assert.That(runs.Fault("broken"), Is.Null);
        });
    }

    /// <summary>A file system of its own, really full: what is free goes from nothing to more than two checkpoints.</summary>
    [Test]
    [Category(Tier.Long)]
    public void A_full_disk_at_any_level()
    {
        const int Kibibytes = 4096, Most = 600;
        string disk = Directory.CreateDirectory(runs.PathOf("disk")).FullName, kept = runs.PathOf("kept");
        int levels = Soak.Count(6, 50), ended = 0, refused = 0, worked = 0;
        var probe = Process.Start(new ProcessStartInfo("unshare", ["-rm", "mount", "-t", "tmpfs", "none", disk]) { RedirectStandardError = true });
        probe!.WaitForExit();
        if (probe.ExitCode != 0)
            Assert.Ignore($"no file system can be mounted here: {probe.StandardError.ReadToEnd().Trim()}");
        foreach (int level in Enumerable.Range(0, levels))
        {
            int free = Most * level / (levels - 1);
            var train = runs.Command("disk/run", resume: false, "--set", "training.failedSaves=1");
            string script = string.Create(CultureInfo.InvariantCulture,
                $"mount -t tmpfs -o size={Kibibytes}k none '{disk}' && head -c {(Kibibytes - free) * 1024L} /dev/zero >'{disk}/fill'; \"$@\"; code=$?; rm '{disk}/fill'; rm -rf '{kept}'; cp -r '{disk}' '{kept}'; exit $code");
            var start = new ProcessStartInfo("unshare", ["-rm", "sh", "-c", script, "sh", "dotnet", .. train.ArgumentList]) { RedirectStandardOutput = true, RedirectStandardError = true };
            var end = Disturbed.Finish(Process.Start(start)!);
            ended++;
            string what = $"{free} KiB free: {end.Text}";
            Assert.That(end.Code, Is.EqualTo(ExitCode.Ok).Or.EqualTo(ExitCode.DiskOrIo), what);
            Assert.That(end.Text, Does.Not.Contain("internal error"), what);
            Assert.That(runs.Unreadable("kept/run"), Is.Null, what);
            if (end.Code == ExitCode.Ok)
            {
                Assert.That(runs.Outcome("kept/run"), Is.EqualTo(runs.Reference), what);
                worked++;
            }
            else
            {
                refused++;
                Assert.That(end.Text.Split('\n').Count(line => line.StartsWith("avedis: ", StringComparison.Ordinal)), Is.EqualTo(1), what);
            }
        }
        Soak.Say($"a file system with 0 to {Most} KiB free, {ended} levels: {refused} ended with exit code 8, {worked} went through; every checkpoint there verifies");
        Assert.That(refused, Is.GreaterThan(0));
        Assert.That(worked, Is.GreaterThan(0));
    }
}
