using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Trainings under the emulated driver in which a call of the driver fails, once or from then on as on a GPU. Each ends with its exit code
/// and a line that names the call and how to go on, keeps nothing on the device, and goes on to the bits of a training that nobody
/// disturbed.
/// </summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class DriverFaultTests
{
    private const int OutOfMemory = 2;

    /// <summary>Out of memory, then what a kernel, Blackwell's matrix units or a GPU that fell off the bus leave: these stay.</summary>
    private static readonly int[] errors = [OutOfMemory, 700, 719, 721, 999];

    /// <summary>Whoever releases something can do nothing about a failure.</summary>
    private static readonly string[] releasing = ["cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuGraphDestroy", "cuGraphExecDestroy"];

    private static readonly TimeSpan patience = TimeSpan.FromSeconds(60);

    private readonly HashSet<string> resumable = [];
    private Disturbed runs = null!;
    private string data = "";
    private string[] calls = [];   // of a training that nobody disturbs
    private int opening, closing;  // calls before the device is there, and before it is given back
    private string reference = "";

    /// <param name="Calls">Functions of the driver, in order.</param>
    /// <param name="Closing">Those before the device was given back; 0 where training had not begun.</param>
    private sealed record Outcome(int Code, string Text, string[] Calls, int Closing);

    [OneTimeSetUp]
    public void SetUp()
    {
        if (Backends.Forced is not (null or "emulated"))
            Assert.Ignore($"the tests are to use {Backends.Forced}");
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        runs = new Disturbed("--device", "cuda");
        data = runs.PathOf("data");
        Directory.CreateDirectory(data);
        var prepared = TinyCorpus.Run([.. TinyCorpus.PrepareQuarter(data), "--out", data]);
        Assert.That(prepared.Code, Is.EqualTo(ExitCode.Ok), prepared.Error);
        // once before it counts: what a process has once for all backends is there then
        Train("first");
        var whole = Train("reference");
        Assert.That(whole.Code, Is.EqualTo(ExitCode.Ok), whole.Text);
        (calls, closing) = (whole.Calls, whole.Closing);
        opening = Array.IndexOf(calls, "cuMemGetInfo_v2") + 1;
        reference = runs.Outcome("reference");
        var tick = Stopwatch.StartNew(); Train("again"); Soak.Say($"XX {calls.Length} calls, opening {opening} closing {closing}, {tick.Elapsed.TotalSeconds:F2} s; {string.Join(" ", calls.GroupBy(c => c).Select(g => g.Key + ":" + g.Count()))}");
    }

    [OneTimeTearDown]
    public void TearDown() => runs?.Dispose();

    /// <summary>Each function of the driver that a training calls, and under tests/soak each call.</summary>
    [Test]
    public void A_call_that_fails_ends_in_one_line_and_the_training_goes_on_to_the_same_bits()
    {
        int tried = 0;
        foreach (int call in Soak.IsLong ? Enumerable.Range(1, calls.Length) : Sample())
            foreach (int error in Soak.IsLong ? errors : errors.Where((_, i) => !Tier.Fast || (call + i) % errors.Length == 0))
            {
                Fails(call, error);
                tried++;
            }
        Soak.Say($"{tried} faults at {(Soak.IsLong ? calls.Length : Sample().Count)} of the {calls.Length} calls of {calls.Distinct().Count()} functions of the driver in a training of four steps: each ended with its exit code, and went on to the same bits");
    }

    private IReadOnlyList<int> Sample() => [.. calls.Distinct().SelectMany(name => new[] { Array.IndexOf(calls, name), Array.LastIndexOf(calls, name, closing - 1) }).Where(i => i >= 0).Distinct().Select(i => i + 1).Order()];

    private void Fails(int call, int error)
    {
        string name = calls[call - 1], what = $"{error} of call {call} of {calls.Length}, {name}", run = $"{call}-{error}";
        int live = Emulation.Live;
        var ended = Train(run, call: call, error: error);
        if (ended.Code == ExitCode.Ok)
        {
            Assert.That(call > closing || (error == OutOfMemory && releasing.Contains(name)), Is.True, $"{what} went unnoticed");
            Assert.That(runs.Outcome(run), Is.EqualTo(reference), what);
        }
        else
        {
            int expected = error == OutOfMemory ? ExitCode.OutOfMemory : call <= opening ? ExitCode.DeviceUnavailable : ExitCode.DeviceFailed;
            Assert.That(ended.Code, Is.EqualTo(expected), $"{what}: {ended.Text}");
            Assert.That(ended.Text.TrimEnd('\n'), Does.Not.Contain("internal error").And.Not.Contain("\n"), what);
            string told = Regex.Match(ended.Text, @"cu[A-Z]\w+").Value;
            if (!releasing.Contains(name) && !ended.Text.Contains(" MiB"))
                Assert.That(told.Length > 0 && name.StartsWith(told, StringComparison.Ordinal), Is.True, $"{what}: {ended.Text}");
            if (ended.Closing > 0 && call > opening && error != OutOfMemory)
                Assert.That(ended.Text, Does.Contain("--resume"), what);
            GoesOn(run, what);
        }
        Assert.That(Emulation.Live, Is.EqualTo(live), $"{what}: kept on the device");
        if (Directory.Exists(runs.PathOf(run)))
            runs.Forget(run);
    }

    // what was found good once need not be trained on again
    private void GoesOn(string run, string what)
    {
        Assert.That(runs.Unreadable(run), Is.Null, what);
        if (!Directory.Exists(runs.CheckpointsOf(run)) || !resumable.Add(Left(run)))
            return;
        var resumed = Train(run, resume: new RunFolder(runs.PathOf(run)).HasCheckpoint);
        Assert.That(resumed.Code, Is.EqualTo(ExitCode.Ok), $"{what}, resumed: {resumed.Text}");
        Assert.That(runs.Outcome(run), Is.EqualTo(reference), $"{what}, resumed");
    }

    private string Left(string run)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string checkpoint in Avedis.Engine.Checkpoint.All(runs.CheckpointsOf(run)).Order(StringComparer.Ordinal))
            foreach (string file in (string[])["model.safetensors", "optim.safetensors"])
                hash.AppendData([.. Encoding.UTF8.GetBytes(Path.GetFileName(checkpoint)), .. SHA256.HashData(File.ReadAllBytes(Path.Combine(checkpoint, file)))]);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>In this process, on a thread of its own, as the first that uses the device.</summary>
    private Outcome Train(string run, bool resume = false, int call = 0, int error = 0, params string[] more)
    {
        var (code, text, called, before) = (ExitCode.Ok, new StringWriter(), Array.Empty<string>(), 0);
        var thread = new Thread(() =>
        {
            Emulation.Choose();
            Emulation.Fail(call, error);
            try
            {
                using var dataset = PreparedDataset.Open(data);
                var config = Config.Load(null, null, [
                    .. TinyCorpus.SmallNetwork.Where(word => word != "--set"), "training.epochs=2", "training.selection.probeEvery=0", "training.strategy=gr", .. more,
                ]) with { Features = dataset.Features };
                using var interrupt = new Interrupt();
                using var loop = new TrainingLoop(config, dataset, new RunFolder(runs.PathOf(run)), TextWriter.Null, interrupt, resume, _ => Emulation.Open(tf32: false));
                try
                {
                    loop.Run();
                }
                finally
                {
                    before = Emulation.Calls().Count;
                }
            }
            catch (Exception failure)
            {
                code = Program.Report(failure, text);
            }
            called = [.. Emulation.Calls()];
            Emulation.ClearError();
        });
        thread.Start();
        Assert.That(thread.Join(patience), Is.True, $"{error} of call {call}: it hangs");
        return new(code, text.ToString(), called, before);
    }
}
