using System.Diagnostics;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>
/// Trainings of two ranks whose gradients the double of NCCL sums on the emulated driver, and that it breaks on purpose: where the ranks
/// meet, in a step that runs as it is, and in one that is replayed. Whoever still can says in one line why all end, with exit code 10, and
/// the run goes on to the bits of an undisturbed one.
/// </summary>
[NonParallelizable, Category(Tier.Long)]
public sealed class NcclFaultTests
{
    // where the double says that it broke a training; the numbers of sums below are chosen so, and a step has several
    private const string Communicator = "its communicator", Step = "a step", Replayed = "a step that is replayed";

    private const string Begun = "step-00000002"; // what all go on from

    private const string GoOn = "every rank ends; the last good checkpoint is ";

    // ranks wait for each other also while they start, on a machine that does much else
    private const int Silence = 6, Patience = 30;

    /// <summary>Longer than any training here takes, far shorter than what ended one before: training.watchdogSeconds.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    private static readonly string[] Settings =
    [
        "--device", "cuda", "--strategy", "baseline", "--set", "training.precision=fp32", "--set", "training.batchSize=2",
        "--set", "training.threads=1", "--set", "training.ranks.reduction=nccl", "--set", "training.ranks.bucketBytes=4096",
        "--set", $"training.ranks.silenceSeconds={Silence}",
    ];

    private static readonly Dictionary<string, string[]> Faults = new()
    {
        ["1 error 0"] = [],
        ["1 error 2"] = [],
        ["1 error 8"] = [],
        ["1 stop 0"] = [],
        ["1 stop 8"] = [],
        ["1 kill 8"] = [],
        ["1 hang 11"] = ["--set", $"training.ranks.patienceSeconds={Patience}"],
    };

    private readonly Disturbed runs = new(Settings);
    private readonly Dictionary<string, Task<Ended>> broken = [];
    private string reference = "";

    /// <summary>Two steps, from which all trainings go on to the sixth, or would: at once, since most only wait.</summary>
    [OneTimeSetUp]
    public void Train()
    {
        RankedProgram.Require();
        NcclDouble.Require();
        var begun = Finish(Start("begun", null, "--set", "training.maxSteps=2"));
        Assert.That(begun.Code, Is.EqualTo(ExitCode.Ok), begun.Text);
        foreach (var (fault, settings) in Faults)
        {
            CopyBegun(fault);
            var mpirun = GoOnWith(fault, fault, settings);
            broken.Add(fault, Task.Run(() => Finish(mpirun)));
        }
        reference = Outcome("reference");
    }

    [OneTimeTearDown]
    public void TearDown()
    {
        Task.WaitAll(broken.Values);
        runs.Dispose();
    }

    /// <summary>NCCL says so: at once, without waiting for a silent rank.</summary>
    [TestCase("1 error 0", Communicator, "ncclCommInitRank failed")]
    [TestCase("1 error 2", Step, "a collective call failed")]
    [TestCase("1 error 8", Replayed, "a collective call failed")]
    public void An_error_of_NCCL_ends_all(string fault, string where, string what)
    {
        var ended = Broken(fault, where);
        const string Cause = "remote process exited or there was a network error: a double of NCCL fails";
        Assert.That(ended.Text, Does.Match($"avedis: NCCL failed on rank 1 on .*: {what}: {Cause}.*; {GoOn}"));
        ExpectAborts(ended, rank: 1, where);
    }

    /// <summary>NCCL never says so.</summary>
    [TestCase("1 stop 0", Communicator, "NCCL's communicator")]
    [TestCase("1 stop 8", Replayed, "sums of a step on the GPUs")]
    [TestCase("1 kill 8", Replayed, "sums of a step on the GPUs")]
    public void A_rank_that_falls_silent_ends_all(string fault, string where, string name)
    {
        var ended = Broken(fault, where);
        string waits = $@"rank 0 waits for it in {name} \(call \d+\)";
        Assert.That(ended.Text, Does.Match($@"avedis: rank 1 on .* has given no sign of life for \d+ s; {waits}; {GoOn}"));
        ExpectAborts(ended, rank: 0, where);
    }

    /// <summary>All ranks live, and wait for what does not end.</summary>
    [TestCase("1 hang 11", Replayed)]
    public void Sums_that_do_not_end_end_all(string fault, string where)
    {
        var ended = Broken(fault, where);
        Assert.That(ended.Text, Does.Match($"avedis: all ranks are in sums of a step on the GPUs .*, which does not end.*; {GoOn}"));
        Assert.That(Regex.Count(ended.Text, @"nccl_double: rank \d aborts"), Is.InRange(1, 2));
        Assert.That(ended.Text, Does.Not.Contain("12/34 clips"), "a step whose sums were aborted does not count");
    }

    [TestCase("1 error 8")]
    [TestCase("1 hang 11")]
    public void The_run_goes_on_to_the_bits_of_one_that_nobody_disturbed(string fault)
    {
        Assert.That(broken[fault].Result.Code, Is.EqualTo(ExitCode.RanksLost));
        string? last = Path.GetFileName(Checkpoint.Latest(runs.CheckpointsOf(fault)));
        Assert.That(last, Is.EqualTo(Begun), "a step whose sums were aborted is not saved");
        Assert.That(Outcome(fault), Is.EqualTo(reference));
    }

    // what all have in common: the end, and one line of a rank at most, which names the checkpoint
    private Ended Broken(string fault, string where)
    {
        var ended = broken[fault].Result;
        Assert.That(ended.Code, Is.EqualTo(ExitCode.RanksLost), ended.Text);
        Assert.That(ended.Text, Does.Match($"nccl_double: rank 1 {fault.Split(' ')[1]} in {where}\\s"));
        Assert.That(ended.Text, Does.Contain($"{GoOn}{Path.Combine(runs.CheckpointsOf(fault), Begun)}; go on with --resume"));
        Assert.That(Regex.Count(ended.Text, "avedis: "), Is.InRange(1, 2), ended.Text);
        return ended;
    }

    // there is nothing to abort before a communicator is made
    private static void ExpectAborts(Ended ended, int rank, string where) =>
        Assert.That(Regex.Count(ended.Text, $"nccl_double: rank {rank} aborts"), Is.EqualTo(where == Communicator ? 0 : 1), ended.Text);

    private string Outcome(string run)
    {
        CopyBegun(run);
        var ended = Finish(GoOnWith(run, null));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        return runs.Outcome(run);
    }

    private Process GoOnWith(string run, string? fault, params string[] more) =>
        Start(run, fault, ["--resume", "--set", "training.maxSteps=6", .. more]);

    private Process Start(string run, string? fault, params string[] more)
    {
        var program = runs.Command(run, resume: false, more);
        // a shell between hides from mpirun, which would end all, that a rank was killed: as srun, whose tasks may outlive each other.
        // It also hides mpirun, if that is slow, from a rank that would end it
        const string Script = "\"$@\"; code=$?; [ $code = 137 ] && sleep 600; exit $code";
        var command = new ProcessStartInfo("sh", ["-c", Script, "sh", program.FileName, .. program.ArgumentList]);
        return RanksTests.Start(2, command, NcclDouble.Variables(fault));
    }

    private static Ended Finish(Process mpirun)
    {
        using var limit = new Timer(_ => mpirun.Kill(entireProcessTree: true), null, Limit, Timeout.InfiniteTimeSpan);
        return Disturbed.Finish(mpirun);
    }

    private void CopyBegun(string run)
    {
        if (Directory.Exists(runs.PathOf(run)))
            return;
        foreach (string file in Directory.GetFiles(runs.PathOf("begun"), "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(runs.PathOf(run), Path.GetRelativePath(runs.PathOf("begun"), file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }
}
