using System.Diagnostics;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A process that is killed loses at most the steps since its last checkpoint: the run goes on to the same bits.</summary>
[NonParallelizable]
[Category(Soak.Category)]
[Category(Tier.Long)]
public sealed class KillTests
{
    private static readonly string[] Settings = ["--set", "training.keepCheckpoints=1", "--set", "training.selection.probeEvery=0"];

    [Test]
    public void At_any_moment()
    {
        int kills = Soak.Count(20, 200), early = 0, survived = 0;
        using var runs = new Disturbed(Settings) { Epochs = 8 };
        _ = runs.Reference;
        double whole = 0;
        var random = new Random(1);
        for (int i = 0; i < kills; i++)
        {
            string run = $"moment-{i}";
            if (i % 10 == 0)
            {
                // again and again: other work may slow the machine down
                var clock = Stopwatch.StartNew();
                runs.Train($"timed-{i}");
                whole = clock.Elapsed.TotalSeconds;
            }
            using (var process = Process.Start(runs.Command(run, resume: false))!)
            {
                var ended = Task.Run(() => Disturbed.Finish(process));
                if (!ended.Wait(TimeSpan.FromSeconds((0.2 + 0.8 * random.NextDouble()) * whole)))
                    process.Kill();
                if (ended.Result.Code == ExitCode.Ok)
                    survived++;
            }
            if (Checkpoint.Latest(runs.CheckpointsOf(run)) is null)
                early++;
            Assert.That(runs.Fault(run), Is.Null, $"kill {i} of {kills}");
            runs.Forget(run);
        }
        Soak.Say($"kill -9 at {kills} random moments of a training of eight epochs, {whole:F1} s ({early} before the first checkpoint, {survived} too late): weights, moments and metrics of all equal the undisturbed run's");
        Assert.That(early + survived, Is.LessThan(kills));
    }

    [Test]
    public void In_place_of_any_system_call_that_changes_checkpoints()
    {
        using var runs = new Disturbed(Settings);
        string log = runs.PathOf("calls") + ".log";
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
