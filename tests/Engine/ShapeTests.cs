using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class ShapeTests
{
    [Test]
    public void A_shape_knows_rank_extents_and_count()
    {
        var shape = new Shape(2, 3, 5, 7);
        Assert.That(shape.Rank, Is.EqualTo(4));
        Assert.That(shape.Count, Is.EqualTo(210));
        Assert.That(shape.ToArray(), Is.EqualTo(new[] { 2, 3, 5, 7 }));
        Assert.That(shape.ToString(), Is.EqualTo("[2, 3, 5, 7]"));
    }

    [Test]
    public void One_to_four_dimensions([Values(1, 2, 3, 4)] int rank)
    {
        int[] extents = [.. Enumerable.Range(5, rank)];
        Assert.That(new Shape(extents).ToArray(), Is.EqualTo(extents));
    }

    [Test]
    public void No_or_five_dimensions_are_refused([Values(0, 5)] int rank)
    {
        var failure = Assert.Throws<ArgumentException>(() => _ = new Shape([.. Enumerable.Repeat(1, rank)]));
        Assert.That(failure.Message, Is.EqualTo($"a shape has 1 to 4 dimensions, got {rank}"));
    }

    [Test]
    public void Extents_must_be_positive([Values(0, -1)] int extent)
    {
        var failure = Assert.Throws<ArgumentException>(() => _ = new Shape(4, extent, 2));
        Assert.That(failure.Message, Does.Contain($"[4, {extent}, 2]"));
    }

    [Test]
    public void Only_dimensions_that_exist_can_be_asked_for([Values(-1, 2, 4)] int dimension)
    {
        var shape = new Shape(3, 4);
        Assert.Throws<ArgumentOutOfRangeException>(() => _ = shape[dimension]);
    }

    [Test]
    public void The_count_does_not_overflow_32_bits() => Assert.That(new Shape(1 << 16, 1 << 16, 2).Count, Is.EqualTo(1L << 33));

    /// <summary>[6] and [6, 1] hold the same elements and are different shapes.</summary>
    [Test]
    public void Shapes_are_equal_when_rank_and_extents_are()
    {
        var shape = new Shape(6, 1);
        Assert.That(shape, Is.EqualTo(new Shape(6, 1)));
        Assert.That(shape, Is.Not.EqualTo(new Shape(6)));
        Assert.That(new Shape(2, 3), Is.Not.EqualTo(new Shape(3, 2)));
    }
}
