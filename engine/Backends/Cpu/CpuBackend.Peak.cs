using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    /// <summary>
    /// Multiplications and additions a second that all threads reach in registers, with factors of that type: measured, in some tens of milliseconds, within the
    /// instruction set that oneDNN may use. No step can be faster than its arithmetic at this rate.
    /// </summary>
    /// <exception cref="CpuCallException">The processor has no AVX2.</exception>
    public double PeakFlops(DType factors)
    {
        Enter();
        CpuNative.Check(CpuNative.Peak(out double flops, factors == DType.BF16 ? CpuType.BF16 : CpuType.F32));
        return flops;
    }
}
