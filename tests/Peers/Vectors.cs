using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;
using static TorchSharp.torch.nn;

namespace Avedis.Peers;

/// <summary>The three passes of a linear layer. At BF16 weights and bias are exact in it: the contract leaves open whether they are rounded on the way in.</summary>
internal sealed record LinearLayer(int Rows, int Inputs, int Outputs) : PeerCase("linear")
{
    public override string Description => $"[{Rows}, {Inputs}] by [{Outputs}, {Inputs}]";

    public static LinearLayer Draw(Random random) => new(Shapes.Extent(random, 70), Shapes.Extent(random, 300), Shapes.Extent(random, 300));

    public override void Compare(Trial t)
    {
        Shape left = new(Rows, Inputs), weights = new(Outputs, Inputs), result = new(Rows, Outputs), biases = new(Outputs);
        double[] x = Numbers.Uniform(t.Random, left.Count, t.Act), dY = Numbers.Uniform(t.Random, result.Count, t.Act);
        double[] weight = Numbers.Uniform(t.Random, weights.Count, t.Act), bias = Numbers.Uniform(t.Random, Outputs, t.Act);
        double[] startWeight = Numbers.Uniform(t.Random, weights.Count, low: -5, high: 5), startBias = Numbers.Uniform(t.Random, Outputs, low: -5, high: 5);
        var tensorX = t.Op.Input("x", left, t.Act, x);
        var tensorWeight = t.Op.Input("weight", weights, DType.F32, weight);
        var tensorBias = t.Op.Input("bias", biases, DType.F32, bias);
        var tensorDY = t.Op.Input("dY", result, t.Act, dY);
        var y = t.Op.Output("y", result, t.Act);
        var dX = t.Op.Output("dX", left, t.Act);
        var (dWeight, dBias) = (t.Op.Sum("dWeight", weights, startWeight), t.Op.Sum("dBias", biases, startBias));

        t.Op.Run(device =>
        {
            device.LinearForward(y, tensorX, tensorWeight, tensorBias);
            device.LinearBackwardData(dX, tensorDY, tensorWeight);
            device.LinearBackwardWeight(dWeight, dBias, tensorDY, tensorX);
        });

        var (peerX, peerWeight, peerBias) = (t.Data(x, left), Oracle.Leaf(weight, weights), Oracle.Leaf(bias, biases));
        var peerY = functional.linear(peerX, peerWeight, peerBias);
        Oracle.Backward(peerY, dY, result);

        double[] expectedY = Oracle.Values(peerY), expectedDX = Oracle.Gradient(peerX);
        double[] sizeX = Numbers.Abs(x), sizeWeight = Numbers.Abs(weight);
        var size = Reference.LinearBackward(Numbers.Abs(dY), sizeX, sizeWeight, Rows, Inputs);
        t.Expect(y, expectedY, Tolerance.Sum(t.Act, Inputs + 1, Reference.LinearForward(sizeX, sizeWeight, Numbers.Abs(bias), Rows, Inputs), expectedY));
        t.Expect(dX, expectedDX, Tolerance.Sum(t.Act, Outputs, size.DX, expectedDX));
        ExpectSum(dWeight, startWeight, Oracle.Gradient(peerWeight), size.DWeight);
        ExpectSum(dBias, startBias, Oracle.Gradient(peerBias), size.DBias);

        void ExpectSum(Tensor sum, double[] start, double[] gradient, double[] gradientSize)
        {
            double[] total = Reference.Plus(start, gradient);
            t.Expect(sum, total, Tolerance.Sum(DType.F32, Rows + 1, Reference.Plus(Numbers.Abs(start), gradientSize), total));
        }
    }
}

/// <summary>Mean over the valid steps; the others hold no number for the engine.</summary>
internal sealed record MeanOverSteps(int N, int Steps, int Channels) : PeerCase("masked mean")
{
    public override string Description => $"[{N}, {Steps}, {Channels}]";

    public static MeanOverSteps Draw(Random random) => new(Shapes.Extent(random, 9), Shapes.Extent(random, 80), Shapes.Extent(random, 150));

    public override void Compare(Trial t)
    {
        Shape sequence = new(N, Steps, Channels), result = new(N, Channels), clips = new(N);
        int[] lengths = [.. Enumerable.Range(0, N).Select(i => i == 0 ? Steps : i == 1 ? 1 : t.Random.Next(1, Steps + 1))];
        double[] x = Numbers.Uniform(t.Random, sequence.Count, t.Act), dY = Numbers.Uniform(t.Random, result.Count);
        double[] valid = [.. x.Select((_, i) => i / Channels % Steps < lengths[i / Channels / Steps] ? 1.0 : 0)];
        var tensorX = t.Op.Input("x", sequence, t.Act, [.. x.Zip(valid, (value, one) => one > 0 ? value : double.NaN)]);
        var tensorLengths = t.Op.Input("lengths", clips, DType.I32, Numbers.Of(lengths));
        var tensorDY = t.Op.Input("dY", result, DType.F32, dY);
        var y = t.Op.Output("y", result, DType.F32);
        var dX = t.Op.Output("dX", sequence, t.Act);

        t.Op.Run(device =>
        {
            device.MaskedMeanForward(y, tensorX, tensorLengths);
            device.MaskedMeanBackward(dX, tensorDY, tensorLengths);
        });

        var peerX = t.Data(x, sequence);
        var peerY = (peerX * Oracle.Constant(valid, sequence)).sum(1) / Oracle.Constant(Numbers.Of(lengths), clips).unsqueeze(1);
        Oracle.Backward(peerY, dY, result);

        double[] expectedY = Oracle.Values(peerY), expectedDX = Oracle.Gradient(peerX);
        t.Expect(y, expectedY, Tolerance.Sum(DType.F32, Steps, Reference.MaskedMeanForward(Numbers.Abs(x), lengths, Steps, Channels), expectedY));
        t.Expect(dX, expectedDX, Tolerance.Sum(t.Act, 1, Numbers.Abs(expectedDX), expectedDX));
    }
}

/// <summary>Gradient reversal alone and added to what else reads the activation. For libtorch it is -lambda x, with the value of x.</summary>
internal sealed record Reversal(int Count, float Lambda) : PeerCase("gradient reversal")
{
    public override string Description => $"[{Count}] lambda {Lambda}";

    public override bool HasActivations => false;

    public static Reversal Draw(Random random) => new(Shapes.Extent(random, 5000), 4 * random.NextSingle() - 2);

    public override void Compare(Trial t)
    {
        var shape = new Shape(Count);
        double[] x = Numbers.Uniform(t.Random, Count), dY = Numbers.Uniform(t.Random, Count), other = Numbers.Uniform(t.Random, Count);
        var tensorDY = t.Op.Input("dY", shape, DType.F32, dY);
        var tensorLambda = t.Op.Input("lambda", new Shape(1), DType.F32, [Lambda]);
        var dX = t.Op.Output("dX", shape, DType.F32);
        var sum = t.Op.Sum("sum", shape, other);

        t.Op.Run(device =>
        {
            device.GradientReversalBackward(dX, tensorDY, tensorLambda);
            device.GradientReversalAdd(sum, tensorDY, tensorLambda);
        });

        var peerX = Oracle.Leaf(x, shape);
        var reversed = -Lambda * peerX + ((1 + (double)Lambda) * peerX).detach();
        // the gradient is the data of this operation
        (reversed * t.Data(dY, shape).detach()).sum().backward();
        double[] gradient = Oracle.Gradient(peerX), total = Reference.Plus(other, gradient);

        // one product, one rounding: nothing to tolerate
        t.Expect(dX, Numbers.Round(gradient, DType.F32), new double[Count]);
        t.Expect(sum, total, Tolerance.Sum(DType.F32, 1, Reference.Plus(Numbers.Abs(other), Numbers.Abs(gradient)), total));
    }
}
