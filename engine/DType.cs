namespace Avedis.Engine;

/// <summary>Element types a <see cref="Tensor"/> can hold.</summary>
public enum DType
{
    /// <summary>IEEE single precision: master weights, statistics, losses, and activations at <c>--precision fp32</c>.</summary>
    F32,

    /// <summary>bfloat16, the upper half of a single: activations and their gradients at <c>--precision bf16</c>.</summary>
    BF16,

    /// <summary>Bytes: face pixels as stored, and arg-max positions inside a pooling window.</summary>
    U8,

    /// <summary>Labels and lengths.</summary>
    I32,
}

public static class DTypes
{
    public static int Bytes(this DType type) => type switch
    {
        DType.F32 or DType.I32 => 4,
        DType.BF16 => 2,
        DType.U8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };
}
