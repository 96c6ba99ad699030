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
    /// <summary>
    /// Calls of the driver from the beginning of a step to its losses, and nodes of its graph: kernels, copies and fills.
    /// </summary>
    private static readonly (string Preset, string Strategy, int Calls, int Nodes)[] expected =
    [
        ("demo", "stl", 15, 129),
        ("demo", "baseline", 15, 142),
        ("demo", "gr", 15, 157),
        ("demo", "alt", 15, 162),
        ("demo", "conf", 15, 162),
        ("demo", "projected", 15, 248),
        ("paper", "stl", 15, 136),
        ("paper", "baseline", 15, 149),
        ("paper", "gr", 15, 164),
        ("paper", "alt", 15, 169),
        ("paper", "conf", 15, 169),
        ("paper", "projected", 15, 257),
        ("grid", "conf", 15, 160),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        from each in expected
        select new TestCaseData(each.Preset, each.Strategy, each.Calls, each.Nodes).SetArgDisplayNames(each.Preset, each.Strategy);

    [TestCaseSource(nameof(Cases))]
    public void A_step_takes_no_other_number_of_calls(string preset, string strategy, int calls, int nodes)
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        var counted = Count(preset, strategy);
        TestContext.Out.WriteLine($"{preset} {strategy}: {counted}");
        Assert.That(counted, Is.EqualTo((calls, nodes)));
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
