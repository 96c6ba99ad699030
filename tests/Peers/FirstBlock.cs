using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>The stem: convolution, batch norm, ReLU if asked and max pooling of an image that takes no gradient; training, backward and evaluation.</summary>
/// <param name="Offset">Mean of the image.</param>
/// <param name="LowBeta">Low end of beta, whose range is 1: far below zero, most outputs are off.</param>
/// <param name="FromZero">Whether the gradients start at 0, so that what has none must stay exactly 0.</param>
internal sealed record FirstBlock(Conv2dGeometry G, BatchNormSettings Settings, double Offset, double LowBeta, bool FromZero) : PeerCase("stem")
{
    private const double Centred = 0, HalfOn = -0.5, MostlyOff = -3.5;

    /// <summary>The weights' first column sees nothing but padding: it has no gradient.</summary>
    public static FirstBlock OnlyPadding { get; } = new(
        new(3, 37, 6, 3, 47, 1, 6, 3, 3, 0, 1), new(1e-5f, 0.1f, true, new(3, 13, 1, 47, 2, 1, 1, 1, 0, 0)), Centred, HalfOn, FromZero: true);

    public override string Description =>
        $"{Convolution.Describe(G)}{BatchNormalisation.Describe(Settings)}{(Offset == Centred ? "" : $" mean {Offset}")}{(LowBeta == HalfOn ? "" : " mostly off")}{(FromZero ? " from zero" : "")}";

    public override bool Convolves => true;

    public static FirstBlock Draw(Random random)
    {
        while (true)
        {
            int r = Shapes.Extent(random, 8), s = Shapes.Extent(random, 8);
            var g = new Conv2dGeometry(
                Shapes.Extent(random, 3), r + Shapes.Extent(random, 22), s + Shapes.Extent(random, 22), random.Next(4) == 0 ? random.Next(2, 4) : 1,
                Shapes.Channels(random), r, s, random.Next(1, 4), random.Next(1, 4), random.Next(r), random.Next(s));
            // of one element a channel has no unbiased variance, and libtorch refuses it
            if (g.N * g.P * g.Q < 2)
                continue;
            var settings = BatchNormalisation.Draw(random, Shapes.Pool(random, g.N, g.P, g.Q, g.K));
            return new(g, settings, random.Next(8) == 0 ? 8 : Centred, random.Next(4) == 0 ? MostlyOff : HalfOn, random.Next(2) == 0);
        }
    }

    public override void Compare(Trial t)
    {
        var channels = new Shape(G.K);
        var pool = Settings.Pool!.Value;
        var p = StemProblem.Pose(t.Random, G, Settings, t.Act, t.Tf32, Offset, LowBeta);
        double[] Start(Shape shape) => FromZero ? new double[shape.Count] : Numbers.Uniform(t.Random, shape.Count, low: -5, high: 5);
        double[] startWeight = Start(G.Weight), startGamma = Start(channels), startBeta = Start(channels);
        double[] runningMean = Numbers.Uniform(t.Random, G.K), runningVariance = Numbers.Uniform(t.Random, G.K, low: 0, high: 2);
        // such as training leaves them: near the batch's, or an image far from zero would be a test of large outputs
        double[] givenMean = Numbers.Round([.. p.Norm.Mean.Zip(Numbers.Uniform(t.Random, G.K), (m, shift) => m + shift)], DType.F32);
        double[] givenVariance = Numbers.Round([.. p.Norm.Variance.Zip(Numbers.Uniform(t.Random, G.K, low: 0.5, high: 2), (v, factor) => v * factor)], DType.F32);
        double[] dY = Numbers.Uniform(t.Random, pool.Output.Count, t.Act);

        var image = t.Data(p.X, G.Input);
        double[] multiplied = t.Tf32 ? Numbers.RoundToTf32(p.Weight) : Numbers.Round(p.Weight, t.Act);
        var (peerWeight, peerGamma, peerBeta) = (Oracle.Leaf(multiplied, G.Weight), Oracle.Leaf(p.Norm.Gamma, channels), Oracle.Leaf(p.Norm.Beta, channels));
        var (peerMean, peerVariance) = (Oracle.Constant(runningMean, channels), Oracle.Constant(runningVariance, channels));
        var z = Oracle.Convolution(image, peerWeight, G);
        var (y, winners) = Oracle.MaxPool(Oracle.BatchNorm(z, peerGamma, peerBeta, peerMean, peerVariance, Settings, training: true), pool);
        var (evaluated, _) = Oracle.MaxPool(
            Oracle.BatchNorm(z, peerGamma, peerBeta, Oracle.Constant(givenMean, channels), Oracle.Constant(givenVariance, channels), Settings, training: false), pool);
        var statistics = p.StatisticsError();
        double[] error = p.NormalisedError(statistics.Mean, statistics.InverseStd), expectedY = Oracle.Values(y);
        BatchNormalisation.SilenceUndecided(dY, p.Norm, winners, error);
        Oracle.Backward(y, dY, pool.Output);

        var memory = new Memory(t, this, p);
        var (movedMean, movedVariance) = (t.Op.Sum("runningMean", channels, runningMean), t.Op.Sum("runningVariance", channels, runningVariance));
        var mean = t.Op.Input("given runningMean", channels, DType.F32, givenMean);
        var variance = t.Op.Input("given runningVariance", channels, DType.F32, givenVariance);
        // behind the engine's own forward pass, whose state only it can read, but from libtorch's y and argmax: elements that tie up to rounding may both win
        var givenY = t.Op.Input("libtorch's y", pool.Output, t.Act, Numbers.Round(expectedY, t.Act));
        var givenArgmax = t.Op.Input("libtorch's argmax", pool.Output, DType.U8, Numbers.Of(winners));
        var tensorDY = t.Op.Input("dY", pool.Output, t.Act, dY);
        var dWeight = t.Op.Sum("dWeight", G.Weight, startWeight);
        var (dGamma, dBeta) = (t.Op.Sum("dGamma", channels, startGamma), t.Op.Sum("dBeta", channels, startBeta));

        t.Op.Run(device =>
        {
            memory.Forward(device, movedMean, movedVariance);
            memory.Backward(device, dWeight, dGamma, dBeta, tensorDY, givenY, givenArgmax);
            memory.Inference(device, mean, variance);
        });

        var (zVariance, zMean) = torch.var_mean(z, [0, 1, 2], unbiased: false);
        t.Expect(memory.Mean, Oracle.Values(zMean), statistics.Mean);
        t.Expect(memory.InverseStd, Oracle.Values((zVariance + Settings.Epsilon).rsqrt()), statistics.InverseStd);
        double unbiased = p.Count / (p.Count - 1.0);
        ExpectRunning(movedMean, runningMean, p.Norm.Mean, statistics.Mean, Oracle.Values(peerMean));
        ExpectRunning(
            movedVariance, runningVariance, Array.ConvertAll(p.Norm.Variance, v => v * unbiased), Array.ConvertAll(statistics.Variance, e => e * unbiased),
            Oracle.Values(peerVariance));
        t.ExpectActivation(memory.Y, memory.Argmax, p.Norm, expectedY, error);

        var evaluation = p with { Norm = p.Norm with { Mean = givenMean, Variance = givenVariance } };
        double[] inverseStdError = Array.ConvertAll(evaluation.Norm.InverseStd, value => Tolerance.Walk * Tolerance.F32 * value);
        t.ExpectActivation(memory.Evaluated, null, evaluation.Norm, Oracle.Values(evaluated), evaluation.NormalisedError(new double[G.K], inverseStdError));

        var allowed = p.BackwardError(dY, winners);
        t.ExpectAdded(dWeight, startWeight, Oracle.Gradient(peerWeight), allowed.DWeight);
        t.ExpectAdded(dGamma, startGamma, Oracle.Gradient(peerGamma), allowed.DGamma);
        t.ExpectAdded(dBeta, startBeta, Oracle.Gradient(peerBeta), allowed.DBeta);

        void ExpectRunning(Tensor tensor, double[] running, double[] batch, double[] batchError, double[] expected) => t.Expect(
            tensor, expected,
            [.. batchError.Select((e, c) => Settings.Momentum * e + Tolerance.Walk * Tolerance.F32 * (Math.Abs(running[c]) + Math.Abs(batch[c])))]);
    }

    /// <summary>The tensors of a stem; state and scratches of exactly the sizes that the backend asks for.</summary>
    private sealed class Memory
    {
        private readonly Conv2dGeometry g;
        private readonly BatchNormSettings settings;
        private readonly Tensor x, weight, gamma, beta;
        private readonly Tensor? state, forwardScratch, inferenceScratch, backwardScratch;

        public Memory(Trial t, FirstBlock block, StemProblem p)
        {
            (g, settings) = (block.G, block.Settings);
            var channels = new Shape(g.K);
            var output = settings.Pool!.Value.Output;
            x = t.Op.Input("x", g.Input, t.Act, p.Image);
            weight = t.Op.Input("weight", g.Weight, DType.F32, p.Weight);
            gamma = t.Op.Input("gamma", channels, DType.F32, p.Norm.Gamma);
            beta = t.Op.Input("beta", channels, DType.F32, p.Norm.Beta);
            Y = t.Op.Output("y", output, t.Act);
            Evaluated = t.Op.Output("y of evaluation", output, t.Act);
            Argmax = t.Op.Output("argmax", output, DType.U8);
            Mean = t.Op.Output("mean", channels, DType.F32);
            InverseStd = t.Op.Output("inverseStd", channels, DType.F32);
            var memory = t.Rig.Ops.StemMemory(g, settings, t.Act);
            state = t.Op.Scratch("state", memory.State);
            forwardScratch = t.Op.Scratch("forward scratch", memory.ForwardScratch);
            inferenceScratch = t.Op.Scratch("inference scratch", memory.State + memory.ForwardScratch);
            backwardScratch = t.Op.Scratch("backward scratch", memory.BackwardScratch);
            t.Op.UseWorkspace(memory.Workspace);
        }

        public Tensor Y { get; }

        public Tensor Evaluated { get; }

        public Tensor Argmax { get; }

        public Tensor Mean { get; }

        public Tensor InverseStd { get; }

        public void Forward(IBackend device, Tensor runningMean, Tensor runningVariance) => device.StemForward(
            Y, Argmax, Mean, InverseStd, runningMean, runningVariance, state, forwardScratch, x, weight, gamma, beta, g, settings);

        public void Inference(IBackend device, Tensor runningMean, Tensor runningVariance) =>
            device.StemInference(Evaluated, inferenceScratch, x, weight, gamma, beta, runningMean, runningVariance, g, settings);

        public void Backward(IBackend device, Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor y, Tensor argmax) => device.StemBackward(
            dWeight, dGamma, dBeta, backwardScratch, dY, y, argmax, x, weight, gamma, beta, Mean, InverseStd, state, g, settings);
    }
}
