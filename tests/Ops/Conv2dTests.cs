using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>The three passes of the convolution, on backends that multiply in F32 and in TF32, with the instructions of Hopper and without.</summary>
[TestFixtureSource(typeof(Backends), nameof(Backends.All))]
[TestFixtureSource(typeof(Backends), nameof(Backends.Tf32))]
[TestFixtureSource(typeof(Backends), nameof(Backends.BeforeHopper))]
public sealed class Conv2dTests(BackendCase backend) : OpTests(backend)
{
    private static readonly Conv2dGeometry[] geometries =
    [
        // N, H, W, C, K, R, S, stride, pad: extents of one, primes, channels that fill no vector
        new(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
        new(1, 1, 1, 3, 17, 1, 1, 1, 1, 0, 0),
        new(3, 1, 13, 1, 3, 1, 5, 1, 2, 0, 2),
        new(2, 11, 1, 17, 1, 3, 1, 2, 1, 1, 0),
        new(1, 7, 11, 17, 33, 3, 3, 1, 1, 1, 1),
        new(2, 5, 7, 24, 24, 1, 1, 1, 1, 0, 0),
        new(5, 5, 5, 33, 24, 2, 3, 1, 1, 0, 1),
        // the window is the input; the stride leaves a remainder or skips inputs; padding wider than needed; wider than the window
        new(3, 4, 6, 24, 33, 4, 6, 1, 1, 0, 0),
        new(2, 12, 14, 3, 5, 3, 3, 2, 2, 0, 0),
        new(1, 13, 10, 3, 24, 2, 2, 5, 3, 0, 0),
        new(2, 6, 7, 3, 5, 1, 1, 2, 2, 0, 0),
        new(2, 5, 4, 3, 7, 3, 3, 1, 2, 3, 2),
        new(1, 3, 3, 2, 3, 2, 1, 1, 1, 3, 2),
        // columns of the window that lie on padding wherever it stands
        new(3, 37, 6, 3, 47, 1, 6, 3, 3, 0, 1),
        new(3, 39, 2, 2, 32, 3, 4, 2, 3, 1, 1),
        // as large as the input, and padding; more columns of outputs than the processor takes at once, at a stride
        new(2, 3, 4, 5, 7, 3, 4, 1, 1, 1, 2),
        new(1, 2, 330, 1, 16, 1, 3, 1, 2, 0, 1),
        // the network's layers at a quarter of the channels: face conv1, conv2, conv3, conv6; voice conv1, conv2, conv3, conv6
        new(2, 64, 64, 1, 24, 7, 7, 2, 2, 0, 0),
        new(2, 14, 14, 24, 64, 5, 5, 2, 2, 1, 1),
        new(2, 6, 6, 64, 64, 3, 3, 1, 1, 1, 1),
        new(3, 6, 6, 33, 40, 6, 6, 1, 1, 0, 0),
        new(2, 40, 60, 1, 24, 5, 7, 1, 1, 2, 2),
        new(1, 20, 12, 24, 64, 5, 5, 2, 1, 1, 1),
        new(1, 9, 7, 64, 96, 3, 3, 1, 1, 1, 1),
        new(2, 4, 13, 64, 128, 4, 1, 1, 1, 0, 0),
        // one input channel and 24 output channels or a multiple, wider than any tile of output pixels and not a multiple of it
        new(1, 9, 70, 1, 48, 5, 7, 1, 1, 2, 2),
        new(3, 8, 149, 1, 24, 3, 5, 1, 2, 3, 0),
        // the GPU's tiles (Conv2dPlanTests sees to it that all are met): several of them in both directions, many steps of the depth, slices, with
        // channels that fill vectors and without; one output channel; a window as large as its padded input
        new(1, 12, 14, 32, 256, 3, 3, 1, 1, 1, 1),
        new(1, 10, 13, 96, 96, 3, 3, 2, 2, 1, 1),
        new(2, 17, 18, 8, 136, 3, 3, 1, 1, 1, 1),
        new(1, 9, 15, 17, 250, 3, 3, 1, 1, 1, 1),
        new(1, 23, 29, 3, 96, 3, 3, 1, 1, 1, 1),
        new(1, 24, 22, 250, 5, 1, 1, 1, 1, 0, 0),
        new(2, 9, 9, 16, 1, 3, 3, 1, 1, 1, 1),
        new(5, 6, 6, 16, 40, 6, 6, 1, 1, 0, 0),
        new(2, 3, 9, 8, 8, 5, 3, 1, 1, 1, 1),
        new(1, 24, 24, 8, 16, 3, 3, 1, 1, 1, 1),
        new(1, 5, 6, 58, 128, 3, 3, 1, 1, 1, 1),
        new(1, 5, 6, 58, 96, 3, 3, 1, 1, 1, 1),
        new(1, 5, 6, 64, 128, 3, 3, 1, 1, 1, 1),
        new(1, 23, 24, 9, 72, 3, 3, 1, 1, 1, 1),
        // 72 output channels do not fill oneDNN's blocks of weights: version 3.7 lost some of these
        new(1, 5, 6, 8, 72, 1, 1, 1, 1, 0, 0),
        // a stride that does not divide the window, with channels that fill vectors
        new(2, 14, 13, 48, 40, 5, 5, 2, 2, 1, 1),
        // those of the kernels for Hopper
        new(1, 5, 6, 128, 256, 3, 3, 1, 1, 1, 1),
        new(1, 5, 6, 128, 192, 3, 3, 1, 1, 1, 1),
        new(1, 36, 36, 8, 64, 3, 3, 1, 1, 1, 1),
    ];

    // a window of so many taps that its weights fill the wider tile; slow under emulation, so the fast tier leaves it out
    private static readonly Conv2dGeometry deepWindow = new(2, 6, 6, 256, 136, 6, 6, 1, 1, 0, 0);

    // the tiles of the kernels for Hopper that are worth it only where there are many; for one test each, in BF16. The fast tier meets the
    // same tiles in ConvolutionTuningTests.
    private static readonly Conv2dGeometry[] largeGeometries =
    [
        new(1, 107, 107, 8, 256, 3, 3, 1, 1, 1, 1),
        new(1, 92, 92, 8, 384, 3, 3, 1, 1, 1, 1),
        new(1, 131, 130, 96, 8, 3, 3, 1, 1, 1, 1),
    ];

    /// <summary>Of those that are drawn, the fast tier takes the ones that meet a kernel that no other meets.</summary>
    public static IEnumerable<Conv2dGeometry> Geometries { get; } = Tier.Fast
        ? [.. geometries, .. FirstOfEachKernel([.. geometries, .. RandomGeometries(seed: 1, count: 40)]).Except(geometries)]
        : [.. geometries, deepWindow, .. RandomGeometries(seed: 1, count: 40)];

    /// <summary>Those that the fast tier leaves out.</summary>
    public static IEnumerable<Conv2dGeometry> LargeGeometries => Tier.Fast ? [.. largeGeometries, deepWindow] : largeGeometries;

    private static IEnumerable<TestCaseData> LargeCases() =>
        from geometry in LargeGeometries
        select Case(geometry, DType.BF16).SetCategory(Tier.Long);

    private static IEnumerable<TestCaseData> AllCases() =>
        from geometry in Geometries
        from act in Activations
        select Case(geometry, act);

    /// <summary>
    /// How sums are rounded depends on the kernel, not on the geometry: the fast tier takes the first geometry that meets each kernel. What is read and written
    /// is checked on all, with integers.
    /// </summary>
    private static IEnumerable<TestCaseData> Cases() =>
        from geometry in Tier.Fast ? FirstOfEachKernel(Geometries) : Geometries
        from act in Activations
        select Case(geometry, act);

    private static IEnumerable<TestCaseData> EachActivation() =>
        Activations.Select(act => new TestCaseData(act).SetArgDisplayNames(act.ToString()));

    private static TestCaseData Case(Conv2dGeometry geometry, DType act) =>
        new TestCaseData(geometry, act).SetArgDisplayNames(Describe(geometry), act.ToString());

    private static IEnumerable<Conv2dGeometry> FirstOfEachKernel(IEnumerable<Conv2dGeometry> all)
    {
        var met = new HashSet<(int Pass, DType, bool Hopper, int Rows, int Columns, bool General, bool Slices)>();
        return [.. all.Where(geometry => Kernels(geometry).Where(met.Add).ToArray() is not [])];

        static IEnumerable<(int, DType, bool, int, int, bool, bool)> Kernels(Conv2dGeometry geometry) =>
            from act in Activations
            from hopper in new[] { false, true }
            let plan = new Conv2dPlan(geometry, act, hopper)
            from kernel in new[]
            {
                (0, act, plan.Forward.Hopper, plan.Forward.TileRows, plan.Forward.TileColumns, plan.Forward.General, plan.Forward.Slices > 1),
                (1, act, plan.BackwardData.Hopper, plan.BackwardData.TileRows, plan.BackwardData.TileColumns, plan.BackwardData.General, plan.BackwardData.Slices > 1),
                (2, act, plan.WeightHopper, 0, plan.WeightTile, plan.WeightGeneral, plan.WeightSlices > 1),
            }
            select kernel;
    }

    [OpCases(nameof(Cases))]
    public void Forward(Conv2dGeometry g, DType act)
    {
        var random = Seeded(2);
        double[] x = Numbers.Uniform(random, g.Input.Count, act), weight = Numbers.Uniform(random, g.Weight.Count);
        var tensorX = Op.Input("x", g.Input, act, x);
        var tensorWeight = Op.Input("weight", g.Weight, DType.F32, weight);
        var y = Op.Output("y", g.Output, act);
        Op.UseWorkspace(g, act);

        Op.Run(device => device.Conv2dForward(y, null, tensorX, tensorWeight, g));

        ExpectSums(y, (long)g.R * g.S * g.C, Multiplied(x, act), Multiplied(weight, act), (a, b) => Reference.Conv2dForward(a, b, g));
    }

    [OpCases(nameof(Cases))]
    public void Backward_data(Conv2dGeometry g, DType act)
    {
        var random = Seeded(3);
        double[] dY = Numbers.Uniform(random, g.Output.Count, act), weight = Numbers.Uniform(random, g.Weight.Count);
        var tensorDY = Op.Input("dY", g.Output, act, dY);
        var tensorWeight = Op.Input("weight", g.Weight, DType.F32, weight);
        var dX = Op.Output("dX", g.Input, act);
        Op.UseWorkspace(g, act);

        Op.Run(device => device.Conv2dBackwardData(dX, tensorDY, tensorWeight, g));

        ExpectSums(dX, (long)g.R * g.S * g.K, Multiplied(dY, act), Multiplied(weight, act), (a, b) => Reference.Conv2dBackwardData(a, b, g));
    }

    [OpCases(nameof(Cases))]
    public void Backward_weight_adds_to_what_is_there(Conv2dGeometry g, DType act)
    {
        var random = Seeded(4);
        double[] dY = Numbers.Uniform(random, g.Output.Count, act), x = Numbers.Uniform(random, g.Input.Count, act);
        double[] start = Numbers.Uniform(random, g.Weight.Count, low: -10, high: 10);
        var tensorDY = Op.Input("dY", g.Output, act, dY);
        var tensorX = Op.Input("x", g.Input, act, x);
        var dWeight = Op.Sum("dWeight", g.Weight, start);
        Op.UseWorkspace(g, act);

        Op.Run(device => device.Conv2dBackwardWeight(dWeight, tensorDY, tensorX, g));

        double[] left = Multiplied(dY, act), right = Multiplied(x, act);
        double[] expected = Reference.Plus(start, Reference.Conv2dBackwardWeight(left, right, g));
        double[] added = Reference.Conv2dBackwardWeight(Numbers.Abs(left), Numbers.Abs(right), g), magnitude = Reference.Plus(Numbers.Abs(start), added);
        double[] allowed = Allowed(DType.F32, act, (long)g.N * g.P * g.Q + 1, magnitude, expected);
        // where a weight never meets a pixel the gradient stays to the bit: Adam makes full steps of the smallest
        Op.Expect(dWeight, expected, [.. allowed.Zip(added, (a, terms) => terms == 0 ? 0 : a)]);
    }

    /// <summary>
    /// Small integers leave nothing to rounding: exact in BF16, and so are their sums of products in F32, in any order. On the processor
    /// these are the direct sums: Winograd's multiply by fractions.
    /// </summary>
    [OpCases(nameof(AllCases))]
    [OpCases(nameof(LargeCases))]
    public void All_passes_are_exact_on_small_integers(Conv2dGeometry g, DType act)
    {
        var random = Seeded(5);
        double[] x = Numbers.Integers(random, g.Input.Count, -3, 3), weight = Numbers.Integers(random, g.Weight.Count, -3, 3);
        double[] dY = Numbers.Integers(random, g.Output.Count, -3, 3), start = Numbers.Integers(random, g.Weight.Count, -9, 9);
        using var processor = Backend.HostMemory ? new CpuBackend(convolutions: ConvolutionAlgorithm.Direct) : null;
        using var op = new OpHarness(processor ?? Backend);
        var tensorX = op.Input("x", g.Input, act, x);
        var tensorWeight = op.Input("weight", g.Weight, DType.F32, weight);
        var tensorDY = op.Input("dY", g.Output, act, dY);
        var y = op.Output("y", g.Output, act);
        var dX = op.Output("dX", g.Input, act);
        var dWeight = op.Sum("dWeight", g.Weight, start);
        op.UseWorkspace(g, act);

        op.Run(device =>
        {
            device.Conv2dForward(y, null, tensorX, tensorWeight, g);
            device.Conv2dBackwardData(dX, tensorDY, tensorWeight, g);
            device.Conv2dBackwardWeight(dWeight, tensorDY, tensorX, g);
        });

        op.ExpectExactly(y, Numbers.Round(Reference.Conv2dForward(x, weight, g), act));
        op.ExpectExactly(dX, Numbers.Round(Reference.Conv2dBackwardData(dY, weight, g), act));
        op.ExpectExactly(dWeight, Reference.Plus(start, Reference.Conv2dBackwardWeight(dY, x, g)));
    }

    /// <summary>
    /// A step prepares the weights of all layers at once, here more than one launch takes. The passes compute the same bits as where each
    /// prepares its own.
    /// </summary>
    [OpCases(nameof(EachActivation))]
    public void Weights_that_were_prepared_at_once_give_the_same_bits(DType act)
    {
        if (Backend.HostMemory)
        {
            Assert.That(Backend.Conv2dPreparedCount(geometries[0], act), Is.Zero, "the processor takes weights as they are");
            return;
        }
        var random = Seeded(7);
        var ahead = new List<Conv2dWeights>();
        var passes = new List<Action<IBackend>>();
        var pairs = new List<(Tensor Own, Tensor Ahead)>();
        // six classes of the stride; channels that fill no vector; those of the kernels for Hopper
        Conv2dGeometry[] some =
        [
            new(1, 9, 10, 5, 7, 3, 4, 2, 3, 1, 1), new(1, 9, 10, 8, 16, 4, 5, 3, 2, 1, 1), new(1, 4, 5, 64, 72, 3, 3, 2, 2, 1, 1),
            new(1, 4, 4, 8, 64, 3, 3, 3, 3, 1, 1), new(1, 3, 3, 2, 3, 2, 1, 1, 1, 3, 2), new(1, 3, 4, 64, 64, 3, 2, 3, 2, 1, 1),
        ];
        int preparations = 0;
        foreach (var g in some)
        {
            preparations += 1 + new Conv2dPlan(g, act, hopper: false).BackwardData.Classes.Count(each => each.Depth > 0);
            string name = g.ToString();
            var x = Op.Input($"x {name}", g.Input, act, Numbers.Uniform(random, g.Input.Count, act));
            var dY = Op.Input($"dY {name}", g.Output, act, Numbers.Uniform(random, g.Output.Count, act));
            var weight = Op.Input($"weight {name}", g.Weight, DType.F32, Numbers.Uniform(random, g.Weight.Count));
            int count = (int)Backend.Conv2dPreparedCount(g, act);
            var prepared = new Tensor($"prepared {name}", new Shape(count), act, Op.Scratch($"room {name}", count * act.Bytes())!.Address);
            ahead.Add(new(prepared, weight, g));
            foreach (bool own in new[] { true, false })
            {
                var y = Op.Output($"y {name} {own}", g.Output, act);
                var dX = Op.Output($"dX {name} {own}", g.Input, act);
                pairs.AddRange(own ? [(y, y), (dX, dX)] : []);
                if (!own)
                    (pairs[^2], pairs[^1]) = ((pairs[^2].Own, y), (pairs[^1].Own, dX));
                passes.Add(device =>
                {
                    device.Conv2dForward(y, null, x, weight, g, own ? null : prepared);
                    device.Conv2dBackwardData(dX, dY, weight, g, own ? null : prepared);
                });
            }
        }
        Assert.That(preparations, Is.GreaterThan(Conv2dPreparations.Most));
        Op.UseWorkspace(some.Max(g => Backend.Conv2dWorkspace(g, act)));

        Op.Run(device =>
        {
            device.Conv2dPrepare(ahead, backward: true);
            foreach (var pass in passes)
                pass(device);
        });

        foreach (var (own, prepared) in pairs)
            Op.ExpectExactly(prepared, Op.Read(own));
    }

    /// <summary>The convolution is linear in x and in the weights, so a step of one is as exact as a small one.</summary>
    [Test]
    public void Gradients_agree_with_finite_differences_of_the_backend_itself()
    {
        var g = new Conv2dGeometry(2, 7, 9, 5, 6, 3, 4, 2, 1, 1, 2);
        var random = Seeded(6);
        double[] x = Numbers.Uniform(random, g.Input.Count), weight = Numbers.Uniform(random, g.Weight.Count);
        double[] dY = Numbers.Uniform(random, g.Output.Count);
        double Loss(double[] atX, double[] atWeight)
        {
            using var op = new OpHarness(Backend);
            var tensorX = op.Input("x", g.Input, DType.F32, atX);
            var tensorWeight = op.Input("weight", g.Weight, DType.F32, atWeight);
            var y = op.Output("y", g.Output, DType.F32);
            op.UseWorkspace(g, DType.F32);
            op.Run(device => device.Conv2dForward(y, null, tensorX, tensorWeight, g));
            return Reference.Dot(dY, op.Read(y));
        }
        var tensorX = Op.Input("x", g.Input, DType.F32, x);
        var tensorWeight = Op.Input("weight", g.Weight, DType.F32, weight);
        var tensorDY = Op.Input("dY", g.Output, DType.F32, dY);
        var dX = Op.Output("dX", g.Input, DType.F32);
        var dWeight = Op.Sum("dWeight", g.Weight, Numbers.Constant(g.Weight.Count, 0));
        Op.UseWorkspace(g, DType.F32);
        Op.Run(device =>
        {
            device.Conv2dBackwardData(dX, tensorDY, tensorWeight, g);
            device.Conv2dBackwardWeight(dWeight, tensorDY, tensorX, g);
        });
        double[] gradientX = Op.Read(dX), gradientWeight = Op.Read(dWeight);

        FiniteDifference.CheckDirection("x", at => Loss(at, weight), x, gradientX, random, step: 1);
        FiniteDifference.CheckDirection("weight", at => Loss(x, at), weight, gradientWeight, random, step: 1);
    }

    private void ExpectSums(Tensor result, long terms, double[] a, double[] b, Func<double[], double[], double[]> pass)
    {
        double[] expected = pass(a, b);
        Op.Expect(result, expected, Allowed(result.Type, result.Type, terms, pass(Numbers.Abs(a), Numbers.Abs(b)), expected));
    }

    /// <summary>The values that are multiplied where these are given and activations are of this type.</summary>
    private double[] Multiplied(double[] values, DType act) => act == DType.F32 && Tf32 ? Numbers.RoundToTf32(values) : Numbers.Round(values, act);

    private double[] Allowed(DType result, DType act, long terms, double[] magnitude, double[] expected) =>
        MatrixUnits && (Tf32 || act == DType.BF16)
            ? Tolerance.MatrixUnitSum(result, terms, magnitude, expected)
            : Tolerance.Sum(result, terms, magnitude, expected);

    private static IEnumerable<Conv2dGeometry> RandomGeometries(int seed, int count)
    {
        var random = new Random(seed);
        int[] channels = [1, 2, 3, 8, 16, 17, 24, 33];
        while (count > 0)
        {
            int r = random.Next(1, 6), s = random.Next(1, 6);
            var geometry = new Conv2dGeometry(
                random.Next(1, 5), random.Next(1, 14), random.Next(1, 14),
                channels[random.Next(channels.Length)], channels[random.Next(channels.Length)],
                r, s, random.Next(1, 4), random.Next(1, 4), random.Next(0, r + 1), random.Next(0, s + 1));
            if (geometry.P < 1 || geometry.Q < 1)
                continue;
            count--;
            yield return geometry;
        }
    }

    internal static string Describe(Conv2dGeometry g) =>
        $"{g.Input} by {g.Weight} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}";

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (g, act) = (RandomGeometries(random.Next(), count: 1).Single(), Activation(random));
        return
        [
            () => Forward(g, act),
            () => Backward_data(g, act),
            () => Backward_weight_adds_to_what_is_there(g, act),
        ];
    });
}
