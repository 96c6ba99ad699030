using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// Convolutions with fewer multiplications, which only the processor has (bindings/native/conv2d_winograd.cpp). All shapes here use them,
/// few of those of Conv2dTests do.
/// </summary>
public sealed class Conv2dWinogradTests
{
    private const int Forward = 0, BackwardData = 1, BackwardWeight = 2;

    private static readonly string[] passes = ["forward", "gradient of x", "gradient of the weights"];

    /// <summary>
    /// Root mean square of a pass's error, relative to that of its result, with inputs behind a ReLU and weights of Kaiming's deviation:
    /// half as much again as was measured on these shapes (1.0, 1.2 and 1.8e-6). Direct sums have 2 to 7e-7.
    /// </summary>
    private static readonly double[] largestError = [1.6e-6, 1.8e-6, 2.7e-6];

    private static readonly Conv2dGeometry[] geometries =
    [
        // tiles of four outputs and of three, of both, and of three that reach beyond the image (5 = 3 + 3)
        new(2, 12, 12, 32, 32, 3, 3, 1, 1, 1, 1),
        new(2, 9, 9, 32, 32, 3, 3, 1, 1, 1, 1),
        new(2, 13, 14, 24, 40, 3, 3, 1, 1, 1, 1),
        new(5, 5, 10, 16, 24, 3, 3, 1, 1, 1, 1),
        new(20, 3, 3, 64, 48, 3, 3, 1, 1, 1, 1),
        // several chunks of tiles, and images that share one
        new(3, 23, 31, 16, 16, 3, 3, 1, 1, 1, 1),
        // and of the gradient of the weights, which has larger ones
        new(2, 94, 90, 16, 16, 3, 3, 1, 1, 1, 1),
        // without padding, and with much
        new(2, 15, 18, 24, 16, 3, 3, 1, 1, 0, 0),
        new(2, 11, 12, 24, 16, 3, 3, 1, 1, 2, 2),
        // channels that fill no vector
        new(3, 12, 13, 17, 19, 3, 3, 1, 1, 1, 1),
        new(2, 12, 16, 21, 50, 5, 5, 1, 1, 2, 2),
        // the networks' second layers: five taps at stride 2 are two windows of the even and odd pixels
        new(4, 22, 29, 24, 64, 5, 5, 2, 2, 1, 1),
        new(2, 20, 38, 24, 64, 5, 5, 2, 1, 1, 1),
        // other paddings
        new(4, 23, 24, 16, 32, 5, 5, 2, 2, 2, 2),
        new(4, 23, 25, 16, 32, 5, 5, 2, 2, 0, 0),
        // five taps at stride 1 are three and two; windows that are not square
        new(2, 12, 16, 24, 32, 5, 3, 1, 1, 2, 1),
        new(2, 16, 13, 24, 32, 3, 5, 1, 1, 1, 0),
    ];

    /// <summary>
    /// Too few channels, one tap, the whole image, a stride that leaves windows of one tap, few tiles; a window that meets only padding.
    /// </summary>
    private static readonly Conv2dGeometry[] directGeometries =
    [
        new(2, 12, 12, 15, 32, 3, 3, 1, 1, 1, 1),
        new(2, 12, 12, 32, 15, 3, 3, 1, 1, 1, 1),
        new(2, 12, 12, 32, 32, 1, 1, 1, 1, 0, 0),
        new(2, 12, 12, 32, 32, 1, 3, 1, 1, 0, 1),
        new(20, 3, 3, 32, 32, 3, 3, 1, 1, 0, 0),
        new(4, 24, 24, 32, 32, 3, 3, 2, 2, 1, 1),
        new(1, 12, 12, 32, 32, 3, 3, 1, 1, 1, 1),
        new(2, 24, 24, 32, 32, 7, 7, 1, 1, 3, 3),
        new(2, 24, 24, 32, 32, 3, 3, 3, 3, 0, 0),
        new(2, 12, 12, 32, 32, 3, 3, 1, 1, 3, 1),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        from geometry in geometries
        from pass in Enumerable.Range(0, passes.Length)
        select new TestCaseData(geometry, pass).SetArgDisplayNames(Conv2dTests.Describe(geometry), passes[pass]);

    private static IEnumerable<TestCaseData> CasesOfImages() => Cases().Where(test => test.Arguments[1] is not BackwardWeight);

    private static IEnumerable<TestCaseData> DirectCases() =>
        directGeometries.Select(geometry => new TestCaseData(geometry).SetArgDisplayNames(Conv2dTests.Describe(geometry)));

    [SetUp]
    public void OnTheProcessor()
    {
        if (Backends.Forced is not null and not "cpu")
            Assert.Ignore($"the tests of this run are those of {Backends.Forced}");
        using var backend = new CpuBackend();
        if (backend.Conv2dMultiplications(geometries[0], DType.F32)[Forward] == Direct(geometries[0]))
            Assert.Ignore($"{backend.Description}: without AVX2 all convolutions are direct");
    }

    [TestCaseSource(nameof(Cases))]
    public void Agrees_with_the_reference_at_the_tolerance_of_direct_sums(Conv2dGeometry g, int pass)
    {
        using var backend = new CpuBackend();
        Assert.That(backend.Conv2dMultiplications(g, DType.F32)[pass], Is.LessThan(Direct(g) / 1.8), "multiplications");
        var random = new Random(2);
        double[] a = Numbers.Uniform(random, (pass == BackwardData ? g.Output : g.Input).Count);
        double[] b = Numbers.Uniform(random, (pass == BackwardWeight ? g.Output : g.Weight).Count);
        double[] start = pass == BackwardWeight
            ? Numbers.Uniform(random, g.Weight.Count, low: -10, high: 10)
            : new double[ResultOf(g, pass).Count];
        using var op = new OpHarness(backend);

        var result = Run(op, g, pass, a, b, start);

        double[] expected = Ops.Reference.Plus(start, Reference(g, pass, a, b));
        double[] magnitude = Ops.Reference.Plus(Numbers.Abs(start), Reference(g, pass, Numbers.Abs(a), Numbers.Abs(b)));
        op.Expect(result, expected, Tolerance.Sum(DType.F32, Terms(g, pass), magnitude, expected));
    }

    [TestCaseSource(nameof(Cases))]
    public void The_error_of_usual_numbers_is_small(Conv2dGeometry g, int pass)
    {
        var random = new Random(3);
        double[] x = Array.ConvertAll(Numbers.Normal(random, g.Input.Count, 1), value => Math.Max(value, 0));
        double[] dY = Numbers.Normal(random, g.Output.Count, 1);
        double[] weight = Numbers.Normal(random, g.Weight.Count, Math.Sqrt(2.0 / (g.R * g.S * g.C)));
        double[] a = pass == BackwardData ? dY : x, b = pass == BackwardWeight ? dY : weight;
        double[] expected = Reference(g, pass, a, b);
        double Error(ConvolutionAlgorithm algorithm)
        {
            using var backend = new CpuBackend(convolutions: algorithm);
            using var op = new OpHarness(backend);
            double[] actual = op.Read(Run(op, g, pass, a, b, new double[expected.Length]));
            return Math.Sqrt(actual.Zip(expected, (y, e) => (y - e) * (y - e)).Sum() / expected.Sum(e => e * e));
        }
        double error = Error(ConvolutionAlgorithm.Auto), direct = Error(ConvolutionAlgorithm.Direct);
        TestContext.Out.WriteLine($"{Conv2dTests.Describe(g)}, {passes[pass]}: {error:E1}, direct {direct:E1}");
        Assert.That(error, Is.LessThan(largestError[pass]).And.Not.EqualTo(direct));
    }

    [TestCaseSource(nameof(Cases))]
    public void The_number_of_threads_does_not_change_a_bit(Conv2dGeometry g, int pass)
    {
        var random = new Random(4);
        double[] a = Numbers.Uniform(random, (pass == BackwardData ? g.Output : g.Input).Count);
        double[] b = Numbers.Uniform(random, (pass == BackwardWeight ? g.Output : g.Weight).Count);
        double[] With(int threads)
        {
            using var backend = new CpuBackend(threads);
            using var op = new OpHarness(backend);
            return op.Read(Run(op, g, pass, a, b, new double[ResultOf(g, pass).Count]));
        }
        double[] one = With(1);
        foreach (int threads in (int[])[2, 3, 4])
            Assert.That(With(threads), Is.EqualTo(one), $"{threads} threads");
    }

    /// <summary>Whatever one image holds, the others keep their bits. The gradient of the weights is a sum over all of them.</summary>
    [TestCaseSource(nameof(CasesOfImages))]
    public void Images_do_not_mix(Conv2dGeometry g, int pass)
    {
        var random = new Random(5);
        double[] a = Numbers.Uniform(random, (pass == BackwardData ? g.Output : g.Input).Count);
        double[] b = Numbers.Uniform(random, g.Weight.Count);
        double[] With(double first)
        {
            double[] changed = [.. a];
            Array.Fill(changed, first, 0, a.Length / g.N);
            using var backend = new CpuBackend();
            using var op = new OpHarness(backend);
            return op.Read(Run(op, g, pass, changed, b, new double[ResultOf(g, pass).Count]));
        }
        double[] clean = With(0), spoilt = With(double.NaN);
        int image = clean.Length / g.N;
        Assert.That(spoilt[image..], Is.EqualTo(clean[image..]));
        Assert.That(spoilt[..image], Has.Some.NaN);
    }

    [TestCaseSource(nameof(DirectCases))]
    public void Other_shapes_are_direct(Conv2dGeometry g)
    {
        using var backend = new CpuBackend();
        Assert.That(backend.Conv2dMultiplications(g, DType.F32), Has.All.EqualTo(Direct(g)));
    }

    /// <summary>The gradient of a pixel that no window reaches is zero to the bit.</summary>
    [Test]
    public void Pixels_that_no_window_reaches_have_no_gradient()
    {
        var g = new Conv2dGeometry(4, 24, 25, 16, 32, 5, 5, 2, 2, 0, 0);
        using var backend = new CpuBackend();
        Assert.That(backend.Conv2dMultiplications(g, DType.F32)[Forward], Is.LessThan(Direct(g)));
        var random = new Random(6);
        using var op = new OpHarness(backend);
        double[] dX = op.Read(Run(
            op, g, BackwardData, Numbers.Uniform(random, g.Output.Count), Numbers.Uniform(random, g.Weight.Count),
            new double[g.Input.Count]));
        for (int n = 0; n < g.N; n++)
            Assert.That(dX.AsSpan((n * g.H + g.H - 1) * g.W * g.C, g.W * g.C).ToArray(), Has.All.Zero);
    }

    [Test]
    public void Direct_sums_can_be_asked_for_and_bf16_always_has_them()
    {
        using CpuBackend auto = new(), direct = new(convolutions: ConvolutionAlgorithm.Direct);
        foreach (var g in geometries)
        {
            Assert.That(direct.Conv2dMultiplications(g, DType.F32), Has.All.EqualTo(Direct(g)));
            Assert.That(auto.Conv2dMultiplications(g, DType.BF16), Has.All.EqualTo(Direct(g)));
        }
    }

    private static long Direct(Conv2dGeometry g) => g.Output.Count * g.R * g.S * g.C;

    private static Shape ResultOf(Conv2dGeometry g, int pass) =>
        pass switch { Forward => g.Output, BackwardData => g.Input, _ => g.Weight };

    private static long Terms(Conv2dGeometry g, int pass) =>
        pass switch { Forward => (long)g.R * g.S * g.C, BackwardData => (long)g.R * g.S * g.K, _ => (long)g.N * g.P * g.Q + 1 };

    /// <summary>Runs a pass: of x and weight, of dY and weight, or of x and dY, added to start.</summary>
    private static Tensor Run(OpHarness op, Conv2dGeometry g, int pass, double[] a, double[] b, double[] start)
    {
        var left = op.Input("a", pass == BackwardData ? g.Output : g.Input, DType.F32, a);
        var right = op.Input("b", pass == BackwardWeight ? g.Output : g.Weight, DType.F32, b);
        var result = pass == BackwardWeight ? op.Sum("result", g.Weight, start) : op.Output("result", ResultOf(g, pass), DType.F32);
        op.UseWorkspace(g, DType.F32);
        op.Run(device =>
        {
            switch (pass)
            {
                case Forward:
                    device.Conv2dForward(result, null, left, right, g);
                    break;
                case BackwardData:
                    device.Conv2dBackwardData(result, left, right, g);
                    break;
                default:
                    device.Conv2dBackwardWeight(result, right, left, g);
                    break;
            }
        });
        return result;
    }

    private static double[] Reference(Conv2dGeometry g, int pass, double[] a, double[] b) => pass switch
    {
        Forward => Ops.Reference.Conv2dForward(a, b, g),
        BackwardData => Ops.Reference.Conv2dBackwardData(a, b, g),
        _ => Ops.Reference.Conv2dBackwardWeight(b, a, g),
    };
}
