using Avedis.Engine;

namespace Avedis.Trainer.Evaluation;

/// <summary>Score that is resampled. Both are computed on the counts of a whole resample, as on those of a whole split.</summary>
public enum BootstrapMetric
{
    /// <summary>Unweighted mean of F1 over the fixed classes, 0 for one that the resample lacks (<see cref="ConfusionMatrix.MacroF1"/>).</summary>
    MacroF1,

    /// <summary>Share of clips that are right.</summary>
    Accuracy,
}

/// <summary>The score (or difference of scores) of the clips themselves, and the ends of its interval.</summary>
public readonly record struct BootstrapInterval(double Estimate, double Low, double High);

/// <summary>
/// Percentile intervals by resampling test clips with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): of
/// one model's score, or of the difference between two models on the same clips, where both are scored on the same resample, so that what makes a
/// clip hard for both cancels.
/// <code>
/// [q(alpha / 2), q(1 - alpha / 2)] of the resampled scores,  alpha = 1 - level,  q(u) at rank (R - 1) u from 0, interpolated
/// </code>
/// Clips of one speaker are alike: give groups, and whole groups are drawn, as many as there are. Drawing clips pretends that each is news, and
/// its interval is too narrow. With few groups (below some twenty) or few errors, either kind is somewhat too narrow. It says how much the test
/// set matters, not the training seed.
/// </summary>
public static class PairedBootstrap
{
    private static readonly ulong Stream = StableHash.Of("paired bootstrap");

    /// <summary>Interval of one model's score.</summary>
    /// <inheritdoc cref="Difference"/>
    public static BootstrapInterval? Interval(BootstrapMetric metric, int classes, ReadOnlySpan<int> truth, ReadOnlySpan<int> prediction,
        ReadOnlySpan<int> groups, ulong seed, int resamples = 2000, double level = 0.95)
    {
        CheckPredictions(classes, truth, prediction);
        return Resample(metric, classes, truth, prediction, [], groups, seed, resamples, level);
    }

    /// <summary>Interval of the score of model A less that of model B.</summary>
    /// <param name="classes">Number of classes, those that never occur included.</param>
    /// <param name="groups">The group of each clip, any numbers; empty: every clip by itself.</param>
    /// <param name="seed">Equal seeds draw equal resamples, so that intervals of several pairs of models compare.</param>
    /// <param name="resamples">R; 2000 put the ends of a 95 % interval to within some 0.06 standard errors of the score.</param>
    /// <param name="level">Share of the resamples between the ends.</param>
    /// <returns>Null, for "not applicable", with a single clip or group: every resample would be the same, and a width of 0 says nothing.</returns>
    /// <exception cref="ArgumentException">No clips, lists of different lengths, a class out of range, or settings out of range.</exception>
    public static BootstrapInterval? Difference(BootstrapMetric metric, int classes, ReadOnlySpan<int> truth, ReadOnlySpan<int> a, ReadOnlySpan<int> b,
        ReadOnlySpan<int> groups, ulong seed, int resamples = 2000, double level = 0.95)
    {
        CheckPredictions(classes, truth, a);
        CheckPredictions(classes, truth, b);
        return Resample(metric, classes, truth, a, b, groups, seed, resamples, level);
    }

    /// <param name="b">Empty: the score of A alone.</param>
    private static BootstrapInterval? Resample(BootstrapMetric metric, int classes, ReadOnlySpan<int> truth, ReadOnlySpan<int> a, ReadOnlySpan<int> b,
        ReadOnlySpan<int> groups, ulong seed, int resamples, double level)
    {
        if (!groups.IsEmpty && groups.Length != truth.Length)
            throw new ArgumentException($"{truth.Length} clips, {groups.Length} groups");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(resamples);
        if (level is not (> 0 and < 1))
            throw new ArgumentException($"a level of {level} is not between 0 and 1");

        // a resample is how often each outcome (truth, A, B) was drawn: at most 125 of them with five emotions, whatever the number of clips
        var outcomes = new Dictionary<(int Truth, int A, int B), int>();
        int[] outcomeOf = new int[truth.Length];
        var units = new Dictionary<int, List<int>>(); // what is drawn: the outcomes of a clip, or of all clips of a group
        for (int i = 0; i < truth.Length; i++)
        {
            var outcome = (truth[i], a[i], b.IsEmpty ? 0 : b[i]);
            if (!outcomes.TryGetValue(outcome, out outcomeOf[i]))
                outcomes[outcome] = outcomeOf[i] = outcomes.Count;
            int unit = groups.IsEmpty ? i : groups[i];
            if (!units.TryGetValue(unit, out var members))
                units[unit] = members = [];
            members.Add(outcomeOf[i]);
        }
        if (units.Count < 2)
            return null;

        int[][] drawable = [.. units.Values.Select(u => u.ToArray())]; // in the order of first clips
        var ofA = new Scorer(metric, classes, [.. outcomes.Keys.Select(o => (o.Truth, o.A))]);
        var ofB = b.IsEmpty ? null : new Scorer(metric, classes, [.. outcomes.Keys.Select(o => (o.Truth, o.B))]);
        double Score(int[] drawn) => ofA.Score(drawn) - (ofB?.Score(drawn) ?? 0);

        int[] counts = new int[outcomes.Count];
        foreach (int outcome in outcomeOf)
            counts[outcome]++;
        double estimate = Score(counts);

        var random = new Philox(seed, Stream);
        double[] scores = new double[resamples];
        for (int r = 0; r < resamples; r++)
        {
            Array.Clear(counts);
            for (int draw = 0; draw < drawable.Length; draw++)
                foreach (int outcome in drawable[random.Next(drawable.Length)])
                    counts[outcome]++;
            scores[r] = Score(counts);
        }
        Array.Sort(scores);
        return new BootstrapInterval(estimate, Quantile(scores, (1 - level) / 2), Quantile(scores, (1 + level) / 2));
    }

    private static double Quantile(double[] sorted, double q)
    {
        double position = q * (sorted.Length - 1);
        int below = (int)position, above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + ((position - below) * (sorted[above] - sorted[below]));
    }

    private static void CheckPredictions(int classes, ReadOnlySpan<int> truth, ReadOnlySpan<int> prediction)
    {
        if (truth.IsEmpty)
            throw new ArgumentException("no clips to resample");
        if (prediction.Length != truth.Length)
            throw new ArgumentException($"{truth.Length} clips, {prediction.Length} predictions");
        PairedTable.CheckClasses(classes, truth);
        PairedTable.CheckClasses(classes, prediction);
    }

    /// <summary>One model's score from how often each outcome was drawn. Other than a confusion matrix it has no K x K counts to clear.</summary>
    private sealed class Scorer(BootstrapMetric metric, int classes, (int Truth, int Prediction)[] outcomes)
    {
        private readonly int[] hits = new int[classes];  // TP
        private readonly int[] sizes = new int[classes]; // 2 TP + FP + FN

        public double Score(int[] drawn)
        {
            Array.Clear(hits);
            Array.Clear(sizes);
            int clips = 0, right = 0;
            for (int i = 0; i < outcomes.Length; i++)
            {
                var (truth, prediction) = outcomes[i];
                clips += drawn[i];
                sizes[truth] += drawn[i];
                sizes[prediction] += drawn[i];
                if (truth == prediction)
                {
                    hits[truth] += drawn[i];
                    right += drawn[i];
                }
            }
            if (metric == BootstrapMetric.Accuracy)
                return (double)right / clips;
            double sum = 0;
            for (int c = 0; c < classes; c++)
                sum += sizes[c] == 0 ? 0 : 2.0 * hits[c] / sizes[c];
            return sum / classes;
        }
    }
}
