using System.Buffers.Binary;

namespace Avedis.Trainer.Media;

/// <summary>
/// Reads the Matroska that ffmpeg writes to a pipe, which keeps the time of every picture, as AVI and raw streams do not. It is a row of
/// elements: an id of
/// 1 to 4 bytes, a length of 1 to 8, the content; some contain elements. Numbers are big-endian; times are milliseconds, ffmpeg's unit.
/// </summary>
internal sealed class MatroskaPipe(Stream stream)
{
    private const long UnknownLength = -1; // of the whole on a pipe
    private readonly byte[] skipped = new byte[64 * 1024];

    /// <summary>Size of the pictures; known before the first of them.</summary>
    public int Width { get; private set; }

    /// <inheritdoc cref="Width"/>
    public int Height { get; private set; }

    /// <summary>Channels of the sound; known before the first of it.</summary>
    public int Channels { get; private set; }

    /// <summary>Where a block of <paramref name="length"/> bytes is to go, or as much of it as is wanted; track 1 is the first that
    /// ffmpeg was told to write.</summary>
    public delegate Span<byte> Room(int track, double seconds, int length);

    /// <exception cref="MediaException">It is no Matroska.</exception>
    public void Read(Room room)
    {
        long cluster = 0;
        while (ReadNumber(keepMarker: true) is { } id)
        {
            if (ReadNumber(keepMarker: false) is not { } length)
                return;
            switch (id)
            {
                // segment, tracks, track, video, audio, cluster, block group
                case 0x18538067 or 0x1654AE6B or 0xAE or 0xE0 or 0xE1 or 0x1F43B675 or 0xA0:
                    break;
                case 0xE7:
                    cluster = ReadInteger(length);
                    break;
                case 0xB0:
                    Width = (int)ReadInteger(length);
                    break;
                case 0xBA:
                    Height = (int)ReadInteger(length);
                    break;
                case 0x9F:
                    Channels = (int)ReadInteger(length);
                    break;
                case 0xA3 or 0xA1:
                    ReadBlock(length, cluster, room);
                    break;
                default:
                    Skip(length);
                    break;
            }
        }
    }

    /// <summary>A block: the number of its track, its time behind that of the cluster in 16 bits, flags, the payload.</summary>
    private void ReadBlock(long length, long cluster, Room room)
    {
        Span<byte> head = stackalloc byte[4];
        if (length < head.Length || stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
            throw NotAsExpected();
        int payload = (int)Math.Min(length - head.Length, int.MaxValue);
        var taken = room(head[0] & 0x7f, (cluster + BinaryPrimitives.ReadInt16BigEndian(head[1..])) / 1000.0, payload);
        stream.ReadAtLeast(taken, taken.Length, throwOnEndOfStream: false);
        Skip(payload - taken.Length);
    }

    /// <summary>A number whose first byte says by its leading zeros how many follow; null at the end of the stream. All ones: <see
    /// cref="UnknownLength"/>.</summary>
    private long? ReadNumber(bool keepMarker)
    {
        int first = stream.ReadByte();
        if (first < 0)
            return null;
        int more = System.Numerics.BitOperations.LeadingZeroCount((uint)first) - 24;
        if (more > 7)
            throw NotAsExpected();
        long value = keepMarker ? first : first & (0x7f >> more);
        bool ones = value == 0x7f >> more;
        for (int i = 0; i < more; i++)
        {
            int next = stream.ReadByte();
            if (next < 0)
                return null;
            value = (value << 8) | (uint)next;
            ones &= next == 0xff;
        }
        return ones && !keepMarker ? UnknownLength : value;
    }

    private long ReadInteger(long length)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        if (length is < 0 or > 8 || stream.ReadAtLeast(bytes[(8 - (int)length)..], (int)length, throwOnEndOfStream: false) < length)
            throw NotAsExpected();
        return BinaryPrimitives.ReadInt64BigEndian(bytes);
    }

    private void Skip(long count)
    {
        if (count < 0)
            throw NotAsExpected();
        while (count > 0)
        {
            int got = stream.Read(skipped, 0, (int)Math.Min(count, skipped.Length));
            if (got == 0)
                return;
            count -= got;
        }
    }

    private static MediaException NotAsExpected() => new("cannot be decoded", "ffmpeg's output is not in the expected form");
}
