using System.Numerics;
using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Tests.Ops;

internal static partial class Reference
{
    public static double[] Conv2dForward(double[] x, double[] weight, Conv2dGeometry g)
    {
        var y = new double[g.Output.Count];
        ForEachRun(g, (iy, ix, iw, length) => y[iy] += Dot(x.AsSpan(ix, length), weight.AsSpan(iw, length)));
        return y;
    }

    public static double[] Conv2dBackwardData(double[] dY, double[] weight, Conv2dGeometry g)
    {
        var dX = new double[g.Input.Count];
        ForEachRun(g, (iy, ix, iw, length) => AddScaled(dX.AsSpan(ix, length), dY[iy], weight.AsSpan(iw, length)));
        return dX;
    }

    public static double[] Conv2dBackwardWeight(double[] dY, double[] x, Conv2dGeometry g)
    {
        var dWeight = new double[g.Weight.Count];
        ForEachRun(g, (iy, ix, iw, length) => AddScaled(dWeight.AsSpan(iw, length), dY[iy], x.AsSpan(ix, length)));
        return dWeight;
    }

    /// <summary>
    /// The definition of the convolution. Every element of y meets the pixels of x in its window, each with C channels and C weights; of one row of the window
    /// they lie side by side. So: flat positions in y, in x and in weight, and how many elements from there meet.
    /// </summary>
    private static void ForEachRun(Conv2dGeometry g, Action<int, int, int, int> run)
    {
        for (int n = 0; n < g.N; n++)
            for (int p = 0; p < g.P; p++)
                for (int q = 0; q < g.Q; q++)
                {
                    int left = q * g.StrideW - g.PadW, first = Math.Max(0, -left), last = Math.Min(g.S, g.W - left);
                    if (first >= last)
                        continue;
                    for (int k = 0; k < g.K; k++)
                        for (int r = 0; r < g.R; r++)
                        {
                            int h = p * g.StrideH + r - g.PadH;
                            if (h >= 0 && h < g.H)
                                run(
                                    ((n * g.P + p) * g.Q + q) * g.K + k, ((n * g.H + h) * g.W + left + first) * g.C, ((k * g.R + r) * g.S + first) * g.C,
                                    (last - first) * g.C);
                        }
                }
    }

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var left = MemoryMarshal.Cast<double, Vector<double>>(a);
        var right = MemoryMarshal.Cast<double, Vector<double>>(b);
        var sums = Vector<double>.Zero;
        for (int i = 0; i < left.Length; i++)
            sums += left[i] * right[i];
        double sum = Vector.Sum(sums);
        for (int i = left.Length * Vector<double>.Count; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    /// <summary>y += a * x.</summary>
    private static void AddScaled(Span<double> y, double a, ReadOnlySpan<double> x)
    {
        var sums = MemoryMarshal.Cast<double, Vector<double>>(y);
        var more = MemoryMarshal.Cast<double, Vector<double>>(x);
        for (int i = 0; i < sums.Length; i++)
            sums[i] += a * more[i];
        for (int i = sums.Length * Vector<double>.Count; i < y.Length; i++)
            y[i] += a * x[i];
    }
}
