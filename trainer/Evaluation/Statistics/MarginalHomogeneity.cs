using System.Numerics;

namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Do two models name each class equally often? Tests on their paired predictions of the same clips, for any number of classes. They compare
/// frequencies of labels, not accuracies: two models that are wrong on different clips but use every class as often as each other give p = 1. So
/// read them beside <see cref="McNemar"/>, <see cref="Bowker"/> and <see cref="PairedBootstrap"/>. The distribution is asymptotic: with few
/// disagreements (some ten in all, or classes with one or two) the p-value is rough.
/// <code>
/// d_i  = n_i. - n_.i
/// S_ii = n_i. + n_.i - 2 n_ii        S_ij = -(n_ij + n_ji)
/// Stuart-Maxwell   X2 = d' S^- d     df = rank S     p = Q(df / 2, X2 / 2)
/// Bhapkar          S - d d' / N instead of S, which is X2 / (1 - X2 / N)
/// </code>
/// All K classes stay in; S^- is a generalized inverse. Where every class is linked to every other by disagreements, that is the usual form,
/// which leaves any one class out, and df = K - 1. Stuart, Biometrika 42 (1955) 412; Maxwell, British Journal of Psychiatry 116 (1970) 651;
/// Bhapkar, Journal of the American Statistical Association 61 (1966) 228.
/// </summary>
public static class MarginalHomogeneity
{
    // N - X2 is the least sum over clips of (1 - v_a + v_b)^2 for any v. It is 0, or an agreement, a pair confused both ways or a cycle of classes
    // keeps it from 0, and then it is at least 1 / K: for a thousand classes and a million clips, 1 - X2 / N is 1e-9. Rounding is some 1e-14.
    private const double NoVarianceLeft = 1e-12;

    /// <summary>
    /// Stuart's test, without continuity correction: McNemar's chi-square where K = 2. Null, for "not applicable", where the models never disagree.
    /// </summary>
    /// <remarks>
    /// <para>S is the Laplacian of a graph: classes are its nodes, n_ij + n_ji the weight of an edge. So its rank is the number of classes less
    /// the number of connected components. A class without any disagreement is a component by itself and adds nothing; classes in several groups
    /// that are never confused across groups (speakers, say) are tested group by group, and the X2 and df add up. d sums to 0 over each
    /// component, so it lies in the range of S and X2 does not depend on the generalized inverse.</para>
    /// <para>Solved by Cholesky, S = L D L', one class at a time. A pivot is the sum of the weights that the class still has, and leaving the
    /// class out adds w_pi w_pj / pivot between its neighbours (star to mesh, as in electrical networks): no weight is ever subtracted, so
    /// rounding cannot turn a zero pivot into a small one, and the pivots that are not zero count the rank (Grassmann, Taksar and Heyman,
    /// Operations Research 33 (1985) 1107, for Markov chains). The last class of a component has pivot zero: it is the one left out. Cost K^3 / 6
    /// multiply-adds at worst, less where few pairs of classes are confused.</para>
    /// </remarks>
    public static ChiSquareTest? StuartMaxwell(long[,] table)
    {
        int classes = PairedTable.Classes(table);
        var weights = new double[classes][]; // w_ij = n_ij + n_ji in the part j > i
        double[] d = new double[classes];
        for (int i = 0; i < classes; i++)
        {
            weights[i] = new double[classes];
            for (int j = i + 1; j < classes; j++)
            {
                weights[i][j] = (double)table[i, j] + table[j, i];
                d[i] += table[i, j] - table[j, i]; // whole numbers: exact
                d[j] += table[j, i] - table[i, j];
            }
        }

        double statistic = 0;
        int rank = 0;
        for (int p = 0; p < classes; p++)
        {
            double pivot = 0;
            for (int i = p + 1; i < classes; i++)
                pivot += weights[p][i];
            if (pivot == 0)
                continue;
            rank++;
            statistic += d[p] * d[p] / pivot;
            for (int i = p + 1; i < classes; i++)
            {
                if (weights[p][i] == 0)
                    continue;
                double share = weights[p][i] / pivot;
                d[i] += share * d[p];
                AddScaled(weights[i].AsSpan(i + 1), share, weights[p].AsSpan(i + 1));
            }
        }
        return rank == 0 ? null : new ChiSquareTest(statistic, rank);
    }

    /// <summary>
    /// Bhapkar's test: Wald's, with the variance estimated without the hypothesis; larger than Stuart's, and close to it where most predictions
    /// agree. Null, for "not applicable", where the models never disagree, and where that variance is 0 (X2 = N: they agree on no clip and always
    /// differ the same way).
    /// </summary>
    public static ChiSquareTest? Bhapkar(long[,] table)
    {
        if (StuartMaxwell(table) is not { } stuart)
            return null;
        double clips = 0;
        foreach (long count in table)
            clips += count;
        double left = 1 - (stuart.Statistic / clips);
        return left < NoVarianceLeft ? null : new ChiSquareTest(stuart.Statistic / left, stuart.DegreesOfFreedom);
    }

    /// <summary>Nearly all of the time for a thousand classes: the compiler does not vectorize by itself.</summary>
    private static void AddScaled(Span<double> sum, double factor, ReadOnlySpan<double> values)
    {
        int i = 0;
        for (; i <= sum.Length - Vector<double>.Count; i += Vector<double>.Count)
            (new Vector<double>(sum[i..]) + (factor * new Vector<double>(values[i..]))).CopyTo(sum[i..]);
        for (; i < sum.Length; i++)
            sum[i] += factor * values[i];
    }
}
