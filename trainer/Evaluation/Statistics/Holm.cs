namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Step-down correction of the p-values of several tests, so that the chance of even one false alarm among them stays below alpha: whatever the
/// dependence between them, and never weaker than Bonferroni's.
/// <code>p'_(i) = max over j &lt;= i of min(1, (m - j + 1) p_(j)),     p_(1) &lt;= ... &lt;= p_(m)</code>
/// Holm, Scandinavian Journal of Statistics 6 (1979) 65.
/// </summary>
public static class Holm
{
    /// <param name="p">Null is a test that was not applicable: it stays null and does not count in m.</param>
    /// <returns>Adjusted p-values in the order given, to be compared with alpha itself.</returns>
    /// <exception cref="ArgumentException">A value is not in 0 .. 1.</exception>
    public static double?[] Adjust(IReadOnlyList<double?> p)
    {
        foreach (double? value in p)
            if (value is not null and not (>= 0 and <= 1))
                throw new ArgumentException($"a p-value of {value}");
        var adjusted = new double?[p.Count];
        int[] ascending = [.. Enumerable.Range(0, p.Count).Where(i => p[i] is not null).OrderBy(i => p[i])];
        double largest = 0;
        for (int j = 0; j < ascending.Length; j++)
        {
            largest = Math.Max(largest, Math.Min(1, (ascending.Length - j) * p[ascending[j]]!.Value));
            adjusted[ascending[j]] = largest;
        }
        return adjusted;
    }
}
