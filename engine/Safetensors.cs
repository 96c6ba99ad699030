using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;

namespace Avedis.Engine;

/// <summary>One tensor of a safetensors file: little-endian, row-major bytes.</summary>
/// <param name="DType">The format's name: F32, I64, U8, BOOL, F8_E4M3, ...</param>
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
/// writes (wider types first, then by name; header padded to 8 bytes), so that equal contents are equal files. The reader takes every valid
/// file and no other; it checks every figure against the file's length before it allocates.
/// </summary>
public static class Safetensors
{
    /// <summary>Bytes of the JSON header that the format allows.</summary>
    public const int MaxHeader = 100_000_000;

    private const string Metadata = "__metadata__";
    private const int MaxDepth = 128; // of the header's JSON, as in the reference implementation
    private const int ShownName = 80, ShownReason = 100; // characters of a message: it fits on a line whatever the file says

    private static readonly UTF8Encoding utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    // bits of an element; in the order by which the reference implementation sorts, backwards
    private static readonly OrderedDictionary<string, int> types = new()
    {
        ["BOOL"] = 8, ["F4"] = 4, ["F6_E2M3"] = 6, ["F6_E3M2"] = 6, ["U8"] = 8, ["I8"] = 8,
        ["F8_E5M2"] = 8, ["F8_E4M3"] = 8, ["F8_E8M0"] = 8, ["F8_E4M3FNUZ"] = 8, ["F8_E5M2FNUZ"] = 8,
        ["I16"] = 16, ["U16"] = 16, ["F16"] = 16, ["BF16"] = 16,
        ["I32"] = 32, ["U32"] = 32, ["F32"] = 32,
        ["C64"] = 64, ["F64"] = 64, ["I64"] = 64, ["U64"] = 64,
    };

    /// <exception cref="ArgumentException">The format does not allow a name, a type, a shape with its data, or so long a
    /// header.</exception>
    public static void Write(
        string path, IReadOnlyDictionary<string, SafeTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        foreach (var (name, tensor) in tensors)
            if (name == Metadata)
                throw new ArgumentException($"a tensor cannot be called {Metadata}");
            else if (Bytes(tensor.DType, [.. tensor.Shape.Select(extent => (ulong)(long)extent)]) != (ulong)tensor.Data.Length)
                throw new ArgumentException(
                    $"tensor {Shown(name)}: {Describe(tensor.DType, tensor.Shape)} does not take {tensor.Data.Length} bytes");
        var order = tensors.OrderByDescending(t => types.IndexOf(t.Value.DType)).ThenBy(t => utf8.GetBytes(t.Key), ByBytes).ToList();
        byte[] header = utf8.GetBytes(Header(order, metadata));
        if (header.Length > MaxHeader)
            throw new ArgumentException($"a header of {header.Length} bytes; the format allows {MaxHeader}");

        using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
        Span<byte> length = stackalloc byte[8];
        int padding = (8 - (header.Length % 8)) % 8;
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length + padding);
        file.Write(length);
        file.Write(header);
        file.Write("        "u8[..padding]);
        foreach (var (_, tensor) in order)
            file.Write(tensor.Data);
        file.Flush();
        DurableFiles.Sync(file.SafeFileHandle, path);
    }

    private static readonly Comparer<byte[]> ByBytes = Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b));

    private static string Header(List<KeyValuePair<string, SafeTensor>> order, IReadOnlyDictionary<string, string>? metadata)
    {
        var json = new StringBuilder("{");
        if (metadata is not null)
        {
            json.Append($"\"{Metadata}\":{{");
            foreach (var (i, (key, value)) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal).Index())
            {
                Quote(json.Append(i == 0 ? "" : ","), key);
                Quote(json.Append(':'), value);
            }
            json.Append('}').Append(order.Count > 0 ? "," : "");
        }
        long begin = 0;
        foreach (var (i, (name, tensor)) in order.Index())
        {
            Quote(json.Append(i == 0 ? "" : ","), name);
            json.Append($":{{\"dtype\":\"{tensor.DType}\",\"shape\":[{string.Join(',', tensor.Shape)}],");
            json.Append($"\"data_offsets\":[{begin},{begin += tensor.Data.Length}]}}");
        }
        return json.Append('}').ToString();
    }

    // only what JSON asks for is escaped; .NET's writers escape more
    private static void Quote(StringBuilder json, string text)
    {
        json.Append('"');
        foreach (char c in text)
            json.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\b' => "\\b",
                '\f' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                < ' ' => $"\\u{(int)c:x4}",
                _ => null,
            } ?? c.ToString());
        json.Append('"');
    }

    /// <exception cref="InvalidDataException">
    /// The file is no valid safetensors file, or holds more than can be read. The message says where, in one line; long texts of the file
    /// are cut.
    /// </exception>
    public static Dictionary<string, SafeTensor> Read(string path)
    {
        using var file = RegularFiles.OpenRead(path);
        Span<byte> prefix = stackalloc byte[8];
        if (file.ReadAtLeast(prefix, 8, throwOnEndOfStream: false) < 8)
            throw Invalid(path, $"it ends after {file.Length} bytes, inside the header length");
        ulong headerLength = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerLength > MaxHeader)
            throw Invalid(path, $"its header is said to take {headerLength} bytes; the format allows {MaxHeader}");
        if ((long)headerLength > file.Length - 8)
            throw Invalid(path, $"a header of {headerLength} bytes does not fit in a file of {file.Length} bytes");
        var header = new byte[headerLength];
        file.ReadExactly(header);

        var entries = new HeaderReader(path, header).Read();
        ulong end = 0, available = (ulong)file.Length - 8 - headerLength;
        var tensors = new Dictionary<string, SafeTensor>();
        foreach (var (name, type, shape, begin, stop) in entries.OrderBy(e => e.Begin).ThenBy(e => e.End))
        {
            if (begin != end)
                throw Invalid(path, $"tensor {Shown(name)} begins at {begin}, expected {end}: holes and overlaps are not allowed");
            if (stop < begin || stop > available)
                throw Invalid(path, $"tensor {Shown(name)} ends at byte {stop}, it begins at {begin} and the data has {available} bytes");
            if (!types.ContainsKey(type))
                throw Invalid(path, $"tensor {Shown(name)} has the unknown type {Shown(type)}");
            if (Bytes(type, shape) != stop - begin)
                throw Invalid(path, $"tensor {Shown(name)}: {Describe(type, shape)} does not take {stop - begin} bytes");
            if (stop - begin > (ulong)Array.MaxLength)
                throw Refused(path, $"tensor {Shown(name)} takes {stop - begin} bytes; {Array.MaxLength} is the most that is read");
            if (shape.Any(extent => extent > int.MaxValue))
                throw Refused(path, $"tensor {Shown(name)}: {Describe(type, shape)} "
                    + $"has an extent above {int.MaxValue}, the most that is read");
            var data = new byte[stop - begin];
            file.ReadExactly(data);
            tensors.Add(name, new SafeTensor(type, [.. shape.Select(extent => (int)extent)], data));
            end = stop;
        }
        return end == available ? tensors : throw Invalid(path, $"{available - end} bytes behind the last tensor");
    }

    /// <summary>The JSON header, read once from front to back: a document of it would take many times its size.</summary>
    private ref struct HeaderReader(string path, byte[] header)
    {
        private Utf8JsonReader json = new(header.AsSpan().TrimEnd((byte)' '), new JsonReaderOptions { MaxDepth = MaxDepth });
        private string? tensor; // the one that is read, or its own map of texts

        private readonly string Place => tensor is null ? "its header" : tensor == Metadata ? Metadata : $"tensor {Shown(tensor)}";

        public List<(string Name, string Type, ulong[] Shape, ulong Begin, ulong End)> Read()
        {
            if (header is not [(byte)'{', ..])
                throw Invalid(path, "its header does not begin with {");
            var entries = new List<(string, string, ulong[], ulong, ulong)>();
            try
            {
                var names = new HashSet<string>();
                Expect(JsonTokenType.StartObject, "an object");
                while (NextName(names) is { } name)
                    if (name == Metadata)
                        ReadMetadata();
                    else
                        entries.Add(ReadTensor(name));
                json.Read(); // nothing may follow
                if (header.AsSpan().TrimEnd((byte)' ')[^1] != '}')
                    throw Invalid(path, "its header ends with something else than } and spaces");
            }
            catch (Exception error) when (error is JsonException or InvalidOperationException)
            {
                // a text that is not UTF-8, or half a character, is the second
                string reason = Cut(error.Message.Split(" LineNumber:")[0], ShownReason);
                throw Invalid(path, $"{Place} is not valid JSON, near byte {json.BytesConsumed} ({reason})");
            }
            return entries;
        }

        private void ReadMetadata()
        {
            tensor = Metadata;
            Expect(JsonTokenType.StartObject, "a map of texts");
            var names = new HashSet<string>();
            while (NextName(names) is { } key)
            {
                Expect(JsonTokenType.String, $"a text for {Shown(key)}");
                json.GetString();
            }
            tensor = null;
        }

        private (string Name, string Type, ulong[] Shape, ulong Begin, ulong End) ReadTensor(string name)
        {
            tensor = name;
            Expect(JsonTokenType.StartObject, "an object");
            string? type = null;
            List<ulong>? shape = null, offsets = null;
            var names = new HashSet<string>();
            while (NextName(names) is { } field)
                switch (field)
                {
                    case "dtype":
                        Expect(JsonTokenType.String, "a text for dtype");
                        string text = json.GetString()!;
                        type = types.Keys.FirstOrDefault(known => known == text) ?? text; // one copy of each
                        break;
                    case "shape":
                        shape = ReadNumbers(field);
                        break;
                    case "data_offsets":
                        offsets = ReadNumbers(field);
                        break;
                    default: // the format does not forbid further fields
                        json.Read();
                        Skip();
                        break;
                }
            if ((type is null ? "dtype" : shape is null ? "shape" : offsets is null ? "data_offsets" : null) is { } missing)
                throw Invalid(path, $"{Place} has no {missing}");
            if (offsets!.Count != 2)
                throw Invalid(path, $"{Place} has {offsets.Count} data_offsets, expected 2");
            tensor = null;
            return (name, type!, [.. shape!], offsets[0], offsets[1]);
        }

        private List<ulong> ReadNumbers(string field)
        {
            var numbers = new List<ulong>();
            Expect(JsonTokenType.StartArray, $"a list for {field}");
            while (json.Read() && json.TokenType != JsonTokenType.EndArray)
                numbers.Add(json.TokenType == JsonTokenType.Number && json.TryGetUInt64(out ulong number)
                    ? number
                    : throw Invalid(path, $"{Place}: {field} holds something else than whole numbers from 0 to {ulong.MaxValue}"));
            return numbers;
        }

        // the value that the reader is at, whatever it holds
        private void Skip()
        {
            if (json.TokenType == JsonTokenType.StartObject)
            {
                var names = new HashSet<string>();
                while (NextName(names) is not null)
                {
                    json.Read();
                    Skip();
                }
            }
            else if (json.TokenType == JsonTokenType.StartArray)
            {
                while (json.Read() && json.TokenType != JsonTokenType.EndArray)
                    Skip();
            }
            else if (json.TokenType == JsonTokenType.String)
            {
                json.GetString();
            }
        }

        private string? NextName(HashSet<string> names)
        {
            json.Read();
            if (json.TokenType == JsonTokenType.EndObject)
                return null;
            string name = json.GetString()!;
            return names.Add(name) ? name : throw Invalid(path, $"{Place} has {Shown(name)} twice");
        }

        private void Expect(JsonTokenType type, string what)
        {
            json.Read();
            if (json.TokenType != type)
                throw Invalid(path, $"{Place}: expected {what}");
        }
    }

    // null: more than any file, parts of a byte, or no such type
    private static ulong? Bytes(string type, ReadOnlySpan<ulong> shape)
    {
        try
        {
            ulong bits = 1;
            foreach (ulong extent in shape)
                bits = checked(bits * extent);
            bits = checked(bits * (ulong)types.GetValueOrDefault(type));
            return bits % 8 == 0 && types.ContainsKey(type) ? bits / 8 : null;
        }
        catch (OverflowException)
        {
            return null;
        }
    }

    private static string Describe<T>(string type, IReadOnlyList<T> shape) =>
        $"{type} [{Cut(string.Join(", ", shape.Take(ShownName)), ShownName)}]";

    // a text of the file, without what would move a terminal's cursor
    private static string Shown(string text) =>
        string.Concat(Cut(text, ShownName).Select(c => char.IsControl(c) || char.IsSurrogate(c) || c is '\u2028' or '\u2029' ? '?' : c));

    private static string Cut(string text, int most) => text.Length <= most ? text : $"{text[..(most - 1)]}…";

    private static InvalidDataException Invalid(string path, string what) => new($"{path} is not a valid safetensors file: {what}");

    private static InvalidDataException Refused(string path, string what) => new($"{path} cannot be read: {what}");
}
