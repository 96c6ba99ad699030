using Avedis.Engine;

namespace Avedis.Tests.Ops;

/// <summary>
/// An input of a stem and the reference's answer to it: convolution, then <see cref="BatchNormProblem"/> of its output z. The bounds follow an error of z
/// through statistics, normalisation and both backward passes. A backend may keep z in F32 or, at BF16, store it as BF16, and so may it do with the
/// gradient of z: the bounds allow for that rounding once each. They add worst cases, not random walks, since the roundings of
/// neighbouring pixels need not be independent.
/// </summary>
internal sealed record StemProblem(Conv2dGeometry Geometry, DType Act, double[] X, double[] Weight, BatchNormProblem Norm)
{
    private double[]? convolutionError;
    private (double[] Mean, double[] Variance, double[] InverseStd)? statisticsError;

    /// <summary>X before it was rounded to TF32, if it was.</summary>
    public double[] Image { get; private init; } = X;

    /// <summary>Whether the convolution rounds what it multiplies to TF32.</summary>
    public bool Tf32 { get; private init; }

    public int Channels => Geometry.K;

    /// <summary>Elements of z per channel.</summary>
    public long Count => Geometry.Output.Count / Geometry.K;

    /// <summary>z, the convolution's output.</summary>
    public double[] Z => Norm.X;

    /// <param name="offset">Mean of the image.</param>
    /// <param name="lowBeta">Low end of beta, whose range is 1: far below zero, most outputs are off.</param>
    public static StemProblem Pose(
        Random random, Conv2dGeometry geometry, BatchNormSettings settings, DType act, bool tf32 = false, double offset = 0, double lowBeta = -0.5)
    {
        double[] x = Numbers.Round(Array.ConvertAll(Numbers.Uniform(random, geometry.Input.Count), value => offset + value), act);
        double[] weight = Numbers.Uniform(random, geometry.Weight.Count);
        double[] gamma = [.. Numbers.Uniform(random, geometry.K, low: 0.5, high: 1.5).Select((value, c) => c % 4 == 3 ? -value : value)];
        double[] beta = Numbers.Uniform(random, geometry.K, low: lowBeta, high: lowBeta + 1);
        return Of(geometry, settings, act, x, weight, gamma, beta, tf32);
    }

    /// <summary>Weights are rounded to the activation type, as the operation does on the way in.</summary>
    public static StemProblem Of(
        Conv2dGeometry geometry, BatchNormSettings settings, DType act, double[] x, double[] weight, double[] gamma, double[] beta, bool tf32 = false)
    {
        double[] image = tf32 ? Numbers.RoundToTf32(x) : x;
        double[] z = Reference.Conv2dForward(image, tf32 ? Numbers.RoundToTf32(weight) : act == DType.F32 ? weight : Numbers.Round(weight, act), geometry);
        var (mean, variance) = Reference.ChannelStatistics(z, geometry.K);
        return new(geometry, act, image, weight, new(settings, z, gamma, beta, mean, variance)) { Image = x, Tf32 = tf32 };
    }

    public (double[] DWeight, double[] DGamma, double[] DBeta) Backward(double[] dY, int[] argmax)
    {
        var (dZ, dGamma, dBeta) = Norm.Backward(dY, argmax);
        return (Reference.Conv2dBackwardWeight(dZ, X, Geometry), dGamma, dBeta);
    }

    /// <summary>How far z may be off, per element.</summary>
    public double[] ConvolutionError() => convolutionError ??= Tolerance.Sum(
        Act, (long)Geometry.R * Geometry.S * Geometry.C,
        Reference.Conv2dForward(Numbers.Abs(X), Numbers.Abs(Numbers.Round(Weight, Act)), Geometry), Z);

    /// <summary>How far the batch's statistics may be off, per channel: what the errors of z add up to, and the roundings of the sums.</summary>
    public (double[] Mean, double[] Variance, double[] InverseStd) StatisticsError() => statisticsError ??= FindStatisticsError();

    private (double[] Mean, double[] Variance, double[] InverseStd) FindStatisticsError()
    {
        double[] error = ConvolutionError(), mean = new double[Channels], variance = new double[Channels], roundings = new double[Channels];
        for (int i = 0; i < Z.Length; i++)
        {
            int c = i % Channels;
            double deviation = Math.Abs(Z[i] - Norm.Mean[c]);
            mean[c] += error[i] / Count;
            variance[c] += (2 * deviation * error[i] + error[i] * error[i]) / Count;
            roundings[c] += deviation * deviation / Count;
        }
        double sum = Tolerance.Walk * Math.Sqrt(Count) * Tolerance.F32;
        for (int c = 0; c < Channels; c++)
        {
            mean[c] += sum * Norm.MeanMagnitude[c];
            variance[c] += sum * roundings[c];
        }
        // d(v^-1/2) = -1/2 v^-3/2 dv, with v as small as its error makes it
        double[] inverseStd = [.. Norm.Variance.Select((v, c) =>
            variance[c] / 2 * Math.Pow(Math.Max(v - variance[c], 0) + Norm.Settings.Epsilon, -1.5) + Tolerance.Walk * Tolerance.F32 * Norm.InverseStd[c])];
        return (mean, variance, inverseStd);
    }

    /// <summary>How far a normalised element may be off, given how far the statistics are.</summary>
    public double[] NormalisedError(double[] meanError, double[] inverseStdError)
    {
        double[] error = ConvolutionError(), magnitude = Norm.ActivationMagnitude();
        return [.. Z.Select((z, i) =>
        {
            int c = i % Channels;
            double gamma = Math.Abs(Norm.Gamma[c]);
            return gamma * (Norm.InverseStd[c] + inverseStdError[c]) * (error[i] + meanError[c])
                + gamma * Math.Abs(z - Norm.Mean[c]) * inverseStdError[c] + Tolerance.Walk * Tolerance.F32 * magnitude[i];
        })];
    }

    /// <summary>How far the three gradients may be off in a backward pass behind a forward pass of the same backend.</summary>
    public (double[] DWeight, double[] DGamma, double[] DBeta) BackwardError(double[] dY, int[] argmax)
    {
        double[] error = ConvolutionError(), gradient = Numbers.Abs(Norm.NormalisedGradient(dY, argmax));
        var (meanError, _, inverseError) = StatisticsError();
        var (dZ, dGamma, _) = Norm.Backward(dY, argmax);
        var magnitude = Norm.BackwardMagnitude(dY, argmax);
        double sum = Tolerance.Walk * Math.Sqrt(Count) * Tolerance.F32;
        double[] hatError = [.. Z.Select((z, i) =>
        {
            int c = i % Channels;
            return (Norm.InverseStd[c] + inverseError[c]) * (error[i] + meanError[c]) + Math.Abs(z - Norm.Mean[c]) * inverseError[c];
        })];
        double[] dGammaError = Array.ConvertAll(magnitude.DGamma, m => sum * m), dBetaError = Array.ConvertAll(magnitude.DBeta, m => sum * m);
        for (int i = 0; i < Z.Length; i++)
            dGammaError[i % Channels] += gradient[i] * hatError[i];
        double[] dZError = [.. Z.Select((z, i) =>
        {
            int c = i % Channels;
            double hat = Math.Abs(z - Norm.Mean[c]) * Norm.InverseStd[c] + hatError[i];
            return Math.Abs(Norm.Gamma[c]) * (Norm.InverseStd[c] + inverseError[c])
                    * (dBetaError[c] + hatError[i] * Math.Abs(dGamma[c]) + hat * dGammaError[c]) / Count
                + Math.Abs(dZ[i]) * inverseError[c] / Norm.InverseStd[c] + Tolerance.Walk * Tolerance.F32 * magnitude.DX[i];
        })];
        dZError = Tolerance.Rounded(Act, dZError, dZ);
        if (Tf32)
            dZError = [.. dZError.Zip(dZ, (e, value) => e + Tolerance.Tf32 * (Math.Abs(value) + e))];
        double[] size = Numbers.Abs(X);
        double[] dWeightError = Reference.Plus(
            Reference.Conv2dBackwardWeight(dZError, size, Geometry),
            Array.ConvertAll(Reference.Conv2dBackwardWeight(magnitude.DX, size, Geometry), m => sum * m));
        return (dWeightError, dGammaError, dBetaError);
    }
}
