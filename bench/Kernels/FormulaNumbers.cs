namespace Avedis.Bench.Kernels;

/// <summary>
/// Uniform numbers in -1..1 by a formula of their index, so that a reference needs no copy of a tensor. They have as many significant bits as the units of a
/// precision multiply, so that no rounding of operands stands between us, a peer and the reference, and all bits of the units are at work.
/// </summary>
internal readonly record struct FormulaNumbers(uint Seed, int SignificantBits)
{
    /// <summary>Of the matrix units in TF32 and BF16, of F32 otherwise.</summary>
    public static FormulaNumbers For(string precision, uint seed) => new(seed, precision switch { "bf16" => 8, "tf32" => 11, _ => 24 });

    public float this[long index]
    {
        get
        {
            // the finaliser of MurmurHash3 (Appleby): every bit of the index reaches every bit of the result
            uint x = (uint)index ^ (uint)(index >>> 32) * 0x9E3779B1u ^ Seed * 0x85EBCA77u;
            x = (x ^ x >> 16) * 0x85EBCA6Bu;
            x = (x ^ x >> 13) * 0xC2B2AE35u;
            x ^= x >> 16;
            return ((int)x >> (31 - SignificantBits)) * MathF.ScaleB(1, -SignificantBits);
        }
    }
}
