using Avedis.Engine;

namespace Avedis.Tests.Ops;

/// <summary>
/// An input of batch normalisation with its statistics, and the reference's answer to it: normalise, ReLU if asked, pool if asked.
/// Each magnitude is the sum of the absolute terms of the value it belongs to.
/// </summary>
internal sealed record BatchNormProblem(
    BatchNormSettings Settings, double[] X, double[] Gamma, double[] Beta, double[] Mean, double[] Variance)
{
    private double[]? inverseStd, meanMagnitude;

    public double[] Variance
    {
        get;
        init => (field, inverseStd) = (value, null);
    }
    = Variance;

    public double[] InverseStd
    {
        get => inverseStd ??= Reference.InverseStd(Variance, Settings.Epsilon);
        private init => inverseStd = value;
    }

    public double[] MeanMagnitude => meanMagnitude ??= Reference.ChannelStatistics(Numbers.Abs(X), Gamma.Length).Mean;

    /// <summary>
    /// Random values around a different mean in each channel, scales of both signs. Values whose normalised value lies within <paramref name="kinkMargin"/> of
    /// zero, where ReLU has its kink, are drawn again. With a <paramref name="gap"/> the values of a channel differ by at least that much.
    /// </summary>
    public static BatchNormProblem Pose(
        Random random, Shape shape, BatchNormSettings settings, DType act, double kinkMargin = 0, double gap = 0)
    {
        int channels = shape[3];
        while (true)
        {
            double[] offset = Numbers.Uniform(random, channels, DType.BF16);
            double[] x = gap > 0 ? Numbers.Distinct(random, shape.Count, gap) : Numbers.Uniform(random, shape.Count, act, -2, 2);
            x = Numbers.Round([.. x.Select((value, i) => value + offset[i % channels])], act);
            double[] gamma = [.. Numbers.Uniform(random, channels, low: 0.5, high: 1.5).Select((value, c) => c % 4 == 3 ? -value : value)];
            double[] beta = Numbers.Uniform(random, channels, low: -0.5, high: 0.5);
            // a few of many values are near the kink: drawing all again could go on for long
            for (int tries = 0; tries < (gap > 0 ? 1 : Tries); tries++)
            {
                var (mean, variance) = Reference.ChannelStatistics(x, channels);
                var problem = new BatchNormProblem(settings, x, gamma, beta, mean, variance);
                int[] near = settings.Relu ? [.. problem.Normalised().Index().Where(value => Math.Abs(value.Item) <= kinkMargin).Select(value => value.Index)] : [];
                if (near.Length == 0)
                    return problem;
                x = [.. x];
                foreach (int i in near)
                    x[i] = Numbers.Round(Numbers.Uniform(random, 1, act, -2, 2)[0] + offset[i % channels], act);
            }
        }
    }

    private const int Tries = 20;

    /// <summary>The same with the statistics as the forward pass would have stored them: rounded to F32.</summary>
    public BatchNormProblem WithStatisticsAsStored() =>
        this with { Mean = Numbers.Round(Mean, DType.F32), InverseStd = Numbers.Round(InverseStd, DType.F32) };

    public double[] Normalised() => Reference.BatchNormForward(X, Gamma, Beta, Mean, InverseStd);

    /// <summary>What pooling sees.</summary>
    public double[] Activation() => Settings.Relu ? Reference.ReluForward(Normalised()) : Normalised();

    public (double[] Y, int[]? Argmax) Forward()
    {
        if (Settings.Pool is not { } pool)
            return (Activation(), null);
        return Reference.MaxPoolForward(Activation(), pool);
    }

    public (double[] DX, double[] DGamma, double[] DBeta) Backward(double[] dY, int[]? argmax) =>
        Reference.BatchNormBackward(NormalisedGradient(dY, argmax), X, Gamma, Mean, InverseStd);

    public double[] ActivationMagnitude()
    {
        double[] inverseStd = InverseStd, meanMagnitude = MeanMagnitude;
        int channels = Gamma.Length;
        return [.. X.Select((value, i) =>
        {
            int c = i % channels;
            return Math.Abs(Beta[c]) + (Math.Abs(value) + Math.Abs(Mean[c]) + meanMagnitude[c]) * Math.Abs(Gamma[c]) * inverseStd[c];
        })];
    }

    public (double[] DX, double[] DGamma, double[] DBeta) BackwardMagnitude(double[] dY, int[]? argmax)
    {
        // an element that won several windows adds their gradients, which may cancel
        double[] gradient = NormalisedGradient(Numbers.Abs(dY), argmax), inverseStd = InverseStd;
        int channels = Gamma.Length;
        double count = X.Length / channels;
        double[] distance = [.. X.Select((value, i) => (Math.Abs(value) + Math.Abs(Mean[i % channels])) * inverseStd[i % channels])];
        var dGamma = new double[channels];
        var dBeta = new double[channels];
        for (int i = 0; i < X.Length; i++)
        {
            dGamma[i % channels] += gradient[i] * distance[i];
            dBeta[i % channels] += gradient[i];
        }
        double[] dX = [.. gradient.Select((value, i) => Math.Abs(Gamma[i % channels]) * inverseStd[i % channels]
            * (value + dBeta[i % channels] / count + distance[i] * dGamma[i % channels] / count))];
        return (dX, dGamma, dBeta);
    }

    /// <summary>A bound per element of the input as a bound per element of the output: the largest in each window.</summary>
    public double[] PooledBound(double[] bound) => Settings.Pool is { } pool ? Reference.MaxPoolForward(bound, pool).Y : bound;

    /// <summary>The gradient behind pooling and ReLU.</summary>
    public double[] NormalisedGradient(double[] dY, int[]? argmax)
    {
        double[] gradient = argmax is null ? dY : Reference.MaxPoolBackward(dY, argmax, Settings.Pool!.Value);
        return Settings.Relu ? Reference.ReluBackward(gradient, Normalised()) : gradient;
    }
}
