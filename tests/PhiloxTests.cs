using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public class PhiloxTests
{
    // the known-answer vectors that the authors publish with Random123 (kat_vectors, philox4x32 with 10 rounds)
    [TestCase(0x0000000000000000UL, 0x0000000000000000UL, 0x0000000000000000UL, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [TestCase(0xffffffffffffffffUL, 0xffffffffffffffffUL, 0xffffffffffffffffUL, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [TestCase(0x85a308d3243f6a88UL, 0x0370734413198a2eUL, 0x299f31d0a4093822UL, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Block_gives_the_published_answers(ulong low, ulong high, ulong key, uint w0, uint w1, uint w2, uint w3) =>
        Assert.That(Philox.Block(low, high, key), Is.EqualTo((w0, w1, w2, w3)));

    [Test]
    public void Words_come_block_by_block_with_the_stream_in_the_high_half()
    {
        var random = new Philox(seed: 7, stream: 9);
        for (ulong block = 0; block < 3; block++)
        {
            var (w0, w1, w2, w3) = Philox.Block(block, 9, 7);
            uint[] drawn = [random.NextUInt(), random.NextUInt(), random.NextUInt(), random.NextUInt()];
            Assert.That(drawn, Is.EqualTo(new[] { w0, w1, w2, w3 }));
        }
    }

    [Test]
    public void Uniform_numbers_stay_in_range_and_fill_it()
    {
        var random = new Philox(1, 2);
        double sum = 0, low = 1, high = 0;
        for (int i = 0; i < 20000; i++)
        {
            double x = i % 2 == 0 ? random.NextDouble() : random.NextFloat();
            sum += x;
            low = Math.Min(low, x);
            high = Math.Max(high, x);
        }
        Assert.That(low, Is.InRange(0, 0.001));
        Assert.That(high, Is.InRange(0.999, 1.0).And.LessThan(1.0));
        Assert.That(sum / 20000, Is.EqualTo(0.5).Within(0.01)); // standard error 0.002
    }

    [Test]
    public void Gaussian_numbers_have_mean_zero_and_variance_one()
    {
        var random = new Philox(3, 0);
        double sum = 0, squares = 0;
        const int count = 40000;
        for (int i = 0; i < count; i++)
        {
            double x = random.NextGaussian();
            sum += x;
            squares += x * x;
        }
        Assert.That(sum / count, Is.EqualTo(0).Within(0.025)); // five standard errors
        Assert.That(squares / count, Is.EqualTo(1).Within(0.036));
    }

    [Test]
    public void Whole_numbers_are_evenly_spread_and_bounded()
    {
        var random = new Philox(5, 0);
        var counts = new int[6];
        for (int i = 0; i < 60000; i++)
            counts[random.Next(6)]++;
        Assert.That(counts, Is.All.EqualTo(10000).Within(460)); // five standard deviations
        Assert.That(random.Next(1), Is.Zero);
        Assert.That(() => random.Next(0), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Shuffle_keeps_every_item_and_moves_most()
    {
        int[] items = [.. Enumerable.Range(0, 100)];
        new Philox(11, 4).Shuffle<int>(items);
        Assert.That(items, Is.EquivalentTo(Enumerable.Range(0, 100)));
        Assert.That(items.Where((item, i) => item == i).Count(), Is.LessThan(10));
        int[] again = [.. Enumerable.Range(0, 100)];
        new Philox(11, 4).Shuffle<int>(again);
        Assert.That(again, Is.EqualTo(items));
    }
}
