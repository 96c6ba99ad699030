using System.Numerics;
using PureHDF;
using PureHDF.VOL.Native;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// MATLAB 7.3 files are HDF5: a structure is a group, a cell array a data set of references, text a data set of 16-bit codes, and the sizes are
/// written the other way round, so that the numbers lie in MATLAB's order all the same. PureHDF believes the file: a damaged one may make it take up to 2 GiB
/// that the file only claims, and one with a link to itself ends the process. MATLAB writes no links; take such files from where the release is published.
/// </summary>
internal sealed class MatFile73 : IDisposable
{
    private readonly NativeFile file;
    private readonly Func<string, bool> wanted;
    private long budget;

    private MatFile73(string file, Func<string, bool> wanted, long budget) => (this.file, this.wanted, this.budget) = (H5File.OpenRead(file), wanted, budget);

    public static IReadOnlyDictionary<string, MatValue> Read(string file, Func<string, bool> wanted, long budget)
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

    private Dictionary<string, MatValue> Members(IH5Group group, string parent, int depth)
    {
        var members = new Dictionary<string, MatValue>(StringComparer.Ordinal);
        foreach (var member in group.Children())
            if (!member.Name.StartsWith('#') && wanted(parent + member.Name)) // #refs# holds what the cells refer to
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
            return new MatValue { Cells = [.. data.Read<NativeObjectReference1[]>().Select(reference => Value(file.Get(reference), path, depth + 1))] };
        if (data.AttributeExists("MATLAB_class") && data.Attribute("MATLAB_class").Read<string>() == "char")
            return new MatValue { Text = new string([.. data.Read<ushort[]>().Select(code => (char)code)]) };
        return new MatValue { Numbers = Numbers(data), Columns = (long)sizes[0] };
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
