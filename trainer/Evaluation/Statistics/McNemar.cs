using MathNet.Numerics;

namespace Avedis.Trainer.Evaluation;

/// <summary>
/// Is one of two models right more often than the other? Exact test on the clips that only one of them gets right: b that only A does, c that only B
/// does. Where they are equally good, each such clip is a fair coin.
/// <code>p = min(1, 2 * sum over k = 0 .. min(b, c) of C(b + c, k) / 2^(b + c))</code>
/// McNemar, Psychometrika 12 (1947) 153, with the binomial distribution instead of its normal approximation. 1 where b + c = 0.
/// </summary>
public readonly record struct McNemar(long OnlyA, long OnlyB)
{
    /// <exception cref="ArgumentException">The lists differ in length.</exception>
    public static McNemar Of(ReadOnlySpan<int> truth, ReadOnlySpan<int> a, ReadOnlySpan<int> b)
    {
        if (a.Length != truth.Length || b.Length != truth.Length)
            throw new ArgumentException($"{truth.Length} labels, {a.Length} and {b.Length} predictions");
        long onlyA = 0, onlyB = 0;
        for (int i = 0; i < truth.Length; i++)
        {
            onlyA += a[i] == truth[i] && b[i] != truth[i] ? 1 : 0;
            onlyB += b[i] == truth[i] && a[i] != truth[i] ? 1 : 0;
        }
        return new McNemar(onlyA, onlyB);
    }

    /// <summary>Two-sided. In logarithms, as 2^-n is 0 in double precision from 1,075 clips on; the p-value itself is 0 below 1e-323.</summary>
    public double P
    {
        get
        {
            double n = (double)OnlyA + OnlyB, low = Math.Min(OnlyA, OnlyB);
            if (low < 0)
                throw new ArgumentException($"counts of {OnlyA} and {OnlyB} clips");
            // relative to the last term, which is the largest; C(n, k - 1) = C(n, k) k / (n - k + 1)
            double sum = 1, term = 1;
            for (double k = low; k > 0 && term > sum * 1e-17; k--)
            {
                term *= k / (n - k + 1);
                sum += term;
            }
            double ways = SpecialFunctions.GammaLn(n + 1) - SpecialFunctions.GammaLn(low + 1) - SpecialFunctions.GammaLn(n - low + 1); // ln C(n, low)
            return Math.Min(1, 2 * Math.Exp(ways - (n * Math.Log(2)) + Math.Log(sum)));
        }
    }
}
