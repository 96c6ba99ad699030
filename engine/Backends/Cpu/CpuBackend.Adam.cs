using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void Adam(
        Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon)
    {
        Enter();
        CpuNative.Check(CpuNative.Adam(
            parameters.Address, gradients.Address, m.Address, v.Address, schedule.Address, beta1, beta2, epsilon, parameters.Count));
    }
}
