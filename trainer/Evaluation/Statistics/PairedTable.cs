namespace Avedis.Trainer.Evaluation;

/// <summary>K x K counts n_ij of the clips on which model A says i and model B says j: labels are not used.</summary>
public static class PairedTable
{
    /// <exception cref="ArgumentException">The lists differ in length, or a class is not in 0 .. classes - 1.</exception>
    public static long[,] Count(int classes, ReadOnlySpan<int> a, ReadOnlySpan<int> b)
    {
        if (a.Length != b.Length)
            throw new ArgumentException($"{a.Length} predictions of one model, {b.Length} of the other");
        CheckClasses(classes, a);
        CheckClasses(classes, b);
        var table = new long[classes, classes];
        for (int i = 0; i < a.Length; i++)
            table[a[i], b[i]]++;
        return table;
    }

    /// <summary>K of a table that is square and holds no negative count.</summary>
    internal static int Classes(long[,] table)
    {
        if (table.GetLength(0) != table.GetLength(1))
            throw new ArgumentException($"a table of paired predictions is square, not {table.GetLength(0)} x {table.GetLength(1)}");
        foreach (long count in table)
            if (count < 0)
                throw new ArgumentException($"a count of {count} clips");
        return table.GetLength(0);
    }

    internal static void CheckClasses(int classes, ReadOnlySpan<int> labels)
    {
        foreach (int label in labels)
            if (label < 0 || label >= classes)
                throw new ArgumentException($"class {label} is not one of 0 .. {classes - 1}");
    }
}
