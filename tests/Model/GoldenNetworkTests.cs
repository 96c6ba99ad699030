using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;
using NUnit.Framework.Internal;

namespace Avedis.Tests;

/// <summary>
/// The whole network against PyTorch in double precision: logits, losses, running statistics, every gradient by name, and ten Adam steps.
/// </summary>
[NonParallelizable]
[TestFixtureSource(nameof(Fixtures))]
public sealed class GoldenNetworkTests(BackendCase backend)
{
    // PyTorch's own single precision is within 1e-5 of its double precision on this batch, which has no ReLU or pooling tie within rounding error
    private const double GradientTolerance = 1e-4;
    private const double OutputTolerance = 1e-5;

    // another program's single precision may be some times as far off as PyTorch's, where that counts at all
    private const double SinglePrecisions = 4;

    // ten steps let rounding errors grow through Adam's division by small second moments
    private const double AdamTolerance = 1e-3;

    // and now and then push one over an edge, a winner of a pooling or a ReLU: PyTorch's own single precisions part as far as the golden file says
    private const double ShakenPrecisions = 2;

    private readonly Golden golden = Golden.Load();

    /// <summary>A step under emulation takes seconds; the fast tier leaves that to the smaller network of <see cref="CudaNetworkTests"/>.</summary>
    private static IEnumerable<TestFixtureData> Fixtures()
    {
        foreach (var backend in Backends.All())
        {
            var fixture = new TestFixtureData(backend);
            if (backend.Name == "emulated")
                fixture.Properties.Add(PropertyNames.Category, Tier.Long);
            yield return fixture;
        }
    }

    [OneTimeSetUp]
    public void Require() => backend.Require();

    private static double Relative(double[] expected, float[] actual)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        double scale = expected.Max(Math.Abs);
        return expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() / scale;
    }

    [Test]
    public void Outputs_and_running_statistics_in_training_and_evaluation_mode()
    {
        using var rig = new GoldenRig(backend.Open(), golden.Setting, "gr", DType.F32);
        rig.Load(golden.Setting.Batch);
        rig.Step(optimise: false);
        Assert.Multiple(() =>
        {
            Compare(rig, golden.Outputs.Training);
            foreach (var (name, tensor) in rig.Network.State().Where(s => s.Name.Contains("running")))
            {
                // a mean may be almost 0: its error is one of the values that it was taken over, so it is measured by their spread
                double spread = Math.Sqrt(golden.Running[name.Replace("mean", "var", StringComparison.Ordinal)].Max());
                double difference = golden.Running[name].Zip(rig.Read(tensor), (e, a) => Math.Abs(e - a)).Max();
                Assert.That(difference / spread, Is.LessThan(OutputTolerance), name);
            }
            rig.Evaluate();
            Compare(rig, golden.Outputs.Evaluation);
        });
    }

    private static void Compare(GoldenRig rig, Dictionary<string, double[]> expected)
    {
        foreach (var branch in rig.Network.Branches)
        {
            Assert.That(Relative(expected[$"{branch.Name}_embedding"], rig.Read(branch.Embedding)), Is.LessThan(OutputTolerance), $"{branch.Name}.embedding");
            Assert.That(Relative(expected[$"{branch.Name}_logits"], rig.Read(branch.Logits)), Is.LessThan(OutputTolerance), $"{branch.Name}.logits");
        }
    }

    private GoldenCase Of(string strategy) => strategy switch
    {
        "baseline" => golden.Baseline,
        "gr" => golden.Auxiliary,
        "alt" => golden.Alt,
        "conf" => golden.Conf,
        _ => golden.Projected,
    };

    [Test]
    public void Losses_and_every_gradient_by_name([Values("baseline", "gr", "alt", "conf", "projected")] string strategy)
    {
        using var rig = new GoldenRig(backend.Open(), golden.Setting, strategy, DType.F32);
        var expected = Of(strategy);
        rig.Load(golden.Setting.Batch);
        // step B of alt, conf and projected goes through heads that step A has moved
        rig.Step(optimise: true);
        Assert.Multiple(() =>
        {
            foreach (var branch in rig.Network.Branches)
                Assert.That(rig.Sum(branch.Loss), Is.EqualTo(expected.Losses[branch.Name]).Within(OutputTolerance));
            Assert.That(rig.Gradients.Keys, Is.EquivalentTo(expected.Gradients.Keys));
            double largest = 0;
            foreach (var (name, gradient) in rig.Gradients)
            {
                double difference = expected.Gradients[name].RelativeDifference(gradient);
                largest = Math.Max(largest, difference);
                Assert.That(difference, Is.LessThan(Math.Max(GradientTolerance, SinglePrecisions * expected.Gradients[name].Single)), name);
            }
            TestContext.Out.WriteLine($"{rig.Gradients.Count} gradients, largest relative difference from PyTorch {largest:E2}");
        });
    }

    private static IEnumerable<TestCaseData> Strategies() =>
        new[] { "baseline", "gr", "alt", "conf", "projected" }.Select(strategy => new TestCaseData(strategy));

    /// <summary>
    /// The sum of all losses; of alt, conf and projected the primary ones only, since they evaluate the auxiliary ones again behind heads
    /// that have moved. Under
    /// emulation <see cref="CudaNetworkTests"/> takes ten steps of a smaller network.
    /// </summary>
    [OpCases(nameof(Strategies), NotOn = "emulated")]
    public void Ten_adam_steps_follow_pytorchs_loss(string strategy)
    {
        using var rig = new GoldenRig(backend.Open(), golden.Setting, strategy, DType.F32);
        var s = golden.Setting;
        bool all = strategy is "baseline" or "gr";
        double[] expected = Of(strategy).Adam[all ? "float64" : "primary"];
        double[] shaken = all ? Of(strategy).Adam["shaken"] : new double[expected.Length];
        Assert.That((expected.Length, shaken.Length), Is.EqualTo((10, 10)));
        double largest = 0;
        for (int step = 0; step < expected.Length; step++)
        {
            rig.Load(s.Batch + step % 2);
            rig.Step(optimise: true);
            double loss = all ? rig.TotalLoss() : rig.PrimaryLoss();
            largest = Math.Max(largest, Math.Abs(loss - expected[step]) / expected[step]);
            double tolerance = Math.Max(AdamTolerance, ShakenPrecisions * shaken[step]);
            Assert.That(loss, Is.EqualTo(expected[step]).Within(tolerance * expected[step]), $"step {step + 1}");
        }
        TestContext.Out.WriteLine($"{expected.Length} steps, largest relative difference of the loss {largest:E2}");
    }
}
