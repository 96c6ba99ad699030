using System.Reflection;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>
/// A launch passes addresses of arguments that nothing checks: so the list in C#, which the engine passes, is compared with what g++ and nvcc saw of each
/// kernel.
/// </summary>
public sealed class ArgumentTests
{
    /// <summary>By kernel; p8 is a pointer, i an integer, f a float, s a struct of so many bytes.</summary>
    private static readonly Dictionary<string, string[]> engine = typeof(CudaBackend).Assembly.GetTypes()
        .SelectMany(type => (type.GetCustomAttribute<KernelsAttribute>()?.Names ?? []).Select(kernel => (kernel, Parameters(type))))
        .ToDictionary(pair => pair.kernel, pair => pair.Item2); // throws where two structs name one kernel

    [SetUp]
    public void RequireEmulation()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
    }

    [Test]
    public void Every_kernel_of_the_sources_has_a_struct_of_arguments_and_every_struct_a_kernel()
    {
        Assert.That(engine, Is.Not.Empty);
        Assert.That(EmulatedKernels().Keys, Is.EquivalentTo(engine.Keys));
    }

    [Test]
    public void The_emulation_sees_the_same_arguments()
    {
        var emulated = EmulatedKernels();
        Assert.Multiple(() =>
        {
            foreach (var (kernel, parameters) in engine)
                if (emulated.TryGetValue(kernel, out string[]? seen))
                    Assert.That(seen, Is.EqualTo(parameters), kernel);
        });
    }

    [Test]
    public void The_compiled_kernels_take_the_same_arguments()
    {
        CompiledKernels.Require();
        Assert.That(CompiledKernels.Entries.Keys, Is.EquivalentTo(engine.Keys));
        Assert.Multiple(() =>
        {
            foreach (var (kernel, parameters) in engine)
                Assert.That(CompiledKernels.Entries[kernel].Parameters, Is.EqualTo(parameters.Select(InPtx)), kernel);
        });
    }

    /// <summary>The offsets that a launch uses are those at which .NET keeps the fields.</summary>
    [Test]
    public void Fields_lie_where_the_launch_looks_for_them()
    {
        Assert.Multiple(() =>
        {
            foreach (var type in typeof(CudaBackend).Assembly.GetTypes().Where(type => type.GetCustomAttribute<KernelsAttribute>() is not null))
            {
                var offsets = (int[])typeof(KernelArguments<>).MakeGenericType(type).GetProperty("Offsets")!.GetValue(null)!;
                var fields = type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
                Assert.That(offsets, Is.EqualTo(fields.Select(field => OffsetOf(type, field))), type.Name);
            }
        });
    }

    private static Dictionary<string, string[]> EmulatedKernels() =>
        Emulation.Kernels().Where(kernel => !kernel.Key.StartsWith("probe_", StringComparison.Ordinal)).ToDictionary();

    private static string[] Parameters(Type arguments) =>
    [
        .. KernelArguments.Layout(arguments).Select(p =>
            (p.Type == typeof(nint) ? "p" : p.Type == typeof(long) || p.Type == typeof(int) || p.Type == typeof(uint) ? "i" : p.Type == typeof(float) ? "f" : "s")
            + p.Bytes),
    ];

    private static string InPtx(string parameter) => parameter switch
    {
        "p8" or "i8" => "u64",
        "i4" => "u32",
        "f4" => "f32",
        _ => parameter,
    };

    /// <summary>Where a field of a boxed value lies: the byte that setting it changes first.</summary>
    private static int OffsetOf(Type type, FieldInfo field)
    {
        object empty = Activator.CreateInstance(type)!;
        int size = Bytes(empty).Length;
        object filled = Activator.CreateInstance(type)!;
        field.SetValue(filled, Ones(field.FieldType));
        byte[] before = Bytes(empty), after = Bytes(filled);
        return Enumerable.Range(0, size).First(i => before[i] != after[i]);
    }

    private static object Ones(Type type)
    {
        if (type == typeof(nint))
            return (nint)(-1);
        if (type == typeof(long))
            return -1L;
        if (type == typeof(int))
            return -1;
        if (type == typeof(uint))
            return uint.MaxValue;
        if (type == typeof(float))
            return BitConverter.Int32BitsToSingle(-1);
        object value = Activator.CreateInstance(type)!;
        foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
            field.SetValue(value, Ones(field.FieldType));
        return value;
    }

    private static byte[] Bytes(object value) =>
        (byte[])typeof(ArgumentTests).GetMethod(nameof(BytesOf), BindingFlags.Static | BindingFlags.NonPublic)!
            .MakeGenericMethod(value.GetType()).Invoke(null, [value])!;

    private static byte[] BytesOf<T>(T value)
        where T : unmanaged => System.Runtime.InteropServices.MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray();
}
