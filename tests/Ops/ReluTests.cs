using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class ReluTests(BackendCase backend) : OpTests(backend)
{
    [Test]
    public void Forward([Values(1, 7, 64, 1003, 70_003)] int count, [Values(DType.F32, DType.BF16)] DType act)
    {
        double[] x = Mixed(Seeded(1), count, act);
        var tensorX = Op.Input("x", new Shape(count), act, x);
        var y = Op.Output("y", new Shape(count), act);

        Op.Run(device => device.ReluForward(y, tensorX));

        Op.ExpectExactly(y, Reference.ReluForward(x));
    }

    /// <summary>Or a training that diverged would not show.</summary>
    [Test]
    public void Not_a_number_passes_through([Values(1, 7, 1003)] int count, [Values(DType.F32, DType.BF16)] DType act)
    {
        var x = Op.Input("x", new Shape(count), act, Numbers.Constant(count, double.NaN));
        var y = Op.Output("y", new Shape(count), act);

        Op.Run(device => device.ReluForward(y, x));

        Assert.That(Op.Read(y), Is.All.NaN);
    }

    /// <summary>Where y is 0 the gradient is 0, whatever the sign of x was.</summary>
    [Test]
    public void Backward([Values(1, 7, 64, 1003, 70_003)] int count, [Values(DType.F32, DType.BF16)] DType act)
    {
        var random = Seeded(2);
        double[] y = Reference.ReluForward(Mixed(random, count, act)), dY = Numbers.Uniform(random, count, act);
        var tensorY = Op.Input("y", new Shape(count), act, y);
        var tensorDY = Op.Input("dY", new Shape(count), act, dY);
        var dX = Op.Output("dX", new Shape(count), act);

        Op.Run(device => device.ReluBackward(dX, tensorDY, tensorY));

        Op.ExpectExactly(dX, Reference.ReluBackward(dY, y));
    }

    /// <summary>Positive, negative, zero and infinite.</summary>
    private static double[] Mixed(Random random, int count, DType act) =>
        [.. Numbers.Uniform(random, count, act).Select((value, i) => (i % 11) switch
        {
            3 => 0,
            5 => double.PositiveInfinity,
            8 => double.NegativeInfinity,
            _ => value,
        })];

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (count, act) = (Extent(random, 5000), Activation(random));
        return [() => Forward(count, act), () => Backward(count, act)];
    });
}
