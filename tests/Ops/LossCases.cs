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
}
