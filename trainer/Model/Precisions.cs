using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>Number formats of activations by the names of the command line.</summary>
public static class Precisions
{
    public static DType Resolve(Precision precision, IBackend backend) => precision switch
    {
        Precision.Fp32 or Precision.Tf32 => DType.F32,
        Precision.Bf16 => DType.BF16,
        _ => backend.HasFastBf16 ? DType.BF16 : DType.F32,
    };

    /// <summary>The precision that a run recorded.</summary>
    public static Precision Named(string name) => name switch
    {
        "bf16" => Precision.Bf16,
        "tf32" => Precision.Tf32,
        _ => Precision.Fp32,
    };

    /// <summary>What a run records: "fp32", "tf32" or "bf16".</summary>
    /// <param name="precision">What was asked for.</param>
    /// <param name="act">What <see cref="Resolve"/> made of it.</param>
    public static string Name(Precision precision, DType act) => precision == Precision.Tf32 ? "tf32" : act == DType.BF16 ? "bf16" : "fp32";
}
