using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>Number formats of activations by the names of the command line.</summary>
public static class Precisions
{
    public static DType Resolve(Precision precision, IBackend backend) => precision switch
    {
        Precision.Fp32 => DType.F32,
        Precision.Bf16 => DType.BF16,
        _ => backend.HasFastBf16 ? DType.BF16 : DType.F32,
    };

    public static string Name(DType act) => act == DType.BF16 ? "bf16" : "fp32";
}
