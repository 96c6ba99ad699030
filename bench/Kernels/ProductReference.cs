using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>Single elements of the passes of convolutions and linear layers by their definitions, in double precision, from numbers by formula.</summary>
internal static class ProductReference
{
    /// <summary>y[n,p,q,k] = sum over r, s, c of x[n, p * stride + r - pad, ...] * weight[k,r,s,c].</summary>
    public static SumOfProducts Forward(Conv2dGeometry g, FormulaNumbers x, FormulaNumbers weight, long index)
    {
        var (n, p, q, k) = Position(g.Output, index);
        var sum = new Products();
        for (int r = 0; r < g.R; r++)
            for (int s = 0; s < g.S; s++)
            {
                int h = p * g.StrideH + r - g.PadH, w = q * g.StrideW + s - g.PadW;
                if ((uint)h >= (uint)g.H || (uint)w >= (uint)g.W)
                    continue;
                for (int c = 0; c < g.C; c++)
                    sum.Add(x[Index(g.Input, n, h, w, c)], weight[Index(g.Weight, k, r, s, c)]);
            }
        return sum.Of((long)g.R * g.S * g.C);
    }

    /// <summary>dX[n,h,w,c] = sum of dY[n,p,q,k] * weight[k,r,s,c] over the outputs and taps that meet it.</summary>
    public static SumOfProducts BackwardData(Conv2dGeometry g, FormulaNumbers dY, FormulaNumbers weight, long index)
    {
        var (n, h, w, c) = Position(g.Input, index);
        var sum = new Products();
        for (int r = 0; r < g.R; r++)
            for (int s = 0; s < g.S; s++)
            {
                var (p, restP) = Math.DivRem(h + g.PadH - r, g.StrideH);
                var (q, restQ) = Math.DivRem(w + g.PadW - s, g.StrideW);
                if (restP != 0 || restQ != 0 || (uint)p >= (uint)g.P || (uint)q >= (uint)g.Q)
                    continue;
                for (int k = 0; k < g.K; k++)
                    sum.Add(dY[Index(g.Output, n, p, q, k)], weight[Index(g.Weight, k, r, s, c)]);
            }
        return sum.Of((long)g.R * g.S * g.K);
    }

    /// <summary>dWeight[k,r,s,c] = sum over n, p, q of dY[n,p,q,k] * x[n, p * stride + r - pad, ...].</summary>
    public static SumOfProducts BackwardWeight(Conv2dGeometry g, FormulaNumbers dY, FormulaNumbers x, long index)
    {
        var (k, r, s, c) = Position(g.Weight, index);
        var sum = new Products();
        for (int n = 0; n < g.N; n++)
            for (int p = 0; p < g.P; p++)
            {
                int h = p * g.StrideH + r - g.PadH;
                if ((uint)h >= (uint)g.H)
                    continue;
                for (int q = 0; q < g.Q; q++)
                {
                    int w = q * g.StrideW + s - g.PadW;
                    if ((uint)w < (uint)g.W)
                        sum.Add(dY[Index(g.Output, n, p, q, k)], x[Index(g.Input, n, h, w, c)]);
                }
            }
        return sum.Of((long)g.N * g.P * g.Q);
    }

    /// <summary>y[n,o] = sum over i of x[n,i] * weight[o,i].</summary>
    public static SumOfProducts LinearForward(LinearLayer layer, FormulaNumbers x, FormulaNumbers weight, long index)
    {
        var (n, o) = Math.DivRem(index, layer.Outputs);
        var sum = new Products();
        for (int i = 0; i < layer.Inputs; i++)
            sum.Add(x[n * layer.Inputs + i], weight[o * layer.Inputs + i]);
        return sum.Of(layer.Inputs);
    }

    /// <summary>dX[n,i] = sum over o of dY[n,o] * weight[o,i].</summary>
    public static SumOfProducts LinearBackwardData(LinearLayer layer, FormulaNumbers dY, FormulaNumbers weight, long index)
    {
        var (n, i) = Math.DivRem(index, layer.Inputs);
        var sum = new Products();
        for (int o = 0; o < layer.Outputs; o++)
            sum.Add(dY[n * layer.Outputs + o], weight[(long)o * layer.Inputs + i]);
        return sum.Of(layer.Outputs);
    }

    /// <summary>dWeight[o,i] = sum over n of dY[n,o] * x[n,i].</summary>
    public static SumOfProducts LinearBackwardWeight(LinearLayer layer, FormulaNumbers dY, FormulaNumbers x, long index)
    {
        var (o, i) = Math.DivRem(index, layer.Inputs);
        var sum = new Products();
        for (long n = 0; n < layer.Rows; n++)
            sum.Add(dY[n * layer.Outputs + o], x[n * layer.Inputs + i]);
        return sum.Of(layer.Rows);
    }

    private static (int A, int B, int C, int D) Position(Shape shape, long index)
    {
        (index, long d) = Math.DivRem(index, shape[3]);
        (index, long c) = Math.DivRem(index, shape[2]);
        var (a, b) = Math.DivRem(index, shape[1]);
        return ((int)a, (int)b, (int)c, (int)d);
    }

    private static long Index(Shape shape, int a, int b, int c, int d) => (((long)a * shape[1] + b) * shape[2] + c) * shape[3] + d;

    private struct Products
    {
        private double value, magnitude;

        public void Add(double a, double b)
        {
            value += a * b;
            magnitude += Math.Abs(a * b);
        }

        public readonly SumOfProducts Of(long terms) => new(value, magnitude, terms);
    }
}
