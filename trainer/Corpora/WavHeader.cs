using System.Buffers.Binary;
using Avedis.Bindings;

namespace Avedis.Trainer.Corpora;

/// <summary>The length of a wav file from its header: a hundred thousand of them take seconds, ffprobe would take an hour.</summary>
public static class WavHeader
{
    private const int MostChunks = 64;

    /// <summary>Seconds of sound that are really there; null if it is no wav file with a format and data.</summary>
    public static double? Seconds(string path)
    {
        using var file = RegularFiles.OpenRead(path);
        Span<byte> head = stackalloc byte[12], chunk = stackalloc byte[8], format = stackalloc byte[16];
        if (file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length || !head.StartsWith("RIFF"u8) || !head[8..].SequenceEqual("WAVE"u8))
            return null;
        uint bytesPerSecond = 0;
        for (int i = 0; i < MostChunks && file.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false) == chunk.Length; i++)
        {
            uint bytes = BinaryPrimitives.ReadUInt32LittleEndian(chunk[4..]);
            long next = file.Position + bytes + (bytes & 1);
            if (chunk.StartsWith("data"u8))
                return bytesPerSecond == 0 ? null : Math.Min(bytes, file.Length - file.Position) / (double)bytesPerSecond;
            if (chunk.StartsWith("fmt "u8) && file.ReadAtLeast(format, format.Length, throwOnEndOfStream: false) == format.Length)
                bytesPerSecond = BinaryPrimitives.ReadUInt32LittleEndian(format[8..]);
            file.Position = next;
        }
        return null;
    }
}
