using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;

namespace Avedis.Peers;

/// <summary>Batch norm, with ReLU and max pooling or without: training with its statistics, backward, and evaluation by running statistics.</summary>
internal sealed record BatchNormalisation(Shape Input, BatchNormSettings Settings) : PeerCase("batch norm")
{
    public override string Description => $"{Input}{Describe(Settings)}";

    public static string Describe(BatchNormSettings settings) =>
        $"{(settings.Relu ? " relu" : "")}{MaxPooling.Describe(settings.Pool)} epsilon {settings.Epsilon} momentum {settings.Momentum}";

    public static BatchNormalisation Draw(Random random)
    {
        // of one element a channel has no unbiased variance, and libtorch refuses it
        var shape = new Shape(Shapes.Extent(random, 5), Shapes.Extent(random, 16), 1 + Shapes.Extent(random, 16), Shapes.Extent(random, 120));
        Pool2dGeometry? pool = random.Next(2) == 0 ? null : Shapes.Pool(random, shape[0], shape[1], shape[2], shape[3]);
        return new(shape, Draw(random, pool));
    }

    public static BatchNormSettings Draw(Random random, Pool2dGeometry? pool) =>
        new(random.Next(4) == 0 ? 1e-3f : 1e-5f, random.Next(4) == 0 ? 0.5f : 0.1f, random.Next(2) == 0, pool);

    public override void Compare(Trial t)
    {
        var channels = new Shape(Input[3]);
        var output = Settings.Pool?.Output ?? Input;
        long count = Input.Count / channels.Count;
        var p = BatchNormProblem.Pose(t.Random, Input, Settings, t.Act, Tolerance.Kink);
        double[] runningMean = Numbers.Uniform(t.Random, channels.Count), runningVariance = Numbers.Uniform(t.Random, channels.Count, low: 0.1, high: 2);
        double[] startGamma = Numbers.Uniform(t.Random, channels.Count, low: -5, high: 5), startBeta = Numbers.Uniform(t.Random, channels.Count, low: -5, high: 5);
        double[] dY = Numbers.Uniform(t.Random, output.Count, t.Act);

        var peerX = t.Data(p.X, Input);
        var (peerGamma, peerBeta) = (Oracle.Leaf(p.Gamma, channels), Oracle.Leaf(p.Beta, channels));
        var (peerRunningMean, peerRunningVariance) = (Oracle.Constant(runningMean, channels), Oracle.Constant(runningVariance, channels));
        var (evaluated, _) = Pool(Oracle.BatchNorm(peerX, peerGamma, peerBeta, peerRunningMean, peerRunningVariance, Settings, training: false));
        var (peerY, winners) = Pool(Oracle.BatchNorm(peerX, peerGamma, peerBeta, peerRunningMean, peerRunningVariance, Settings, training: true));
        double[] error = Tolerance.Sum(DType.F32, count, p.ActivationMagnitude(), p.Activation());
        SilenceUndecided(dY, p, winners, error);
        Oracle.Backward(peerY, dY, output);

        Tensor Given(string name, double[] values) => t.Op.Input(name, channels, DType.F32, Numbers.Round(values, DType.F32));
        Tensor PerChannel(string name) => t.Op.Output(name, channels, DType.F32);
        var x = t.Op.Input("x", Input, t.Act, p.X);
        var (gamma, beta) = (Given("gamma", p.Gamma), Given("beta", p.Beta));
        var tensorDY = t.Op.Input("dY", output, t.Act, dY);
        var (y, yEvaluated) = (t.Op.Output("y", output, t.Act), t.Op.Output("y of evaluation", output, t.Act));
        var argmax = Settings.Pool is null ? null : t.Op.Output("argmax", output, DType.U8);
        var (mean, inverseStd) = (PerChannel("mean"), PerChannel("inverseStd"));
        var (movedMean, movedVariance) = (t.Op.Sum("runningMean", channels, runningMean), t.Op.Sum("runningVariance", channels, runningVariance));
        var (givenRunningMean, givenRunningVariance) = (Given("given runningMean", runningMean), Given("given runningVariance", runningVariance));
        // backward behind libtorch's forward: where elements of a window tie up to rounding, either may win
        var (givenMean, givenInverseStd) = (Given("given mean", p.Mean), Given("given inverseStd", p.InverseStd));
        var givenArgmax = winners is null ? null : t.Op.Input("libtorch's argmax", output, DType.U8, Numbers.Of(winners));
        var dX = t.Op.Output("dX", Input, t.Act);
        var (dGamma, dBeta) = (t.Op.Sum("dGamma", channels, startGamma), t.Op.Sum("dBeta", channels, startBeta));

        t.Op.Run(device =>
        {
            device.BatchNormForward(y, argmax, mean, inverseStd, movedMean, movedVariance, x, null, gamma, beta, Settings);
            device.BatchNormInference(yEvaluated, x, gamma, beta, givenRunningMean, givenRunningVariance, Settings);
            device.BatchNormBackward(dX, dGamma, dBeta, tensorDY, givenArgmax, x, gamma, beta, givenMean, givenInverseStd, Settings);
        });

        var (peerVariance, peerMean) = torch.var_mean(peerX, [0, 1, 2], unbiased: false);
        double[] expectedMean = Oracle.Values(peerMean), expectedInverseStd = Oracle.Values((peerVariance + Settings.Epsilon).rsqrt());
        t.Expect(mean, expectedMean, Tolerance.Sum(DType.F32, count, p.MeanMagnitude, expectedMean));
        t.Expect(inverseStd, expectedInverseStd, Tolerance.Sum(DType.F32, count, p.InverseStd, expectedInverseStd));
        double[] newMean = Oracle.Values(peerRunningMean), newVariance = Oracle.Values(peerRunningVariance);
        t.Expect(movedMean, newMean, Tolerance.Sum(DType.F32, count, Reference.Plus(Numbers.Abs(runningMean), p.MeanMagnitude), newMean));
        t.Expect(movedVariance, newVariance, Tolerance.Sum(DType.F32, count, newVariance, newVariance));
        t.ExpectActivation(y, argmax, p, Oracle.Values(peerY), error);

        var evaluation = p with { Mean = runningMean, Variance = runningVariance };
        t.ExpectActivation(yEvaluated, null, evaluation, Oracle.Values(evaluated), Tolerance.Sum(DType.F32, count, evaluation.ActivationMagnitude(), evaluation.Activation()));

        // what the rounding of the given statistics changes, and the roundings of the pass
        var (exact, stored) = (p.Backward(dY, winners), p.WithStatisticsAsStored().Backward(dY, winners));
        var magnitude = p.BackwardMagnitude(dY, winners);
        double[] Bound(DType type, long length, double[] size, double[] expected, double[] ofExact, double[] ofStored) =>
            Reference.Plus(Tolerance.Sum(type, length, size, expected), Numbers.Abs([.. ofExact.Zip(ofStored, (a, b) => a - b)]));
        double[] expectedDX = Oracle.Gradient(peerX);
        t.Expect(dX, expectedDX, Bound(t.Act, count, magnitude.DX, expectedDX, exact.DX, stored.DX));
        ExpectSum(dGamma, startGamma, Oracle.Gradient(peerGamma), magnitude.DGamma, exact.DGamma, stored.DGamma);
        ExpectSum(dBeta, startBeta, Oracle.Gradient(peerBeta), magnitude.DBeta, exact.DBeta, stored.DBeta);

        void ExpectSum(Tensor sum, double[] start, double[] gradient, double[] size, double[] ofExact, double[] ofStored)
        {
            double[] total = Reference.Plus(start, gradient);
            t.Expect(sum, total, Bound(DType.F32, count + 1, Reference.Plus(Numbers.Abs(start), size), total, ofExact, ofStored));
        }
    }

    /// <summary>Where an element lies so near to the kink of ReLU that rounding decides whether it is on, it gets no gradient.</summary>
    /// <param name="error">How far a normalised element may be off.</param>
    public static void SilenceUndecided(double[] dY, BatchNormProblem p, int[]? winners, double[] error)
    {
        double[] normalised = p.Normalised();
        for (int i = 0; i < dY.Length && p.Settings.Relu; i++)
        {
            int input = winners is null ? i : Reference.PoolInput(p.Settings.Pool!.Value, i, winners[i])!.Value;
            if (Math.Abs(normalised[input]) <= error[input])
                dY[i] = 0;
        }
    }

    private (torch.Tensor Y, int[]? Argmax) Pool(torch.Tensor x)
    {
        if (Settings.Pool is not { } pool)
            return (x, null);
        return Oracle.MaxPool(x, pool);
    }
}
