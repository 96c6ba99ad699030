using System.Diagnostics;
using System.Globalization;
using System.Text;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Where a program may run: terminals that go away, output that nobody takes, file systems of networks and of user space that lack what
/// others have.
/// </summary>
[NonParallelizable]
public sealed class SurroundingsTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-around").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private string[] Train(int epochs) =>
        [TinyCorpus.ProgramPath, "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--device", "cpu", "--epochs",
            $"{epochs}",
            .. TinyCorpus.SmallNetwork, "--set", "training.selection.probeEvery=0", "--set", "training.precision=fp32"];

    private string Checkpoints => Path.Combine(folder, "run", "checkpoints");

    private static Ended Shell(string script, params string[] words)
    {
        string[] arguments = ["-c", script, "sh", "dotnet", .. words];
        return Disturbed.Finish(Process.Start(new ProcessStartInfo("sh", arguments) { RedirectStandardOutput = true,
            RedirectStandardError = true })!);
    }

    private void WaitForCheckpoint()
    {
        while (Checkpoint.Latest(Checkpoints) is null)
            Thread.Sleep(10);
    }

    [TestCase("HUP", ExitCode.HungUp)]
    [TestCase("TERM", ExitCode.Terminated)]
    [TestCase("INT", ExitCode.Interrupted)]
    public void A_signal_saves_and_ends(string signal, int code)
    {
        var text = new StringBuilder();
        using var process = TinyCorpus.Start(text, "dotnet", Train(100000));
        WaitForCheckpoint();
        TinyCorpus.Signal(process.Id, signal);
        // from the shell and from the system, where a terminal closes
        if (signal == "HUP")
            TinyCorpus.Signal(process.Id, signal);
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.EqualTo(code), text.ToString());
        string latest = Checkpoint.Latest(Checkpoints)!;
        Assert.That(() => Checkpoint.Verify(latest), Throws.Nothing);
        Assert.That(TrainingState.Load(latest).Step, Is.GreaterThan(8), "more than one epoch");
        Assert.That(text.ToString(), Does.Contain("run "), "it says where it stands");
    }

    [Test]
    public void Without_a_terminal_nohup_goes_on()
    {
        var text = new StringBuilder();
        using var process = TinyCorpus.Start(text, "nohup", ["dotnet", .. Train(100000)]);
        WaitForCheckpoint();
        TinyCorpus.Signal(process.Id, "HUP");
        string seen = Checkpoint.Latest(Checkpoints)!;
        while (Checkpoint.Latest(Checkpoints) == seen)
            Assert.That(process.WaitForExit(10), Is.False, text.ToString());
        TinyCorpus.Signal(process.Id, "TERM");
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.EqualTo(ExitCode.Terminated));
    }

    /// <summary>A line that is closed: nobody reads what is printed any more, and every write fails.</summary>
    [Test]
    public void A_terminal_that_goes_away_costs_no_step()
    {
        if (!File.Exists("/usr/bin/script"))
            Assert.Ignore("script (util-linux) is not there to make a terminal");
        string command = string.Join(' ', ((string[])["dotnet", .. Train(100000)]).Select(word => $"'{word}'"));
        string[] arguments = ["-qec", $"echo $$ >'{folder}/id'; exec {command}", "/dev/null"];
        var start = new ProcessStartInfo("script", arguments) { RedirectStandardOutput = true, RedirectStandardInput = true };
        using var script = Process.Start(start)!;
        WaitForCheckpoint();
        int id = int.Parse(File.ReadAllText(Path.Combine(folder, "id")), CultureInfo.InvariantCulture);
        using var training = Process.GetProcessById(id);
        script.Kill();
        Assert.That(training.WaitForExit(TimeSpan.FromMinutes(1)), Is.True, "SIGHUP ends it");
        string latest = Checkpoint.Latest(Checkpoints)!;
        Assert.That(() => Checkpoint.Verify(latest), Throws.Nothing);
        Assert.That(Directory.EnumerateFiles(Path.Combine(folder, "run"), "*", SearchOption.AllDirectories), Has.None.Contains(".tmp"));
    }

    [TestCase(">/dev/full")]
    [TestCase("2>/dev/full")]
    [TestCase(">/dev/full 2>&1")]
    [TestCase(">&- 2>&-")]
    [TestCase("| head -c 1")]
    public void A_log_that_nobody_takes_ends_no_training(string where)
    {
        var ended = Shell($"set -e; \"$@\" {where}", Train(2));
        Assert.That(ended.Code, Is.Zero, ended.Text);
        Assert.That(Path.GetFileName(Checkpoint.Latest(Checkpoints)), Is.EqualTo("step-00000016"), "every step of both epochs");
        foreach (string checkpoint in Checkpoint.All(Checkpoints))
            Assert.That(() => Checkpoint.Verify(checkpoint), Throws.Nothing);
    }

    [Test]
    public void A_result_that_nobody_takes_is_a_failure_and_one_that_is_read_in_part_is_none()
    {
        Assert.That(Shell("\"$@\" >/dev/null", Train(1)).Code, Is.Zero);
        string run = Path.Combine(folder, "run");
        string[] evaluate = [TinyCorpus.ProgramPath, "evaluate", TinyCorpus.Prepared, "--run", run, "--device", "cpu"];
        string[] predict = [TinyCorpus.ProgramPath, "predict", "--run", run, "--device", "cpu", TinyCorpus.Clip];
        foreach (string[] words in (string[][])[evaluate, predict, [TinyCorpus.ProgramPath, "--help"]])
        {
            var full = Shell("\"$@\" >/dev/full", words);
            Assert.That(full.Code, Is.EqualTo(ExitCode.DiskOrIo), full.Text);
            Assert.That(full.Text, Does.Contain("avedis: the result could not be printed").And.Not.Contain("internal error"));
            var head = Shell("{ \"$@\"; echo $? >&2; } | head -n 1", words);
            Assert.That(head.Text.TrimEnd().Split('\n')[^1], Is.EqualTo("0"), head.Text);
        }
        Assert.That(Shell("\"$@\" 2>/dev/full", TinyCorpus.ProgramPath, "nonsense").Code, Is.EqualTo(ExitCode.Usage),
            "the code stays where the line is lost");
    }

    // of FUSE, SMB, NFS and 9p: 22 EINVAL, 95 ENOTSUP, 9 EBADF, 13 EACCES, 38 ENOSYS, 37 ENOLCK, 17 EEXIST, 1 EPERM, 31 EMLINK
    [TestCase("NOFOLDERS", 22)]
    [TestCase("NOFOLDERS", 95, Category = Tier.Long)]
    [TestCase("NOFOLDERS", 9, Category = Tier.Long)]
    [TestCase("NOFOLDERS", 13, Category = Tier.Long)]
    [TestCase("NOFOLDERS", 38, Category = Tier.Long)]
    [TestCase("NOLOCKS", 37)]
    [TestCase("NOLOCKS", 95, Category = Tier.Long)]
    [TestCase("NOREPLACE", 17)]
    [TestCase("NOREPLACE", 1, Category = Tier.Long)]
    [TestCase("NOLINKS", 1)]
    [TestCase("NOLINKS", 95, Category = Tier.Long)]
    [TestCase("NOLINKS", 31, Category = Tier.Long)]
    public void A_file_system_that_lacks_something_will_do(string kind, int error)
    {
        string prefix = $"AVEDIS_FAULT_KIND={kind} AVEDIS_FAULT_ERROR={error} LD_PRELOAD='{Disturbed.Faults}' \"$@\"";
        string data = Path.Combine(folder, "data"), run = Path.Combine(folder, "run");
        Succeeds(prefix, [TinyCorpus.ProgramPath, .. TinyCorpus.PrepareQuarter(folder), "--out", data]);
        Succeeds(prefix, [TinyCorpus.ProgramPath, .. TinyCorpus.PrepareQuarter(folder), "--out", data]);
        Succeeds(prefix, Train(2));
        Succeeds(prefix, [.. Train(3), "--resume"]);
        Succeeds(prefix, TinyCorpus.ProgramPath, "evaluate", TinyCorpus.Prepared, "--run", run, "--device", "cpu");
        Succeeds(
            prefix, TinyCorpus.ProgramPath, "embed", "--run", run, "--device", "cpu", "--format", "safetensors", "--out",
                Path.Combine(folder, "e"), TinyCorpus.Clip);
        Assert.That(Path.GetFileName(Checkpoint.Latest(Checkpoints)), Is.EqualTo("step-00000024"));
        foreach (string checkpoint in Checkpoint.All(Checkpoints))
            Assert.That(() => Checkpoint.Verify(checkpoint), Throws.Nothing);

        static void Succeeds(string script, params string[] words)
        {
            var ended = Shell(script, words);
            Assert.That(ended.Code, Is.Zero, $"{string.Join(' ', words)}: {ended.Text}");
            Assert.That(ended.Text, Does.Not.Contain("could not be written"));
        }
    }
}
