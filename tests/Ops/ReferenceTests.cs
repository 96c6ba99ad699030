using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// Proof of the reference itself. Forward: examples worked by hand. Backward: finite differences of the forward. With the comparison of a
/// backend against the reference, every gradient of that backend is thereby proved by finite differences. Gradient reversal is by
/// definition not the derivative of its forward.
/// </summary>
public sealed class ReferenceTests
{
    private static readonly Conv2dGeometry[] geometries =
    [
        new(2, 4, 5, 2, 3, 3, 2, 1, 1, 0, 0),
        new(1, 5, 6, 3, 2, 3, 3, 2, 1, 1, 2),
        new(2, 3, 2, 1, 4, 3, 2, 1, 1, 0, 0),
        new(1, 3, 3, 2, 2, 2, 1, 1, 1, 3, 2),
    ];

    private static readonly (bool Relu, Pool2dGeometry? Pool)[] fusions =
    [
        (false, null),
        (true, null),
        (false, new(2, 4, 5, 2, 3, 2, 2, 1, 1, 0)),
        (true, new(2, 4, 5, 2, 3, 3, 1, 2, 1, 1)),
    ];

    [Test]
    public void Conv2d_slides_without_flipping()
    {
        var g = new Conv2dGeometry(1, 3, 3, 1, 1, 2, 2, 1, 1, 0, 0);
        Assert.That(Reference.Conv2dForward([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4], g), Is.EqualTo(new double[] { 37, 47, 67, 77 }));
    }

    [Test]
    public void Conv2d_pads_with_zeros_and_strides()
    {
        var g = new Conv2dGeometry(1, 3, 3, 1, 1, 2, 2, 2, 2, 1, 1);
        Assert.That(Reference.Conv2dForward([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4], g), Is.EqualTo(new double[] { 4, 18, 36, 77 }));
    }

    [Test]
    public void Conv2d_keeps_channels_last_in_images_and_weights()
    {
        var g = new Conv2dGeometry(1, 1, 2, 2, 2, 1, 2, 1, 1, 0, 0);
        // weights: channel k of y, column s, channel c of x
        Assert.That(Reference.Conv2dForward([1, 10, 100, 1000], [1, 2, 3, 4, 5, 6, 7, 8], g), Is.EqualTo(new double[] { 4321, 8765 }));
    }

    [Test]
    public void Max_pool_takes_the_first_of_equals_and_no_padding()
    {
        var g = new Pool2dGeometry(1, 2, 3, 1, 2, 2, 1, 2, 1, 1);
        var (y, argmax) = Reference.MaxPoolForward([-5, -2, -2, -7, -2, -9], g);
        Assert.That(y, Is.EqualTo(new double[] { -5, -2, -5, -2, -7, -2 }));
        Assert.That(argmax, Is.EqualTo(new[] { 3, 2, 1, 0, 1, 0 }));
    }

    [Test]
    public void Batch_norm_of_two_values()
    {
        var (mean, variance) = Reference.ChannelStatistics([1, -2, 5, -4], 2);
        Assert.That(mean, Is.EqualTo(new double[] { 3, -3 }));
        Assert.That(variance, Is.EqualTo(new double[] { 4, 1 }));
        double[] y = Reference.BatchNormForward([1, -2, 5, -4], [10, 1], [0.5, 0], mean, Reference.InverseStd(variance, 0));
        Assert.That(y, Is.EqualTo(new[] { -9.5, 1, 10.5, -1 }));
    }

    [Test]
    public void Losses_of_two_classes()
    {
        double[] logits = [0, Math.Log(3)];
        var (loss, probabilities, _) = Reference.SoftmaxCrossEntropy(logits, [0], [0.5], 1);
        var (confusion, divergence, _) = Reference.UniformConfusion(logits, [1], 1);
        Assert.That(loss[0], Is.EqualTo(0.5 * Math.Log(4)).Within(Tolerance.Double));
        Assert.That(probabilities, Is.EqualTo(new[] { 0.25, 0.75 }).Within(Tolerance.Double));
        Assert.That(confusion[0], Is.EqualTo((Math.Log(4) + Math.Log(4.0 / 3)) / 2).Within(Tolerance.Double));
        // 1/2 ln(1/2 : 1/4) + 1/2 ln(1/2 : 3/4)
        Assert.That(divergence[0], Is.EqualTo((Math.Log(2) + Math.Log(2.0 / 3)) / 2).Within(Tolerance.Double));
    }

    [Test]
    public void Masked_mean_linear_and_concat()
    {
        Assert.That(Reference.MaskedMeanForward([1, 2, 3, 4, 5, 6], [2], 3, 2), Is.EqualTo(new double[] { 2, 3 }));
        double[] linear = Reference.LinearForward([1, 10], [1, 2, 3, 4, 5, 6], [100, 200, 300], 1, 2);
        Assert.That(linear, Is.EqualTo(new double[] { 121, 243, 365 }));
        Assert.That(Reference.ConcatForward([1, 2], [3, 4, 5, 6], 2), Is.EqualTo(new double[] { 1, 3, 4, 2, 5, 6 }));
    }

    [Test]
    public void Augmentation_of_two_pictures_and_a_spectrum()
    {
        double[] pictures = [1, 2, 3, 4, 5, 6, 7, 8];
        Assert.That(Reference.AugmentFaces(pictures, [new() { Flip = 1 }], 2, 2, 1, 0), Is.EqualTo(new double[] { 2, 1, 4, 3, 6, 5, 8, 7 }));
        Assert.That(Reference.AugmentFaces(pictures, [new() { CropY = 1, CropX = -1 }], 2, 2, 10, 1), Is.EqualTo(new double[] { 31, 31, 31, 31, 71, 71, 71, 71 }));
        Assert.That(Reference.AugmentFaces(pictures, [new() { FaceShift = 1, PadPixel = 9 }], 2, 2, 1, 0), Is.EqualTo(new double[] { 5, 6, 7, 8, 9, 9, 9, 9 }));
        double[] mels = [1, 2, 3, 4, 5, 6];
        Assert.That(Reference.AugmentMels(mels, [new() { MelShift = 1, MelFrames = 1, Gain = 10, Silence = -1 }], 2, 3), Is.EqualTo(new double[] { 12, 3, -1, 15, 6, -1 }));
        Assert.That(Reference.AugmentMels(mels, [new() { Bins0 = new(1, 1), Frames1 = new(0, 1) }], 2, 3), Is.EqualTo(new double[] { 0, 2, 3, 0, 0, 0 }));
    }

    /// <summary>Two steps by hand: beta1 = beta2 = 1/2 and no epsilon make the numbers plain.</summary>
    [Test]
    public void Adam_of_a_worked_example()
    {
        double[] p = [10], m = [0], v = [0];
        Reference.Adam(p, [4], m, v, [0.1, 0.5, 0.5], 0.5, 0.5, 0);
        Assert.That((m[0], v[0], p[0]), Is.EqualTo((2.0, 8.0, 10 - 0.1)));
        Reference.Adam(p, [-2], m, v, [0.1, 0.75, 0.75], 0.5, 0.5, 0);
        Assert.That((m[0], v[0], p[0]), Is.EqualTo((0.0, 6.0, 9.9)));
    }

    [TestCaseSource(nameof(geometries))]
    public void Conv2d_gradients(Conv2dGeometry g)
    {
        var random = new Random(1);
        double[] x = Numbers.Uniform(random, g.Input.Count), weight = Numbers.Uniform(random, g.Weight.Count);
        double[] dY = Numbers.Uniform(random, g.Output.Count);
        double Loss() => Reference.Dot(dY, Reference.Conv2dForward(x, weight, g));
        FiniteDifference.Check("x", Loss, x, Reference.Conv2dBackwardData(dY, weight, g));
        FiniteDifference.Check("weight", Loss, weight, Reference.Conv2dBackwardWeight(dY, x, g));
    }

    /// <summary>
    /// No kink within reach: inputs are 0.02 apart, forty steps, so no winner changes, and normalised values stay 0.005 from zero, ten
    /// steps, where the slope is below 4.
    /// </summary>
    [TestCaseSource(nameof(fusions))]
    public void Batch_norm_gradients((bool Relu, Pool2dGeometry? Pool) fusion)
    {
        var settings = new BatchNormSettings(1e-5f, 0.1f, fusion.Relu, fusion.Pool);
        var p = BatchNormProblem.Pose(new Random(2), new Shape(2, 4, 5, 2), settings, DType.F32, kinkMargin: 0.005, gap: 0.02);
        var forward = p.Forward();
        double[] dY = Numbers.Uniform(new Random(3), forward.Y.Length);
        double Loss()
        {
            var (mean, variance) = Reference.ChannelStatistics(p.X, p.Gamma.Length);
            return Reference.Dot(dY, (p with { Mean = mean, Variance = variance }).Forward().Y);
        }
        var gradients = p.Backward(dY, forward.Argmax);
        FiniteDifference.Check("x", Loss, p.X, gradients.DX);
        FiniteDifference.Check("gamma", Loss, p.Gamma, gradients.DGamma);
        FiniteDifference.Check("beta", Loss, p.Beta, gradients.DBeta);
    }

    /// <summary>
    /// No kink within reach: draws again until the normalised values stay 0.005 from zero and a window's largest two 0.005 apart, ten steps, where the
    /// slope is below 2.
    /// </summary>
    [Test]
    public void Stem_gradients([Values] bool relu)
    {
        const double Reach = 0.005;
        var g = new Conv2dGeometry(2, 5, 6, 1, 3, 3, 2, 1, 2, 1, 0);
        var pool = new Pool2dGeometry(2, g.P, g.Q, 3, 2, 2, 2, 1, 1, 0);
        var settings = new BatchNormSettings(1e-5f, 0.1f, relu, pool);
        var random = new Random(13);
        var p = StemProblem.Pose(random, g, settings, DType.F32);
        while (p.Norm.Normalised().Min(Math.Abs) < Reach || Gap(p) < Reach)
            p = StemProblem.Pose(random, g, settings, DType.F32);
        double[] weight = [.. p.Weight], dY = Numbers.Uniform(random, pool.Output.Count);
        double Loss() => Reference.Dot(dY, StemProblem.Of(g, settings, DType.F32, p.X, weight, p.Norm.Gamma, p.Norm.Beta).Norm.Forward().Y);
        var gradients = p.Backward(dY, p.Norm.Forward().Argmax!);
        FiniteDifference.Check("gamma", Loss, p.Norm.Gamma, gradients.DGamma);
        FiniteDifference.Check("beta", Loss, p.Norm.Beta, gradients.DBeta);
        FiniteDifference.Check("weight", Loss, weight, gradients.DWeight);

        double Gap(StemProblem problem)
        {
            double[] values = problem.Norm.Normalised();
            return Enumerable.Range(0, (int)pool.Output.Count).Min(output =>
            {
                double[] window = [.. Enumerable.Range(0, pool.R * pool.S)
                    .Select(position => Reference.PoolInput(pool, output, position)).OfType<int>().Select(i => values[i]).OrderDescending()];
                return window.Length > 1 ? window[0] - window[1] : double.PositiveInfinity;
            });
        }
    }

    /// <summary>Inputs are 0.01 apart, twenty steps: no winner changes.</summary>
    [Test]
    public void Max_pool_gradients()
    {
        var g = new Pool2dGeometry(2, 5, 6, 2, 3, 3, 2, 1, 1, 1);
        double[] x = Numbers.Distinct(new Random(4), g.Input.Count, 0.01), dY = Numbers.Uniform(new Random(5), g.Output.Count);
        double[] gradient = Reference.MaxPoolBackward(dY, Reference.MaxPoolForward(x, g).Argmax, g);
        FiniteDifference.Check("x", () => Reference.Dot(dY, Reference.MaxPoolForward(x, g).Y), x, gradient);
    }

    /// <summary>Inputs are no nearer to the kink at zero than 0.0025, five steps.</summary>
    [Test]
    public void Relu_gradients()
    {
        double[] x = Numbers.Distinct(new Random(6), 40, 0.01), dY = Numbers.Uniform(new Random(7), 40);
        double[] gradient = Reference.ReluBackward(dY, Reference.ReluForward(x));
        FiniteDifference.Check("x", () => Reference.Dot(dY, Reference.ReluForward(x)), x, gradient);
    }

    [Test]
    public void Masked_mean_gradients()
    {
        double[] x = Numbers.Uniform(new Random(8), 3 * 4 * 2), dY = Numbers.Uniform(new Random(9), 3 * 2);
        int[] lengths = [4, 1, 3];
        double[] gradient = Reference.MaskedMeanBackward(dY, lengths, 4, 2);
        FiniteDifference.Check("x", () => Reference.Dot(dY, Reference.MaskedMeanForward(x, lengths, 4, 2)), x, gradient);
    }

    [Test]
    public void Linear_gradients()
    {
        var random = new Random(10);
        double[] x = Numbers.Uniform(random, 3 * 5), weight = Numbers.Uniform(random, 4 * 5), bias = Numbers.Uniform(random, 4);
        double[] dY = Numbers.Uniform(random, 3 * 4);
        double Loss() => Reference.Dot(dY, Reference.LinearForward(x, weight, bias, 3, 5));
        var gradients = Reference.LinearBackward(dY, x, weight, 3, 5);
        FiniteDifference.Check("x", Loss, x, gradients.DX);
        FiniteDifference.Check("weight", Loss, weight, gradients.DWeight);
        FiniteDifference.Check("bias", Loss, bias, gradients.DBias);
    }

    [Test]
    public void Concat_gradients()
    {
        var random = new Random(11);
        double[] a = Numbers.Uniform(random, 3 * 2), b = Numbers.Uniform(random, 3 * 4), dY = Numbers.Uniform(random, 3 * 6);
        var gradients = Reference.ConcatBackward(dY, 3, 2);
        FiniteDifference.Check("a", () => Reference.Dot(dY, Reference.ConcatForward(a, b, 3)), a, gradients.DA);
        FiniteDifference.Check("b", () => Reference.Dot(dY, Reference.ConcatForward(a, b, 3)), b, gradients.DB);
    }

    [Test]
    public void Loss_gradients()
    {
        const double Scale = -0.7;
        double[] logits = Numbers.Uniform(new Random(12), 4 * 5, low: -2, high: 2), weights = [0.5, 0.25, 0, 0.25];
        int[] labels = [4, 0, -1, 2];
        double CrossEntropy() => Scale * Reference.SoftmaxCrossEntropy(logits, labels, weights, Scale).Loss.Sum();
        double Confusion() => Scale * Reference.UniformConfusion(logits, weights, Scale).Loss.Sum();
        double[] crossEntropyGradient = Reference.SoftmaxCrossEntropy(logits, labels, weights, Scale).DLogits;
        FiniteDifference.Check("cross-entropy", CrossEntropy, logits, crossEntropyGradient);
        FiniteDifference.Check("confusion", Confusion, logits, Reference.UniformConfusion(logits, weights, Scale).DLogits);
    }
}
