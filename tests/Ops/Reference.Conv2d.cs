using Avedis.Engine;

namespace Avedis.Tests.Ops;

internal static partial class Reference
{
    public static double[] Conv2dForward(double[] x, double[] weight, Conv2dGeometry g)
    {
        var y = new double[g.Output.Count];
        ForEachProduct(g, (iy, ix, iw) => y[iy] += x[ix] * weight[iw]);
        return y;
    }

    public static double[] Conv2dBackwardData(double[] dY, double[] weight, Conv2dGeometry g)
    {
        var dX = new double[g.Input.Count];
        ForEachProduct(g, (iy, ix, iw) => dX[ix] += dY[iy] * weight[iw]);
        return dX;
    }

    public static double[] Conv2dBackwardWeight(double[] dY, double[] x, Conv2dGeometry g)
    {
        var dWeight = new double[g.Weight.Count];
        ForEachProduct(g, (iy, ix, iw) => dWeight[iw] += dY[iy] * x[ix]);
        return dWeight;
    }

    /// <summary>
    /// The definition of the convolution: calls with the flat positions (in y, in x, in weight) of every product x * weight that is a term of y.
    /// </summary>
    private static void ForEachProduct(Conv2dGeometry g, Action<int, int, int> product)
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
                                for (int c = 0; c < g.C; c++)
                                    product(((n * g.P + p) * g.Q + q) * g.K + k, ((n * g.H + h) * g.W + w) * g.C + c, ((k * g.R + r) * g.S + s) * g.C + c);
                            }
    }
}
