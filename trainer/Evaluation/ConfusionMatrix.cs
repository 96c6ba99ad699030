using System.Runtime.InteropServices;

namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Counts of (truth, prediction) over a whole split, and the figures that follow from them. The classes are fixed: one that never occurs and is never
/// predicted counts with F = 0, so that scores of different splits compare. Memory grows with the classes and with the pairs that occur, so
/// that a hundred thousand speakers fit.
/// </summary>
public sealed class ConfusionMatrix(int classes)
{
    /// <summary>Classes up to which files show every pair of them; above, those that occur.</summary>
    public const int WholeUpTo = 256;

    private readonly Dictionary<(int Truth, int Prediction), long> counts = [];
    private readonly long[] support = new long[classes], predicted = new long[classes], right = new long[classes];

    public int Classes { get; } = classes;

    public long Total { get; private set; }

    public long this[int truth, int prediction] => counts.GetValueOrDefault((truth, prediction));

    /// <summary>The pairs that occur: by truth, then by prediction.</summary>
    public IEnumerable<(int Truth, int Prediction, long Clips)> Pairs =>
        counts.OrderBy(c => c.Key).Select(c => (c.Key.Truth, c.Key.Prediction, c.Value));

    /// <summary>The most frequent mistakes, of equals the first.</summary>
    public IEnumerable<(int Truth, int Prediction, long Clips)> Mistakes =>
        Pairs.Where(pair => pair.Truth != pair.Prediction).OrderByDescending(pair => pair.Clips);

    public void Add(int truth, int prediction, long clips = 1)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(counts, (truth, prediction), out _) += clips;
        support[truth] += clips;
        predicted[prediction] += clips;
        if (truth == prediction)
            right[truth] += clips;
        Total += clips;
    }

    public double Accuracy => Total == 0 ? 0 : (double)right.Sum() / Total;

    /// <summary>Clips whose truth is the class.</summary>
    public long Support(int c) => support[c];

    /// <summary>Clips predicted as the class.</summary>
    public long Predicted(int c) => predicted[c];

    public double Precision(int c) => Ratio(right[c], Predicted(c));

    public double Recall(int c) => Ratio(right[c], Support(c));

    /// <summary>2 TP / (2 TP + FP + FN); 0 where that is 0 / 0.</summary>
    public double F1(int c) => Ratio(2 * right[c], Support(c) + Predicted(c));

    /// <summary>Mean recall over the classes that have a clip: UAR. 0 without any.</summary>
    public double BalancedAccuracy => Observed.Select(Recall).DefaultIfEmpty().Average();

    /// <summary>Mean recall of who always names one class: one in as many as have a clip.</summary>
    public double ChanceRecall => Ratio(1, Observed.Count());

    /// <summary>Mean F1 over the classes that have a clip. 0 without any.</summary>
    public double ObservedMacroF1 => Observed.Select(F1).DefaultIfEmpty().Average();

    private IEnumerable<int> Observed => Enumerable.Range(0, Classes).Where(c => support[c] > 0);

    /// <summary>Unweighted mean of F1 over all classes: the paper's emotion score.</summary>
    public double MacroF1 => Enumerable.Range(0, Classes).Average(F1);

    /// <summary>Macro-F of always predicting the most frequent class.</summary>
    public double MajorityMacroF1
    {
        get
        {
            double share = MajorityAccuracy;
            return 2 * share / (1 + share) / Classes;
        }
    }

    /// <summary>Accuracy of always predicting the most frequent class.</summary>
    public double MajorityAccuracy => Total == 0 ? 0 : (double)support.Max() / Total;

    private static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;
}
