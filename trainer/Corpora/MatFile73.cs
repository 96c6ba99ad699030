using System.Numerics;
using System.Reflection;
using System.Runtime.CompilerServices;
using Avedis.Bindings;
using Avedis.Trainer.Commands;
using PureHDF;
using PureHDF.VOL.Native;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// MATLAB 7.3 files are HDF5: a structure is a group, a cell array a data set of references, text a data set of 16-bit codes, and the sizes are
/// written the other way round, so that the numbers lie in MATLAB's order all the same. PureHDF believes the file: a damaged one makes it take memory that the
/// file only claims, walk for ever, or end the process. So a process of its own reads the file first (avedis check-hdf5), in memory and time that the file's
/// length bounds.
/// </summary>
internal sealed class MatFile73 : IDisposable
{
    /// <summary>Bytes of heap that its process has for the smallest file.</summary>
    internal const long LeastMemory = 256L << 20;

    private const int EndedByTime = 128 + CpuTime.EndsWith;

    /// <summary>The group of what the cells hold.</summary>
    private const string CellsName = "#refs#";

    // PureHDF looks for what a reference means in the whole file, each time anew: hours for a corpus. It knows where each object lies, but keeps it to itself
    private static readonly PropertyInfo Link = typeof(NativeObject).GetProperty("Reference", BindingFlags.Instance | BindingFlags.NonPublic)!, Address = Link.PropertyType.GetProperty("Value")!;

    private readonly NativeFile file;
    private readonly IReadOnlySet<string>? wanted;
    private Dictionary<ulong, IH5Object>? cells;
    private long budget;

    private MatFile73(string file, IReadOnlySet<string>? wanted, long budget) => (this.file, this.wanted, this.budget) = (H5File.OpenRead(file), wanted, budget);

    /// <summary>Reads the variables of a file that has been read by another process before.</summary>
    /// <inheritdoc cref="MatFile.Read"/>
    /// <exception cref="InvalidDataException">What is wrong with the file.</exception>
    public static IReadOnlyDictionary<string, MatValue> Read(string file, IReadOnlySet<string>? wanted, long budget)
    {
        CheckApart(file, wanted, budget);
        return ReadHere(file, wanted, budget);
    }

    /// <summary>For a process that a damaged file may end.</summary>
    /// <inheritdoc cref="Read"/>
    internal static IReadOnlyDictionary<string, MatValue> ReadHere(string file, IReadOnlySet<string>? wanted, long budget)
    {
        try
        {
            using var reader = new MatFile73(file, wanted, budget);
            return reader.Members(reader.file, "", 0);
        }
        catch (Exception failure) when (failure is not InvalidDataException)
        {
            // the library has no exception of its own for a damaged file: it fails where it stumbles
            throw new InvalidDataException($"its HDF5 structure is damaged, or of a kind that is not read ({failure.Message.ReplaceLineEndings(" ")})", failure);
        }
    }

    public void Dispose() => file.Dispose();

    /// <summary>
    /// What the process may compute: four times what its start took, which measures the machine and is about what a small file takes, and 10 s for each MiB, ten
    /// times what files of many small cells take.
    /// </summary>
    internal static TimeSpan LongestReading(long length, TimeSpan start) => (4 * start) + TimeSpan.FromSeconds(10.0 * length / (1 << 20));

    private static void CheckApart(string file, IReadOnlySet<string>? wanted, long budget)
    {
        const long MemoryPerByte = 8; // logits hardly compress; names do, and each becomes an object
        long length = new FileInfo(file).Length;
        var (program, arguments) = OwnProgram.Command(typeof(MatFile73).Assembly, [CheckHdf5Command.Name, file, $"{budget}", .. wanted ?? (IEnumerable<string>)[]]);
        string message = "";
        var result = ChildProgram.Run(
            "env", [$"DOTNET_GCHeapHardLimit={LeastMemory + (MemoryPerByte * length):x}", program, .. arguments],
            TimeSpan.FromMinutes(1) + (2 * LongestReading(length, start: TimeSpan.Zero)), // beside whatever else the machine does
            readOutput: output => message = new StreamReader(output).ReadToEnd().Trim());
        if (!result.Succeeded)
            throw new InvalidDataException(message.Length > 0 ? message : $"its HDF5 structure is damaged: a process that read it {(result.TimedOut || result.ExitCode == EndedByTime ? "did not come to an end" : "broke down")}");
    }

    private Dictionary<string, MatValue> Members(IH5Group group, string parent, int depth)
    {
        var members = new Dictionary<string, MatValue>(StringComparer.Ordinal);
        foreach (var member in group.Children())
            if (!member.Name.StartsWith('#') && wanted?.Contains(parent + member.Name) != false)
                members[member.Name] = Value(member, parent + member.Name, depth + 1);
        return members;
    }

    private MatValue Value(IH5Object item, string path, int depth)
    {
        if (depth > MatFile.MostDepth)
            throw new InvalidDataException($"its values are nested deeper than {MatFile.MostDepth} levels");
        MatFile.Charge(ref budget, MatFile.ValueBytes);
        if (item is IH5Group group)
            return new MatValue { Fields = Members(group, path + ".", depth) };
        if (item is not IH5Dataset data || data.AttributeExists("MATLAB_empty"))
            return new MatValue();
        ulong[] sizes = data.Space.Dimensions;
        ulong count = sizes.Aggregate(1UL, (product, size) => checked(product * size));
        MatFile.Charge(ref budget, checked((long)count * sizeof(double)));
        if (data.Type.Class == H5DataTypeClass.Reference)
            return new MatValue { Cells = [.. data.Read<NativeObjectReference1[]>().Select(reference => Value(Referred(reference), path, depth + 1))] };
        if (data.AttributeExists("MATLAB_class") && data.Attribute("MATLAB_class").Read<string>() == "char")
            return new MatValue { Text = new string([.. data.Read<ushort[]>().Select(code => (char)code)]) };
        return new MatValue { Numbers = Numbers(data), Columns = (long)sizes[0] };
    }

    private IH5Object Referred(NativeObjectReference1 reference)
    {
        if (cells is null)
        {
            cells = [];
            if (file.LinkExists(CellsName) && file.Get(CellsName) is IH5Group group)
                foreach (var item in group.Children())
                    cells.TryAdd((ulong)Address.GetValue(Link.GetValue(item))!, item);
        }
        return cells.TryGetValue(Unsafe.BitCast<NativeObjectReference1, ulong>(reference), out var found) ? found : file.Get(reference);
    }

    private static float[] Numbers(IH5Dataset data) => (data.Type.Class, data.Type.Size) switch
    {
        (H5DataTypeClass.FloatingPoint, 4) => data.Read<float[]>(),
        (H5DataTypeClass.FloatingPoint, 8) => Singles<double>(data),
        (H5DataTypeClass.FixedPoint, 1) => Singles<byte>(data),
        (H5DataTypeClass.FixedPoint, 2) => Singles<ushort>(data),
        (H5DataTypeClass.FixedPoint, 4) => Singles<int>(data),
        (H5DataTypeClass.FixedPoint, 8) => Singles<long>(data),
        var (kind, size) => throw new InvalidDataException($"numbers are stored as {kind} of {size} bytes"),
    };

    private static float[] Singles<T>(IH5Dataset data) where T : unmanaged, INumber<T> => [.. data.Read<T[]>().Select(float.CreateTruncating)];
}
