using System.Reflection;
using System.Runtime.CompilerServices;
using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>
/// Names the kernels whose parameter list a struct stands for: one field for each parameter, in order. A pointer is nint, int64_t long, int32_t int, float
/// float, and a struct passed by value a struct of int fields.
/// </summary>
[AttributeUsage(AttributeTargets.Struct)]
internal sealed class KernelsAttribute(params string[] names) : Attribute
{
    public IReadOnlyList<string> Names { get; } = names;
}

public sealed partial class CudaBackend
{
    /// <summary>Blocks of a launch, as the kernel's header asks for them.</summary>
    private readonly record struct Grid(long X, int Y = 1, int Z = 1)
    {
        public override string ToString() => Z > 1 ? $"({X}, {Y}, {Z})" : Y > 1 ? $"({X}, {Y})" : $"{X}";
    }

    /// <summary>Queues one kernel.</summary>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    private unsafe void Launch<T>(string kernel, Grid grid, int threads, in T arguments, int sharedBytes = 0)
        where T : unmanaged
    {
        Enter();
        CountWhileHeld();
        if (!kernels.TryGetValue(kernel, out var loaded))
        {
            Release(); // the driver may wait for the device before it loads a kernel
            if (!KernelArguments<T>.Kernels.Contains(kernel))
                throw new InvalidOperationException($"{typeof(T).Name} does not name kernel {kernel}");
            loaded = (module.Kernel(kernel), 0);
            kernels.Add(kernel, loaded);
        }
        if (sharedBytes > loaded.SharedBytes)
        {
            Release();
            kernels[kernel] = (loaded.Function, module.AllowShared(loaded.Function, sharedBytes));
        }
        var offsets = KernelArguments<T>.Offsets;
        void** parameters = stackalloc void*[offsets.Length];
        fixed (T* start = &arguments)
        {
            for (int i = 0; i < offsets.Length; i++)
                parameters[i] = (byte*)start + offsets[i];
            int result = CudaDriver.LaunchKernel(
                loaded.Function, checked((uint)grid.X), (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, (uint)sharedBytes, lane.Stream,
                parameters, null);
            if (result != 0)
                CudaDriver.Check(result, $"LaunchKernel {kernel}");
        }
        if (marks.Count > 0)
            launches.Add($"{kernel} {grid} x {threads}{(sharedBytes > 0 ? $", {sharedBytes} B shared" : "")}");
    }

    /// <summary>Blocks of so many threads that do one element a thread, or several where that would be more blocks than keep the device busy.</summary>
    private Grid Strided(long elements, int threads) =>
        new(Math.Clamp((elements + threads - 1) / threads, 1, 16L * context.Multiprocessors));
}

/// <summary>How a kernel's parameters lie in the struct that stands for them.</summary>
internal static class KernelArguments<T>
    where T : unmanaged
{
    public static IReadOnlyList<string> Kernels { get; } = typeof(T).GetCustomAttribute<KernelsAttribute>()?.Names ?? [];

    /// <summary>Bytes from the start of the struct to each parameter.</summary>
    public static int[] Offsets { get; } = [.. KernelArguments.Layout(typeof(T)).Select(parameter => parameter.Offset)];

    static KernelArguments()
    {
        var last = KernelArguments.Layout(typeof(T))[^1];
        int end = last.Offset + last.Bytes, align = KernelArguments.Layout(typeof(T)).Max(parameter => parameter.Align);
        if ((end + align - 1) / align * align != Unsafe.SizeOf<T>())
            throw new InvalidOperationException($"{typeof(T).Name} is not laid out field by field");
    }
}

internal static class KernelArguments
{
    internal readonly record struct Parameter(Type Type, int Offset, int Bytes, int Align);

    /// <summary>The fields of an argument struct, laid out as C does it.</summary>
    public static IReadOnlyList<Parameter> Layout(Type arguments)
    {
        var parameters = new List<Parameter>();
        int offset = 0;
        foreach (var field in arguments.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(f => f.MetadataToken))
        {
            var (bytes, align) = Size(field.FieldType);
            offset = (offset + align - 1) / align * align;
            parameters.Add(new(field.FieldType, offset, bytes, align));
            offset += bytes;
        }
        return parameters;
    }

    private static (int Bytes, int Align) Size(Type type)
    {
        if (type == typeof(nint) || type == typeof(long))
            return (8, 8);
        if (type == typeof(int) || type == typeof(uint) || type == typeof(float))
            return (4, 4);
        var parts = Layout(type);
        int align = parts.Max(part => part.Align), bytes = (parts[^1].Offset + parts[^1].Bytes + align - 1) / align * align;
        return (bytes * (type.GetCustomAttribute<InlineArrayAttribute>()?.Length ?? 1), align);
    }
}
