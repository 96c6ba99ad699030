using Avedis.Engine;

namespace Avedis.Bench;

/// <summary>Multiplications and additions a second, in 10^9, that a device reaches at most in each precision; null where it is not known.</summary>
public sealed record PeakRates(double? Fp32 = null, double? Tf32 = null, double? Bf16 = null)
{
    // dense rates without sparsity from NVIDIA's data sheets of the SXM boards, in TFLOP/s
    private static readonly (string Name, PeakRates Rates)[] Published =
    [
        ("H200", new(67e3, 495e3, 990e3)),
        ("H100", new(67e3, 495e3, 990e3)),
        ("A100", new(19.5e3, 156e3, 312e3)),
    ];

    public double? this[string precision] => precision switch { "fp32" => Fp32, "tf32" => Tf32, _ => Bf16 };

    /// <summary>The processor's, measured on that many threads.</summary>
    /// <exception cref="DeviceUnavailableException"/>
    public static PeakRates Measure(int threads)
    {
        using var backend = (CpuBackend)AvedisEngine.Open("cpu", threads, "fp32");
        return new(Fp32: backend.PeakFlops(DType.F32) / 1e9, Bf16: backend.PeakFlops(DType.BF16) / 1e9);
    }

    /// <summary>A GPU's, by the name that it gives itself; none of one that is not in the list.</summary>
    public static PeakRates OfGpu(string description)
    {
        var known = Published.FirstOrDefault(gpu => description.Contains(gpu.Name, StringComparison.Ordinal));
        return known.Rates ?? new();
    }
}
