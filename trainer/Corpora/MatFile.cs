using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using Avedis.Bindings;

namespace Avedis.Trainer.Corpora;

/// <summary>A value of a MATLAB file: text, numbers, cells or fields, whichever it is; the others are empty.</summary>
public sealed record MatValue
{
    public string Text { get; init; } = "";

    /// <summary>In MATLAB's order: down the columns.</summary>
    public float[] Numbers { get; init; } = [];

    public IReadOnlyList<MatValue> Cells { get; init; } = [];

    public IReadOnlyDictionary<string, MatValue> Fields { get; init; } = new Dictionary<string, MatValue>();

    /// <summary>Columns of a matrix.</summary>
    public long Columns { get; init; }
}

/// <summary>
/// Reads MATLAB files: level 5 (what "save" writes, compressed or not) here, 7.3 (HDF5) in <see cref="MatFile73"/>. What nobody asks for is passed over
/// without being kept. A file is a stranger's: memory grows with the bytes that were really read, never with a size that the file claims.
/// </summary>
public sealed class MatFile
{
    /// <summary>Values that one file may fill memory with, in bytes; EmoVoxCeleb's take a fifth of it.</summary>
    public const long MostBytes = 2L << 30;

    internal const int MostDepth = 8, ValueBytes = 128; // of the objects around a value, about

    private const int HeaderBytes = 128, TagBytes = 8, Block = 1 << 16;

    private enum Kind
    {
        Int8 = 1, UInt8 = 2, Int16 = 3, UInt16 = 4, Int32 = 5, UInt32 = 6, Single = 7, Double = 9, Int64 = 12, UInt64 = 13, Matrix = 14, Compressed = 15, Utf8 = 16, Utf16 = 17,
    }

    private readonly IReadOnlySet<string>? wanted;
    private readonly byte[] block = new byte[Block];
    private long budget;

    private MatFile(IReadOnlySet<string>? wanted, long budget) => (this.wanted, this.budget) = (wanted, budget);

    /// <summary>Reads the variables of a file.</summary>
    /// <param name="wanted">Names of variables, and of fields as "variable.field", that are kept, cells with their array; null: all.</param>
    /// <exception cref="UserException">Exit code 3 for whatever is wrong with the file.</exception>
    public static IReadOnlyDictionary<string, MatValue> Read(string file, IReadOnlySet<string>? wanted = null, long budget = MostBytes)
    {
        try
        {
            using var stream = RegularFiles.OpenRead(file);
            var header = new byte[HeaderBytes];
            stream.ReadExactly(header);
            int version = header[125];
            if (!header.AsSpan(126).SequenceEqual("IM"u8) || version is not (1 or 2))
                throw new InvalidDataException(header.AsSpan(126).SequenceEqual("MI"u8) ? "its numbers are big-endian; save it again on a common machine" : "it is no MATLAB file of level 5 or 7.3");
            return version == 2 ? MatFile73.Read(file, wanted, budget) : new MatFile(wanted, budget).Variables(stream);
        }
        catch (EndOfStreamException failure)
        {
            throw new UserException(ExitCode.BadInput, $"{file} ends in the middle of a value; copy it again", failure);
        }
        catch (Exception failure) when (failure is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadInput, $"cannot read {file}: {failure.Message}", failure);
        }
    }

    private Dictionary<string, MatValue> Variables(FileStream file)
    {
        var variables = new Dictionary<string, MatValue>(StringComparer.Ordinal);
        for (long left = file.Length - HeaderBytes; left >= TagBytes;)
        {
            long start = file.Position;
            var element = Next(file, ref left);
            long end = file.Position + element.Bytes + element.Padding;
            if (element.Kind == Kind.Compressed)
            {
                using var inflated = new ZLibStream(file, CompressionMode.Decompress, leaveOpen: true);
                long most = long.MaxValue; // only inflating tells how long it is
                At(start, () => Keep(Next(inflated, ref most)));
            }
            else
                At(start, () => Keep(element));
            file.Position = end; // inflating reads ahead
        }
        return variables;

        static void At(long start, Action read)
        {
            try
            {
                read();
            }
            catch (InvalidDataException failure)
            {
                throw new InvalidDataException($"{failure.Message}, in the variable at byte {start}", failure);
            }
        }

        void Keep(Element element)
        {
            if (element.Kind == Kind.Matrix && Matrix(element, "", null, 0) is var (name, value))
                variables[name] = value;
        }
    }

    /// <summary>A matrix element with its name, or null if nobody asked for it.</summary>
    /// <param name="parent">Name of the structure that holds it, with a dot behind; a variable has none.</param>
    /// <param name="field">Its name where the file does not repeat it: a field's, or that of the array a cell is in.</param>
    private (string Name, MatValue Value)? Matrix(Element element, string parent, string? field, int depth)
    {
        if (depth > MostDepth)
            throw new InvalidDataException($"its values are nested deeper than {MostDepth} levels");
        long left = element.Bytes;
        var data = element.Data;
        if (left == 0)
            return (field ?? "", new MatValue());
        byte[] flags = Bytes(Next(data, ref left), 8);
        var sizes = MemoryMarshal.Cast<byte, int>(Bytes(Next(data, ref left), 256));
        string own = Encoding.UTF8.GetString(Bytes(Next(data, ref left), 256)), name = field ?? own;
        if (flags.Length < 8 || sizes.Length < 2)
            throw new InvalidDataException("a value has no type or no size");
        MatValue? value = null;
        if (depth > 0 && parent.Length == 0 || wanted?.Contains(parent + name) != false)
        {
            Charge(ref budget, ValueBytes);
            value = flags[0] switch
            {
                1 => new MatValue { Cells = Cells(data, ref left, Count(sizes), name, depth) },
                2 => new MatValue { Fields = Fields(data, ref left, Count(sizes), parent + name + ".", depth) },
                4 => new MatValue { Text = Text(Next(data, ref left)) },
                >= 6 and <= 15 => new MatValue { Numbers = Numbers(Next(data, ref left), Count(sizes)), Columns = sizes[1] },
                _ => new MatValue(), // objects and functions have nothing for us
            };
        }
        Skip(data, left);
        return value is null ? null : (name, value);
    }

    private List<MatValue> Cells(Stream data, ref long left, long count, string name, int depth)
    {
        var cells = new List<MatValue>();
        for (long i = 0; i < count; i++)
            cells.Add(Matrix(OfMatrix(Next(data, ref left)), "", name, depth + 1)!.Value.Value);
        return cells;
    }

    private Dictionary<string, MatValue> Fields(Stream data, ref long left, long count, string parent, int depth)
    {
        byte[] length = Bytes(Next(data, ref left), 4), names = Bytes(Next(data, ref left), Block);
        int width = length.Length == 4 ? BinaryPrimitives.ReadInt32LittleEndian(length) : 0;
        if (count != 1 || width < 1 || names.Length % width != 0)
            throw new InvalidDataException($"{Printable.Name(parent)} is no single structure with named fields");
        var fields = new Dictionary<string, MatValue>(StringComparer.Ordinal);
        for (int i = 0; i < names.Length; i += width)
        {
            string field = Encoding.UTF8.GetString(names.AsSpan(i, width)).TrimEnd('\0');
            if (Matrix(OfMatrix(Next(data, ref left)), parent, field, depth + 1) is var (_, value))
                fields[field] = value;
        }
        return fields;
    }

    private string Text(Element element)
    {
        var kind = element.Kind;
        byte[] bytes = Bytes(element, Block);
        Charge(ref budget, 2L * bytes.Length);
        return (kind is Kind.UInt16 or Kind.Utf16 ? Encoding.Unicode : Encoding.UTF8).GetString(bytes);
    }

    private float[] Numbers(Element element, long count)
    {
        int size = element.Kind switch
        {
            Kind.Int8 or Kind.UInt8 => 1, Kind.Int16 or Kind.UInt16 => 2, Kind.Int32 or Kind.UInt32 or Kind.Single => 4, Kind.Double or Kind.Int64 or Kind.UInt64 => 8,
            _ => throw new InvalidDataException("numbers are stored as something else"),
        };
        if (element.Bytes != count * size)
            throw new InvalidDataException("a matrix holds another count of numbers than its size says");
        var numbers = new float[Math.Min(count, Block)];
        for (long done = 0; done < count;)
        {
            int take = (int)Math.Min(count - done, Block / size);
            var bytes = block.AsSpan(0, take * size);
            element.Data.ReadExactly(bytes);
            Charge(ref budget, sizeof(float) * take);
            if (done + take > numbers.Length)
                Array.Resize(ref numbers, (int)Math.Min(count, 2L * numbers.Length));
            for (int i = 0; i < take; i++)
                numbers[done + i] = Number(element.Kind, bytes[(i * size)..]);
            done += take;
        }
        Skip(element.Data, element.Padding);
        return numbers;
    }

    private static float Number(Kind kind, ReadOnlySpan<byte> bytes) => kind switch
    {
        Kind.Int8 => (sbyte)bytes[0],
        Kind.UInt8 => bytes[0],
        Kind.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
        Kind.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        Kind.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
        Kind.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        Kind.Int64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        Kind.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        Kind.Single => BinaryPrimitives.ReadSingleLittleEndian(bytes),
        _ => (float)BinaryPrimitives.ReadDoubleLittleEndian(bytes),
    };

    /// <summary>The tag of the next element: kind and length, or, for four bytes at most, the data itself in the upper half.</summary>
    private static Element Next(Stream data, ref long left)
    {
        var tag = new byte[TagBytes];
        data.ReadExactly(tag);
        uint word = BinaryPrimitives.ReadUInt32LittleEndian(tag), bytes = BinaryPrimitives.ReadUInt32LittleEndian(tag.AsSpan(4));
        bool small = word >> 16 != 0;
        var element = small ? new Element((Kind)(word & 0xFFFF), word >> 16, 0, new MemoryStream(tag, 4, 4))
            : new Element((Kind)word, bytes, word == (uint)Kind.Compressed ? 0 : (int)(-bytes & 7), data);
        left -= TagBytes + (small ? 0 : element.Bytes + element.Padding);
        return left >= 0 && !(small && element.Bytes > 4) ? element : throw new InvalidDataException("a value is longer than what holds it");
    }

    private static Element OfMatrix(Element element)
        => element.Kind == Kind.Matrix ? element : throw new InvalidDataException("a cell or field holds no value");

    private static byte[] Bytes(Element element, int most)
    {
        if (element.Bytes > most)
            throw new InvalidDataException($"a name, size or text takes {element.Bytes} bytes; {most} is the most that is read");
        var bytes = new byte[element.Bytes];
        element.Data.ReadExactly(bytes);
        Skip(element.Data, element.Padding);
        return bytes;
    }

    private static void Skip(Stream data, long bytes)
    {
        var skipped = new byte[(int)Math.Min(bytes, Block)];
        for (long left = bytes; left > 0; left -= Math.Min(left, Block))
            data.ReadExactly(skipped, 0, (int)Math.Min(left, Block));
    }

    private static long Count(ReadOnlySpan<int> sizes)
    {
        long count = 1;
        foreach (int size in sizes)
            count = size < 0 || (size > 0 && count > int.MaxValue / size) ? throw new InvalidDataException("the size of a value is not possible") : count * size;
        return count;
    }

    /// <summary>Takes bytes from what a file may still fill.</summary>
    internal static void Charge(ref long budget, long bytes)
    {
        if ((budget -= bytes) < 0)
            throw new InvalidDataException("its values would fill more memory than the release's; take the file as published");
    }

    /// <summary>An element whose data comes next in a stream, with zeros up to the next multiple of eight behind it.</summary>
    private readonly record struct Element(Kind Kind, long Bytes, int Padding, Stream Data);
}
