using Avedis.Engine;

namespace Avedis.Trainer.Data;

/// <summary>Who is kept and what is held out: pure functions of the manifest and the options, done before anything is decoded.</summary>
public static class Splitter
{
    /// <summary>
    /// Speakers with fewer clips than the percentile of clips per speaker, in ordinal order of their names. Between two speakers the percentile
    /// is the lower one's number of clips, so that never more than this share of the speakers goes, and nobody in a small cast.
    /// </summary>
    public static IReadOnlyList<string> RareSpeakers(IReadOnlyList<ManifestRow> rows, double percentile)
    {
        var counts = rows.CountBy(row => row.Speaker).ToArray();
        var sorted = counts.Select(pair => pair.Value).Order().ToArray();
        int threshold = sorted[(int)(percentile / 100 * (sorted.Length - 1))];
        return [.. counts.Where(pair => pair.Value < threshold).Select(pair => pair.Key).Order(StringComparer.Ordinal)];
    }

    /// <summary>
    /// Gives every row its split: the manifest's, where it has one and the options do not ask for another. Else the rows are put in an order where each speaker's clips lie together,
    /// and in there those of each emotion, everything else being shuffled by the seed; along it each clip goes to the part that lags most behind
    /// its share. So every speaker, and within each speaker every emotion, is divided as evenly as whole clips allow, and everyone keeps a clip
    /// to train on.
    /// </summary>
    public static Split[] Assign(IReadOnlyList<ManifestRow> rows, DataOptions options)
    {
        var splits = new Split[rows.Count];
        if (rows[0].Split is not null && !options.Resplit)
        {
            for (int i = 0; i < splits.Length; i++)
                splits[i] = rows[i].Split!.Value;
            return splits;
        }
        var random = new Philox(options.SplitSeed, stream: 0x5351_4C49_5453);
        double[] share = [1 - options.ValidationFraction - options.TestFraction, options.ValidationFraction, options.TestFraction];
        double[] owed = [0, 0, 0];
        foreach (int[] speaker in Shuffled(Enumerable.Range(0, rows.Count), i => rows[i].Speaker, random))
        {
            var clips = Shuffled(speaker, i => rows[i].Emotion, random).SelectMany(emotion => Shuffled(emotion, i => rows[i].Id, random)).SelectMany(i => i).ToArray();
            foreach (int clip in clips)
            {
                for (int part = 0; part < owed.Length; part++)
                    owed[part] += share[part];
                int most = Array.IndexOf(owed, owed.Max());
                owed[most]--;
                splits[clip] = (Split)most;
            }
            if (!clips.Any(clip => splits[clip] == Split.Train))
                splits[clips[0]] = Split.Train;
        }
        return splits;
    }

    /// <summary>Groups by a key, in an order that depends on the keys and the random numbers alone, not on the order of the table.</summary>
    private static int[][] Shuffled(IEnumerable<int> items, Func<int, string> key, Philox random)
    {
        var groups = items.GroupBy(key).OrderBy(group => group.Key, StringComparer.Ordinal).Select(group => group.ToArray()).ToArray();
        random.Shuffle(groups.AsSpan());
        return groups;
    }
}
