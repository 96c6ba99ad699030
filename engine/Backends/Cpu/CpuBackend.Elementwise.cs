using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void Zero(Tensor x)
    {
        Enter();
        CpuNative.Check(CpuNative.Zero(x.Address, x.Bytes));
    }

    public void Copy(Tensor y, Tensor x)
    {
        Enter();
        if (y.Type == x.Type)
            CpuNative.Check(CpuNative.Copy(y.Address, x.Address, x.Bytes));
        else
            CpuNative.Check(CpuNative.Convert(y.Address, x.Address, Type(x), x.Count));
    }

    public void Add(Tensor y, Tensor x)
    {
        Enter();
        CpuNative.Check(CpuNative.Add(y.Address, x.Address, x.Count));
    }

    public void Normalise(Tensor y, Tensor x, float scale, float shift)
    {
        Enter();
        CpuNative.Check(CpuNative.Normalise(y.Address, Type(y), x.Address, x.Count, scale, shift));
    }

    public void ReluForward(Tensor y, Tensor x)
    {
        Enter();
        CpuNative.Check(CpuNative.ReluForward(y.Address, x.Address, Type(x), x.Count));
    }

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y)
    {
        Enter();
        CpuNative.Check(CpuNative.ReluBackward(dX.Address, dY.Address, y.Address, Type(y), y.Count));
    }

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda)
    {
        Enter();
        CpuNative.Check(CpuNative.GradientReversalBackward(dX.Address, dY.Address, lambda.Address, Type(dY), dY.Count));
    }

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda)
    {
        Enter();
        CpuNative.Check(CpuNative.GradientReversalAdd(dX.Address, dY.Address, lambda.Address, dX.Count));
    }

    public void ConcatForward(Tensor y, Tensor a, Tensor b)
    {
        Enter();
        CpuNative.Check(CpuNative.ConcatForward(y.Address, a.Address, b.Address, a.Shape[0], a.Shape[1], b.Shape[1]));
    }

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY)
    {
        Enter();
        CpuNative.Check(CpuNative.ConcatBackward(dA.Address, dB.Address, dY.Address, dA.Shape[0], dA.Shape[1], dB.Shape[1]));
    }

    public void CountNonFinite(Tensor count, Tensor x)
    {
        Enter();
        CpuNative.Check(CpuNative.CountNonFinite(count.Address, x.Address, Type(x), x.Count));
    }
}
