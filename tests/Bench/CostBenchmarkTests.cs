using Avedis.Bench;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class CostBenchmarkTests
{
    private static readonly CostAxis Axis = new("batch", "clips", 2, 16, (work, value) => work with { Clips = value });

    [Test]
    public void A_size_is_doubled_from_its_start()
    {
        Assert.That(Axis.Values, Is.EqualTo(new[] { 2, 4, 8, 16 }));
        Assert.That(CostBenchmark.Axes(1).Single(axis => axis.Name == "speakers").Values, Is.EqualTo(new[] { 100, 200 }));
        Assert.That(CostBenchmark.Axes(null).Single(axis => axis.Name == "speakers").Values.Last(), Is.EqualTo(102_400));
    }

    [Test]
    public void The_exponent_is_that_of_the_last_two_doublings()
    {
        // a constant part, then linear in time; memory with the square
        CostPoint[] points = [new(2, 1, 100, 1, 9), new(4, 1.5, 100, 4, 9), new(8, 3, 100, 16, 9), new(16, 6, 100, 64, 9)];
        var growth = CostBenchmark.Growth(Axis, points);
        Assert.That((growth.TimeExponent, growth.PeakExponent, growth.PlannedExponent), Is.EqualTo((1.0, 0.0, 2.0)));
        Assert.That(CostBenchmark.Growth(Axis, points[..2]).TimeExponent, Is.Null);
    }

    [Test]
    public void The_table_has_the_growth_and_every_point()
    {
        CostPoint[] points = [new(2, 0.001, 100 << 20, 1 << 20, 9), new(4, 0.002, 100 << 20, 2 << 20, 9), new(8, 0.004, 100 << 20, 4 << 20, 9)];
        string table = CostBenchmark.Markdown(new("cpu", "a machine", "1", "demo", "fp32", 2, 0.1, 3, [CostBenchmark.Growth(Axis, points)]));
        Assert.That(table, Does.Contain("| batch, clips | 2 | 8 | 1.00 | 0.00 | 1.00 |").And.Contain("| 4 | 2 | 100 | 2.0 |").And.Contain("do not count: 3."));
    }

    [Test]
    public void A_workload_changes_only_the_sizes_that_it_is_told()
    {
        var work = new Workload("demo", 3, MelSteps: 75, Embedding: 16);
        Assert.That(work.Size, Is.EqualTo(new GoldenBatchSize(3, 8, 64, 40, 75, 24, 5)));
        Assert.That(work.Network.Factors.Values.Select(factor => factor.Embedding), Is.EqualTo(new[] { 16, 16 }));
        Assert.That(new Workload("paper", 1).Size, Is.EqualTo(new GoldenBatchSize(1, 50, 224, 40, 1200, 1251, 5)));
    }
}
