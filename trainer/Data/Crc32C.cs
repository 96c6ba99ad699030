using System.Numerics;
using System.Runtime.InteropServices;

namespace Avedis.Trainer.Data;

/// <summary>The checksum CRC-32C (Castagnoli), as iSCSI, ext4 and TensorBoard use it; the processor has an instruction for it.</summary>
public static class Crc32C
{
    /// <summary>Checksum of the bytes; "123456789" gives 0xE3069283.</summary>
    public static uint Compute(ReadOnlySpan<byte> bytes) => ~Continue(uint.MaxValue, bytes);

    /// <summary>Checksum of two blocks as if they were one.</summary>
    public static uint Compute(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) => ~Continue(Continue(uint.MaxValue, first), second);

    private static uint Continue(uint crc, ReadOnlySpan<byte> bytes)
    {
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes))
            crc = BitOperations.Crc32C(crc, word);
        foreach (byte rest in bytes[(bytes.Length & ~7)..])
            crc = BitOperations.Crc32C(crc, rest);
        return crc;
    }
}
