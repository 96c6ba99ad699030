namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Is a table of paired predictions symmetric: does A say i where B says j as often as the other way round, for every pair? Symmetry implies
/// marginal homogeneity, not the reverse: cyclic disagreement shows only here.
/// <code>X2 = sum over i &lt; j of (n_ij - n_ji)^2 / (n_ij + n_ji)     df = number of pairs with n_ij + n_ji > 0</code>
/// Bowker, Journal of the American Statistical Association 43 (1948) 572. Without continuity correction: McNemar's chi-square where K = 2.
/// </summary>
public static class Bowker
{
    /// <returns>Null, for "not applicable", where the models never disagree.</returns>
    public static ChiSquareTest? Test(long[,] table)
    {
        int classes = PairedTable.Classes(table);
        double statistic = 0;
        int pairs = 0;
        for (int i = 0; i < classes; i++)
            for (int j = i + 1; j < classes; j++)
            {
                double sum = (double)table[i, j] + table[j, i], difference = (double)table[i, j] - table[j, i];
                if (sum == 0)
                    continue;
                statistic += difference * difference / sum;
                pairs++;
            }
        return pairs == 0 ? null : new ChiSquareTest(statistic, pairs);
    }
}
