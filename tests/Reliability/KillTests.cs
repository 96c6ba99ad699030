using System.Diagnostics;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A process that is killed loses at most the steps since its last checkpoint: the run goes on to the same bits.</summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class KillTests
{
    private Disturbed runs = null!;

    [OneTimeSetUp]
    public void SetUp() => runs = new Disturbed("--set", "training.keepCheckpoints=1", "--set", "training.selection.probeEvery=0");

    [OneTimeTearDown]
    public void TearDown() => runs.Dispose();

    [Test]
    public void At_any_moment()
    {
        int kills = Soak.Count(20, 200), early = 0, survived = 0;
        _ = runs.Reference;
        var clock = Stopwatch.StartNew();
        runs.Train("timed");
        double whole = clock.Elapsed.TotalSeconds;
        var random = new Random(1);
        for (int i = 0; i < kills; i++)
        {
            string run = $"moment-{i}";
            using (var process = Process.Start(runs.Command(run, resume: false))!)
            {
                var ended = Task.Run(() => Disturbed.Finish(process));
                if (!ended.Wait(TimeSpan.FromSeconds(random.NextDouble() * whole)))
                    process.Kill();
                if (ended.Result.Code == ExitCode.Ok)
                    survived++;
            }
            if (!Directory.Exists(runs.CheckpointsOf(run)))
                early++;
            Assert.That(runs.Fault(run), Is.Null, $"kill {i} of {kills}");
            runs.Forget(run);
        }
        Soak.Say($"kill -9 at {kills} random moments of {whole:F1} s ({early} before the first checkpoint, {survived} too late): weights, moments and metrics of all equal the undisturbed run's");
        Assert.That(early + survived, Is.LessThan(kills));
    }

    [Test]
    public void In_place_of_any_system_call_that_changes_checkpoints()
    {
        string log = Path.Combine(runs.PathOf("calls") + ".log");
        Assert.That(runs.TrainWith("none", 0, "calls", log: log).Code, Is.EqualTo(ExitCode.Ok));
        int calls = File.ReadLines(log).Count(), kills = 0;
        foreach (int call in Soak.Spread(calls, sample: 20))
        {
            string run = $"call-{call}";
            Assert.That(runs.TrainWith("KILL", call, run).Code, Is.EqualTo(Ended.Killed), $"call {call}");
            Assert.That(runs.Fault(run), Is.Null, $"call {call} of {calls}: {File.ReadLines(log).ElementAt(call - 1)}");
            runs.Forget(run);
            kills++;
        }
        Soak.Say($"kill -9 in place of {kills} of the {calls} system calls that change the checkpoints of two epochs: every name verifies, resumed runs are bit-identical");
    }
}
