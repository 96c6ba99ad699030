namespace Avedis.Engine;

/// <summary>How the processor computes convolutions of F32 activations. A GPU, and BF16, always use direct sums.</summary>
public enum ConvolutionAlgorithm
{
    /// <summary>
    /// Winograd's minimal filtering (Lavin and Gray 2016) where it is faster, by the shape and the instruction set alone: about a third of
    /// the multiplications, at two to four times the rounding error.
    /// </summary>
    Auto,

    /// <summary>Sums of products.</summary>
    Direct,
}
