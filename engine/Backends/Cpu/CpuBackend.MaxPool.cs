using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry)
    {
        Enter();
        CpuNative.Check(CpuNative.MaxPoolForward(y.Address, argmax.Address, x.Address, Type(x), Native(geometry)));
    }

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry)
    {
        Enter();
        CpuNative.Check(CpuNative.MaxPoolBackward(dX.Address, dY.Address, argmax.Address, Type(dY), Native(geometry)));
    }

    private static CpuPool2dGeometry Native(in Pool2dGeometry g) =>
        new(g.N, g.H, g.W, g.C, g.R, g.S, g.StrideH, g.StrideW, g.PadH, g.PadW);
}
