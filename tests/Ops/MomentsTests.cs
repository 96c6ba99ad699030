using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// A convolution and the batch norm behind it, which takes the moments of its input from the convolution where the backend leaves any; elsewhere it reads the
/// input for them, and must come to the same.
/// </summary>
[TestFixtureSource(typeof(Backends), nameof(Backends.All))]
[TestFixtureSource(typeof(Backends), nameof(Backends.Tf32))]
[TestFixtureSource(typeof(Backends), nameof(Backends.BeforeHopper))]
public sealed class MomentsTests(BackendCase backend) : OpTests(backend)
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f;

    private static readonly Conv2dGeometry[] geometries =
    [
        // one row, one channel; less than a tile of rows; rows that fill tiles but for one, or by one
        new(1, 1, 1, 3, 17, 1, 1, 1, 1, 0, 0),
        new(1, 7, 9, 4, 1, 1, 1, 1, 1, 0, 0),
        new(1, 1, 127, 8, 24, 1, 3, 1, 1, 0, 1),
        new(3, 1, 43, 8, 40, 1, 1, 1, 1, 0, 0),
        // the widths of all tiles, with channels that fill vectors and without, columns that do not fill the last tile
        new(1, 13, 21, 8, 120, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 8, 96, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 8, 88, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 8, 56, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 3, 125, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 3, 91, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 3, 50, 3, 3, 1, 1, 1, 1),
        new(1, 13, 21, 3, 19, 3, 3, 1, 1, 1, 1),
        // strides; a window as large as its input
        new(2, 25, 31, 8, 72, 5, 3, 2, 2, 1, 1),
        new(150, 2, 3, 8, 64, 2, 3, 1, 1, 0, 0),
        // more tiles than a multiprocessor does at a time, in both directions
        new(3, 19, 31, 8, 264, 1, 1, 1, 1, 0, 0),
        new(1, 25, 33, 8, 192, 1, 1, 1, 1, 0, 0),
        // more parts than the statistics take unmerged: the last group of fewer parts than the others; of as many, the last of them of a single row
        new(1, 183, 182, 4, 3, 1, 1, 1, 1, 0, 0),
        new(1, 1, 33409, 4, 3, 1, 1, 1, 1, 0, 0),
    ];

    // so many tiles that those of 128 x 192 and 256 x 96 are worth it on a Hopper
    private static readonly Conv2dGeometry[] largeGeometries = [new(1, 101, 113, 8, 192, 1, 1, 1, 1, 0, 0), new(1, 131, 131, 8, 96, 1, 1, 1, 1, 0, 0)];

    public static IEnumerable<Conv2dGeometry> Geometries => geometries;

    public static IEnumerable<Conv2dGeometry> LargeGeometries => largeGeometries.Concat(Conv2dTests.LargeGeometries);

    private static IEnumerable<TestCaseData> Cases() =>
        from geometry in Geometries
        from act in Activations
        select Case(geometry, act);

    private static IEnumerable<TestCaseData> LargeCases() => from geometry in Tier.Fast ? largeGeometries : LargeGeometries select Case(geometry, DType.BF16);

    [OpCases(nameof(Cases))]
    [OpCases(nameof(LargeCases), FastOn = "emulated")]
    public void Statistics_are_those_of_what_the_convolution_stored(Conv2dGeometry g, DType act)
    {
        double[] x = Numbers.Uniform(Seeded(1), g.Input.Count, act), weight = Numbers.Uniform(Seeded(2), g.Weight.Count);
        double[] runningMean = Numbers.Uniform(Seeded(3), g.K), runningVariance = Numbers.Uniform(Seeded(4), g.K, low: 0, high: 2);
        var run = Run(g, act, x, weight, runningMean, runningVariance);

        long count = g.Output.Count / g.K;
        double[] stored = Op.Read(run.Z);
        var (mean, variance) = Reference.ChannelStatistics(stored, g.K);
        double[] inverseStd = Reference.InverseStd(variance, Epsilon), magnitude = Reference.ChannelStatistics(Numbers.Abs(stored), g.K).Mean;
        Op.ExpectExactly(run.Z, Op.Read(run.Alone));
        double[] squares = Array.ConvertAll(variance, v => v * count), squaresMagnitude = [.. squares.Select((s, c) => s + magnitude[c] * magnitude[c] * Math.ScaleB(1, -23))];
        Op.Expect(run.Merged, [.. mean, .. squares], [.. Tolerance.Sum(DType.F32, count, magnitude, mean), .. Tolerance.Sum(DType.F32, count, squaresMagnitude, squares)]);
        Op.Expect(run.Mean, mean, Tolerance.Sum(DType.F32, count, magnitude, mean));
        Op.Expect(run.InverseStd, inverseStd, Tolerance.Sum(DType.F32, count, inverseStd, inverseStd));
        double[] newMean = Blend(runningMean, mean), newMagnitude = Reference.Plus(Numbers.Abs(runningMean), magnitude);
        Op.Expect(run.RunningMean, newMean, Tolerance.Sum(DType.F32, count, newMagnitude, newMean));
        double[] newVariance = Blend(runningVariance, Array.ConvertAll(variance, v => count == 1 ? 0 : v * count / (count - 1)));
        Op.Expect(run.RunningVariance, newVariance, Tolerance.Sum(DType.F32, count, newVariance, newVariance));
    }

    /// <summary>As of a batch norm by itself: the difference of squares would lose the variance here.</summary>
    [Test]
    public void A_large_mean_does_not_spoil_the_variance([Values(24, 72)] int channels)
    {
        // the first channel is 1, and its weight the mean, which TF32 and BF16 hold exactly
        var g = new Conv2dGeometry(1, 17, 39, 8, channels, 1, 1, 1, 1, 0, 0);
        double[] x = Numbers.Uniform(Seeded(5), g.Input.Count, DType.BF16), weight = Numbers.Uniform(Seeded(6), g.Weight.Count, DType.BF16);
        for (int i = 0; i < x.Length; i += g.C)
            x[i] = 1;
        for (int i = 0; i < weight.Length; i += g.C)
            weight[i] = 1024;
        var run = Run(g, DType.F32, x, weight, new double[channels], new double[channels]);

        var (mean, variance) = Reference.ChannelStatistics(Op.Read(run.Z), channels);
        double[] inverseStd = Reference.InverseStd(variance, Epsilon);
        Op.Expect(run.Mean, mean, Tolerance.Sum(DType.F32, g.Output.Count / channels, mean, mean));
        double[] magnitude = [.. inverseStd.Zip(mean, (value, m) => value * m * value)];
        Op.Expect(run.InverseStd, inverseStd, Tolerance.Sum(DType.F32, 1, magnitude, inverseStd));
    }

    [Test]
    public void A_constant_channel_has_no_variance([Values(DType.F32, DType.BF16)] DType act)
    {
        var g = new Conv2dGeometry(1, 15, 31, 8, 72, 1, 1, 1, 1, 0, 0);
        var run = Run(
            g, act, Numbers.Constant(g.Input.Count, 1), Numbers.Constant(g.Weight.Count, 0.375), new double[g.K], new double[g.K]);
        Op.ExpectExactly(run.Mean, Numbers.Constant(g.K, 3));
        double[] expected = Numbers.Constant(g.K, 1 / Math.Sqrt(Epsilon));
        Op.Expect(run.InverseStd, expected, Tolerance.Sum(DType.F32, 1, expected, expected));
    }

    private sealed record Results(Tensor Z, Tensor Alone, Tensor Merged, Tensor Mean, Tensor InverseStd, Tensor RunningMean, Tensor RunningVariance);

    /// <summary>z with its batch norm; and alone, the same convolution where no moments are asked for.</summary>
    private Results Run(Conv2dGeometry g, DType act, double[] xValues, double[] weightValues, double[] runningMean, double[] runningVariance)
    {
        var channels = new Shape(g.K);
        var x = Op.Input("x", g.Input, act, xValues);
        var weight = Op.Input("weight", g.Weight, DType.F32, weightValues);
        var gamma = Op.Input("gamma", channels, DType.F32, Numbers.Constant(g.K, 1));
        var beta = Op.Input("beta", channels, DType.F32, Numbers.Constant(g.K, 0));
        var (z, alone, y) = (Op.Output("z", g.Output, act), Op.Output("alone", g.Output, act), Op.Output("y", g.Output, act));
        var results = new Results(
            z, alone, Op.Output("merged", new Shape(1, 2, g.K), DType.F32), Op.Output("mean", channels, DType.F32), Op.Output("inverseStd", channels, DType.F32),
            Op.Sum("runningMean", channels, runningMean), Op.Sum("runningVariance", channels, runningVariance));
        int rows = Backend.Conv2dMomentRows(g, act);
        int count = g.N * g.P * g.Q;
        var moments = rows == 0 ? null : new Moments(Op.Output("moments", new Shape((count + rows - 1) / rows, 2, g.K), DType.F32), rows, count);
        Op.UseWorkspace(g, act);

        Op.Run(device =>
        {
            device.Conv2dForward(alone, null, x, weight, g);
            device.Conv2dForward(z, moments?.Parts, x, weight, g);
            device.BatchNormMoments(results.Merged, z, moments);
            device.BatchNormForward(
                y, null, results.Mean, results.InverseStd, results.RunningMean, results.RunningVariance, z, moments, gamma, beta,
                new BatchNormSettings(Epsilon, Momentum, false, null));
        });
        return results;
    }

    private static double[] Blend(double[] running, double[] batch) => [.. running.Zip(batch, (old, now) => (1 - Momentum) * old + Momentum * now)];

    private static TestCaseData Case(Conv2dGeometry g, DType act) =>
        new TestCaseData(g, act).SetArgDisplayNames($"{g.Input} by {g.Weight} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}", act.ToString());
}
