namespace Avedis.Trainer.Probes;

/// <summary>Rows From .. To - 1 of the shuffled train rows.</summary>
/// <param name="Step">The step of the probe that would have coded them best; 0 for the classes' frequencies, and in the first block.</param>
public sealed record OnlineBlock(int From, int To, int Step, double Bits);

/// <summary>How many bits the labels of the train clips take for one who has their embeddings.</summary>
/// <param name="UniformBits">Without embeddings: clips times log2 of the classes.</param>
/// <param name="PriorBits">Without embeddings, but knowing how frequent each class is: clips times the entropy of that.</param>
/// <param name="Compression">UniformBits / Bits.</param>
/// <param name="PriorCompression">PriorBits / Bits; about 1 where the embeddings tell nothing.</param>
public sealed record OnlineCodeResult(
    ProbeKind Kind, int Clips, double Bits, double BitsPerClip, double UniformBits, double PriorBits, double Compression, double PriorCompression,
    IReadOnlyList<OnlineBlock> Blocks);

/// <summary>
/// Minimum description length by the online code (Voita and Titov, "Information-theoretic probing with minimum description length", EMNLP 2020): the train
/// rows are sent block by block; a probe trained on all blocks before gives the probabilities that code the next. The first block costs log2 classes for
/// each label. So a label that is easy to extract is cheap, and one that only much data or a large probe extracts is not.
/// <para>
/// A probe trained to the end on few rows is sure of everything and wrong at great cost, and where to stop cannot be told from the few rows more that a prefix
/// could spare. So a block is coded by the mixture of the probe's states, of all steps at which a probe is looked at and, with half of the weight, of no
/// probe but the frequencies of the classes so far. A mixture of predictors that know only the prefix is itself one: it never looks ahead, and costs
/// at most as many bits more than its best member as that member's weight has: one where nothing can be learnt, five otherwise. Within a member every
/// probability is mixed with a small part of those frequencies, so that no label costs without bound.
/// </para>
/// </summary>
public static class OnlineCode
{
    /// <summary>Ends of the blocks, in percent of the train rows.</summary>
    private static readonly double[] stamps = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25, 50, 100];

    /// <summary>Blocks that end before so many rows are part of the first: no probe learns from so few.</summary>
    private const int FirstBlock = 20;

    /// <param name="data">What the probe has on its device.</param>
    /// <param name="substitute">Labels in place of the train rows' own.</param>
    public static OnlineCodeResult Run(
        Probe probe, ProbeKind kind, ulong seed, ProbeData data, int[]? substitute = null, CancellationToken cancellation = default)
    {
        int[] labels = substitute ?? data.Labels.Train;
        int rows = labels.Length, classes = data.Classes;
        int[] ends = [.. stamps.Select(percent => (int)Math.Round(rows * percent / 100)).Where(end => end >= Math.Min(FirstBlock, rows)).Distinct()];
        List<OnlineBlock> blocks = [new(0, ends[0], 0, ends[0] * Math.Log2(classes))];
        for (int i = 1; i < ends.Length; i++)
            blocks.Add(Block(probe, kind, seed, labels, classes, ends[i - 1], ends[i], cancellation));

        double bits = blocks.Sum(block => block.Bits), uniform = rows * Math.Log2(classes);
        double prior = labels.CountBy(label => label).Sum(c => -c.Value * Math.Log2((double)c.Value / rows));
        return new(kind, rows, bits, bits / rows, uniform, prior, uniform / bits, prior / bits, blocks);
    }

    private static OnlineBlock Block(
        Probe probe, ProbeKind kind, ulong seed, int[] labels, int classes, int known, int end, CancellationToken cancellation)
    {
        // Krichevsky and Trofimov 1981: half a clip more than there is of each class
        var counts = new double[classes];
        Array.Fill(counts, 0.5);
        foreach (int label in labels.AsSpan(0, known))
            counts[label]++;
        var prior = Array.ConvertAll(counts, count => count / (known + classes / 2.0));

        List<(int Step, double Bits)> members = [(0, Bits(null))];
        probe.Begin(kind, labels.AsSpan(0, known), balanced: false, seed);
        for (int step = 1; step <= probe.Settings.Steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            probe.Step();
            if (step % probe.Settings.CheckEvery == 0)
                members.Add((step, Bits(probe.TrainLabels(known, labels.AsSpan(known, end - known)))));
        }
        // -log2 of the sum of weight * 2^-bits, from the largest term
        var weighted = members.Select((m, i) => m.Bits + (i == 0 ? 1 : Math.Log2(2 * (members.Count - 1)))).ToList();
        double least = weighted.Min();
        return new(known, end, members.MinBy(m => m.Bits).Step, least - Math.Log2(weighted.Sum(bits => Math.Exp(Math.Log(2) * (least - bits)))));

        double Bits(float[]? ofLabels)
        {
            double sum = 0, part = 1.0 / (known + 1);
            for (int i = known; i < end; i++)
            {
                double p = prior[labels[i]];
                if (ofLabels is not null)
                    p = (1 - part) * ofLabels[i - known] + part * p;
                sum -= Math.Log2(p);
            }
            return sum;
        }
    }
}
