using System.Numerics;
using Avedis.Trainer.Evaluation;
using NUnit.Framework;

namespace Avedis.Tests.Evaluation;

public class McNemarTests
{
    private const double Rounding = 1e-12;     // relative
    private const double LogRounding = 1e-10;  // relative: p is the exponential of a difference of logarithms of some thousands

    [Test]
    public void Exact_for_all_counts_of_up_to_twelve_clips()
    {
        for (int n = 0; n <= 12; n++)
            for (int b = 0; b <= n; b++)
            {
                // all 2^n ways in which fair coins could have given the clips to A and B: how many are at least as lopsided?
                int lopsided = 0;
                for (uint coins = 0; coins < 1u << n; coins++)
                    if (Math.Abs((2 * BitOperations.PopCount(coins)) - n) >= Math.Abs((2 * b) - n))
                        lopsided++;
                Assert.That(new McNemar(b, n - b).P, Is.EqualTo((double)lopsided / (1 << n)).Within(Rounding), $"{b} and {n - b}");
            }
    }

    // binomial sums of whole numbers
    [TestCase(5, 15, 0.0413894653320313)]
    [TestCase(121, 59, 4.43444926375518e-6)]
    [TestCase(3000, 2500, 1.66152561054226e-11)]
    [TestCase(900, 100, 1.34034355800126e-161)]
    [TestCase(0, 6, 0.03125)]
    public void Exact_for_thousands_of_clips(long b, long c, double p)
    {
        Assert.Multiple(() =>
        {
            Assert.That(new McNemar(b, c).P, Is.EqualTo(p).Within(LogRounding * p));
            Assert.That(new McNemar(c, b).P, Is.EqualTo(new McNemar(b, c).P));
        });
    }

    [TestCase(0, 0)]
    [TestCase(1, 0)]
    [TestCase(50, 50)]
    [TestCase(1_000_000, 1_000_000)]
    public void No_difference_is_one(long b, long c) => Assert.That(new McNemar(b, c).P, Is.EqualTo(1).Within(Rounding));

    [Test]
    public void Never_above_one_nor_below_zero()
    {
        for (long b = 0; b < 2000; b += 7)
            Assert.Multiple(() =>
            {
                Assert.That(new McNemar(b, b + 1).P, Is.InRange(0.9, 1));
                Assert.That(new McNemar(b, 3 * b + 1).P, Is.InRange(0, 1));
                Assert.That(new McNemar(0, b).P, Is.InRange(0, 1));
            });
    }

    [Test]
    public void Counts_clips_that_one_model_alone_gets_right()
    {
        Assert.That(McNemar.Of([0, 0, 1, 1, 2, 2], [0, 0, 1, 0, 1, 0], [0, 1, 0, 1, 1, 1]), Is.EqualTo(new McNemar(OnlyA: 2, OnlyB: 1)));
        Assert.That(McNemar.Of([], [], []).P, Is.EqualTo(1));
    }

    [Test]
    public void Bad_counts_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => McNemar.Of([0], [0], [0, 1]), Throws.ArgumentException);
            Assert.That(() => McNemar.Of([0, 1], [0], [0, 1]), Throws.ArgumentException);
            Assert.That(() => new McNemar(-1, 2).P, Throws.ArgumentException);
        });
    }
}
