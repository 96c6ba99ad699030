using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class GradientProjectionTests(BackendCase backend) : OpTests(backend)
{
    private const float Alpha = 0.3f;

    [Test]
    public void A_single_segment_agrees_with_double_precision([Values(1, 3, 64, 1000, 70_001, 600_001)] int count, [Values(0f, Alpha)] float alpha)
    {
        var random = Seeded(1);
        Check(Numbers.Uniform(random, count), Numbers.Uniform(random, count), [count], alpha);
    }

    /// <summary>Behind the first, segments start at any address.</summary>
    [Test]
    public void Segments_are_projected_each_by_itself([Values(0f, Alpha, 30f)] float alpha)
    {
        int[] lengths = [1, 3, 64, 1000, 70_001, 16_384, 1, 16, 257]; // 16,384: whole pieces of the processor's sums, behind a segment of more
        var random = Seeded(2);
        // what belongs to a neighbour would show: their sizes differ
        double[] scale = [.. lengths.SelectMany((length, s) => Numbers.Constant(length, Math.Pow(10, s % 3)))];
        double[] primary = Numbers.Round([.. Numbers.Uniform(random, lengths.Sum()).Zip(scale, (value, by) => value * by)], DType.F32);
        Check(primary, Numbers.Round([.. Numbers.Uniform(random, lengths.Sum()).Zip(scale, (value, by) => value / by)], DType.F32), lengths, alpha);
    }

    [Test]
    public void Many_segments_and_empty_ones()
    {
        int[] lengths = [.. Enumerable.Range(0, 300).Select(s => s % 7 * (s % 5))];
        var random = Seeded(3);
        Check(Numbers.Uniform(random, lengths.Sum()), Numbers.Uniform(random, lengths.Sum()), lengths, Alpha);
    }

    [Test]
    public void A_segment_that_the_adversary_does_not_reach_stays_to_the_bit()
    {
        int[] lengths = [1, 70_001, 3, 64, 1000, 1];
        int[] offsets = Offsets(lengths);
        var random = Seeded(4);
        double[] primary = Numbers.Uniform(random, lengths.Sum()), adversary = Numbers.Uniform(random, lengths.Sum());
        foreach (int s in new[] { 0, 1, 3, 5 })
            Array.Clear(adversary, offsets[s], lengths[s]);
        double[] result = Check(primary, adversary, lengths, Alpha);
        foreach (int s in new[] { 0, 1, 3, 5 })
            Assert.That(result[offsets[s]..offsets[s + 1]], Is.EqualTo(primary[offsets[s]..offsets[s + 1]]), $"segment {s}");
    }

    [Test]
    public void What_is_left_is_orthogonal_to_the_adversary([Values(3, 64, 70_001)] int count)
    {
        var random = Seeded(5);
        // almost parallel: what is left is small against what there was
        double[] adversary = Numbers.Uniform(random, count);
        double[] primary = Numbers.Round([.. adversary.Zip(Numbers.Uniform(random, count), (a, other) => 100 * a + other)], DType.F32);
        double[] result = Check(primary, adversary, [count], alpha: 0);
        // each element was rounded once
        double left = result.Zip(adversary, (p, a) => p * a).Sum(), magnitude = result.Zip(adversary, (p, a) => Math.Abs(p * a)).Sum();
        Assert.That(left, Is.Zero.Within(Tolerance.F32 * magnitude + Sums(count, 100 * adversary.Sum(a => a * a))));
    }

    /// <summary>The direction counts, not the size: squares of 1e-25 are nothing in F32, those of 1e25 infinite.</summary>
    [TestCase(1e-25)]
    [TestCase(1e25)]
    public void A_gradient_of_any_size_has_a_direction(double size)
    {
        const int Count = 1000;
        var random = Seeded(6);
        double[] adversary = Numbers.Round(Array.ConvertAll(Numbers.Uniform(random, Count), value => value * size), DType.F32);
        Check(Numbers.Uniform(random, Count), adversary, [Count], alpha: 0);
    }

    [Test]
    public void A_value_that_is_not_finite_stays_visible([Values(double.NaN, double.PositiveInfinity)] double value)
    {
        double[] adversary = Numbers.Constant(100, 1);
        adversary[70] = value;
        double[] result = Execute(Op, Numbers.Constant(200, 2), [.. adversary, .. Numbers.Constant(100, 1)], [100, 100], Alpha).Result;
        Assert.That(result[..100], Has.Some.NaN);
        Assert.That(result[100..], Has.None.NaN);
    }

    private double[] Check(double[] primary, double[] adversary, int[] lengths, float alpha)
    {
        var (tensor, result) = Execute(Op, primary, adversary, lengths, alpha);
        int[] offsets = Offsets(lengths);
        double[] expected = Reference.GradientProjection(primary, adversary, offsets, alpha), allowed = new double[primary.Length];
        foreach (var (begin, end) in offsets.Zip(offsets.Skip(1)))
        {
            double[] p = primary[begin..end], a = adversary[begin..end];
            double square = a.Sum(value => value * value);
            double factor = square == 0 ? 0 : p.Zip(a, (x, y) => Math.Abs(x * y)).Sum() / square + alpha;
            // rounded once; all else is in double precision
            for (int i = begin; i < end && square != 0; i++)
                allowed[i] = Tolerance.F32 * Math.Abs(expected[i]) + Sums(p.Length, Math.Abs(primary[i]) + factor * Math.Abs(adversary[i]));
        }
        Op.Expect(tensor, expected, allowed);
        return result;
    }

    private static double Sums(int length, double magnitude) => Tolerance.Walk * Math.Sqrt(length) * Tolerance.Double * magnitude;

    private static int[] Offsets(int[] lengths) => [0, .. lengths.Select((_, s) => lengths[..(s + 1)].Sum())];

    private static (Tensor Tensor, double[] Result) Execute(OpHarness op, double[] primary, double[] adversary, int[] lengths, float alpha)
    {
        var flat = new Shape(primary.Length);
        var tensor = op.Sum("primary", flat, primary);
        var tensorAdversary = op.Input("adversary", flat, DType.F32, adversary);
        var tensorOffsets = op.Input("offsets", new Shape(lengths.Length + 1), DType.I32, Numbers.Of(Offsets(lengths)));
        var tensorAlpha = op.Input("alpha", new Shape(1), DType.F32, [alpha]);
        op.Run(device => device.GradientProjection(tensor, tensorAdversary, tensorOffsets, tensorAlpha));
        return (tensor, op.Read(tensor));
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random => [() => A_single_segment_agrees_with_double_precision(Extent(random, 5000), random.Next(2) * Alpha)]);
}
