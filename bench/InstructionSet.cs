namespace Avedis.Bench;

/// <summary>
/// A cap on the vector instructions that every engine may use, through the environment that its libraries read: oneDNN, which Avedis follows too, PyTorch's own
/// kernels, and the two libraries that do its matrix products.
/// </summary>
public static class InstructionSet
{
    /// <summary>No cap: what the processor has.</summary>
    public const string Native = "native";

    public static string[] Choices { get; } = [Native, "avx2", "avx512", "avx512-bf16"];

    /// <summary>Variables of the environment of an engine; none without a cap.</summary>
    public static IReadOnlyDictionary<string, string> Environment(string cap)
    {
        (string Onednn, string Aten, string Mkl, string OpenBlas)? words = cap switch
        {
            "avx2" => ("AVX2", "avx2", "AVX2", "Haswell"),
            "avx512" => ("AVX512_CORE", "avx512", "AVX512", "SkylakeX"),
            "avx512-bf16" => ("AVX512_CORE_BF16", "avx512", "AVX512", "Cooperlake"),
            _ => null,
        };
        return words is not { } word
            ? new Dictionary<string, string>()
            : new Dictionary<string, string>
            {
                ["DNNL_MAX_CPU_ISA"] = word.Onednn,
                ["ONEDNN_MAX_CPU_ISA"] = word.Onednn,
                ["ATEN_CPU_CAPABILITY"] = word.Aten,
                ["MKL_ENABLE_INSTRUCTIONS"] = word.Mkl,
                ["OPENBLAS_CORETYPE"] = word.OpenBlas,
            };
    }
}
