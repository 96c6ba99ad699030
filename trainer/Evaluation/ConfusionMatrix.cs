namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Counts of (truth, prediction) over a whole split, and the figures that follow from them. The classes are fixed: one that never occurs and is never
/// predicted counts with F = 0, so that scores of different splits compare.
/// </summary>
public sealed class ConfusionMatrix(int classes)
{
    private readonly long[,] counts = new long[classes, classes];

    public int Classes { get; } = classes;

    public long Total { get; private set; }

    public long this[int truth, int prediction] => counts[truth, prediction];

    public void Add(int truth, int prediction)
    {
        counts[truth, prediction]++;
        Total++;
    }

    public double Accuracy => Total == 0 ? 0 : (double)Enumerable.Range(0, Classes).Sum(c => counts[c, c]) / Total;

    /// <summary>Clips whose truth is the class.</summary>
    public long Support(int c) => Enumerable.Range(0, Classes).Sum(p => counts[c, p]);

    /// <summary>Clips predicted as the class.</summary>
    public long Predicted(int c) => Enumerable.Range(0, Classes).Sum(t => counts[t, c]);

    public double Precision(int c) => Ratio(counts[c, c], Predicted(c));

    public double Recall(int c) => Ratio(counts[c, c], Support(c));

    /// <summary>2 TP / (2 TP + FP + FN); 0 where that is 0 / 0.</summary>
    public double F1(int c) => Ratio(2 * counts[c, c], Support(c) + Predicted(c));

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
    public double MajorityAccuracy => Total == 0 ? 0 : (double)Enumerable.Range(0, Classes).Max(Support) / Total;

    private static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;
}
