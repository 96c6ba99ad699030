using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <param name="Index">Position in the corpus; chooses the clip's random streams.</param>
/// <param name="Number">Position within the speaker's clips.</param>
public sealed record PlannedClip(int Index, Speaker Speaker, int Number, Emotion Emotion, string Split)
{
    /// <summary>Relative to the corpus folder, with forward slashes.</summary>
    public string Path => $"clips/{Speaker.Name}/{Number:0000}.mp4";
}

/// <summary>
/// Who says what with which emotion in which split. Counts are allotted, not drawn: the number of clips of each emotion, of each speaker,
/// of each split and of each emotion in each split are the shares asked for, rounded by largest remainder.
/// </summary>
public static class CorpusPlan
{
    public static readonly string[] Splits = ["train", "validation", "test"];

    private static readonly double[] SplitShares = [0.7, 0.15, 0.15];
    private const int Emotions = 8;

    public static PlannedClip[] Make(SynthOptions options)
    {
        int speakers = options.Speakers, splits = Splits.Length;
        var cast = Speaker.Cast(speakers, options.Seed);
        var random = new Philox(options.Seed, Streams.Plan);
        double[] shares = [options.NeutralShare, .. Enumerable.Repeat((1 - options.NeutralShare) / (Emotions - 1), Emotions - 1)];
        int[] perEmotion = LargestRemainder(options.Clips, shares), perSplit = LargestRemainder(options.Clips, SplitShares);
        int[] perSpeaker = LargestRemainder(options.Clips, [.. Enumerable.Repeat(1.0 / speakers, speakers)]);
        int[,] emotionSplit = Allot(perEmotion, perSplit, SplitTargets(perEmotion));
        int[,] speakerEmotion = Allot(perSpeaker, perEmotion, Preferences(perSpeaker, perEmotion, options.Affinity, random));
        // the rare emotions first, neutral last: its many clips even out what each speaker still lacks in each split
        var due = new double[speakers, splits];
        var shelves = new List<(Emotion, string)>[speakers];
        for (int s = 0; s < speakers; s++)
            shelves[s] = [];
        for (int e = Emotions - 1; e >= 0; e--)
        {
            int[] rows = [.. Enumerable.Range(0, speakers).Select(s => speakerEmotion[s, e])];
            for (int s = 0; s < speakers; s++)
                for (int t = 0; t < splits; t++)
                    due[s, t] += rows[s] * SplitShares[t];
            int[,] counts = Allot(rows, [.. Enumerable.Range(0, splits).Select(t => emotionSplit[e, t])], due);
            for (int s = 0; s < speakers; s++)
                for (int t = 0; t < splits; t++)
                {
                    due[s, t] -= counts[s, t];
                    shelves[s].AddRange(Enumerable.Repeat(((Emotion)e, Splits[t]), counts[s, t]));
                }
        }
        var plan = new List<PlannedClip>();
        for (int s = 0; s < speakers; s++)
        {
            random.Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(shelves[s]));
            foreach (var (emotion, split) in shelves[s])
                plan.Add(new PlannedClip(plan.Count, cast[s], plan.Count - perSpeaker.AsSpan(0, s).ToArray().Sum(), emotion, split));
        }
        return [.. plan];
    }

    /// <summary>Splits <paramref name="total"/> in the proportion of <paramref name="shares"/> (which sum to 1); ties go to the earlier
    /// one.</summary>
    public static int[] LargestRemainder(int total, double[] shares)
    {
        int[] counts = [.. shares.Select(share => (int)Math.Floor((total * share) + 1e-9))];
        var neediest = Enumerable.Range(0, shares.Length).OrderByDescending(i => (total * shares[i]) - counts[i]);
        foreach (int i in neediest.Take(total - counts.Sum()).ToArray())
            counts[i]++;
        return counts;
    }

    /// <summary>Clips of each emotion in each split; an emotion that has a clip for every split gets at least one in each.</summary>
    private static double[,] SplitTargets(int[] perEmotion)
    {
        var targets = new double[Emotions, Splits.Length];
        for (int e = 0; e < Emotions; e++)
        {
            for (int t = 0; t < Splits.Length; t++)
                targets[e, t] = perEmotion[e] * SplitShares[t];
            for (int t = 1; t < Splits.Length; t++)
                if (perEmotion[e] >= Splits.Length && targets[e, t] < 1)
                {
                    targets[e, 0] -= 1 - targets[e, t];
                    targets[e, t] = 1;
                }
        }
        return targets;
    }

    /// <summary>Random preferences of each speaker for each emotion, scaled to the sums of rows and columns (Deming and Stephan
    /// 1940).</summary>
    private static double[,] Preferences(int[] rows, int[] columns, double affinity, Philox random)
    {
        var table = new double[rows.Length, columns.Length];
        for (int r = 0; r < rows.Length; r++)
            for (int c = 0; c < columns.Length; c++)
                table[r, c] = Math.Exp(affinity * random.NextGaussian());
        for (int pass = 0; pass < 50; pass++)
        {
            for (int r = 0; r < rows.Length; r++)
            {
                double sum = Enumerable.Range(0, columns.Length).Sum(c => table[r, c]);
                for (int c = 0; c < columns.Length; c++)
                    table[r, c] *= sum > 0 ? rows[r] / sum : 0;
            }
            for (int c = 0; c < columns.Length; c++)
            {
                double sum = Enumerable.Range(0, rows.Length).Sum(r => table[r, c]);
                for (int r = 0; r < rows.Length; r++)
                    table[r, c] *= sum > 0 ? columns[c] / sum : 0;
            }
        }
        return table;
    }

    /// <summary>
    /// Whole numbers near <paramref name="targets"/> with exactly these sums of rows and columns (both add up to the same total): the whole
    /// parts first, then one by one where most is lacking.
    /// </summary>
    private static int[,] Allot(int[] rows, int[] columns, double[,] targets)
    {
        int[] rowLeft = [.. rows], columnLeft = [.. columns];
        var counts = new int[rows.Length, columns.Length];
        void Add(int r, int c, int count)
        {
            counts[r, c] += count;
            rowLeft[r] -= count;
            columnLeft[c] -= count;
        }
        for (int r = 0; r < rows.Length; r++)
            for (int c = 0; c < columns.Length; c++)
                Add(r, c, Math.Max(0, Math.Min((int)Math.Floor(targets[r, c] + 1e-9), Math.Min(rowLeft[r], columnLeft[c]))));
        for (int left = rowLeft.Sum(); left > 0; left--)
        {
            var (row, column, most) = (-1, -1, double.NegativeInfinity);
            for (int r = 0; r < rows.Length; r++)
                for (int c = 0; c < columns.Length; c++)
                    if (rowLeft[r] > 0 && columnLeft[c] > 0 && targets[r, c] - counts[r, c] > most)
                        (row, column, most) = (r, c, targets[r, c] - counts[r, c]);
            Add(row, column, 1);
        }
        return counts;
    }
}
