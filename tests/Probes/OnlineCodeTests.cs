using Avedis.Engine;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

public sealed class OnlineCodeTests
{
    private static readonly ProbeKind[] kinds = Enum.GetValues<ProbeKind>();

    private static OnlineCodeResult Run(ProbeData data, ProbeKind kind, int[]? labels = null)
    {
        using var probe = new Probe(new CpuBackend(2), data, ProbeCases.Quick with { Codes = true });
        return OnlineCode.Run(probe, kind, seed: 1, data, labels);
    }

    private static ProbeData Data(double distance, int train = 600) =>
        ProbeCases.Data(8, 4, train, 50, 50, seed: 1, ProbeCases.Corners(distance, 0.7, 0.1, 0.1, 0.1));

    [TestCaseSource(nameof(kinds))]
    public void Labels_that_the_embedding_tells_are_cheap(ProbeKind kind)
    {
        var data = Data(distance: 8);
        var code = Run(data, kind);
        var control = Run(data, kind, Controls.Shuffle(data.Labels, 1).Train);
        Assert.That(code.Compression, Is.GreaterThan(5));
        Assert.That(code.PriorCompression, Is.GreaterThan(3));
        Assert.That(control.Bits, Is.GreaterThan(4 * code.Bits));
        Assert.That(control.PriorBits, Is.EqualTo(code.PriorBits).Within(1e-9), "as frequent as before");
    }

    /// <summary>Not less either: a probe that had seen what it codes would remember some of it.</summary>
    [TestCaseSource(nameof(kinds))]
    public void Random_labels_cost_about_their_entropy(ProbeKind kind)
    {
        var code = Run(Data(distance: 0), kind);
        Assert.That(code.PriorCompression, Is.InRange(0.9, 1.02));
        Assert.That(code.Compression, Is.GreaterThan(1.2), "the majority is cheap");
    }

    [Test]
    public void The_figures_follow_from_the_blocks()
    {
        var data = Data(distance: 2, train: 1000);
        var code = Run(data, ProbeKind.Linear);
        double entropy = data.Labels.Train.CountBy(l => l).Sum(c => -c.Value / 1000.0 * Math.Log2(c.Value / 1000.0));
        Assert.Multiple(() =>
        {
            // 1, 2, 4, 8 and 16 rows are too few for a probe
            Assert.That(code.Blocks.Select(b => (b.From, b.To)), Is.EqualTo(new[] { (0, 32), (32, 62), (62, 125), (125, 250), (250, 500), (500, 1000) }));
            Assert.That(code.Blocks[0].Bits, Is.EqualTo(32 * 2), "log2 of four classes each");
            Assert.That(code.Bits, Is.EqualTo(code.Blocks.Sum(b => b.Bits)));
            Assert.That(code.BitsPerClip, Is.EqualTo(code.Bits / 1000));
            Assert.That(code.UniformBits, Is.EqualTo(2000));
            Assert.That(code.PriorBits, Is.EqualTo(1000 * entropy).Within(1e-9));
            Assert.That(code.Compression, Is.EqualTo(2000 / code.Bits));
            Assert.That(code.PriorCompression, Is.EqualTo(code.PriorBits / code.Bits));
        });
    }

    [Test]
    public void A_block_is_coded_by_what_came_before()
    {
        var data = Data(distance: 2, train: 400);
        var code = Run(data, ProbeKind.Hidden);
        // other labels from row 200 on, the last block
        int[] changed = [.. data.Labels.Train.Select((label, i) => i < 200 ? label : 3 - label)];
        var other = Run(data, ProbeKind.Hidden, changed);
        Assert.That(code.Blocks[^1].From, Is.EqualTo(200));
        Assert.That(other.Blocks.SkipLast(1), Is.EqualTo(code.Blocks.SkipLast(1)));
        Assert.That(other.Blocks[^1].Bits, Is.GreaterThan(2 * code.Blocks[^1].Bits));
        Assert.That(double.IsFinite(other.Bits));
    }

    [TestCase(2)]
    [TestCase(19)]
    [TestCase(21)]
    public void Few_rows_are_one_block_or_two(int rows)
    {
        int next = 0;
        var data = ProbeCases.Data(2, 2, rows, 10, 10, seed: 1, (random, row) => next++ % 2);
        var code = Run(data, ProbeKind.Linear);
        Assert.That(code.Blocks, Has.Count.EqualTo(1));
        Assert.That((code.Bits, code.Compression), Is.EqualTo(((double)rows, 1.0)));
    }
}
