using System.Runtime.InteropServices;
using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>Launches the kernels of kernels/emulation/probes.cu through the bindings of the driver.</summary>
internal sealed unsafe class ProbeRig : IDisposable
{
    private static readonly Lazy<byte[]> image =
        new(() => Emulation.Chosen ? Emulation.Image : File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "avedis_probes.fatbin")));

    private readonly CudaContext context;
    private readonly CudaModule module;
    private readonly List<CudaDeviceMemory> memory = [];

    public ProbeRig()
    {
        context = new CudaContext();
        module = CudaModule.Load(context, image.Value);
        Stream = CudaStream.Create();
    }

    public CudaStream Stream { get; }

    public (int Major, int Minor) ComputeCapability => context.ComputeCapability;

    /// <summary>Waits in vain are reported from now on.</summary>
    public void ReportWaits() => module.ReportWaits(Stream);

    public nint Kernel(string name) => module.Kernel(name);

    /// <summary>Dynamic shared memory that launches of the kernel may have, more or less than before.</summary>
    public void AllowShared(string kernel, int bytes) =>
        CudaDriver.Check(CudaDriver.FuncSetAttribute(Kernel(kernel), CudaDriver.MaxDynamicSharedSizeBytes, bytes));

    public nint Place<T>(params T[] values)
        where T : unmanaged
    {
        nint address = Room(values.Length * sizeof(T));
        fixed (T* start = values)
        {
            CudaDriver.Check(CudaDriver.MemcpyHtoDAsync(address, (nint)start, (nuint)(values.Length * sizeof(T)), Stream));
            Synchronize();
        }
        return address;
    }

    /// <summary>Device memory, not yet written.</summary>
    public nint Room(long bytes)
    {
        memory.Add(CudaDeviceMemory.Allocate(bytes));
        return memory[^1].Address;
    }

    public T[] Read<T>(nint address, int count)
        where T : unmanaged => Read<T>(address, count, Stream);

    public static T[] Read<T>(nint address, int count, CudaStream stream)
        where T : unmanaged
    {
        var values = new T[count];
        fixed (T* start = values)
        {
            CudaDriver.Check(CudaDriver.MemcpyDtoHAsync((nint)start, address, (nuint)(count * sizeof(T)), stream));
            CudaDriver.Check(CudaDriver.StreamSynchronize(stream));
        }
        return values;
    }

    public void Synchronize() => CudaDriver.Check(CudaDriver.StreamSynchronize(Stream));

    /// <summary>One block.</summary>
    public void Launch(string kernel, int threads, params object[] arguments) => Launch(kernel, (1, 1, 1), (threads, 1, 1), 0, Stream, arguments);

    /// <param name="arguments">nint, long, int or float, as the kernel's parameters are.</param>
    public void Launch(
        string kernel, (long X, long Y, long Z) grid, (long X, long Y, long Z) block, int sharedBytes, CudaStream stream, params object[] arguments)
    {
        ulong* values = stackalloc ulong[arguments.Length];
        void** parameters = stackalloc void*[arguments.Length];
        for (int i = 0; i < arguments.Length; i++)
        {
            parameters[i] = values + i;
            values[i] = arguments[i] switch
            {
                nint address => (ulong)address,
                long number => (ulong)number,
                int number => (uint)number,
                float number => BitConverter.SingleToUInt32Bits(number),
                var other => throw new ArgumentException($"{other.GetType()} is no type of a kernel's parameter"),
            };
        }
        CudaDriver.Check(CudaDriver.LaunchKernel(
            Kernel(kernel), (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)block.X, (uint)block.Y, (uint)block.Z, (uint)sharedBytes, stream, parameters, null));
    }

    public void Dispose()
    {
        foreach (var block in memory)
            block.Dispose();
        Stream.Dispose();
    }
}

/// <summary>Base of the tests with probes, under emulation in each order of the threads.</summary>
[NonParallelizable]
public abstract class ProbeTests(string order)
{
    private ProbeRig? rig;

    private protected ProbeRig Rig => rig!;

    private protected bool OnGpu => order == "gpu";

    private protected string Order => order;

    /// <summary>The orders of the emulation.</summary>
    public static IEnumerable<string> Orders() => ["forward", "reverse", "random"];

    /// <summary>The orders of the emulation, or the GPU, where the tests are to use it.</summary>
    public static IEnumerable<string> Places() => Backends.Forced == "cuda" ? ["gpu"] : Orders();

    [SetUp]
    public void Begin()
    {
        if (!OnGpu)
        {
            if (Backends.Forced is { } forced and not "emulated")
                Assert.Ignore($"the tests are to use {forced}");
            if (Emulation.Absence is { } absence)
                Assert.Ignore(absence);
            Emulation.Choose();
        }
        rig = new ProbeRig();
        if (!OnGpu)
            Emulation.SetOrder(Emulation.Orders.ToList().IndexOf(order));
    }

    [TearDown]
    public void End()
    {
        if (rig is not null && !OnGpu)
            Emulation.ClearError();
        rig?.Dispose();
        rig = null;
    }
}
