using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class MaskedMeanTests(BackendCase backend) : OpTests(backend)
{
    private static IEnumerable<TestCaseData> Cases() =>
        from sizes in new (int N, int T, int C)[] { (1, 1, 1), (1, 1, 33), (3, 1, 17), (1, 13, 3), (4, 7, 24), (5, 296, 33), (2, 50, 512) }
        from act in Activations
        select new TestCaseData(sizes.N, sizes.T, sizes.C, act);

    /// <summary>Not a number in the padded steps would spread to the mean if they were read.</summary>
    [TestCaseSource(nameof(Cases))]
    public void Forward_leaves_out_the_padded_steps(int n, int steps, int channels, DType act)
    {
        var random = Seeded(1);
        int[] lengths = Lengths(random, n, steps);
        double[] x = Numbers.Uniform(random, n * steps * channels, act);
        double[] padded = [.. x.Select((value, i) => IsValid(i, lengths, steps, channels) ? value : double.NaN)];
        var tensorX = Op.Input("x", new Shape(n, steps, channels), act, padded);
        var tensorLengths = Op.Input("lengths", new Shape(n), DType.I32, Numbers.Of(lengths));
        var y = Op.Output("y", new Shape(n, channels), DType.F32);

        Op.Run(device => device.MaskedMeanForward(y, tensorX, tensorLengths));

        double[] expected = Reference.MaskedMeanForward(x, lengths, steps, channels);
        double[] magnitude = Reference.MaskedMeanForward(Numbers.Abs(x), lengths, steps, channels);
        Op.Expect(y, expected, Tolerance.Sum(DType.F32, steps, magnitude, expected));
    }

    [TestCaseSource(nameof(Cases))]
    public void Backward_is_zero_in_the_padded_steps(int n, int steps, int channels, DType act)
    {
        var random = Seeded(2);
        int[] lengths = Lengths(random, n, steps);
        double[] dY = Numbers.Uniform(random, n * channels);
        var tensorDY = Op.Input("dY", new Shape(n, channels), DType.F32, dY);
        var tensorLengths = Op.Input("lengths", new Shape(n), DType.I32, Numbers.Of(lengths));
        var dX = Op.Output("dX", new Shape(n, steps, channels), act);

        Op.Run(device => device.MaskedMeanBackward(dX, tensorDY, tensorLengths));

        double[] expected = Reference.MaskedMeanBackward(dY, lengths, steps, channels);
        Op.Expect(dX, expected, Tolerance.Sum(act, 1, Numbers.Abs(expected), expected));
    }

    /// <summary>The shortest, the longest and whatever lies between.</summary>
    private static int[] Lengths(Random random, int n, int steps) =>
        [.. Enumerable.Range(0, n).Select(i => i == 0 ? steps : i == 1 ? 1 : random.Next(1, steps + 1))];

    private static bool IsValid(int index, int[] lengths, int steps, int channels) =>
        index / channels % steps < lengths[index / channels / steps];

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (n, steps, channels, act) = (Extent(random, 9), Extent(random, 60), Extent(random, 100), Activation(random));
        return [() => Forward_leaves_out_the_padded_steps(n, steps, channels, act), () => Backward_is_zero_in_the_padded_steps(n, steps, channels, act)];
    });
}
