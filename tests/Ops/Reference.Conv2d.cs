using Avedis.Engine;

namespace Avedis.Tests.Ops;

internal static partial class Reference
{
    public static double[] Conv2dForward(double[] x, double[] weight, Conv2dGeometry g)
    {
        var y = new double[g.Output.Count];
        ForEachTap(g, (iy, ix, iw) =>
        {
            for (int c = 0; c < g.C; c++)
                y[iy] += x[ix + c] * weight[iw + c];
        });
        return y;
    }

    public static double[] Conv2dBackwardData(double[] dY, double[] weight, Conv2dGeometry g)
    {
        var dX = new double[g.Input.Count];
        ForEachTap(g, (iy, ix, iw) =>
        {
            for (int c = 0; c < g.C; c++)
                dX[ix + c] += dY[iy] * weight[iw + c];
        });
        return dX;
    }

    public static double[] Conv2dBackwardWeight(double[] dY, double[] x, Conv2dGeometry g)
    {
        var dWeight = new double[g.Weight.Count];
        ForEachTap(g, (iy, ix, iw) =>
        {
            for (int c = 0; c < g.C; c++)
                dWeight[iw + c] += dY[iy] * x[ix + c];
        });
        return dWeight;
    }

    /// <summary>
    /// The definition of the convolution. Every element of y meets C channels of some pixels of x, each with C weights: flat positions
    /// (in y, in x, in weight), the latter two of channel 0.
    /// </summary>
    private static void ForEachTap(Conv2dGeometry g, Action<int, int, int> tap)
    {
        for (int n = 0; n < g.N; n++)
            for (int p = 0; p < g.P; p++)
                for (int q = 0; q < g.Q; q++)
                    for (int k = 0; k < g.K; k++)
                        for (int r = 0; r < g.R; r++)
                            for (int s = 0; s < g.S; s++)
                            {
                                int h = p * g.StrideH + r - g.PadH, w = q * g.StrideW + s - g.PadW;
                                if (h < 0 || h >= g.H || w < 0 || w >= g.W)
                                    continue;
                                tap(((n * g.P + p) * g.Q + q) * g.K + k, ((n * g.H + h) * g.W + w) * g.C, ((k * g.R + r) * g.S + s) * g.C);
                            }
    }
}
