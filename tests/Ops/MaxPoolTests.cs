using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class MaxPoolTests(BackendCase backend) : OpTests(backend)
{
    private static readonly Pool2dGeometry[] geometries =
    [
        // N, H, W, C, R, S, stride, pad
        new(1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
        new(2, 5, 7, 3, 1, 1, 1, 1, 0, 0),
        new(1, 7, 5, 17, 7, 5, 1, 1, 0, 0),
        // as many elements as a byte tells apart
        new(2, 16, 16, 17, 16, 16, 1, 1, 0, 0),
        new(1, 17, 19, 8, 16, 16, 1, 2, 1, 0),
        new(3, 1, 13, 33, 1, 3, 1, 2, 0, 0),
        new(2, 11, 1, 24, 3, 1, 2, 1, 1, 0),
        new(2, 8, 9, 3, 2, 2, 3, 4, 0, 0),
        new(1, 4, 5, 5, 3, 3, 1, 1, 2, 2),
        new(2, 2, 2, 17, 3, 3, 2, 2, 1, 1),
        // channels of more than one tile, the last of them narrower; more tiles than blocks
        new(1, 9, 10, 72, 3, 3, 2, 2, 1, 1),
        new(1, 5, 9, 256, 3, 3, 2, 1, 0, 0),
        new(8200, 1, 2, 1, 1, 2, 1, 1, 0, 0),
        // the network's: face pool1, pool2, pool5; voice pool1, pool2, pool5
        new(1, 29, 29, 24, 3, 3, 2, 2, 0, 0),
        new(1, 26, 26, 33, 3, 3, 2, 2, 1, 1),
        new(2, 3, 3, 64, 3, 3, 2, 2, 0, 0),
        new(2, 12, 58, 24, 1, 3, 1, 2, 0, 0),
        new(2, 19, 26, 24, 3, 3, 2, 1, 0, 0),
        new(2, 9, 24, 33, 3, 3, 2, 2, 0, 0),
    ];

    private static IEnumerable<TestCaseData> Cases() =>
        from g in geometries.Concat(RandomGeometries(seed: 1, count: 25))
        from act in Activations
        let name = $"{g.Input} window {g.R}x{g.S} stride {g.StrideH}x{g.StrideW} pad {g.PadH}x{g.PadW}"
        select new TestCaseData(g, act).SetArgDisplayNames(name, act.ToString());

    [TestCaseSource(nameof(Cases))]
    public void Forward(Pool2dGeometry g, DType act) => ExpectForward(g, act, Numbers.Uniform(Seeded(2), g.Input.Count, act));

    /// <summary>Three different values in all: nearly every window has a tie, which its first element must win.</summary>
    [TestCaseSource(nameof(Cases))]
    public void The_first_of_equals_wins(Pool2dGeometry g, DType act) =>
        ExpectForward(g, act, Numbers.Integers(Seeded(3), g.Input.Count, -1, 1));

    /// <summary>Zero padding that took part would beat every one of these.</summary>
    [TestCaseSource(nameof(Cases))]
    public void Padding_never_wins_over_negative_values(Pool2dGeometry g, DType act) =>
        ExpectForward(g, act, Numbers.Uniform(Seeded(4), g.Input.Count, act, -1e30, -1));

    [TestCaseSource(nameof(Cases))]
    public void Padding_never_wins_over_minus_infinity(Pool2dGeometry g, DType act) =>
        ExpectForward(g, act, Numbers.Constant(g.Input.Count, double.NegativeInfinity));

    /// <summary>An element that won several windows receives the sum of their gradients.</summary>
    [TestCaseSource(nameof(Cases))]
    public void Backward(Pool2dGeometry g, DType act)
    {
        var random = Seeded(5);
        int[] argmax = Reference.MaxPoolForward(Numbers.Uniform(random, g.Input.Count), g).Argmax;
        double[] dY = Numbers.Uniform(random, g.Output.Count, act);
        var tensorDY = Op.Input("dY", g.Output, act, dY);
        var tensorArgmax = Op.Input("argmax", g.Output, DType.U8, Numbers.Of(argmax));
        var dX = Op.Output("dX", g.Input, act);

        Op.Run(device => device.MaxPoolBackward(dX, tensorDY, tensorArgmax, g));

        double[] expected = Reference.MaxPoolBackward(dY, argmax, g);
        Op.Expect(dX, expected, Tolerance.Sum(act, g.R * g.S, Reference.MaxPoolBackward(Numbers.Abs(dY), argmax, g), expected));
    }

    /// <summary>Which is the last that a byte can name.</summary>
    [Test]
    public void The_last_of_256_elements_wins([Values(DType.F32, DType.BF16)] DType act)
    {
        var g = new Pool2dGeometry(2, 16, 16, 17, 16, 16, 1, 1, 0, 0);
        double[] values = [.. Enumerable.Range(0, (int)g.Input.Count).Select(i => i / g.C % Pool2dGeometry.MostElements == Pool2dGeometry.MostElements - 1 ? 1.0 : -1)];
        double[] ones = Numbers.Constant(g.Output.Count, 1);
        var x = Op.Input("x", g.Input, act, values);
        var dY = Op.Input("dY", g.Output, act, ones);
        var (y, argmax, dX) = (Op.Output("y", g.Output, act), Op.Output("argmax", g.Output, DType.U8), Op.Output("dX", g.Input, act));

        Op.Run(device =>
        {
            device.MaxPoolForward(y, argmax, x, g);
            device.MaxPoolBackward(dX, dY, argmax, g);
        });

        Op.ExpectExactly(y, ones);
        Op.ExpectExactly(argmax, Numbers.Constant(g.Output.Count, Pool2dGeometry.MostElements - 1));
        Op.ExpectExactly(dX, [.. values.Select(value => Math.Max(value, 0))]);
    }

    /// <summary>A diverged network must be seen as such by the loss; it must never send the backward pass outside its memory.</summary>
    [TestCaseSource(nameof(Cases))]
    public void Not_a_number_stays_visible_and_inside_the_window(Pool2dGeometry g, DType act)
    {
        var x = Op.Input("x", g.Input, act, Numbers.Constant(g.Input.Count, double.NaN));
        var y = Op.Output("y", g.Output, act);
        var argmax = Op.Output("argmax", g.Output, DType.U8);

        Op.Run(device => device.MaxPoolForward(y, argmax, x, g));

        Assert.That(Op.Read(y), Is.All.NaN);
        double[] winners = Op.Read(argmax);
        for (int i = 0; i < winners.Length; i++)
            if (winners[i] >= g.R * g.S || Reference.PoolInput(g, i, (int)winners[i]) is null)
                Assert.Fail($"argmax {winners[i]} of output {i} is in the padding");
    }

    private void ExpectForward(Pool2dGeometry g, DType act, double[] x)
    {
        var tensorX = Op.Input("x", g.Input, act, x);
        var y = Op.Output("y", g.Output, act);
        var argmax = Op.Output("argmax", g.Output, DType.U8);

        Op.Run(device => device.MaxPoolForward(y, argmax, tensorX, g));

        var expected = Reference.MaxPoolForward(x, g);
        Op.ExpectExactly(y, expected.Y);
        Op.ExpectExactly(argmax, Numbers.Of(expected.Argmax));
    }

    private static IEnumerable<Pool2dGeometry> RandomGeometries(int seed, int count)
    {
        var random = new Random(seed);
        int[] channels = [1, 3, 8, 17, 24, 33];
        while (count > 0)
        {
            int r = random.Next(1, 5), s = random.Next(1, 5);
            var geometry = new Pool2dGeometry(
                random.Next(1, 4), random.Next(1, 14), random.Next(1, 14), channels[random.Next(channels.Length)],
                r, s, random.Next(1, 4), random.Next(1, 4), random.Next(0, r), random.Next(0, s));
            if (geometry.P < 1 || geometry.Q < 1)
                continue;
            count--;
            yield return geometry;
        }
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (g, act) = (RandomGeometries(random.Next(), count: 1).Single(), Activation(random));
        return [() => Forward(g, act), () => Backward(g, act)];
    });
}
