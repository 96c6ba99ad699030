using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>A batch cut into parts, each with the moments of all: what the parts come to is what the whole comes to.</summary>
public sealed class BatchNormOverRanksTests(BackendCase backend) : OpTests(backend)
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f;

    /// <summary>Ranks, the shape of a rank's part, and the pooling behind it.</summary>
    private static readonly (int Ranks, Shape Part, Pool2dGeometry? Pool)[] sizes =
    [
        (2, new(1, 1, 1, 3), null),
        (3, new(2, 5, 7, 17), null),
        (2, new(3, 13, 11, 24), null),
        (5, new(1, 17, 17, 512), null),
        (4, new(1, 4, 5, 33), new(1, 4, 5, 33, 3, 3, 1, 1, 2, 2)),
        (2, new(2, 9, 10, 72), new(2, 9, 10, 72, 3, 3, 2, 2, 1, 1)),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        from size in sizes
        from relu in new[] { false, true }
        from act in Activations
        select new TestCaseData(size.Ranks, size.Part, size.Pool, relu, act).SetArgDisplayNames($"{size.Ranks} x {size.Part}{(size.Pool is null ? "" : " pooled")}", relu ? "relu" : "", act.ToString());

    [TestCaseSource(nameof(Cases))]
    public void Parts_are_normalised_as_the_whole(int ranks, Shape part, Pool2dGeometry? pool, bool relu, DType act)
    {
        int channels = part[3];
        var whole = new Shape(ranks * part[0], part[1], part[2], channels);
        var ofPart = new BatchNormSettings(Epsilon, Momentum, relu, pool);
        var ofWhole = ofPart with { Pool = pool is { } w ? w with { N = whole[0] } : null };
        var p = BatchNormProblem.Pose(Seeded(1), whole, ofWhole, act, Tolerance.Kink);
        long rows = part.Count / channels, count = whole.Count / channels;
        Shape output = ofWhole.Pool?.Output ?? whole, outputOfPart = pool?.Output ?? part, perChannel = new(channels);
        double[] dY = Numbers.Uniform(Seeded(2), output.Count, act);
        double[] runningMean = Numbers.Uniform(Seeded(3), channels), runningVariance = Numbers.Uniform(Seeded(4), channels, low: 0, high: 2);
        var x = Op.Input("x", whole, act, p.X);
        var gamma = Op.Input("gamma", perChannel, DType.F32, p.Gamma);
        var beta = Op.Input("beta", perChannel, DType.F32, p.Beta);
        var tensorDY = Op.Input("dY", output, act, dY);
        var (y, dX) = (Op.Output("y", output, act), Op.Output("dX", whole, act));
        var argmax = pool is null ? null : Op.Output("argmax", output, DType.U8);
        var parts = Op.Output("moments", new Shape(ranks, 2, channels), DType.F32);
        var (mean, inverseStd) = (Op.Output("mean", perChannel, DType.F32), Op.Output("inverseStd", perChannel, DType.F32));
        var means = Op.Output("means", new Shape(2, channels), DType.F32);
        var meansOfPart = Op.Output("means of a part", new Shape(2, channels), DType.F32);
        var (dGamma, dBeta) = (Op.Sum("dGamma", perChannel, new double[channels]), Op.Sum("dBeta", perChannel, new double[channels]));
        // of each rank, as each keeps its own
        Tensor[] runningMeans = [.. Enumerable.Range(0, ranks).Select(r => Op.Sum($"runningMean {r}", perChannel, runningMean))];
        Tensor[] runningVariances = [.. Enumerable.Range(0, ranks).Select(r => Op.Sum($"runningVariance {r}", perChannel, runningVariance))];

        Op.Run(device =>
        {
            Tensor Of(Tensor all, Shape shape, int rank) => all.Part($"{all.Name} {rank}", shape, rank * shape.Count);
            for (int r = 0; r < ranks; r++)
                device.BatchNormMoments(Of(parts, new Shape(1, 2, channels), r), Of(x, part, r), null);
            for (int r = 0; r < ranks; r++)
                device.BatchNormForward(
                    Of(y, outputOfPart, r), argmax is null ? null : Of(argmax, outputOfPart, r), mean, inverseStd, runningMeans[r], runningVariances[r],
                    Of(x, part, r), new Moments(parts, rows, count), gamma, beta, ofPart);
            device.Zero(means);
            for (int r = 0; r < ranks; r++)
            {
                device.BatchNormBackwardMeans(
                    meansOfPart, dGamma, dBeta, Of(tensorDY, outputOfPart, r), argmax is null ? null : Of(argmax, outputOfPart, r), Of(x, part, r),
                    gamma, beta, mean, inverseStd, ofPart, count);
                device.Add(means, meansOfPart);
            }
            for (int r = 0; r < ranks; r++)
                device.BatchNormBackwardData(
                    Of(dX, part, r), Of(tensorDY, outputOfPart, r), argmax is null ? null : Of(argmax, outputOfPart, r), Of(x, part, r),
                    gamma, beta, mean, inverseStd, means, ofPart);
        });

        Op.Expect(mean, p.Mean, Tolerance.Sum(DType.F32, count, p.MeanMagnitude, p.Mean));
        Op.Expect(inverseStd, p.InverseStd, Tolerance.Sum(DType.F32, count, p.InverseStd, p.InverseStd));
        double[] newMean = Blend(runningMean, p.Mean), newMeanMagnitude = Reference.Plus(Numbers.Abs(runningMean), p.MeanMagnitude);
        double[] newVariance = Blend(runningVariance, Array.ConvertAll(p.Variance, variance => variance * count / (count - 1)));
        for (int r = 0; r < ranks; r++)
        {
            Op.Expect(runningMeans[r], newMean, Tolerance.Sum(DType.F32, count, newMeanMagnitude, newMean));
            Op.Expect(runningVariances[r], newVariance, Tolerance.Sum(DType.F32, count, newVariance, newVariance));
        }
        double[] activation = p.Activation(), error = p.PooledBound(Tolerance.Sum(DType.F32, count, p.ActivationMagnitude(), activation));
        Op.Expect(y, p.Forward().Y, Tolerance.Rounded(act, error, p.Forward().Y));
        // the winners are those that the operation found: near ties may fall either way
        int[]? winners = argmax is null ? null : [.. Op.Read(argmax).Select(winner => (int)winner)];
        var (expected, magnitude) = (p.Backward(dY, winners), p.BackwardMagnitude(dY, winners));
        Op.Expect(dX, expected.DX, Tolerance.Sum(act, count, magnitude.DX, expected.DX));
        Op.Expect(dGamma, expected.DGamma, Tolerance.Sum(DType.F32, count, magnitude.DGamma, expected.DGamma));
        Op.Expect(dBeta, expected.DBeta, Tolerance.Sum(DType.F32, count, magnitude.DBeta, expected.DBeta));
    }

    /// <summary>Moments of runs of rows, the last of them shorter, as a convolution leaves them.</summary>
    [Test]
    public void The_last_part_may_have_fewer_rows([Values(DType.F32, DType.BF16)] DType act)
    {
        const int Rows = 45, RowsOfPart = 20, Parts = 3;
        var shape = new Shape(1, 5, 9, 17);
        var settings = new BatchNormSettings(Epsilon, Momentum, false, null);
        var p = BatchNormProblem.Pose(Seeded(5), shape, settings, act);
        var perChannel = new Shape(17);
        var x = Op.Input("x", shape, act, p.X);
        var (gamma, beta) = (Op.Input("gamma", perChannel, DType.F32, p.Gamma), Op.Input("beta", perChannel, DType.F32, p.Beta));
        var parts = Op.Output("moments", new Shape(Parts, 2, 17), DType.F32);
        var (y, mean, inverseStd) = (Op.Output("y", shape, act), Op.Output("mean", perChannel, DType.F32), Op.Output("inverseStd", perChannel, DType.F32));
        var (runningMean, runningVariance) = (Op.Sum("runningMean", perChannel, new double[17]), Op.Sum("runningVariance", perChannel, new double[17]));

        Op.Run(device =>
        {
            for (int i = 0; i < Parts; i++)
            {
                var rows = x.Part($"x {i}", new Shape(1, 1, Math.Min(RowsOfPart, Rows - (i * RowsOfPart)), 17), i * RowsOfPart * 17);
                device.BatchNormMoments(parts.Part($"moments {i}", new Shape(1, 2, 17), i * 2 * 17), rows, null);
            }
            device.BatchNormForward(y, null, mean, inverseStd, runningMean, runningVariance, x, new Moments(parts, RowsOfPart, Rows), gamma, beta, settings);
        });

        Op.Expect(mean, p.Mean, Tolerance.Sum(DType.F32, Rows, p.MeanMagnitude, p.Mean));
        Op.Expect(inverseStd, p.InverseStd, Tolerance.Sum(DType.F32, Rows, p.InverseStd, p.InverseStd));
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (ranks, n, h, w, c) = (1 + Extent(random, 4), Extent(random, 3), Extent(random, 8), Extent(random, 8), Extent(random, 60));
        int r = Extent(random, h), s = Extent(random, w);
        Pool2dGeometry? pool = random.Next(2) == 0 ? null : new(n, h, w, c, r, s, Extent(random, 3), Extent(random, 3), random.Next(r), random.Next(s));
        var (relu, act) = (random.Next(2) == 0, Activation(random));
        return [() => Parts_are_normalised_as_the_whole(ranks, new(n, h, w, c), pool, relu, act)];
    });

    private static double[] Blend(double[] running, double[] batch) => [.. running.Zip(batch, (old, now) => (1 - Momentum) * old + Momentum * now)];
}
