using Avedis.Engine;
using Avedis.Tests.Ops;
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
