using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>Convolution, batch norm, ReLU and max pooling in one operation: training, evaluation and backward.</summary>
[TestFixtureSource(typeof(Backends), nameof(Backends.All))]
[TestFixtureSource(typeof(Backends), nameof(Backends.Tf32))]
public sealed class StemTests(BackendCase backend) : OpTests(backend)
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f;

    /// <summary>What the numbers are like.</summary>
    public enum Numbering
    {
        /// <summary>An image around zero; signs of gamma mixed, outputs half on.</summary>
        Plain,

        /// <summary>An image far from zero: its mean is 1000 times its deviation, 8 times at BF16, which cannot hold more of both.</summary>
        LargeMean,

        /// <summary>beta so low that few windows have an element above zero.</summary>
        MostlyOff,
    }

    /// <summary>More tiles than the blocks that the GPU's sums are cut into: by far the slowest under emulation.</summary>
    private static readonly (Conv2dGeometry Conv, (int R, int S, int StrideH, int StrideW, int PadH, int PadW) Pool) manyTiles =
        (new(300, 5, 6, 1, 33, 3, 3, 1, 1, 0, 0), (2, 2, 1, 1, 0, 0));

    private static readonly (Conv2dGeometry Conv, (int R, int S, int StrideH, int StrideW, int PadH, int PadW) Pool)[] sizes =
    [
        // one output channel; one output
        (new(1, 9, 11, 1, 1, 3, 3, 1, 1, 1, 1), (2, 3, 1, 2, 0, 0)),
        (new(1, 4, 4, 1, 3, 3, 3, 1, 1, 0, 0), (2, 2, 1, 1, 0, 0)),
        // odd extents, strides that differ, padding in both, windows that overlap and that leave gaps
        (new(3, 17, 23, 1, 48, 5, 3, 2, 1, 1, 0), (3, 3, 2, 2, 1, 1)),
        (new(2, 13, 10, 1, 17, 2, 4, 1, 3, 0, 2), (2, 1, 3, 1, 0, 0)),
        // more channels than one
        (new(2, 11, 9, 3, 33, 3, 3, 1, 2, 1, 1), (3, 3, 1, 1, 0, 0)),
        // the network's: face, at a quarter of the channels and at all; voice, with more columns than any tile
        (new(2, 33, 35, 1, 24, 7, 7, 2, 2, 0, 0), (3, 3, 2, 2, 0, 0)),
        (new(1, 64, 64, 1, 96, 7, 7, 2, 2, 0, 0), (3, 3, 2, 2, 0, 0)),
        (new(2, 12, 40, 1, 24, 5, 7, 1, 1, 2, 2), (1, 3, 1, 2, 0, 0)),
        (new(1, 6, 301, 1, 96, 5, 7, 1, 1, 2, 2), (1, 3, 1, 2, 0, 0)),
        // the largest window of the GPU's kernels; the next larger; a pooling window of as many elements as a tile; strides that skip pixels
        (new(2, 19, 18, 1, 9, 8, 8, 1, 1, 3, 4), (2, 2, 2, 2, 0, 0)),
        (new(1, 15, 17, 1, 5, 9, 8, 1, 2, 0, 0), (2, 2, 1, 1, 1, 0)),
        (new(1, 18, 20, 1, 3, 2, 3, 1, 1, 0, 0), (16, 16, 1, 1, 0, 0)),
        (new(2, 40, 39, 1, 5, 2, 2, 9, 7, 1, 0), (2, 3, 2, 1, 1, 1)),
        // so many images that the processor cuts each into few bands, which do not divide its rows
        (new(20, 7, 6, 1, 8, 3, 3, 1, 1, 0, 0), (2, 2, 1, 1, 0, 0)),
        manyTiles,
        // taps that lie on padding wherever the window stands: columns, of several channels and of one; rows; both
        (new(3, 37, 6, 3, 47, 1, 6, 3, 3, 0, 1), (2, 1, 1, 1, 0, 0)),
        (new(3, 39, 2, 2, 32, 3, 4, 2, 3, 1, 1), (3, 1, 2, 1, 1, 0)),
        (new(3, 37, 6, 1, 47, 1, 6, 3, 3, 0, 1), (2, 1, 1, 1, 0, 0)),
        (new(4, 39, 2, 1, 32, 3, 4, 2, 3, 1, 1), (3, 1, 2, 1, 1, 0)),
        (new(5, 3, 17, 1, 17, 5, 3, 4, 1, 1, 0), (1, 2, 1, 2, 0, 0)),
        (new(5, 2, 3, 1, 9, 4, 5, 3, 2, 2, 1), (1, 1, 1, 1, 0, 0)),
        // two positions: in some of many channels z is all but constant
        (new(1, 2, 3, 1, 480, 1, 2, 1, 3, 0, 0), (2, 1, 1, 1, 0, 0)),
        .. TapsOnPadding(seed: 1, count: 4),
    ];

    /// <summary>Of the numbers that are not plain, the fast tier takes one kind for each size, or none for the slowest.</summary>
    private static (Numbering Numbers, bool Relu)[] Kinds(int size)
    {
        (Numbering, bool)[] others = [(Numbering.Plain, false), (Numbering.LargeMean, true), (Numbering.MostlyOff, true)];
        if (Tier.Fast)
            others = sizes[size] == manyTiles ? [] : [others[size % others.Length]];
        return [(Numbering.Plain, true), .. others];
    }

    private static IEnumerable<TestCaseData> Cases() =>
        from size in sizes
        from kind in Kinds(Array.IndexOf(sizes, size))
        from act in Activations
        let settings = Settings(size.Conv, size.Pool, kind.Relu)
        select new TestCaseData(size.Conv, settings, kind.Numbers, act).SetArgDisplayNames(Describe(size.Conv, settings), kind.Numbers.ToString(), act.ToString());

    [OpCases(nameof(Cases))]
    public void Training_forward(Conv2dGeometry geometry, BatchNormSettings settings, Numbering numbering, DType act)
    {
        var p = Pose(Seeded(1), geometry, settings, numbering, act, Rounding(act));
        double[] runningMean = Numbers.Uniform(Seeded(2), geometry.K), runningVariance = Numbers.Uniform(Seeded(3), geometry.K, low: 0, high: 2);
        var run = new Run(Op, Backend, p);
        var tensorRunningMean = Op.Sum("runningMean", run.Channels, runningMean);
        var tensorRunningVariance = Op.Sum("runningVariance", run.Channels, runningVariance);

        Op.Run(device => run.Forward(device, tensorRunningMean, tensorRunningVariance));

        var error = p.StatisticsError();
        Op.Expect(run.Mean, p.Norm.Mean, error.Mean);
        Op.Expect(run.InverseStd, p.Norm.InverseStd, error.InverseStd);
        ExpectRunning(tensorRunningMean, runningMean, p.Norm.Mean, error.Mean);
        double unbiased = p.Count / Math.Max(p.Count - 1.0, 1);
        ExpectRunning(tensorRunningVariance, runningVariance, Array.ConvertAll(p.Norm.Variance, v => v * unbiased), Array.ConvertAll(error.Variance, e => e * unbiased));
        ExpectActivation(run.Y, run.Argmax, p, p.NormalisedError(error.Mean, error.InverseStd));
    }

    /// <summary>Which is the last that a byte can name, and where the gradient goes.</summary>
    [Test]
    public void The_last_of_256_elements_wins([Values(DType.F32, DType.BF16)] DType act)
    {
        var geometry = new Conv2dGeometry(2, 16, 16, 1, 33, 1, 1, 1, 1, 0, 0);
        double[] image = [.. Enumerable.Range(0, (int)geometry.Input.Count).Select(i => i % Pool2dGeometry.MostElements == Pool2dGeometry.MostElements - 1 ? 1.0 : -1)];
        double[] ones = Numbers.Constant(geometry.K, 1);
        var p = StemProblem.Of(geometry, Settings(geometry, (16, 16, 1, 1, 0, 0), relu: true), act, image, ones, ones, Numbers.Constant(geometry.K, 0), Rounding(act));
        var run = new Run(Op, Backend, p);
        double[] dY = Numbers.Uniform(Seeded(13), run.Y.Shape.Count, act);
        var tensorDY = Op.Input("dY", run.Y.Shape, act, dY);
        Tensor Sum(string name, Shape shape) => Op.Sum(name, shape, new double[shape.Count]);
        var (runningMean, runningVariance) = (Sum("runningMean", run.Channels), Sum("runningVariance", run.Channels));
        var (dWeight, dGamma, dBeta) = (Sum("dWeight", geometry.Weight), Sum("dGamma", run.Channels), Sum("dBeta", run.Channels));

        Op.Run(device =>
        {
            run.Forward(device, runningMean, runningVariance);
            run.Backward(device, dWeight, dGamma, dBeta, tensorDY, run.Y, run.Argmax);
        });

        Op.ExpectExactly(run.Argmax, Numbers.Constant(dY.Length, Pool2dGeometry.MostElements - 1));
        int[] argmax = Array.ConvertAll(Op.Read(run.Argmax), winner => (int)winner);
        var (expected, allowed) = (p.Backward(dY, argmax), p.BackwardError(dY, argmax));
        Op.Expect(dWeight, expected.DWeight, allowed.DWeight);
        Op.Expect(dGamma, expected.DGamma, allowed.DGamma);
        Op.Expect(dBeta, expected.DBeta, allowed.DBeta);
    }

    private static IEnumerable<TestCaseData> Sizes() =>
        from size in sizes.Where(size => !Tier.Fast || size != manyTiles)
        from act in Activations
        let settings = Settings(size.Conv, size.Pool, relu: true)
        select new TestCaseData(size.Conv, settings, act).SetArgDisplayNames(Describe(size.Conv, settings), act.ToString());

    /// <summary>Of a black image every activation is beta.</summary>
    [OpCases(nameof(Sizes))]
    public void Of_equal_activations_the_first_of_the_window_wins(Conv2dGeometry geometry, BatchNormSettings settings, DType act)
    {
        var random = Seeded(12);
        ExpectFirst(StemProblem.Of(
            geometry, settings, act, new double[geometry.Input.Count], Numbers.Uniform(random, geometry.Weight.Count),
            gamma: Numbers.Uniform(random, geometry.K), beta: Numbers.Uniform(random, geometry.K), Rounding(act)));
    }

    /// <summary>So it is where gamma is 0, whatever the image.</summary>
    [Test]
    public void Where_gamma_is_zero_the_first_of_the_window_wins([Values(DType.F32, DType.BF16)] DType act)
    {
        var (geometry, pool) = sizes[2];
        var random = Seeded(13);
        ExpectFirst(StemProblem.Of(
            geometry, Settings(geometry, pool, relu: true), act, Numbers.Uniform(random, geometry.Input.Count, act), Numbers.Uniform(random, geometry.Weight.Count),
            gamma: new double[geometry.K], beta: Numbers.Uniform(random, geometry.K), Rounding(act)));
    }

    private void ExpectFirst(StemProblem p)
    {
        var geometry = p.Geometry;
        var run = new Run(Op, Backend, p);
        var runningMean = Op.Sum("runningMean", run.Channels, new double[geometry.K]);
        var runningVariance = Op.Sum("runningVariance", run.Channels, new double[geometry.K]);

        Op.Run(device => run.Forward(device, runningMean, runningVariance));

        Assert.That(Op.Read(run.Argmax), Is.EqualTo(Numbers.Of(p.Norm.Forward().Argmax!)));
    }

    /// <summary>Every statistic is about the whole image: a training that diverged shows everywhere, and no winner is in the padding.</summary>
    [Test]
    public void Not_a_number_makes_every_output_one([Values(DType.F32, DType.BF16)] DType act)
    {
        var (geometry, pool) = sizes[2];
        var settings = Settings(geometry, pool, relu: true);
        var random = Seeded(14);
        double[] x = Numbers.Uniform(random, geometry.Input.Count, act);
        x[x.Length / 2] = double.NaN;
        var run = new Run(Op, Backend, StemProblem.Of(
            geometry, settings, act, x, Numbers.Uniform(random, geometry.Weight.Count),
            gamma: Numbers.Uniform(random, geometry.K), beta: Numbers.Uniform(random, geometry.K)));
        var runningMean = Op.Sum("runningMean", run.Channels, new double[geometry.K]);
        var runningVariance = Op.Sum("runningVariance", run.Channels, new double[geometry.K]);

        Op.Run(device => run.Forward(device, runningMean, runningVariance));

        Assert.That(Op.Read(run.Y), Is.All.NaN);
        Assert.That(Op.Read(run.Argmax).Select((winner, i) => Reference.PoolInput(settings.Pool!.Value, i, (int)winner)), Is.All.Not.Null, "winners in the padding");
    }

    [OpCases(nameof(Cases))]
    public void Inference_uses_the_running_statistics(Conv2dGeometry geometry, BatchNormSettings settings, Numbering numbering, DType act)
    {
        var p = Pose(Seeded(4), geometry, settings, numbering, act, Rounding(act));
        // such as training leaves them: near the batch's, or an image of a large mean would be a test of large outputs
        double[] mean = Numbers.Round([.. p.Norm.Mean.Zip(Numbers.Uniform(Seeded(5), geometry.K), (m, shift) => m + shift)], DType.F32);
        double[] variance = Numbers.Round([.. p.Norm.Variance.Zip(Numbers.Uniform(Seeded(6), geometry.K, low: 0.5, high: 2), (v, factor) => v * factor)], DType.F32);
        p = p with { Norm = new(settings, p.Z, p.Norm.Gamma, p.Norm.Beta, mean, variance) };
        var run = new Run(Op, Backend, p);
        var tensorMean = Op.Input("runningMean", run.Channels, DType.F32, mean);
        var tensorVariance = Op.Input("runningVariance", run.Channels, DType.F32, variance);

        Op.Run(device => run.Inference(device, tensorMean, tensorVariance));

        double[] inverseStdError = Array.ConvertAll(p.Norm.InverseStd, value => Tolerance.Walk * Tolerance.F32 * value);
        ExpectActivation(run.Y, null, p, p.NormalisedError(new double[geometry.K], inverseStdError));
    }

    /// <summary>
    /// Behind the backend's own forward pass, whose state only it can read, but from the reference's y and argmax: where two elements of a window tie up to
    /// rounding, either may win. Where the winner lies so near to zero that rounding decides whether it is on, dY is 0. Gradients that nothing adds to, those
    /// of weights that see padding alone among them, stay to the bit: Adam makes full steps of the smallest.
    /// </summary>
    [OpCases(nameof(Cases))]
    public void Backward_adds_to_the_gradients_of_the_parameters(Conv2dGeometry geometry, BatchNormSettings settings, Numbering numbering, DType act)
    {
        var p = Pose(Seeded(7), geometry, settings, numbering, act, Rounding(act));
        var (y, winners) = p.Norm.Forward();
        int[] argmax = winners!;
        var pool = settings.Pool!.Value;
        var statistics = p.StatisticsError();
        double[] normalised = p.Norm.Normalised(), error = p.NormalisedError(statistics.Mean, statistics.InverseStd);
        double[] dY = [.. Numbers.Uniform(Seeded(8), y.Length, act).Select((value, i) =>
        {
            int winner = Reference.PoolInput(pool, i, argmax[i])!.Value;
            return settings.Relu && Math.Abs(normalised[winner]) <= error[winner] ? 0 : value;
        })];
        var run = new Run(Op, Backend, p);
        var tensorY = Op.Input("y of the reference", pool.Output, act, Numbers.Round(y, act));
        var tensorArgmax = Op.Input("argmax of the reference", pool.Output, DType.U8, Numbers.Of(argmax));
        var tensorDY = Op.Input("dY", pool.Output, act, dY);
        double[] startWeight = Numbers.Uniform(Seeded(9), geometry.Weight.Count, low: -5, high: 5);
        double[] startGamma = Numbers.Uniform(Seeded(10), geometry.K, low: -5, high: 5), startBeta = Numbers.Uniform(Seeded(11), geometry.K, low: -5, high: 5);
        var dWeight = Op.Sum("dWeight", geometry.Weight, startWeight);
        var dGamma = Op.Sum("dGamma", run.Channels, startGamma);
        var dBeta = Op.Sum("dBeta", run.Channels, startBeta);
        var runningMean = Op.Sum("runningMean", run.Channels, new double[geometry.K]);
        var runningVariance = Op.Sum("runningVariance", run.Channels, new double[geometry.K]);

        Op.Run(device =>
        {
            run.Forward(device, runningMean, runningVariance);
            run.Backward(device, dWeight, dGamma, dBeta, tensorDY, tensorY, tensorArgmax);
        });

        var expected = p.Backward(dY, argmax);
        var allowed = p.BackwardError(dY, argmax);
        ExpectAdded(dWeight, startWeight, expected.DWeight, allowed.DWeight);
        ExpectAdded(dGamma, startGamma, expected.DGamma, allowed.DGamma);
        ExpectAdded(dBeta, startBeta, expected.DBeta, allowed.DBeta);
    }

    private void ExpectAdded(Tensor tensor, double[] start, double[] sum, double[] error)
    {
        double[] total = Reference.Plus(start, sum);
        Op.Expect(tensor, total, [.. error.Select((e, i) => e == 0 ? 0 : e + Tolerance.Walk * Tolerance.F32 * (Math.Abs(start[i]) + Math.Abs(sum[i])))]);
    }

    private void ExpectRunning(Tensor tensor, double[] running, double[] batch, double[] error)
    {
        double[] expected = [.. running.Zip(batch, (old, now) => (1 - Momentum) * old + Momentum * now)];
        Op.Expect(tensor, expected, [.. error.Select((e, c) => Momentum * e + Tolerance.Walk * Tolerance.F32 * (Math.Abs(running[c]) + Math.Abs(batch[c])))]);
    }

    /// <summary>As for batch norm: y within its bound, and every argmax an element of its window that is as large as the largest, as far as can be told.</summary>
    private void ExpectActivation(Tensor y, Tensor? argmax, StemProblem p, double[] error)
    {
        var pool = p.Norm.Settings.Pool!.Value;
        double[] activation = p.Norm.Activation(), expected = p.Norm.Forward().Y, outputError = p.Norm.PooledBound(error);
        Op.Expect(y, expected, Tolerance.Rounded(y.Type, outputError, expected));
        if (argmax is null)
            return;
        double[] winners = Op.Read(argmax);
        for (int i = 0; i < winners.Length; i++)
        {
            int? input = winners[i] < pool.R * pool.S ? Reference.PoolInput(pool, i, (int)winners[i]) : null;
            if (input is null || expected[i] - activation[input.Value] > 2 * outputError[i])
                Assert.Fail($"argmax {winners[i]} of output {i} {(input is null ? "is in the padding" : "did not win")}");
        }
    }

    private bool Rounding(DType act) => Tf32 && act == DType.F32;

    private static StemProblem Pose(
        Random random, Conv2dGeometry geometry, BatchNormSettings settings, Numbering numbering, DType act, bool tf32) =>
        StemProblem.Pose(
            random, geometry, settings, act, tf32, offset: numbering != Numbering.LargeMean ? 0 : act == DType.F32 ? 1000 : 8,
            lowBeta: numbering == Numbering.MostlyOff ? -3.5 : -0.5);

    private static BatchNormSettings Settings(Conv2dGeometry g, (int R, int S, int StrideH, int StrideW, int PadH, int PadW) w, bool relu) =>
        new(Epsilon, Momentum, relu, new Pool2dGeometry(g.N, g.P, g.Q, g.K, w.R, w.S, w.StrideH, w.StrideW, w.PadH, w.PadW));

    private static IEnumerable<(Conv2dGeometry, (int, int, int, int, int, int))> TapsOnPadding(int seed, int count)
    {
        var random = new Random(seed);
        while (count > 0)
        {
            var geometry = new Conv2dGeometry(
                random.Next(66, 70), random.Next(1, 8), random.Next(1, 8), C: 1, random.Next(1, 40), random.Next(1, 6), random.Next(1, 6),
                random.Next(1, 4), random.Next(1, 4), random.Next(0, 4), random.Next(0, 4));
            if (geometry.P < 1 || geometry.Q < 1)
                continue;
            double[] met = Reference.Conv2dBackwardWeight(Numbers.Constant(geometry.Output.Count, 1), Numbers.Constant(geometry.Input.Count, 1), geometry);
            if (met.All(pixels => pixels > 0) || met.All(pixels => pixels == 0))
                continue;
            count--;
            yield return (geometry, (1, 1, 1, 1, 0, 0));
        }
    }

    private static string Describe(Conv2dGeometry g, BatchNormSettings settings)
    {
        var pool = settings.Pool!.Value;
        return $"{g.Input} by {g.Weight} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}{(settings.Relu ? " relu" : "")} " +
            $"pool {pool.R}x{pool.S} stride {pool.StrideH}x{pool.StrideW} pad {pool.PadH}x{pool.PadW}";
    }

    /// <summary>The tensors of one stem; state and scratches of exactly the sizes that the backend asks for.</summary>
    private sealed class Run
    {
        private readonly Conv2dGeometry geometry;
        private readonly BatchNormSettings settings;
        private readonly Tensor x, weight, gamma, beta;
        private readonly Tensor? state, forwardScratch, inferenceScratch, backwardScratch;

        public Run(OpHarness op, IBackend backend, StemProblem p)
        {
            (geometry, settings) = (p.Geometry, p.Norm.Settings);
            Channels = new Shape(geometry.K);
            var pool = settings.Pool!.Value;
            x = op.Input("x", geometry.Input, p.Act, p.Image);
            weight = op.Input("weight", geometry.Weight, DType.F32, p.Weight);
            gamma = op.Input("gamma", Channels, DType.F32, p.Norm.Gamma);
            beta = op.Input("beta", Channels, DType.F32, p.Norm.Beta);
            Y = op.Output("y", pool.Output, p.Act);
            Argmax = op.Output("argmax", pool.Output, DType.U8);
            Mean = op.Output("mean", Channels, DType.F32);
            InverseStd = op.Output("inverseStd", Channels, DType.F32);
            var memory = backend.StemMemory(geometry, settings, p.Act);
            state = op.Scratch("state", memory.State);
            forwardScratch = op.Scratch("forward scratch", memory.ForwardScratch);
            inferenceScratch = op.Scratch("inference scratch", memory.State + memory.ForwardScratch);
            backwardScratch = op.Scratch("backward scratch", memory.BackwardScratch);
            op.UseWorkspace(memory.Workspace);
        }

        public Shape Channels { get; }

        public Tensor Y { get; }

        public Tensor Argmax { get; }

        public Tensor Mean { get; }

        public Tensor InverseStd { get; }

        public void Forward(IBackend device, Tensor runningMean, Tensor runningVariance) => device.StemForward(
            Y, Argmax, Mean, InverseStd, runningMean, runningVariance, state, forwardScratch, x, weight, gamma, beta, geometry, settings);

        public void Inference(IBackend device, Tensor runningMean, Tensor runningVariance)
        {
            device.StemInference(Y, inferenceScratch, x, weight, gamma, beta, runningMean, runningVariance, geometry, settings);
            // what only training writes
            foreach (var output in new[] { Argmax, Mean, InverseStd })
                device.Zero(output);
        }

        public void Backward(IBackend device, Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor y, Tensor argmax) => device.StemBackward(
            dWeight, dGamma, dBeta, backwardScratch, dY, y, argmax, x, weight, gamma, beta, Mean, InverseStd, state, geometry, settings);
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        int r = Extent(random, 7), s = Extent(random, 7);
        var geometry = new Conv2dGeometry(
            Extent(random, 3), r + Extent(random, 20), s + Extent(random, 20), Extent(random, 2), Extent(random, 50), r, s, Extent(random, 3), Extent(random, 3), random.Next(r), random.Next(s));
        int poolR = Extent(random, Math.Min(3, geometry.P)), poolS = Extent(random, Math.Min(3, geometry.Q));
        var settings = Settings(geometry, (poolR, poolS, Extent(random, 2), Extent(random, 2), random.Next(poolR), random.Next(poolS)), random.Next(2) == 0);
        var (numbering, act) = (random.Next(2) == 0 ? Numbering.Plain : Numbering.MostlyOff, Activation(random));
        return
        [
            () => Training_forward(geometry, settings, numbering, act),
            () => Inference_uses_the_running_statistics(geometry, settings, numbering, act),
            () => Backward_adds_to_the_gradients_of_the_parameters(geometry, settings, numbering, act),
        ];
    });
}
