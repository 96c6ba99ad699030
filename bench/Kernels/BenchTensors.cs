using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>Tensors of one backend that live as long as this does.</summary>
internal sealed class BenchTensors(IBackend backend) : IDisposable
{
    /// <summary>Elements that travel at once.</summary>
    private const int Piece = 1 << 22;

    private readonly List<nint> addresses = [];
    private long workspaceBytes;

    public IBackend Backend { get; } = backend;

    /// <summary>Zeroes.</summary>
    public Tensor Zeroes(string name, Shape shape, DType type)
    {
        var tensor = new Tensor(name, shape, type, Backend.Allocate(shape.Count * type.Bytes()));
        addresses.Add(tensor.Address);
        return tensor;
    }

    /// <summary>An F32 or BF16 tensor of these numbers, which BF16 must hold exactly.</summary>
    public Tensor Of(string name, Shape shape, DType type, FormulaNumbers numbers)
    {
        var tensor = Zeroes(name, shape, type);
        if (type == DType.BF16)
            Upload(tensor, i => Bf16.Of(numbers[i]));
        else
            Upload(tensor, i => numbers[i]);
        return tensor;
    }

    /// <summary>A tensor of the values that a function has for its indices.</summary>
    public Tensor Of<T>(string name, Shape shape, DType type, Func<long, T> value)
        where T : unmanaged
    {
        var tensor = Zeroes(name, shape, type);
        Upload(tensor, value);
        return tensor;
    }

    /// <summary>So many bytes; null if none.</summary>
    public Tensor? Bytes(string name, long bytes) => bytes == 0 ? null : Zeroes(name, new Shape(checked((int)((bytes + 255) / 256)), 256), DType.U8);

    /// <summary>Sees to it that the backend's operations have so much workspace.</summary>
    public void RequireWorkspace(long bytes)
    {
        if (bytes <= workspaceBytes)
            return;
        Backend.SetWorkspace(Bytes("workspace", bytes)!.Address, bytes);
        workspaceBytes = bytes;
    }

    /// <summary>Hands the elements of an F32 or BF16 tensor to an action, piece by piece: index of the first, values.</summary>
    public static void Read(IBackend backend, Tensor tensor, Action<long, float[]> take)
    {
        for (long start = 0; start < tensor.Count; start += Piece)
            take(start, Read(backend, tensor, start, (int)Math.Min(Piece, tensor.Count - start)));
    }

    /// <summary>So many elements from an index.</summary>
    public static float[] Read(IBackend backend, Tensor tensor, long start, int count)
    {
        var part = tensor.Part(tensor.Name, new Shape(count), start);
        var values = new float[count];
        if (tensor.Type == DType.F32)
        {
            backend.Download<float>(values, part);
            return values;
        }
        var bits = new ushort[count];
        backend.Download<ushort>(bits, part);
        return Array.ConvertAll(bits, Bf16.ToSingle);
    }

    public void Dispose()
    {
        Backend.SetWorkspace(0, 0);
        foreach (nint address in addresses)
            Backend.Free(address);
    }

    private void Upload<T>(Tensor tensor, Func<long, T> value)
        where T : unmanaged
    {
        var values = new T[Math.Min(Piece, tensor.Count)];
        for (long start = 0; start < tensor.Count; start += Piece)
        {
            int count = (int)Math.Min(Piece, tensor.Count - start);
            long first = start;
            Parallel.For(0, (count + 65535) / 65536, block =>
            {
                for (int i = block * 65536; i < Math.Min(count, (block + 1) * 65536); i++)
                    values[i] = value(first + i);
            });
            Backend.Upload<T>(tensor.Part(tensor.Name, new Shape(count), start), values.AsSpan(0, count));
        }
    }
}

/// <summary>The upper half of a single.</summary>
internal static class Bf16
{
    /// <summary>Of a value that BF16 holds exactly.</summary>
    public static ushort Of(float value) => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);

    public static float ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
