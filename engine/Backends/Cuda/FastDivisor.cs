using System.Numerics;

namespace Avedis.Engine;

/// <summary>
/// FastDivisor of kernel.cuh: x / Divisor = x * Multiplier >> Shift for every x from 0 to 2^31 - 1, with Multiplier = ceil(2^Shift / Divisor) and
/// Shift = 31 + ceil(log2 Divisor) (Granlund and Montgomery 1994).
/// </summary>
internal readonly record struct FastDivisor(int Divisor, uint Multiplier, int Shift)
{
    /// <param name="divisor">1 or more.</param>
    public static FastDivisor Of(int divisor)
    {
        int shift = 31 + BitOperations.Log2((uint)divisor - 1) + (divisor > 1 ? 1 : 0);
        return new(divisor, checked((uint)(((1UL << shift) + (uint)divisor - 1) / (uint)divisor)), shift);
    }
}
