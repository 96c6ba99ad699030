using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>
/// What a training step asks of the CUDA driver once it is recorded, counted under the emulated driver, which leaves the work itself out
/// here. Every call costs the host
/// some microseconds, every node of the graph the device about one; so a change that adds some is noticed. kernels/README.md has the table.
/// </summary>
[NonParallelizable]
public sealed class DriverCallTests
{
    /// <summary>From the beginning of a step to its losses, whatever the strategy.</summary>
    private const int Calls = 15;

    /// <summary>Kernels, copies and fills in the graph of a step.</summary>
    [TestCase("demo", "stl", 129)]
    [TestCase("demo", "baseline", 142)]
    [TestCase("demo", "gr", 157)]
    [TestCase("demo", "alt", 162)]
    [TestCase("demo", "conf", 162)]
    [TestCase("demo", "projected", 248)]
    [TestCase("paper", "stl", 136)]
    [TestCase("paper", "baseline", 149)]
    [TestCase("paper", "gr", 164)]
    [TestCase("paper", "alt", 169)]
    [TestCase("paper", "conf", 169)]
    [TestCase("paper", "projected", 257)]
    [TestCase("grid", "conf", 160)]
    public void A_step_takes_no_other_number_of_calls(string preset, string strategy, int nodes)
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        var counted = Count(preset, strategy);
        TestContext.Out.WriteLine($"{preset} {strategy}: {counted}");
        Assert.That(counted, Is.EqualTo((Calls, nodes)));
    }

    private static (int Calls, int Nodes) Count(string preset, string strategy)
    {
        const int Clips = 2;
        var config = Config.FromPreset(preset);
        var network = strategy == "stl" ? config.Network with { Tasks = ["emotion"] } : config.Network;
        var training = config.Training with { Strategy = strategy, BatchSize = Clips };
        var features = config.Features;
        var shape = new NetworkShape(
            Clips, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames,
            network.Of([Factor.Numbered(Factor.Emotion, 5), Factor.Numbered(Factor.Speaker, 24)]), DType.BF16);
        Emulation.LeaveWorkOut(true);
        try
        {
            using var runtime = new Runtime(Emulation.Open(tf32: false), network, shape, training);
            var batch = TrainingBenchmark.RandomBatch(shape, 1, 0);
            runtime.Load(batch);
            int before = 0;
            // the first step loads kernels, the second is recorded
            for (int step = 0; step < 4; step++)
            {
                before = Emulation.Counts().Calls;
                runtime.Prepare(step, progress: 0.5, _ => double.NaN);
                runtime.Advance(1e-3, 1e-3);
                runtime.TrainStep();
                runtime.Load(batch);
                runtime.ReadLosses();
            }
            var (calls, nodes) = Emulation.Counts();
            return (calls - before, nodes);
        }
        finally
        {
            Emulation.LeaveWorkOut(false);
        }
    }
}
