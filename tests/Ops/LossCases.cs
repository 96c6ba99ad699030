namespace Avedis.Tests.Ops;

/// <summary>What the tests of both losses over a softmax share.</summary>
internal static class LossCases
{
    /// <summary>Shares of a batch mean; from the third on every third row is padding.</summary>
    public static double[] Weights(Random random, int rows) =>
        [.. Numbers.Uniform(random, rows, low: 0.1, high: 1).Select((weight, n) => n % 3 == 2 ? 0 : weight)];

    /// <summary>
    /// Bounds per logit. The logits are exact, so their distance z from the row's largest is right to one rounding of z; exp makes an
    /// absolute error of its argument a relative one; the sum of the exponentials adds that of its terms, of which only those near the
    /// largest count. The gradient is a difference of probability and target.
    /// </summary>
    public static (double[] LogProbabilities, double[] Probabilities, double[] DLogits) Bounds(
        double[] logits, double[] targets, double[] weights, double scale)
    {
        int rows = weights.Length, classes = logits.Length / rows;
        double[] logs = Reference.LogSoftmax(logits, rows);
        double sumError = Tolerance.Walk * Math.Sqrt(classes) + Tolerance.Transcendental + Math.Log(classes);
        double[] logBound = Array.ConvertAll(logs, log => Tolerance.F32 * (sumError + Tolerance.Walk * Math.Abs(log)));
        double[] probabilityBound = [.. logs.Zip(logBound, (log, bound) =>
            Math.Exp(log) * (bound + Tolerance.Transcendental * Tolerance.F32) + Tolerance.Underflow)];
        double[] gradientBound = [.. probabilityBound.Select((bound, i) =>
            Math.Abs(scale) * weights[i / classes] * (bound + Tolerance.Walk * Tolerance.F32 * (Math.Exp(logs[i]) + targets[i])))];
        return (logBound, probabilityBound, gradientBound);
    }

    /// <summary>
    /// Bounds per row for KL(uniform || softmax) = log1p(mean of exp(d) - 1 - d), d = logit - mean. The mean, taken in two steps, is right to
    /// some roundings of the largest d (taken in one it would be right to roundings of the logits, which may be far larger), which moves the divergence by
    /// the gradient's length times that, and where no gradient is left by its square; each term is right to a rounding of d, the sum of the terms, and so
    /// the logarithm, to roundings of itself. Near the uniform distribution that is far less than the rounding of the loss.
    /// </summary>
    public static double[] DivergenceBounds(double[] logits, double[] weights)
    {
        int rows = weights.Length, classes = logits.Length / rows;
        double sumError = Tolerance.Walk * Math.Sqrt(classes) + Tolerance.Transcendental + Math.Log(classes);
        double[] logs = Reference.LogSoftmax(logits, rows);
        return [.. Enumerable.Range(0, rows).Select(n =>
        {
            double[] row = logits[(n * classes)..((n + 1) * classes)], logRow = logs[(n * classes)..((n + 1) * classes)];
            double mean = row.Average(), meanError = Tolerance.Walk * Tolerance.F32 * row.Max(value => Math.Abs(value - mean));
            double divergence = -logRow.Average() - Math.Log(classes), slope = logRow.Sum(log => Math.Abs(Math.Exp(log) - 1.0 / classes));
            double terms = row.Average(value => Math.Abs(value - mean));
            return weights[n] * (sumError * Tolerance.F32 * divergence + Tolerance.Walk * Tolerance.F32 * terms + slope * meanError
                + meanError * meanError / 2 + Tolerance.Double * (1 + Math.Log(classes)));
        })];
    }
}
