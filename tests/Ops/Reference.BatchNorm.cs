using Avedis.Engine;

namespace Avedis.Tests.Ops;

internal static partial class Reference
{
    /// <summary>Mean and biased variance of x [.., C] per channel.</summary>
    public static (double[] Mean, double[] Variance) ChannelStatistics(double[] x, int channels)
    {
        double[] mean = ChannelSums(x, channels, (value, _) => value, x.Length / channels);
        double[] variance = ChannelSums(x, channels, (value, c) => (value - mean[c]) * (value - mean[c]), x.Length / channels);
        return (mean, variance);
    }

    public static double[] InverseStd(double[] variance, double epsilon) =>
        Array.ConvertAll(variance, value => 1 / Math.Sqrt(value + epsilon));

    /// <summary>y = gamma * (x - mean) * inverseStd + beta, per channel.</summary>
    public static double[] BatchNormForward(double[] x, double[] gamma, double[] beta, double[] mean, double[] inverseStd)
    {
        var y = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int c = i % gamma.Length;
            y[i] = gamma[c] * (x[i] - mean[c]) * inverseStd[c] + beta[c];
        }
        return y;
    }

    /// <summary>Gradients through the statistics of the batch as well (Ioffe and Szegedy 2015, section 3).</summary>
    public static (double[] DX, double[] DGamma, double[] DBeta) BatchNormBackward(
        double[] dY, double[] x, double[] gamma, double[] mean, double[] inverseStd)
    {
        int channels = gamma.Length;
        double count = x.Length / channels;
        double[] normalised = BatchNormForward(x, Numbers.Constant(channels, 1), new double[channels], mean, inverseStd);
        var dGamma = new double[channels];
        var dBeta = new double[channels];
        for (int i = 0; i < x.Length; i++)
        {
            dGamma[i % channels] += dY[i] * normalised[i];
            dBeta[i % channels] += dY[i];
        }
        var dX = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels;
            dX[i] = gamma[c] * inverseStd[c] * (dY[i] - dBeta[c] / count - normalised[i] * dGamma[c] / count);
        }
        return (dX, dGamma, dBeta);
    }

    /// <summary>
    /// y and, per output, row * S + column of the winner in its window: the first of equals, never padding.
    /// </summary>
    public static (double[] Y, int[] Argmax) MaxPoolForward(double[] x, Pool2dGeometry g)
    {
        var y = new double[g.Output.Count];
        var argmax = new int[g.Output.Count];
        for (int output = 0; output < y.Length; output++)
        {
            argmax[output] = -1;
            for (int position = 0; position < g.R * g.S; position++)
                if (PoolInput(g, output, position) is int input && (argmax[output] < 0 || x[input] > y[output]))
                    (y[output], argmax[output]) = (x[input], position);
        }
        return (y, argmax);
    }

    public static double[] MaxPoolBackward(double[] dY, int[] argmax, Pool2dGeometry g)
    {
        var dX = new double[g.Input.Count];
        for (int output = 0; output < dY.Length; output++)
            dX[PoolInput(g, output, argmax[output])!.Value] += dY[output];
        return dX;
    }

    /// <summary>Flat position in x of one place of the window of a flat position in y; null in the padding.</summary>
    public static int? PoolInput(Pool2dGeometry g, int output, int position)
    {
        (int rest, int c) = Math.DivRem(output, g.C);
        (rest, int q) = Math.DivRem(rest, g.Q);
        (int n, int p) = Math.DivRem(rest, g.P);
        int h = p * g.StrideH + position / g.S - g.PadH, w = q * g.StrideW + position % g.S - g.PadW;
        return h < 0 || h >= g.H || w < 0 || w >= g.W ? null : ((n * g.H + h) * g.W + w) * g.C + c;
    }

    private static double[] ChannelSums(double[] x, int channels, Func<double, int, double> term, double divisor)
    {
        var sums = new double[channels];
        for (int i = 0; i < x.Length; i++)
            sums[i % channels] += term(x[i], i % channels) / divisor;
        return sums;
    }
}
