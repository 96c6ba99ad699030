using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths)
    {
        Enter();
        CpuNative.Check(CpuNative.MaskedMeanForward(y.Address, x.Address, lengths.Address, Type(x), x.Shape[0], x.Shape[1], x.Shape[2]));
    }

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths)
    {
        Enter();
        CpuNative.Check(CpuNative.MaskedMeanBackward(dX.Address, dY.Address, lengths.Address, Type(dX), dX.Shape[0], dX.Shape[1], dX.Shape[2]));
    }
}
