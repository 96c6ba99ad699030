using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>Batch normalisation alone, with ReLU, with max pooling, and with both, in training, evaluation and backward.</summary>
public sealed class BatchNormTests(BackendCase backend) : OpTests(backend)
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f;

    /// <summary>Input shape, and the pooling behind it.</summary>
    private static readonly (Shape Input, Pool2dGeometry? Pool)[] sizes =
    [
        (new(1, 1, 2, 1), null),
        (new(2, 1, 1, 33), null),
        (new(3, 5, 7, 3), null),
        (new(1, 13, 11, 17), null),
        (new(5, 1, 13, 24), null),
        (new(2, 6, 6, 256), null),
        // vectors of channels, several blocks whose partial results are merged, the last of them not full; more than 32 such for 512 channels
        (new(3, 13, 11, 24), null),
        (new(3, 9, 13, 96), null),
        (new(1, 17, 17, 512), null),
        // channels of more than one block beside each other, in vectors and one by one
        (new(1, 2, 3, 2056), null),
        (new(1, 3, 5, 300), null),
        (new(1, 1, 2, 3), new(1, 1, 2, 3, 1, 2, 1, 1, 0, 0)),
        (new(2, 5, 3, 17), new(2, 5, 3, 17, 1, 1, 1, 1, 0, 0)),
        (new(2, 7, 5, 3), new(2, 7, 5, 3, 7, 5, 1, 1, 0, 0)),
        (new(2, 4, 5, 33), new(2, 4, 5, 33, 3, 3, 1, 1, 2, 2)),
        (new(1, 8, 9, 5), new(1, 8, 9, 5, 2, 2, 3, 4, 0, 0)),
        // as many elements of a window as a byte tells apart
        (new(2, 16, 17, 24), new(2, 16, 17, 24, 16, 16, 1, 1, 0, 0)),
        // channels of more than one tile, the last of them narrower; tiles of more than one image for each block
        (new(1, 9, 10, 72), new(1, 9, 10, 72, 3, 3, 2, 2, 1, 1)),
        (new(2, 7, 9, 256), new(2, 7, 9, 256, 3, 3, 2, 2, 0, 0)),
        (new(4100, 1, 2, 1), new(4100, 1, 2, 1, 1, 2, 1, 1, 0, 0)),
        // the network's: face pool1 and pool2, voice pool1, pool2, pool5
        (new(1, 29, 29, 24), new(1, 29, 29, 24, 3, 3, 2, 2, 0, 0)),
        (new(2, 14, 14, 33), new(2, 14, 14, 33, 3, 3, 2, 2, 1, 1)),
        (new(2, 12, 30, 24), new(2, 12, 30, 24, 1, 3, 1, 2, 0, 0)),
        (new(2, 19, 12, 24), new(2, 19, 12, 24, 3, 3, 2, 1, 0, 0)),
        (new(2, 9, 24, 33), new(2, 9, 24, 33, 3, 3, 2, 2, 0, 0)),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        from size in sizes
        from relu in new[] { false, true }
        from act in Activations
        let settings = new BatchNormSettings(Epsilon, Momentum, relu, size.Pool)
        select new TestCaseData(size.Input, settings, act).SetArgDisplayNames(Describe(size.Input, settings), act.ToString());

    private static IEnumerable<TestCaseData> FusedCases() =>
        from size in sizes
        from relu in new[] { false, true }
        where relu || size.Pool is not null
        let settings = new BatchNormSettings(Epsilon, Momentum, relu, size.Pool)
        select new TestCaseData(size.Input, settings).SetArgDisplayNames(Describe(size.Input, settings));

    [TestCaseSource(nameof(Cases))]
    public void Training_forward(Shape shape, BatchNormSettings settings, DType act)
    {
        var p = BatchNormProblem.Pose(Seeded(1), shape, settings, act);
        int channels = shape[3];
        long count = shape.Count / channels;
        double[] runningMean = Numbers.Uniform(Seeded(2), channels);
        double[] runningVariance = Numbers.Uniform(Seeded(3), channels, low: 0, high: 2);
        var outputShape = settings.Pool?.Output ?? shape;
        var x = Op.Input("x", shape, act, p.X);
        var gamma = Op.Input("gamma", new Shape(channels), DType.F32, p.Gamma);
        var beta = Op.Input("beta", new Shape(channels), DType.F32, p.Beta);
        var y = Op.Output("y", outputShape, act);
        var argmax = settings.Pool is null ? null : Op.Output("argmax", outputShape, DType.U8);
        var mean = Op.Output("mean", new Shape(channels), DType.F32);
        var inverseStd = Op.Output("inverseStd", new Shape(channels), DType.F32);
        var tensorRunningMean = Op.Sum("runningMean", new Shape(channels), runningMean);
        var tensorRunningVariance = Op.Sum("runningVariance", new Shape(channels), runningVariance);

        var again = settings.Pool is null ? Op.Output("again", shape, act) : null;

        Op.Run(device =>
        {
            device.BatchNormForward(y, argmax, mean, inverseStd, tensorRunningMean, tensorRunningVariance, x, null, gamma, beta, settings);
            if (again is not null)
                device.BatchNormApply(again, x, gamma, beta, mean, inverseStd, settings);
        });

        if (again is not null)
            Assert.That(Op.Read(again), Is.EqualTo(Op.Read(y)), "to the bit from the statistics");
        Op.Expect(mean, p.Mean, Tolerance.Sum(DType.F32, count, p.MeanMagnitude, p.Mean));
        Op.Expect(inverseStd, p.InverseStd, Tolerance.Sum(DType.F32, count, p.InverseStd, p.InverseStd));
        double[] newMean = Blend(runningMean, p.Mean);
        double[] newMeanMagnitude = Reference.Plus(Numbers.Abs(runningMean), p.MeanMagnitude);
        Op.Expect(tensorRunningMean, newMean, Tolerance.Sum(DType.F32, count, newMeanMagnitude, newMean));
        double[] newVariance = Blend(runningVariance, Array.ConvertAll(p.Variance, variance => variance * count / (count - 1)));
        Op.Expect(tensorRunningVariance, newVariance, Tolerance.Sum(DType.F32, count, newVariance, newVariance));
        ExpectActivation(y, argmax, p, settings);
    }

    [TestCaseSource(nameof(Cases))]
    public void Inference_uses_the_running_statistics(Shape shape, BatchNormSettings settings, DType act)
    {
        int channels = shape[3];
        double[] runningMean = Numbers.Uniform(Seeded(2), channels);
        double[] runningVariance = Numbers.Uniform(Seeded(3), channels, low: 0, high: 2);
        var p = BatchNormProblem.Pose(Seeded(4), shape, settings, act) with { Mean = runningMean, Variance = runningVariance };
        var outputShape = settings.Pool?.Output ?? shape;
        var x = Op.Input("x", shape, act, p.X);
        var gamma = Op.Input("gamma", new Shape(channels), DType.F32, p.Gamma);
        var beta = Op.Input("beta", new Shape(channels), DType.F32, p.Beta);
        var tensorMean = Op.Input("runningMean", new Shape(channels), DType.F32, runningMean);
        var tensorVariance = Op.Input("runningVariance", new Shape(channels), DType.F32, runningVariance);
        var y = Op.Output("y", outputShape, act);

        Op.Run(device => device.BatchNormInference(y, x, gamma, beta, tensorMean, tensorVariance, settings));

        ExpectActivation(y, null, p, settings);
    }

    [TestCaseSource(nameof(Cases))]
    public void Backward_overwrites_dX_and_adds_to_dGamma_and_dBeta(Shape shape, BatchNormSettings settings, DType act)
    {
        // the mask of ReLU is recomputed in F32: no value may lie so near to zero that rounding decides
        var p = BatchNormProblem.Pose(Seeded(5), shape, settings, act, Tolerance.Kink).WithStatisticsAsStored();
        int channels = shape[3];
        var forward = p.Forward();
        var outputShape = settings.Pool?.Output ?? shape;
        double[] dY = Numbers.Uniform(Seeded(6), outputShape.Count, act);
        double[] startGamma = Numbers.Uniform(Seeded(7), channels, low: -5, high: 5);
        double[] startBeta = Numbers.Uniform(Seeded(8), channels, low: -5, high: 5);
        var x = Op.Input("x", shape, act, p.X);
        var gamma = Op.Input("gamma", new Shape(channels), DType.F32, p.Gamma);
        var beta = Op.Input("beta", new Shape(channels), DType.F32, p.Beta);
        var mean = Op.Input("mean", new Shape(channels), DType.F32, p.Mean);
        var inverseStd = Op.Input("inverseStd", new Shape(channels), DType.F32, p.InverseStd);
        var argmax = forward.Argmax is null ? null : Op.Input("argmax", outputShape, DType.U8, Numbers.Of(forward.Argmax));
        var tensorDY = Op.Input("dY", outputShape, act, dY);
        var dX = Op.Output("dX", shape, act);
        var dGamma = Op.Sum("dGamma", new Shape(channels), startGamma);
        var dBeta = Op.Sum("dBeta", new Shape(channels), startBeta);

        Op.Run(device => device.BatchNormBackward(dX, dGamma, dBeta, tensorDY, argmax, x, gamma, beta, mean, inverseStd, settings));

        var expected = p.Backward(dY, forward.Argmax);
        var magnitude = p.BackwardMagnitude(dY, forward.Argmax);
        long count = shape.Count / channels;
        Op.Expect(dX, expected.DX, Tolerance.Sum(act, count, magnitude.DX, expected.DX));
        ExpectAdded(dGamma, startGamma, expected.DGamma, magnitude.DGamma);
        ExpectAdded(dBeta, startBeta, expected.DBeta, magnitude.DBeta);

        void ExpectAdded(Tensor tensor, double[] start, double[] sum, double[] sumMagnitude)
        {
            double[] total = Reference.Plus(start, sum);
            Op.Expect(tensor, total, Tolerance.Sum(DType.F32, count + 1, Reference.Plus(Numbers.Abs(start), sumMagnitude), total));
        }
    }

    /// <summary>In F32, where the separate operations round nothing in between that the fused one keeps.</summary>
    [TestCaseSource(nameof(FusedCases))]
    public void Fused_equals_the_separate_operations(Shape shape, BatchNormSettings settings)
    {
        var p = BatchNormProblem.Pose(Seeded(9), shape, settings, DType.F32, Tolerance.Kink);
        var outputShape = settings.Pool?.Output ?? shape;
        double[] dYValues = Numbers.Uniform(Seeded(10), outputShape.Count);
        Tensor Channels(string name) => Op.Output(name, new Shape(shape[3]), DType.F32);
        Tensor Image(string name) => Op.Output(name, shape, DType.F32);
        Tensor Pooled(string name) => Op.Output(name, outputShape, DType.F32);
        var x = Op.Input("x", shape, DType.F32, p.X);
        var gamma = Op.Input("gamma", new Shape(shape[3]), DType.F32, p.Gamma);
        var beta = Op.Input("beta", new Shape(shape[3]), DType.F32, p.Beta);
        var dY = Op.Input("dY", outputShape, DType.F32, dYValues);
        var (mean, inverseStd) = (Channels("mean"), Channels("inverseStd"));
        var (runningMean, runningVariance) = (Channels("runningMean"), Channels("runningVariance"));
        var (fusedY, fusedDX) = (Pooled("fused y"), Image("fused dX"));
        var (fusedDGamma, fusedDBeta) = (Channels("fused dGamma"), Channels("fused dBeta"));
        var fusedArgmax = settings.Pool is null ? null : Op.Output("fused argmax", outputShape, DType.U8);
        var (normalised, rectified, y) = (Image("normalised"), Image("rectified"), Pooled("y"));
        var (dRectified, dNormalised) = (Image("dRectified"), Image("dNormalised"));
        var (dX, dGamma, dBeta) = (Image("dX"), Channels("dGamma"), Channels("dBeta"));
        var argmax = settings.Pool is null ? null : Op.Output("argmax", outputShape, DType.U8);
        var alone = settings with { Relu = false, Pool = null };

        Op.Run(device =>
        {
            foreach (var sum in new[] { runningMean, runningVariance, fusedDGamma, fusedDBeta, dGamma, dBeta })
                device.Zero(sum);
            device.BatchNormForward(fusedY, fusedArgmax, mean, inverseStd, runningMean, runningVariance, x, null, gamma, beta, settings);
            device.BatchNormBackward(fusedDX, fusedDGamma, fusedDBeta, dY, fusedArgmax, x, gamma, beta, mean, inverseStd, settings);

            device.BatchNormForward(normalised, null, mean, inverseStd, runningMean, runningVariance, x, null, gamma, beta, alone);
            if (settings.Relu)
                device.ReluForward(rectified, normalised);
            else
                device.Copy(rectified, normalised);
            if (settings.Pool is { } pool)
            {
                device.MaxPoolForward(y, argmax!, rectified, pool);
                device.MaxPoolBackward(dRectified, dY, argmax!, pool);
            }
            else
            {
                device.Copy(y, rectified);
                device.Copy(dRectified, dY);
            }
            if (settings.Relu)
                device.ReluBackward(dNormalised, dRectified, rectified);
            else
                device.Copy(dNormalised, dRectified);
            device.BatchNormBackward(dX, dGamma, dBeta, dNormalised, null, x, gamma, beta, mean, inverseStd, alone);
        });

        var magnitude = p.BackwardMagnitude(dYValues, p.Forward().Argmax);
        long count = shape.Count / shape[3];
        Op.Expect(fusedY, Op.Read(y), Tolerance.Sum(DType.F32, 1, p.PooledBound(p.ActivationMagnitude()), Op.Read(y)));
        Op.Expect(fusedDX, Op.Read(dX), Tolerance.Sum(DType.F32, count, magnitude.DX, Op.Read(dX)));
        Op.Expect(fusedDGamma, Op.Read(dGamma), Tolerance.Sum(DType.F32, count, magnitude.DGamma, Op.Read(dGamma)));
        Op.Expect(fusedDBeta, Op.Read(dBeta), Tolerance.Sum(DType.F32, count, magnitude.DBeta, Op.Read(dBeta)));
    }

    /// <summary>Equal inputs of a window stay equal, so that its first element must win, as in the pooling operation alone.</summary>
    [Test]
    public void The_first_of_equals_wins([Values(DType.F32, DType.BF16)] DType act)
    {
        var pool = new Pool2dGeometry(2, 9, 8, 17, 3, 3, 2, 2, 1, 1);
        double[] x = Numbers.Integers(Seeded(11), pool.Input.Count, -1, 1);
        double[] gamma = Numbers.Uniform(Seeded(12), 17, low: 0.5, high: 1.5), beta = Numbers.Uniform(Seeded(13), 17);

        var (_, argmax) = Forward(pool.Input, new(Epsilon, Momentum, false, pool), act, x, gamma, beta);

        // gamma is positive: the order of the normalised values is the order of x
        Op.ExpectExactly(argmax!, Numbers.Of(Reference.MaxPoolForward(x, pool).Argmax));
    }

    /// <summary>Behind ReLU and pooling too: a training that diverged must show.</summary>
    [Test]
    public void Not_a_number_makes_its_channel_one([Values] bool relu, [Values] bool pooled, [Values(DType.F32, DType.BF16)] DType act)
    {
        const int Channels = 21, Channel = 5;
        var shape = new Shape(2, 7, 9, Channels);
        Pool2dGeometry? pool = pooled ? new(2, 7, 9, Channels, 3, 3, 2, 2, 1, 1) : null;
        double[] x = Numbers.Uniform(Seeded(19), shape.Count, act);
        x[(40 * Channels) + Channel] = double.NaN;
        var (y, argmax) = Forward(shape, new(Epsilon, Momentum, relu, pool), act, x, Numbers.Constant(Channels, 1), Numbers.Constant(Channels, 0.5));
        Assert.That(Op.Read(y).Select((value, i) => double.IsNaN(value) == (i % Channels == Channel)), Is.All.True);
        if (argmax is null)
            return;
        double[] winners = Op.Read(argmax);
        Assert.That(winners.Select((winner, i) => Reference.PoolInput(pool!.Value, i, (int)winner)), Is.All.Not.Null, "winners in the padding");
    }

    /// <summary>Zero is not above zero: a channel whose gamma and beta are 0 gets no gradient.</summary>
    [Test]
    public void ReLU_passes_no_gradient_where_it_is_at_zero([Values] bool pooled, [Values(DType.F32, DType.BF16)] DType act)
    {
        const int Channels = 21;
        var shape = new Shape(2, 7, 9, Channels);
        Pool2dGeometry? pool = pooled ? new(2, 7, 9, Channels, 3, 3, 2, 2, 1, 1) : null;
        var settings = new BatchNormSettings(Epsilon, Momentum, true, pool);
        var output = pool?.Output ?? shape;
        double[] zeros = new double[Channels], start = Numbers.Uniform(Seeded(20), Channels);
        var p = BatchNormProblem.Pose(Seeded(21), shape, settings with { Relu = false }, act);
        var x = Op.Input("x", shape, act, p.X);
        var argmax = pool is null ? null : Op.Input("argmax", output, DType.U8, Numbers.Of(p.Forward().Argmax!));
        var dY = Op.Input("dY", output, act, Numbers.Uniform(Seeded(22), output.Count, act));
        Tensor PerChannel(string name, double[] values) => Op.Input(name, new Shape(Channels), DType.F32, Numbers.Round(values, DType.F32));
        var (gamma, beta, mean, inverseStd) = (PerChannel("gamma", zeros), PerChannel("beta", zeros), PerChannel("mean", p.Mean), PerChannel("inverseStd", p.InverseStd));
        var dX = Op.Output("dX", shape, act);
        var (dGamma, dBeta) = (Op.Sum("dGamma", new Shape(Channels), start), Op.Sum("dBeta", new Shape(Channels), start));

        Op.Run(device => device.BatchNormBackward(dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, settings));

        Op.ExpectExactly(dX, new double[shape.Count]);
        Op.ExpectExactly(dGamma, start);
        Op.ExpectExactly(dBeta, start);
    }

    /// <summary>Which is the last that a byte can name, and where the gradient goes.</summary>
    [Test]
    public void The_last_of_256_elements_wins([Values(DType.F32, DType.BF16)] DType act)
    {
        const int Last = Pool2dGeometry.MostElements - 1;
        var pool = new Pool2dGeometry(2, 16, 16, 17, 16, 16, 1, 1, 0, 0);
        var settings = new BatchNormSettings(Epsilon, Momentum, true, pool);
        var channels = new Shape(pool.C);
        double[] values = [.. Enumerable.Range(0, (int)pool.Input.Count).Select(i => i / pool.C % Pool2dGeometry.MostElements == Last ? 1.0 : -1)];
        var x = Op.Input("x", pool.Input, act, values);
        var gamma = Op.Input("gamma", channels, DType.F32, Numbers.Constant(pool.C, 1));
        var beta = Op.Input("beta", channels, DType.F32, Numbers.Constant(pool.C, 0));
        var dY = Op.Input("dY", pool.Output, act, Numbers.Constant(pool.Output.Count, 1));
        var (y, argmax, dX) = (Op.Output("y", pool.Output, act), Op.Output("argmax", pool.Output, DType.U8), Op.Output("dX", pool.Input, act));
        Tensor[] of = [.. Enumerable.Range(0, 6).Select(i => Op.Sum($"of the channels {i}", channels, new double[pool.C]))];

        Op.Run(device =>
        {
            device.BatchNormForward(y, argmax, of[0], of[1], of[2], of[3], x, null, gamma, beta, settings);
            device.BatchNormBackward(dX, of[4], of[5], dY, argmax, x, gamma, beta, of[0], of[1], settings);
        });

        Op.ExpectExactly(argmax, Numbers.Constant(pool.Output.Count, Last));
        var p = new BatchNormProblem(
            settings, values, Numbers.Constant(pool.C, 1), Numbers.Constant(pool.C, 0), Op.Read(of[0]), Reference.ChannelStatistics(values, pool.C).Variance);
        int[] winners = [.. Enumerable.Repeat(Last, (int)pool.Output.Count)];
        double[] ones = Numbers.Constant(pool.Output.Count, 1), expected = p.Backward(ones, winners).DX;
        Op.Expect(dX, expected, Tolerance.Sum(act, 2 * Pool2dGeometry.MostElements, p.BackwardMagnitude(ones, winners).DX, expected));
    }

    /// <summary>E[x^2] - E[x]^2 in F32 would lose the variance here: the squares agree in all but two of their 24 bits.</summary>
    [Test]
    public void A_large_mean_does_not_spoil_the_variance()
    {
        var shape = new Shape(2, 13, 17, 24);
        double[] x = Numbers.Round(Array.ConvertAll(Numbers.Uniform(Seeded(14), shape.Count), value => 1000 + value), DType.F32);
        var (expectedMean, variance) = Reference.ChannelStatistics(x, 24);
        double[] expected = Reference.InverseStd(variance, Epsilon);
        var (_, mean, inverseStd, _) = StatisticsOf(Op, shape, x);
        Op.Expect(mean, expectedMean, Tolerance.Sum(DType.F32, shape.Count / 24, expectedMean, expectedMean));
        // a rounding of x moves the deviation as much more as the mean is larger than it; the difference of squares, by the square of that
        double[] magnitude = [.. expected.Zip(expectedMean, (value, m) => value * m * value)];
        Op.Expect(inverseStd, expected, Tolerance.Sum(DType.F32, 1, magnitude, expected));
    }

    /// <summary>A GPU does no more than 1024 blocks of rows: the threads of this shape go round their loops more than once.</summary>
    [Test]
    public void Statistics_of_many_rows()
    {
        var shape = new Shape(1, 75, 56, 129);
        double[] x = Numbers.Uniform(Seeded(18), shape.Count);
        var (expectedMean, variance) = Reference.ChannelStatistics(x, 129);
        double[] expected = Reference.InverseStd(variance, Epsilon);
        var (_, mean, inverseStd, _) = StatisticsOf(Op, shape, x);
        Op.Expect(mean, expectedMean, Tolerance.Sum(DType.F32, shape.Count / 129, Reference.ChannelStatistics(Numbers.Abs(x), 129).Mean, expectedMean));
        Op.Expect(inverseStd, expected, Tolerance.Sum(DType.F32, shape.Count / 129, expected, expected));
    }

    /// <summary>
    /// Of few rows one may lie far from the mean of all, in any place: the sum of squares about it would be many times that about the mean, and as much
    /// would be lost. Channels by the thousand, since one in a hundred tells.
    /// </summary>
    [Test]
    public void Statistics_of_few_rows()
    {
        (int Rows, int Channels)[] shapes = [(2, 5), (3, 24), (6, 69), (10, 69), (17, 8), (33, 3)];
        for (int draw = 0; draw < 50; draw++)
        {
            var (rows, c) = shapes[draw % shapes.Length];
            ExpectStatistics(rows, c, Numbers.Uniform(Seeded(100 + draw), (long)rows * c));
        }
    }

    /// <summary>
    /// Where the first row lies so far from all others, squares of distances from it, not from the mean, lose the most digits.
    /// </summary>
    [TestCase(64)]
    [TestCase(200)]
    [TestCase(1000)]
    public void Statistics_where_the_first_row_lies_far_from_the_others(int rows)
    {
        const int Channels = 1028;
        double[] x = Numbers.Uniform(Seeded(150), (long)rows * Channels);
        Array.Fill(x, Numbers.Round(Math.Sqrt(rows / 3.0), DType.F32), 0, Channels);
        ExpectStatistics(rows, Channels, x);
    }

    private void ExpectStatistics(int rows, int c, double[] values)
    {
        var (mean, variance) = Reference.ChannelStatistics(values, c);
        using var op = new OpHarness(Backend);
        var found = StatisticsOf(op, new(1, rows, 1, c), values);
        double[] magnitude = Reference.ChannelStatistics(Numbers.Abs(values), c).Mean, inverseStd = Reference.InverseStd(variance, Epsilon);
        double[] squares = Array.ConvertAll(variance, v => v * rows), unbiased = Array.ConvertAll(squares, s => s / (rows - 1));
        double[] meanAllowed = Tolerance.Sum(DType.F32, rows, magnitude, mean);
        op.Expect(found.Moments, [.. mean, .. squares], [.. meanAllowed, .. Tolerance.Sum(DType.F32, rows, squares, squares)]);
        op.Expect(found.Mean, mean, meanAllowed);
        op.Expect(found.InverseStd, inverseStd, Tolerance.Sum(DType.F32, rows, inverseStd, inverseStd));
        op.Expect(found.RunningVariance, unbiased, Tolerance.Sum(DType.F32, rows, unbiased, unbiased));
    }

    [Test]
    public void A_constant_channel_has_no_variance()
    {
        var shape = new Shape(3, 7, 11, 17);
        var (_, _, inverseStd, _) = StatisticsOf(Op, shape, Numbers.Constant(shape.Count, Numbers.Round(3.3, DType.F32)));
        double[] expected = Numbers.Constant(17, 1 / Math.Sqrt(Epsilon));
        Op.Expect(inverseStd, expected, Tolerance.Sum(DType.F32, shape.Count / 17, expected, expected));
    }

    [Test]
    public void Gradients_agree_with_finite_differences_of_the_backend_itself()
    {
        var shape = new Shape(3, 4, 5, 6);
        var settings = new BatchNormSettings(Epsilon, Momentum, false, null);
        var p = BatchNormProblem.Pose(Seeded(15), shape, settings, DType.F32);
        double[] dY = Numbers.Uniform(Seeded(16), shape.Count);
        var (_, dX, dGamma, dBeta) = Pass(p.X, p.Gamma, p.Beta);
        var random = Seeded(17);
        FiniteDifference.CheckDirection("x", at => Pass(at, p.Gamma, p.Beta).Loss, p.X, dX, random, step: 1e-2);
        FiniteDifference.CheckDirection("gamma", at => Pass(p.X, at, p.Beta).Loss, p.Gamma, dGamma, random, step: 1e-2);
        FiniteDifference.CheckDirection("beta", at => Pass(p.X, p.Gamma, at).Loss, p.Beta, dBeta, random, step: 1e-2);

        (double Loss, double[] DX, double[] DGamma, double[] DBeta) Pass(double[] atX, double[] atGamma, double[] atBeta)
        {
            using var op = new OpHarness(Backend);
            Tensor Sum(string name) => op.Sum(name, new Shape(6), new double[6]);
            var x = op.Input("x", shape, DType.F32, atX);
            var gamma = op.Input("gamma", new Shape(6), DType.F32, atGamma);
            var beta = op.Input("beta", new Shape(6), DType.F32, atBeta);
            var tensorDY = op.Input("dY", shape, DType.F32, dY);
            var (y, dX) = (op.Output("y", shape, DType.F32), op.Output("dX", shape, DType.F32));
            var (mean, inverseStd) = (Sum("mean"), Sum("inverseStd"));
            var (runningMean, runningVariance) = (Sum("runningMean"), Sum("runningVariance"));
            var (dGamma, dBeta) = (Sum("dGamma"), Sum("dBeta"));
            op.Run(device =>
            {
                device.BatchNormForward(y, null, mean, inverseStd, runningMean, runningVariance, x, null, gamma, beta, settings);
                device.BatchNormBackward(dX, dGamma, dBeta, tensorDY, null, x, gamma, beta, mean, inverseStd, settings);
            });
            return (Reference.Dot(dY, op.Read(y)), op.Read(dX), op.Read(dGamma), op.Read(dBeta));
        }
    }

    /// <summary>
    /// y within its bound, and every argmax a real element of its window that is as large as the largest, as far as F32 can tell.
    /// Behind ReLU a window of zeros has no winner that matters: no gradient passes.
    /// </summary>
    private void ExpectActivation(Tensor y, Tensor? argmax, BatchNormProblem p, BatchNormSettings settings)
    {
        double[] activation = p.Activation(), expected = p.Forward().Y;
        double[] error = Tolerance.Sum(DType.F32, p.X.Length / p.Gamma.Length, p.ActivationMagnitude(), activation);
        double[] outputError = p.PooledBound(error);
        Op.Expect(y, expected, Tolerance.Rounded(y.Type, outputError, expected));
        if (argmax is null || settings.Pool is not { } pool)
            return;
        double[] winners = Op.Read(argmax);
        for (int i = 0; i < winners.Length; i++)
        {
            int? input = winners[i] < pool.R * pool.S ? Reference.PoolInput(pool, i, (int)winners[i]) : null;
            if (input is null || expected[i] - activation[input.Value] > 2 * outputError[i])
                Assert.Fail($"argmax {winners[i]} of output {i} {(input is null ? "is in the padding" : "did not win")}");
        }
    }

    private (Tensor Y, Tensor? Argmax) Forward(Shape shape, BatchNormSettings settings, DType act, double[] x, double[] gamma, double[] beta)
    {
        var channels = new Shape(shape[3]);
        var output = settings.Pool?.Output ?? shape;
        var tensorX = Op.Input("x", shape, act, x);
        var (tensorGamma, tensorBeta) = (Op.Input("gamma", channels, DType.F32, gamma), Op.Input("beta", channels, DType.F32, beta));
        var y = Op.Output("y", output, act);
        var argmax = settings.Pool is null ? null : Op.Output("argmax", output, DType.U8);
        Tensor[] statistics = [.. Enumerable.Range(0, 4).Select(i => Op.Sum($"statistic {i}", channels, new double[shape[3]]))];
        Op.Run(device => device.BatchNormForward(
            y, argmax, statistics[0], statistics[1], statistics[2], statistics[3], tensorX, null, tensorGamma, tensorBeta, settings));
        return (y, argmax);
    }

    /// <summary>Moments and statistics of x; the running variance is the unbiased variance of x alone.</summary>
    private static (Tensor Moments, Tensor Mean, Tensor InverseStd, Tensor RunningVariance) StatisticsOf(
        OpHarness op, Shape shape, double[] values)
    {
        int c = shape[3];
        var channels = new Shape(c);
        var settings = new BatchNormSettings(Epsilon, Momentum: 1, false, null);
        var x = op.Input("x", shape, DType.F32, values);
        var gamma = op.Input("gamma", channels, DType.F32, Numbers.Constant(c, 1));
        var beta = op.Input("beta", channels, DType.F32, Numbers.Constant(c, 0));
        var y = op.Output("y", shape, DType.F32);
        var moments = op.Output("moments", new Shape(1, 2, c), DType.F32);
        var (mean, inverseStd) = (op.Output("mean", channels, DType.F32), op.Output("inverseStd", channels, DType.F32));
        var runningMean = op.Sum("runningMean", channels, new double[c]);
        var runningVariance = op.Sum("runningVariance", channels, new double[c]);
        op.Run(device =>
        {
            device.BatchNormMoments(moments, x, null);
            device.BatchNormForward(y, null, mean, inverseStd, runningMean, runningVariance, x, null, gamma, beta, settings);
        });
        return (moments, mean, inverseStd, runningVariance);
    }

    private static double[] Blend(double[] running, double[] batch) =>
        [.. running.Zip(batch, (old, now) => (1 - Momentum) * old + Momentum * now)];

    private static string Describe(Shape input, BatchNormSettings settings)
    {
        string pool = settings.Pool is { } g ? $" pool {g.R}x{g.S} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}" : "";
        return $"{input}{(settings.Relu ? " relu" : "")}{pool}";
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (n, h, w, c, act) = (Extent(random, 4), Extent(random, 14), 1 + Extent(random, 14), Extent(random, 100), Activation(random));
        int r = Extent(random, h), s = Extent(random, w);
        Pool2dGeometry? pool = random.Next(2) == 0
            ? null
            : new(n, h, w, c, r, s, Extent(random, 3), Extent(random, 3), random.Next(r), random.Next(s));
        var settings = new BatchNormSettings(Epsilon, Momentum, random.Next(2) == 0, pool);
        var shape = new Shape(n, h, w, c);
        return
        [
            () => Training_forward(shape, settings, act),
            () => Inference_uses_the_running_statistics(shape, settings, act),
            () => Backward_overwrites_dX_and_adds_to_dGamma_and_dBeta(shape, settings, act),
        ];
    });
}
