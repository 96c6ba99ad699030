using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void GradientProjection(Tensor primary, Tensor adversary, Tensor offsets, Tensor alpha)
    {
        Enter();
        CpuNative.Check(CpuNative.GradientProjection(primary.Address, adversary.Address, offsets.Address, alpha.Address, offsets.Count - 1));
    }
}
