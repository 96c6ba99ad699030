using System.Buffers.Binary;
using System.Text;
using System.Text.RegularExpressions;
using Avedis.Engine;

namespace Avedis.Tests;

/// <summary>A part of a file that is JSON, and where its length stands: little-endian, <paramref name="Width"/> bytes; 0 for nowhere.</summary>
internal sealed record JsonPart(int Start, int Length, int LengthAt = 0, int Width = 0);

/// <summary>A valid file of a format, and what of the format mutations are to know.</summary>
internal sealed record FuzzSample(byte[] Bytes)
{
    public IReadOnlyList<JsonPart> Json { get; init; } = [];

    /// <summary>Places of numbers that readers believe: lengths, offsets, counts, types.</summary>
    public IReadOnlyList<(int At, int Width)> Fields { get; init; } = [];

    /// <summary>Texts that mean something to the format.</summary>
    public IReadOnlyList<string> Words { get; init; } = [];

    /// <summary>Makes checksums right, or packs: without it no mutation would get past the first look.</summary>
    public Func<byte[], byte[]> Seal { get; init; } = bytes => bytes;
}

/// <summary>Damages a file in the ways that matter to its reader. The same sample and seed give the same bytes.</summary>
internal sealed partial class Mutator(FuzzSample sample)
{
    private const int MostChanges = 4, LongestBlock = 64, DeepestNesting = 5000;

    private static readonly string[] JsonValues =
    [
        "null", "true", "0", "-1", "1", "2147483647", "-2147483648", "2147483648", "9223372036854775807", "-9223372036854775808", "18446744073709551616", "1e999", "0.5", "\"NaN\"",
        "[]", "{}", "[null]", "{\"a\":1,\"a\":2}", "\"\"", "\"\\ud800\"", "\"\\u001b[31m\"", "\"<script>\"", "\"../../etc/passwd\"", "\"/dev/zero\"", "\"\\u0000\"",
    ];

    private readonly (int Start, int Length)[][] tokens = [.. sample.Json.Select(part => Tokens(sample.Bytes.AsSpan(part.Start, part.Length)))];

    public byte[] Mutate(ulong seed)
    {
        var random = new Philox(seed, StableHash.Of("mutator"));
        byte[] bytes = [.. sample.Bytes];
        // at most one change of JSON: the places of tokens are those of the sample
        if (sample.Json.Count > 0 && random.Next(2) == 0)
            bytes = ChangeJson(bytes, random);
        else
            for (int change = 1 + random.Next(MostChanges); change > 0; change--)
                bytes = Change(bytes, random);
        return sample.Seal(bytes);
    }

    private byte[] Change(byte[] bytes, Philox random)
    {
        if (bytes.Length == 0)
            return bytes;
        int at = random.Next(bytes.Length), length = Math.Min(1 + random.Next(LongestBlock), bytes.Length - at), to = random.Next(bytes.Length);
        switch (random.Next(9))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 1:
                bytes[at] = (byte)random.Next(256);
                return bytes;
            case 2:
                return bytes[..at];
            case 3:
                return [.. bytes[..at], .. bytes[(at + length)..]];
            case 4:
                return [.. bytes[..to], .. bytes[at..(at + length)], .. bytes[to..]];
            case 5:
                bytes.AsSpan(at, Math.Min(length, bytes.Length - to)).CopyTo(bytes.AsSpan(to));
                return bytes;
            case 6 when sample.Words.Count > 0:
                return [.. bytes[..at], .. Encoding.UTF8.GetBytes(sample.Words[random.Next(sample.Words.Count)]), .. bytes[(random.Next(2) == 0 ? at : at + length)..]];
            case 7 when sample.Fields.Count > 0:
                var field = sample.Fields[random.Next(sample.Fields.Count)];
                Put(bytes, field.At, field.Width, Interesting(bytes, field.At, field.Width, random));
                return bytes;
            default:
                int width = 1 << random.Next(4);
                Put(bytes, at, width, Interesting(bytes, at, width, random));
                return bytes;
        }
    }

    private byte[] ChangeJson(byte[] bytes, Philox random)
    {
        int which = random.Next(sample.Json.Count);
        var part = sample.Json[which];
        var token = tokens[which][random.Next(tokens[which].Length)];
        var other = tokens[which][random.Next(tokens[which].Length)];
        int start = part.Start + token.Start, end = start + token.Length;
        byte[] put = random.Next(8) switch
        {
            0 => [],
            1 => Nested(1 + random.Next(DeepestNesting), random.Next(2) == 0),
            2 or 3 => bytes[(part.Start + other.Start)..(part.Start + other.Start + other.Length)],
            4 => Encoding.UTF8.GetBytes($"\"{new string('x', random.Next(2000))}\""),
            _ => Encoding.UTF8.GetBytes(JsonValues[random.Next(JsonValues.Length)]),
        };
        byte[] changed = [.. bytes[..start], .. put, .. bytes[(random.Next(8) == 0 ? start : end)..]];
        if (part.Width > 0 && random.Next(8) > 0)
            Put(changed, part.LengthAt, part.Width, part.Length + changed.Length - bytes.Length);
        return changed;
    }

    private static byte[] Nested(int depth, bool list) => Encoding.UTF8.GetBytes(list
        ? new string('[', depth) + new string(']', depth)
        : string.Concat(Enumerable.Repeat("{\"a\":", depth)) + "1" + new string('}', depth));

    // the edges of number formats, the file's own length, and what stands there give or take one
    private static long Interesting(byte[] bytes, int at, int width, Philox random)
    {
        long here = 0;
        for (int i = Math.Min(width, bytes.Length - at) - 1; i >= 0; i--)
            here = (here << 8) | bytes[at + i];
        return random.Next(14) switch
        {
            0 => 0, 1 => 1, 2 => -1, 3 => int.MaxValue, 4 => int.MinValue, 5 => long.MaxValue, 6 => long.MinValue, 7 => bytes.Length, 8 => bytes.Length - at, 9 => here + 1, 10 => here - 1,
            11 => here * 2, 12 => 1L << random.Next(63), _ => random.Next(256),
        };
    }

    private static void Put(byte[] bytes, int at, int width, long value)
    {
        Span<byte> number = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(number, value);
        if (at < bytes.Length)
            number[..Math.Min(width, bytes.Length - at)].CopyTo(bytes.AsSpan(at));
    }

    private static (int Start, int Length)[] Tokens(ReadOnlySpan<byte> json) => [.. Token().Matches(Encoding.Latin1.GetString(json)).Select(match => (match.Index, match.Length))];

    [GeneratedRegex("""
        "(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|[\[\]{},:]
        """, RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Token();
}
