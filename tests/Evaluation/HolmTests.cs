using Avedis.Engine;
using Avedis.Trainer.Evaluation;
using NUnit.Framework;

namespace Avedis.Tests.Evaluation;

public class HolmTests
{
    private const double Rounding = 1e-15; // one product

    private static void AssertAdjusted(double?[] p, double?[] expected)
    {
        var adjusted = Holm.Adjust(p);
        Assert.That(adjusted, Has.Length.EqualTo(expected.Length));
        for (int i = 0; i < p.Length; i++)
            if (expected[i] is { } value)
                Assert.That(adjusted[i], Is.EqualTo(value).Within(Rounding), $"value {i}");
            else
                Assert.That(adjusted[i], Is.Null, $"value {i}");
    }

    [Test]
    public void A_hand_example() => // 4 x .005, 3 x .01, 2 x .03, and 1 x .04 raised to the one before
        AssertAdjusted([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]);

    [Test]
    public void Not_applicable_does_not_count() => AssertAdjusted([null, 0.01, 0.04, null, 0.03, 0.005], [null, 0.03, 0.06, null, 0.06, 0.02]);

    [Test]
    public void Capped_at_one() => AssertAdjusted([0.5, 0.6, 0, 1], [1, 1, 0, 1]);

    [Test]
    public void Ties_stay_ties() => AssertAdjusted([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]);

    [Test]
    public void Nothing_or_one_test_is_not_changed()
    {
        AssertAdjusted([], []);
        AssertAdjusted([null, null], [null, null]);
        AssertAdjusted([null, 0.3], [null, 0.3]);
    }

    [Test]
    public void Monotone_and_between_the_raw_value_and_bonferronis()
    {
        var random = new Philox(seed: 1, stream: 0);
        double?[] p = [.. Enumerable.Range(0, 50).Select(_ => (double?)Math.Pow(random.NextDouble(), 3))];
        var adjusted = Holm.Adjust(p);
        for (int i = 0; i < p.Length; i++)
        {
            Assert.That(adjusted[i], Is.InRange(p[i]!, Math.Min(1, 50 * p[i]!.Value)));
            for (int j = 0; j < p.Length; j++)
                Assert.That(p[i] <= p[j] && adjusted[i] > adjusted[j], Is.False, $"{p[i]} and {p[j]}");
        }
    }

    [TestCase(-0.1)]
    [TestCase(1.1)]
    [TestCase(double.NaN)]
    public void What_is_no_probability_is_refused(double p) => Assert.That(() => Holm.Adjust([0.5, p]), Throws.ArgumentException);
}
