using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using Avedis.Bindings;

namespace Avedis.Engine;

/// <summary>One tensor of a safetensors file: little-endian, row-major bytes.</summary>
/// <param name="DType">The format's name: F32, I64, U8, I32, BF16.</param>
public sealed record SafeTensor(string DType, int[] Shape, byte[] Data)
{
    public static SafeTensor Of(int[] shape, ReadOnlySpan<float> values) => new("F32", shape, MemoryMarshal.AsBytes(values).ToArray());

    public static SafeTensor Of(long value) => new("I64", [], BitConverter.GetBytes(value));

    /// <summary>The values of an F32 tensor.</summary>
    public float[] Floats() =>
        DType == "F32" ? MemoryMarshal.Cast<byte, float>(Data).ToArray() : throw new InvalidDataException($"expected F32, found {DType}");

    /// <summary>The value of an I64 scalar.</summary>
    public long Long() =>
        DType == "I64" && Data.Length == 8 ? BitConverter.ToInt64(Data) : throw new InvalidDataException($"expected one I64, found {DType}");
}

/// <summary>
/// Reads and writes the safetensors format: 8 bytes header length, a JSON header, the tensors' bytes. Written as the reference implementation
/// writes (wider types first, then by name; header padded to 8 bytes), so that equal contents are equal files. The reader checks
/// every figure against the file's length before it allocates.
/// </summary>
public static class Safetensors
{
    /// <summary>Bytes of the JSON header that readers take at most.</summary>
    public const int MaxHeader = 100_000_000;
    private const int MaxTensors = 100_000;

    public static void Write(string path, IReadOnlyDictionary<string, SafeTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var order = tensors.OrderByDescending(t => ElementBytes(t.Value.DType)).ThenBy(t => t.Key, StringComparer.Ordinal).ToList();
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is not null)
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                    json.WriteString(key, value);
                json.WriteEndObject();
            }
            long begin = 0;
            foreach (var (name, tensor) in order)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", tensor.DType);
                json.WriteStartArray("shape");
                foreach (int extent in tensor.Shape)
                    json.WriteNumberValue(extent);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(begin);
                json.WriteNumberValue(begin += tensor.Data.Length);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (buffer.Length % 8 != 0)
            buffer.WriteByte((byte)' ');

        using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, buffer.Length);
        file.Write(length);
        buffer.WriteTo(file);
        foreach (var (_, tensor) in order)
            file.Write(tensor.Data);
        file.Flush();
        DurableFiles.Sync(file.SafeFileHandle, path);
    }

    /// <exception cref="InvalidDataException">The file is not a complete, valid safetensors file; the message says where.</exception>
    public static Dictionary<string, SafeTensor> Read(string path)
    {
        using var file = RegularFiles.OpenRead(path);
        Span<byte> prefix = stackalloc byte[8];
        if (file.ReadAtLeast(prefix, 8, throwOnEndOfStream: false) < 8)
            throw Bad(path, $"it ends after {file.Length} bytes, inside the header length");
        long headerLength = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (headerLength is < 2 or > MaxHeader || headerLength > file.Length - 8)
            throw Bad(path, $"header length {headerLength} does not fit in a file of {file.Length} bytes");
        var header = new byte[headerLength];
        file.ReadExactly(header);

        var entries = ParseHeader(path, header);
        long end = 0, available = file.Length - 8 - headerLength;
        var tensors = new Dictionary<string, SafeTensor>();
        foreach (var (name, type, shape, begin, stop) in entries.OrderBy(e => e.Begin).ThenBy(e => e.End))
        {
            if (begin != end)
                throw Bad(path, $"tensor {name} begins at {begin}, expected {end}: holes and overlaps are not allowed");
            if (stop < begin || stop > available)
                throw Bad(path, $"tensor {name} ends at byte {stop}, the data has {available} bytes");
            if (stop - begin > Array.MaxLength)
                throw Bad(path, $"tensor {name} takes {stop - begin} bytes; {Array.MaxLength} is the most that is read");
            if (stop - begin != Bytes(path, name, type, shape))
                throw Bad(path, $"tensor {name} {type} [{string.Join(", ", shape)}] does not take {stop - begin} bytes");
            var data = new byte[stop - begin];
            file.ReadExactly(data);
            tensors.Add(name, new SafeTensor(type, shape, data));
            end = stop;
        }
        return end == available ? tensors : throw Bad(path, $"{available - end} bytes behind the last tensor");
    }

    private static List<(string Name, string Type, int[] Shape, long Begin, long End)> ParseHeader(string path, byte[] header)
    {
        var entries = new List<(string, string, int[], long, long)>();
        var names = new HashSet<string>();
        try
        {
            using var json = JsonDocument.Parse(header);
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__")
                    continue;
                if (!names.Add(property.Name) || names.Count > MaxTensors)
                    throw Bad(path, $"tensor {property.Name} occurs twice, or there are more than {MaxTensors} tensors");
                var offsets = property.Value.GetProperty("data_offsets");
                entries.Add((
                    property.Name,
                    property.Value.GetProperty("dtype").GetString() ?? "",
                    [.. property.Value.GetProperty("shape").EnumerateArray().Select(e => e.GetInt32())],
                    offsets[0].GetInt64(),
                    offsets[1].GetInt64()));
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or IndexOutOfRangeException)
        {
            throw Bad(path, $"its header is not valid ({error.Message})");
        }
        return entries;
    }

    private static long Bytes(string path, string name, string type, int[] shape)
    {
        try
        {
            long count = 1;
            foreach (int extent in shape)
                count = extent >= 0 ? checked(count * extent) : throw Bad(path, $"tensor {name} has a negative extent");
            return checked(count * (ElementBytes(type) is > 0 and var size ? size : throw Bad(path, $"tensor {name} has the unknown type '{type}'")));
        }
        catch (OverflowException)
        {
            throw Bad(path, $"tensor {name} is larger than any file");
        }
    }

    private static int ElementBytes(string type) => type switch
    {
        "I64" or "U64" or "F64" => 8,
        "F32" or "I32" or "U32" => 4,
        "F16" or "BF16" or "I16" or "U16" => 2,
        "U8" or "I8" or "BOOL" => 1,
        _ => 0,
    };

    private static InvalidDataException Bad(string path, string what) => new($"{path} is not a complete safetensors file: {what}");
}
