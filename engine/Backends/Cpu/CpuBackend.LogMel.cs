using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry)
    {
        Enter();
        CpuNative.Check(CpuNative.LogMel(
            y.Address, samples.Address, basis.Address, filters.Address, samples.Shape[0], samples.Shape[1], basis.Shape[3], basis.Shape[1],
            filters.Shape[0], y.Shape[2], geometry.Hop, geometry.Floor, geometry.AddFloor ? 1 : 0));
    }
}
