using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Ten training steps of a tiny network on the CUDA backend, beside the same steps in FP32 on the processor: the kernels, the workspace and scratch that
/// they share, uploads, and what one step leaves behind for the next.
/// </summary>
[NonParallelizable]
public sealed class CudaNetworkTests
{
    private const int Steps = 10;

    // both round FP32 sums, in another order
    private const double LossF32 = 1e-4;

    // operands of the convolutions have 10 bits in TF32 and 7 in BF16 behind the first; BF16 activations are rounded at every layer as well
    private const double LossTf32 = 1e-2;
    private const double LossBf16 = 5e-2;

    // Adam's first steps have the size of the rate whatever the gradient's is: where that is nearly 0, rounding decides its sign. Of all that the parameters
    // have moved in ten steps, such elements are this part.
    private const double MovementF32 = 0.02;
    private const double MovementTf32 = 0.3;
    private const double MovementBf16 = 0.7;

    private static readonly GoldenSetting setting = Golden.Load().Setting with
    {
        FaceChannels = [8, 16, 12, 8, 16, 16],
        VoiceChannels = [8, 16, 12, 8, 16, 16],
        Frames = 2,
        MelSteps = 48,
        EmotionWidth = 16,
        SpeakerWidth = 8,
        Clips = 3,
        FaceLengths = [2, 1, 2],
        MelLengths = [48, 30, 7],
    };

    /// <summary>Losses of each step, and the parameters before and after.</summary>
    private sealed record Run(double[] Losses, Dictionary<string, float[]> Before, Dictionary<string, float[]> After);

    private static readonly Dictionary<string, Run> processor = [];

    public static IEnumerable<TestCaseData> Cases()
    {
        foreach (var backend in Backends.All().Where(b => b.Name != "cpu"))
        {
            foreach (string strategy in Tier.Fast ? ["conf"] : new[] { "gr", "alt", "conf", "projected" })
                yield return Case(backend, DType.F32, LossF32, MovementF32, strategy);
            yield return Case(backend, DType.BF16, LossBf16, MovementBf16);
        }
        foreach (var backend in Backends.Tf32().Where(_ => !Tier.Fast))
            yield return Case(backend, DType.F32, LossTf32, MovementTf32);

        static TestCaseData Case(BackendCase backend, DType act, double loss, double movement, string strategy = "gr") =>
            new TestCaseData(backend, act, loss, movement, strategy).SetArgDisplayNames(backend.ToString(), act.ToString(), strategy);
    }

    [TestCaseSource(nameof(Cases))]
    public void Ten_steps_follow_the_processor(BackendCase backend, DType act, double lossTolerance, double movementTolerance, string strategy)
    {
        backend.Require();
        if (!processor.TryGetValue(strategy, out var expected))
            processor[strategy] = expected = Train(new CpuBackend(), DType.F32, strategy);
        var actual = Train(backend.Open(), act, strategy);
        Assert.That(expected.Losses, Has.Length.EqualTo(Steps));
        double loss = expected.Losses.Zip(actual.Losses, (e, a) => Math.Abs(e - a) / e).Max();
        double movement = Norm(expected, (name, i) => expected.After[name][i] - expected.Before[name][i]);
        double difference = Norm(expected, (name, i) => expected.After[name][i] - actual.After[name][i]);
        TestContext.Out.WriteLine($"largest relative difference of a loss {loss:E2}; parameters differ by {difference / movement:E2} of their movement");
        Assert.Multiple(() =>
        {
            Assert.That(actual.After.Keys, Is.EquivalentTo(expected.After.Keys));
            Assert.That(movement, Is.Positive);
            Assert.That(loss, Is.LessThan(lossTolerance), "losses");
            Assert.That(difference / movement, Is.LessThan(movementTolerance), "parameters");
        });
    }

    /// <summary>Runs what may be recorded and what may run side by side as it is, one operation after the other.</summary>
    private sealed class OneByOne(IBackend inner) : WatchedBackend(inner)
    {
        public override void Replay(string name, Action work) => work();

        public override void SideBySide(Action first, Action second)
        {
            first();
            second();
        }
    }

    /// <summary>
    /// The emulated driver runs a branch of a graph before the other, and a stream that is waited for behind all that could come before it:
    /// two orders, of which neither
    /// is the plain one. Branches that touched each other's memory would leave other bits.
    /// </summary>
    [Test]
    public void Streams_side_by_side_and_recorded_steps_give_the_bits_of_operations_one_by_one([Values("gr", "projected")] string strategy)
    {
        var backend = Backends.All().FirstOrDefault(each => each.Name != "cpu");
        if (backend is null)
            return; // this run is of the processor alone
        backend.Require();
        float[][] plain = Train(new OneByOne(backend.Open())), recorded = Train(backend.Open());
        Assert.That(plain[0], Has.Some.Not.EqualTo(plain[0][0]));
        Assert.That(recorded, Is.EqualTo(plain));

        float[][] Train(IBackend device)
        {
            var s = setting;
            var options = new NetworkOptions
            {
                FaceChannels = s.FaceChannels,
                VoiceChannels = s.VoiceChannels,
                Factors = new Dictionary<string, FactorOptions>
                {
                    ["emotion"] = new() { Embedding = 16, Forget = new Dictionary<string, float> { ["speaker"] = 0.3f } },
                    ["speaker"] = new() { Embedding = 8, Forget = new Dictionary<string, float> { ["emotion"] = 0.3f } },
                },
            };
            var shape = new NetworkShape(
                s.Clips, s.Frames, s.Pixels, s.Mels, s.MelSteps,
                [Factor.Numbered("emotion", 5), Factor.Numbered("speaker", 7)], DType.BF16);
            using var runtime = new Runtime(device, options, shape, new TrainingOptions { Strategy = strategy, BatchSize = s.Clips });
            runtime.Network.Initialise(1);
            runtime.Load(TrainingBenchmark.RandomBatch(shape, 1, 0));
            var losses = new List<float>();
            // as it is, recorded, replayed
            for (uint step = 0; step < 3; step++)
            {
                runtime.Prepare(step, 0.5, _ => double.NaN);
                runtime.Advance(1e-3, 1e-3);
                runtime.TrainStep();
                runtime.Load(TrainingBenchmark.RandomBatch(shape, 1, step + 1));
                Assert.That(runtime.ReadLosses());
                losses.AddRange(runtime.LossValues);
            }
            return [.. runtime.Network.State().Select(state => runtime.Read(state.Tensor)), [.. losses]];
        }
    }

    private static Run Train(IBackend backend, DType act, string strategy)
    {
        using var rig = new GoldenRig(backend, setting, strategy, act);
        Dictionary<string, float[]> Parameters() => rig.Network.Groups.SelectMany(g => g.Parameters).ToDictionary(p => p.Name, p => rig.Read(p.Value));
        var before = Parameters();
        var losses = new double[Steps];
        for (int step = 0; step < Steps; step++)
        {
            rig.Load(setting.Batch + step % 2);
            rig.Step(optimise: true);
            losses[step] = rig.TotalLoss();
        }
        return new(losses, before, Parameters());
    }

    private static double Norm(Run run, Func<string, int, double> element) =>
        Math.Sqrt(run.After.Sum(p => Enumerable.Range(0, p.Value.Length).Sum(i => Math.Pow(element(p.Key, i), 2))));
}
