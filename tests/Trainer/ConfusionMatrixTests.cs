using Avedis.Trainer.Evaluation;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class ConfusionMatrixTests
{
    private const double Exact = 1e-6; // the vectors are given to six digits

    private static ConfusionMatrix Of(int classes, int[] truth, int[] prediction)
    {
        var matrix = new ConfusionMatrix(classes);
        for (int i = 0; i < truth.Length; i++)
            matrix.Add(truth[i], prediction[i]);
        return matrix;
    }

    [Test]
    public void Macro_f_is_over_the_fixed_classes()
    {
        var matrix = Of(5, [0, 0, 1, 1, 2], [0, 0, 1, 0, 2]);
        Assert.Multiple(() =>
        {
            Assert.That(matrix.F1(0), Is.EqualTo(0.8).Within(Exact));
            Assert.That(matrix.F1(1), Is.EqualTo(2.0 / 3).Within(Exact));
            Assert.That(matrix.F1(4), Is.Zero, "a class that never occurs");
            Assert.That(matrix.MacroF1, Is.EqualTo(0.493333).Within(Exact));
            Assert.That(matrix.Accuracy, Is.EqualTo(0.8).Within(Exact));
        });
    }

    /// <summary>UAR by hand: recalls 1, 1/2, 1 of the three classes that have a clip.</summary>
    [Test]
    public void Mean_recall_is_over_the_classes_that_have_a_clip()
    {
        var matrix = Of(5, [0, 0, 1, 1, 2], [0, 0, 1, 4, 2]);
        Assert.Multiple(() =>
        {
            Assert.That(matrix.BalancedAccuracy, Is.EqualTo((1 + 0.5 + 1) / 3).Within(1e-12));
            Assert.That(matrix.ObservedMacroF1, Is.EqualTo((1 + (2.0 / 3) + 1) / 3).Within(1e-12));
            Assert.That(matrix.ChanceRecall, Is.EqualTo(1.0 / 3).Within(1e-12));
            Assert.That(matrix.Pairs, Is.EqualTo(((int, int, long)[])[(0, 0, 2), (1, 1, 1), (1, 4, 1), (2, 2, 1)]));
            Assert.That(matrix.Mistakes, Is.EqualTo(((int, int, long)[])[(1, 4, 1)]));
            Assert.That(Of(3, [], []).BalancedAccuracy, Is.Zero);
        });
    }

    /// <summary>A square of a hundred thousand classes would be 80 GB, and more cells than an array can have.</summary>
    [Test]
    public void A_hundred_thousand_classes_take_memory_by_class()
    {
        const int Classes = 100_000;
        long before = GC.GetAllocatedBytesForCurrentThread();
        var matrix = new ConfusionMatrix(Classes);
        for (int i = 0; i < Classes; i++)
            matrix.Add(i, i / 2);
        Assert.That((matrix.Accuracy, matrix.Support(99_999), matrix.Predicted(7)), Is.EqualTo((1.0 / Classes, 1L, 2L)));
        Assert.That(matrix.MacroF1, Is.EqualTo(2.0 / 3 / Classes).Within(1e-15), "class 0 alone is ever right: F = 2 / (1 + 2)");
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(64L << 20));
    }

    [Test]
    public void All_neutral_at_77_percent_scores_the_papers_chance()
    {
        int[] truth = [.. Enumerable.Repeat(0, 77), .. Enumerable.Range(0, 23).Select(i => 1 + i % 4)];
        var matrix = Of(5, truth, new int[100]);
        Assert.Multiple(() =>
        {
            Assert.That(matrix.MacroF1, Is.EqualTo(0.174011).Within(Exact));
            Assert.That(matrix.MajorityMacroF1, Is.EqualTo(matrix.MacroF1).Within(1e-12));
        });
    }

    [Test]
    public void Precision_and_recall_of_a_hand_counted_matrix()
    {
        var matrix = Of(2, [0, 0, 0, 1, 1], [0, 1, 1, 1, 0]);
        Assert.Multiple(() =>
        {
            Assert.That(matrix.Precision(0), Is.EqualTo(0.5).Within(Exact));
            Assert.That(matrix.Recall(0), Is.EqualTo(1.0 / 3).Within(Exact));
            Assert.That(matrix.Precision(1), Is.EqualTo(1.0 / 3).Within(Exact));
            Assert.That(matrix.Recall(1), Is.EqualTo(0.5).Within(Exact));
        });
    }
}
