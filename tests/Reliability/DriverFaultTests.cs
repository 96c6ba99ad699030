using System.Diagnostics;
using System.Globalization;
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
[Category(Tier.Long)]
public sealed class DriverFaultTests
{
    private const int OutOfMemory = 2;

    /// <summary>Epochs of two steps: one as it is, one recorded, one replayed, with a validation and a checkpoint in between.</summary>
    private static readonly string[] settings =
    [
        .. TinyCorpus.SmallNetwork.Where(word => word != "--set"),
        "training.epochs=2", "training.maxSteps=3", "training.strategy=gr", "training.selection.probeEvery=0",
    ];

    /// <summary>
    /// No memory, then what a kernel, the matrix units of Blackwell or a GPU that fell off the bus leave behind: these stay.
    /// </summary>
    private static readonly int[] errors = [OutOfMemory, 700, 719, 721, 999];

    /// <summary>Whoever releases something can do nothing about a failure.</summary>
    private static readonly string[] releasing =
        ["cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuGraphDestroy", "cuGraphExecDestroy"];

    private static readonly TimeSpan patience = TimeSpan.FromMinutes(10); // a machine may be busy

    private readonly HashSet<string> resumable = [];
    private Disturbed runs = null!;
    private string data = "";
    private string[] calls = [];  // of a training that nobody disturbs
    private int opening, closing; // calls before the device is there, and before it is given back
    private string reference = "";

    /// <param name="Calls">Functions of the driver, in order.</param>
    /// <param name="Closing">Those before the device was given back; 0 where training had not begun.</param>
    private sealed record Outcome(int Code, string Text, string[] Calls, int Closing);

    [OneTimeSetUp]
    public void SetUp()
    {
        if (Backends.Forced is not null and not "emulated" && !Soak.IsLong)
            Assert.Ignore($"the tests are to use {Backends.Forced}");
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        runs = new Disturbed();
        data = Directory.CreateDirectory(runs.PathOf("data")).FullName;
        // half the usual mel frames: the same calls, and less for the emulation to compute
        var prepared = TinyCorpus.Run([.. TinyCorpus.PrepareQuarter(data), "--out", data, "--set", "features.hopMs=20"]);
        Assert.That(prepared.Code, Is.EqualTo(ExitCode.Ok), prepared.Error);
        // what a process has once, for all backends, is there before the calls are counted
        Train("first");
        var whole = Train("reference");
        Assert.That(whole.Code, Is.EqualTo(ExitCode.Ok), whole.Text);
        (calls, closing) = (whole.Calls, whole.Closing);
        opening = Array.IndexOf(calls, "cuMemGetInfo_v2") + 1;
        reference = runs.Outcome("reference");
    }

    [OneTimeTearDown]
    public void TearDown() => runs?.Dispose();

    /// <summary>The first call of each function that does more than to release.</summary>
    [Test]
    public void A_function_of_the_driver_that_fails_ends_the_training_well() =>
        Inject(calls.Except(releasing).Select((name, i) => (Array.IndexOf(calls, name) + 1, errors[i % errors.Length])));

    /// <summary>
    /// The last call of each function too. Under tests/soak every call: a round gives each call one error, and there are as many rounds as
    /// errors.
    /// </summary>
    [TestCaseSource(nameof(Rounds))]
    public void A_call_of_the_driver_that_fails_ends_the_training_well(int round) =>
        Inject((Soak.IsLong ? Enumerable.Range(0, calls.Length) : calls.Distinct().Select(name => Array.LastIndexOf(calls, name)))
            .Select(i => (i + 1, errors[(i + round) % errors.Length])));

    /// <summary>What a process calls once, and the other commands.</summary>
    [TestCase("train", "cuInit", 804, ExitCode.DeviceUnavailable, "compatibility driver")]
    [TestCase("train", "cuDevicePrimaryCtxRetain", 46, ExitCode.DeviceUnavailable, "another program holds the GPU")]
    [TestCase("train", "cuDevicePrimaryCtxRetain", 2, ExitCode.OutOfMemory, "cuDevicePrimaryCtxRetain")]
    [TestCase("train", "cuModuleLoadData", 222, ExitCode.DeviceUnavailable, "update the NVIDIA driver")]
    [TestCase("train", "cuFuncSetAttribute", 1, ExitCode.DeviceFailed, "cuFuncSetAttribute")]
    [TestCase("evaluate", "cuStreamSynchronize", 719, ExitCode.DeviceFailed, "cuStreamSynchronize")]
    [TestCase("bench", "cuGraphInstantiateWithFlags", 2, ExitCode.OutOfMemory, "cuGraphInstantiate")]
    [TestCase("bench", "cuEventElapsedTime", 999, ExitCode.DeviceFailed, "cuEventElapsedTime")]
    public void A_process_ends_well(string command, string function, int error, int code, string told)
    {
        string native = Directory.CreateDirectory(runs.PathOf("native")).FullName;
        File.WriteAllText(Path.Combine(native, "avedis_kernels.fatbin"), "the emulation has its own");
        string[] sets = [.. settings.SelectMany(setting => new[] { "--set", setting })];
        string[] arguments = command switch
        {
            "train" => ["train", data, "--run", runs.PathOf($"{function}-{error}"), .. sets],
            "evaluate" => ["evaluate", data, "--run", runs.PathOf("reference")],
            _ => ["bench", "--steps", "1", "--ops", .. sets, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=1"],
        };
        var start = new ProcessStartInfo("dotnet", [TinyCorpus.ProgramPath, .. arguments, "--device", "cuda"])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.Environment["AVEDIS_NATIVE_DIR"] = native;
        start.Environment["AVEDIS_CUDA_LIBRARY"] = Emulation.Library;
        start.Environment["AVEDIS_EMULATION_FAULT"] = string.Create(CultureInfo.InvariantCulture, $"{function}:{error}");
        var ended = Disturbed.Finish(Process.Start(start)!);
        Assert.That(ended.Code, Is.EqualTo(code), ended.Text);
        Assert.That(ended.Text, Does.Contain(told).And.Not.Contain("internal error"));
    }

    private static IEnumerable<int> Rounds() => Enumerable.Range(0, Soak.Count(1, errors.Length));

    private void Inject(IEnumerable<(int Call, int Error)> faults)
    {
        var tried = new HashSet<int>();
        foreach (var (call, error) in faults)
        {
            Fails(call, error);
            tried.Add(call);
        }
        int functions = tried.Select(call => calls[call - 1]).Distinct().Count();
        Soak.Say(
            $"faults at {tried.Count} of {calls.Length} calls, of {functions} functions: each ended well, and went on to the same bits");
    }

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
            int expected = error == OutOfMemory ? ExitCode.OutOfMemory
                : call <= opening ? ExitCode.DeviceUnavailable
                : ExitCode.DeviceFailed;
            Assert.That(ended.Code, Is.EqualTo(expected), $"{what}: {ended.Text}");
            Assert.That(ended.Text.TrimEnd('\n'), Does.Not.Contain("internal error").And.Not.Contain("\n"), what);
            // an allocation says how much was asked for instead
            string told = Regex.Match(ended.Text, @"cu[A-Z]\w+").Value;
            if (!releasing.Contains(name) && !ended.Text.Contains(" MiB"))
                Assert.That(told.Length > 0 && name.StartsWith(told, StringComparison.Ordinal), Is.True, $"{what}: {ended.Text}");
            if (ended.Closing > 0)
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

    // hash of the checkpoints of a run
    private string Left(string run)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string checkpoint in Checkpoint.All(runs.CheckpointsOf(run)).Order(StringComparer.Ordinal))
            foreach (string file in (string[])["model.safetensors", "optim.safetensors"])
            {
                hash.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(checkpoint)));
                hash.AppendData(SHA256.HashData(File.ReadAllBytes(Path.Combine(checkpoint, file))));
            }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>In this process, on a thread of its own, as the first that uses the device.</summary>
    private Outcome Train(string run, bool resume = false, int call = 0, int error = 0)
    {
        var (code, text, called, before) = (ExitCode.Ok, new StringWriter(), Array.Empty<string>(), 0);
        var thread = new Thread(() =>
        {
            Emulation.Choose();
            Emulation.Fail(call, error);
            try
            {
                using var dataset = PreparedDataset.Open(data);
                var config = Config.Load(null, null, settings) with { Features = dataset.Features };
                using var interrupt = new Interrupt();
                using var loop = new TrainingLoop(
                    config, dataset, new RunFolder(runs.PathOf(run)), TextWriter.Null, interrupt, resume, _ => Emulation.Open(tf32: false));
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
