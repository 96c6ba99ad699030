using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class GradientReversalTests(BackendCase backend) : OpTests(backend)
{
    [Test]
    public void Backward_reverses_and_scales([Values(1, 7, 64, 1003, 70_003)] int count, [Values(0f, 0.3f, 1f, 20f)] float lambda)
    {
        double[] dY = Numbers.Uniform(Seeded(1), count);
        var tensorDY = Op.Input("dY", new Shape(count), DType.F32, dY);
        var tensorLambda = Op.Input("lambda", new Shape(1), DType.F32, [lambda]);
        var dX = Op.Output("dX", new Shape(count), DType.F32);

        Op.Run(device => device.GradientReversalBackward(dX, tensorDY, tensorLambda));

        // one product, one rounding: nothing to tolerate
        Op.ExpectExactly(dX, Numbers.Round(Array.ConvertAll(dY, gradient => -lambda * gradient), DType.F32));
    }

    [Test]
    public void Add_leaves_the_sum_of_both_gradients([Values(1, 7, 64, 1003, 70_003)] int count, [Values(0f, 0.3f, 1f, 20f)] float lambda)
    {
        var random = Seeded(2);
        double[] start = Numbers.Uniform(random, count), dY = Numbers.Uniform(random, count);
        var tensorDY = Op.Input("dY", new Shape(count), DType.F32, dY);
        var tensorLambda = Op.Input("lambda", new Shape(1), DType.F32, [lambda]);
        var dX = Op.Sum("dX", new Shape(count), start);

        Op.Run(device => device.GradientReversalAdd(dX, tensorDY, tensorLambda));

        double[] reversed = Array.ConvertAll(dY, gradient => -lambda * gradient), expected = Reference.Plus(start, reversed);
        double[] magnitude = Reference.Plus(Numbers.Abs(start), Numbers.Abs(reversed));
        Op.Expect(dX, expected, Tolerance.Sum(DType.F32, 1, magnitude, expected));
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (count, lambda) = (Extent(random, 5000), 4 * random.NextSingle() - 2);
        return [() => Backward_reverses_and_scales(count, lambda), () => Add_leaves_the_sum_of_both_gradients(count, lambda)];
    });
}
