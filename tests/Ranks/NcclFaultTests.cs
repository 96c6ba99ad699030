using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>
/// Trainings of two ranks whose gradients NCCL's double sums on the emulated driver, and which it fails under on purpose: in the first step, in one that is
/// replayed, and before them. All ranks end, say why, and the run goes on to the bits of one that nobody disturbed.
/// </summary>
[NonParallelizable, Category(Tier.Long)]
public sealed class NcclFaultTests
{
    private const string Step = "a step", Replayed = "a step that is replayed", Communicator = "its communicator";

    private const int SumsOfAStep = 1;

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly Disturbed runs = new(
        "--device", "cuda", "--strategy", "baseline", "--set", "training.precision=fp32", "--set", "training.batchSize=12", "--set", "training.threads=1", "--set", "training.ranks.reduction=nccl");

    private string reference = "";

    [OneTimeSetUp]
    public void TrainUndisturbed()
    {
        RankedProgram.Require();
        NcclDouble.Require();
        Assert.That(Train("reference", null), Has.Property(nameof(Ended.Code)).EqualTo(ExitCode.Ok));
        reference = runs.Outcome("reference");
    }

    [OneTimeTearDown]
    public void TearDown() => runs.Dispose();

    private Ended Train(string run, string? fault, bool resume = false, params string[] more)
    {
        using var mpirun = RanksTests.Start(2, runs.Command(run, resume, more), NcclDouble.Variables(fault));
        var ended = Task.Run(() => Disturbed.Finish(mpirun));
        if (ended.Wait(Limit))
            return ended.Result;
        mpirun.Kill(entireProcessTree: true);
        throw new TimeoutException($"mpirun still ran: {ended.Result.Text}");
    }
}
