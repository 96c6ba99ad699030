using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// Weights and bias are exact in BF16 where the activations are BF16: the contract leaves open whether they are rounded on the way in.
/// </summary>
public sealed class LinearTests(BackendCase backend) : OpTests(backend)
{
    /// <summary>Small and odd; then heads of 5 and of 1251 classes; then batches of several tiles of rows, of widths that end inside a tile and on its edge.</summary>
    private static IEnumerable<TestCaseData> Cases() =>
        from sizes in new[]
        {
            (1, 1, 1), (1, 17, 1), (1, 1, 24), (3, 33, 7), (2, 1024, 256), (17, 24, 33), (13, 97, 101), (33, 7, 8),
            (16, 256, 5), (16, 128, 1251), (32, 132, 260), (33, 300, 70), (64, 128, 64), (130, 65, 68),
        }
        from act in Activations
        select new TestCaseData(sizes.Item1, sizes.Item2, sizes.Item3, act);

    [TestCaseSource(nameof(Cases))]
    public void Forward(int rows, int inputs, int outputs, DType act)
    {
        var random = Seeded(1);
        double[] x = Numbers.Uniform(random, rows * inputs, act), weight = Numbers.Uniform(random, outputs * inputs, act);
        double[] bias = Numbers.Uniform(random, outputs, act);
        var tensorX = Op.Input("x", new Shape(rows, inputs), act, x);
        var tensorWeight = Op.Input("weight", new Shape(outputs, inputs), DType.F32, weight);
        var tensorBias = Op.Input("bias", new Shape(outputs), DType.F32, bias);
        var y = Op.Output("y", new Shape(rows, outputs), act);

        Op.Run(device => device.LinearForward(y, tensorX, tensorWeight, tensorBias));

        double[] expected = Reference.LinearForward(x, weight, bias, rows, inputs);
        double[] magnitude = Reference.LinearForward(Numbers.Abs(x), Numbers.Abs(weight), Numbers.Abs(bias), rows, inputs);
        Op.Expect(y, expected, Tolerance.Sum(act, inputs + 1, magnitude, expected));
    }

    [TestCaseSource(nameof(Cases))]
    public void Backward_overwrites_dX_and_adds_to_dWeight_and_dBias(int rows, int inputs, int outputs, DType act)
    {
        var random = Seeded(2);
        double[] x = Numbers.Uniform(random, rows * inputs, act), weight = Numbers.Uniform(random, outputs * inputs, act);
        double[] dY = Numbers.Uniform(random, rows * outputs, act);
        double[] startWeight = Numbers.Uniform(random, outputs * inputs, low: -5, high: 5);
        double[] startBias = Numbers.Uniform(random, outputs, low: -5, high: 5);
        var tensorX = Op.Input("x", new Shape(rows, inputs), act, x);
        var tensorWeight = Op.Input("weight", new Shape(outputs, inputs), DType.F32, weight);
        var tensorDY = Op.Input("dY", new Shape(rows, outputs), act, dY);
        var dX = Op.Output("dX", new Shape(rows, inputs), act);
        var dWeight = Op.Sum("dWeight", new Shape(outputs, inputs), startWeight);
        var dBias = Op.Sum("dBias", new Shape(outputs), startBias);

        Op.Run(device =>
        {
            device.LinearBackwardData(dX, tensorDY, tensorWeight);
            device.LinearBackwardWeight(dWeight, dBias, tensorDY, tensorX);
        });

        var expected = Reference.LinearBackward(dY, x, weight, rows, inputs);
        var magnitude = Reference.LinearBackward(Numbers.Abs(dY), Numbers.Abs(x), Numbers.Abs(weight), rows, inputs);
        Op.Expect(dX, expected.DX, Tolerance.Sum(act, outputs, magnitude.DX, expected.DX));
        ExpectAdded(dWeight, startWeight, expected.DWeight, magnitude.DWeight);
        ExpectAdded(dBias, startBias, expected.DBias, magnitude.DBias);

        void ExpectAdded(Tensor tensor, double[] start, double[] sum, double[] sumMagnitude)
        {
            double[] total = Reference.Plus(start, sum);
            Op.Expect(tensor, total, Tolerance.Sum(DType.F32, rows + 1, Reference.Plus(Numbers.Abs(start), sumMagnitude), total));
        }
    }

    /// <summary>Linear in everything, so that a step of one is as exact as a small one.</summary>
    [Test]
    public void Gradients_agree_with_finite_differences_of_the_backend_itself()
    {
        const int Rows = 5, Inputs = 19, Outputs = 7;
        var random = Seeded(3);
        double[] x = Numbers.Uniform(random, Rows * Inputs), weight = Numbers.Uniform(random, Outputs * Inputs);
        double[] bias = Numbers.Uniform(random, Outputs), dY = Numbers.Uniform(random, Rows * Outputs);
        double Loss(double[] atX, double[] atWeight, double[] atBias)
        {
            using var op = new OpHarness(Backend);
            var tensorX = op.Input("x", new Shape(Rows, Inputs), DType.F32, atX);
            var tensorWeight = op.Input("weight", new Shape(Outputs, Inputs), DType.F32, atWeight);
            var tensorBias = op.Input("bias", new Shape(Outputs), DType.F32, atBias);
            var y = op.Output("y", new Shape(Rows, Outputs), DType.F32);
            op.Run(device => device.LinearForward(y, tensorX, tensorWeight, tensorBias));
            return Reference.Dot(dY, op.Read(y));
        }
        var tensorX = Op.Input("x", new Shape(Rows, Inputs), DType.F32, x);
        var tensorWeight = Op.Input("weight", new Shape(Outputs, Inputs), DType.F32, weight);
        var tensorDY = Op.Input("dY", new Shape(Rows, Outputs), DType.F32, dY);
        var dX = Op.Output("dX", new Shape(Rows, Inputs), DType.F32);
        var dWeight = Op.Sum("dWeight", new Shape(Outputs, Inputs), Numbers.Constant(Outputs * Inputs, 0));
        var dBias = Op.Sum("dBias", new Shape(Outputs), Numbers.Constant(Outputs, 0));
        Op.Run(device =>
        {
            device.LinearBackwardData(dX, tensorDY, tensorWeight);
            device.LinearBackwardWeight(dWeight, dBias, tensorDY, tensorX);
        });

        FiniteDifference.CheckDirection("x", at => Loss(at, weight, bias), x, Op.Read(dX), random, step: 1);
        FiniteDifference.CheckDirection("weight", at => Loss(x, at, bias), weight, Op.Read(dWeight), random, step: 1);
        FiniteDifference.CheckDirection("bias", at => Loss(x, weight, at), bias, Op.Read(dBias), random, step: 1);
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (rows, inputs, outputs, act) = (Extent(random, 70), Extent(random, 200), Extent(random, 200), Activation(random));
        return [() => Forward(rows, inputs, outputs, act), () => Backward_overwrites_dX_and_adds_to_dWeight_and_dBias(rows, inputs, outputs, act)];
    });
}
