using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void AugmentFaces(Tensor y, Tensor x, Tensor plans, float scale, float shift)
    {
        Enter();
        int clips = plans.Shape[0];
        CpuNative.Check(CpuNative.AugmentFaces(
            y.Address, Type(y), x.Address, plans.Address, clips, x.Shape[0] / clips, x.Shape[1], scale, shift));
    }

    public void AugmentMels(Tensor y, Tensor x, Tensor plans)
    {
        Enter();
        CpuNative.Check(CpuNative.AugmentMels(y.Address, Type(y), x.Address, plans.Address, x.Shape[0], x.Shape[1], x.Shape[2]));
    }
}
