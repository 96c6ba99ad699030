using System.IO.Compression;
using System.Text;
using Avedis.Trainer.Corpora;
using PureHDF;

namespace Avedis.Tests;

/// <summary>The forms in which MATLAB saves variables.</summary>
public enum MatForm
{
    Plain,
    Compressed,
    Hdf5,
}

/// <summary>Writes the MATLAB files that tests read: as little of the format as that takes.</summary>
internal static class MatWriter
{
    public static MatValue Text(string text) => new() { Text = text };

    /// <param name="numbers">Down the columns.</param>
    public static MatValue Matrix(long columns, params float[] numbers) => new() { Numbers = numbers, Columns = columns };

    public static MatValue Cells(IEnumerable<MatValue> cells) => new() { Cells = [.. cells] };

    public static MatValue Struct(params (string Name, MatValue Value)[] fields) => new() { Fields = fields.ToDictionary(field => field.Name, field => field.Value) };

    public static void Write(string file, MatForm form, params (string Name, MatValue Value)[] variables)
    {
        byte[] header = [.. Encoding.ASCII.GetBytes("MATLAB MAT-file, for a test".PadRight(124)), 0, (byte)(form == MatForm.Hdf5 ? 2 : 1), (byte)'I', (byte)'M'];
        if (form == MatForm.Hdf5)
        {
            WriteHdf5(file, variables);
            using var stream = File.OpenWrite(file);
            stream.Write(header); // into the user block
            return;
        }
        var elements = variables.Select(variable => Element(14, Level5(variable.Name, variable.Value)));
        File.WriteAllBytes(file, [.. header, .. elements.SelectMany(element => form == MatForm.Plain ? element : Compressed(element))]);
    }

    /// <summary>Kind, length, data, zeros up to a multiple of eight; four bytes or fewer go into the tag.</summary>
    public static byte[] Element(int kind, byte[] data) => data.Length is > 0 and <= 4
        ? [.. BitConverter.GetBytes((data.Length << 16) | kind), .. data, .. new byte[4 - data.Length]]
        : [.. BitConverter.GetBytes(kind), .. BitConverter.GetBytes(data.Length), .. data, .. new byte[-data.Length & 7]];

    /// <summary>The parts that every array begins with.</summary>
    public static byte[] ArrayHead(int type, string name, params int[] sizes)
        => [.. Element(6, [(byte)type, 0, 0, 0, 0, 0, 0, 0]), .. Element(5, [.. sizes.SelectMany(BitConverter.GetBytes)]), .. Element(1, Encoding.UTF8.GetBytes(name))];

    public static byte[] Compressed(byte[] element)
    {
        var packed = new MemoryStream();
        using (var zip = new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            zip.Write(element);
        return [.. BitConverter.GetBytes(15), .. BitConverter.GetBytes((int)packed.Length), .. packed.ToArray()];
    }

    private static byte[] Level5(string name, MatValue value)
    {
        if (value.Cells.Count > 0)
            return [.. ArrayHead(1, name, 1, value.Cells.Count), .. value.Cells.SelectMany(cell => Element(14, Level5("", cell)))];
        if (value.Fields.Count > 0)
        {
            const int Width = 32;
            return [.. ArrayHead(2, name, 1, 1), .. Element(5, BitConverter.GetBytes(Width)), .. Element(1, [.. value.Fields.Keys.SelectMany(key => Encoding.UTF8.GetBytes(key.PadRight(Width, '\0')))]),
                .. value.Fields.Values.SelectMany(field => Element(14, Level5("", field)))];
        }
        if (value.Text.Length > 0)
            return [.. ArrayHead(4, name, 1, value.Text.Length), .. Element(17, Encoding.Unicode.GetBytes(value.Text))];
        int rows = value.Columns == 0 ? 0 : value.Numbers.Length / (int)value.Columns;
        // MATLAB stores whole numbers in the smallest type that holds them
        bool small = value.Numbers.All(number => number is >= 0 and < 256 && number == MathF.Floor(number));
        return [.. ArrayHead(small ? 6 : 7, name, rows, (int)value.Columns), .. small ? Element(2, [.. value.Numbers.Select(number => (byte)number)])
            : Element(7, [.. value.Numbers.SelectMany(BitConverter.GetBytes)])];
    }

    private static void WriteHdf5(string file, (string Name, MatValue Value)[] variables)
    {
        var references = new H5Group();
        var root = new H5File { ["#refs#"] = references };
        foreach (var (name, value) in variables)
            root[name] = Object(value, references);
        root.Write(file, new H5WriteOptions(UserBlockSize: 512));
    }

    private static H5Object Object(MatValue value, H5Group references)
    {
        if (value.Fields.Count > 0)
        {
            var group = new H5Group { Attributes = new() { ["MATLAB_class"] = "struct" } };
            foreach (var (name, field) in value.Fields)
                group[name] = Object(field, references);
            return group;
        }
        if (value.Cells.Count > 0)
        {
            var targets = value.Cells.Select(cell => Object(cell, references)).ToArray();
            foreach (var target in targets)
                references[$"r{references.Count}"] = target;
            return Dataset("cell", targets.Select(target => new H5ObjectReference(target)).ToArray(), (ulong)targets.Length, 1);
        }
        if (value.Text.Length > 0)
            return Dataset("char", value.Text.Select(letter => (ushort)letter).ToArray(), (ulong)value.Text.Length, 1);
        if (value.Numbers.Length > 0)
            return Dataset("single", value.Numbers, (ulong)value.Columns, (ulong)(value.Numbers.Length / value.Columns));
        var empty = Dataset("double", new ulong[] { 0, 0 }, 2);
        empty.Attributes["MATLAB_empty"] = (byte)1;
        return empty;
    }

    private static H5Dataset Dataset(string type, object data, params ulong[] sizes) => new(data, fileDims: sizes) { Attributes = new() { ["MATLAB_class"] = type } };
}
