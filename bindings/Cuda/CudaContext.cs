using System.Runtime.InteropServices;
using System.Text;

namespace Avedis.Bindings.Cuda;

/// <summary>The primary context of one GPU: the first that is visible (CUDA_VISIBLE_DEVICES chooses).</summary>
internal sealed unsafe class CudaContext : IDisposable
{
    [ThreadStatic]
    private static nint currentOfThread;

    private readonly int device;
    private readonly nint context;
    private bool disposed;

    /// <exception cref="CudaLibraryException">There is no driver.</exception>
    /// <exception cref="CudaException">There is no GPU, or it cannot be used.</exception>
    public CudaContext()
    {
        CudaLibrary.Load();
        CudaDriver.Check(CudaDriver.Init(0));
        CudaDriver.Check(CudaDriver.DriverGetVersion(out int version));
        CudaDriver.Check(CudaDriver.DeviceGet(out device, 0));
        CudaDriver.Check(CudaDriver.DevicePrimaryCtxRetain(out context, device));
        DriverVersion = $"{version / 1000}.{version % 1000 / 10}";
        Span<byte> name = stackalloc byte[256];
        fixed (byte* pointer = name)
            CudaDriver.Check(CudaDriver.DeviceGetName(pointer, name.Length, device));
        DeviceName = Encoding.UTF8.GetString(name[..name.IndexOf((byte)0)]);
        ComputeCapability = (Attribute(CudaDriver.ComputeCapabilityMajor), Attribute(CudaDriver.ComputeCapabilityMinor));
        Multiprocessors = Attribute(CudaDriver.MultiprocessorCount);
        SharedBytesPerBlock = Attribute(CudaDriver.MaxSharedMemoryPerBlockOptin);
        MakeCurrent();
    }

    public string DeviceName { get; }

    /// <summary>The newest CUDA that the driver speaks, such as 12.4.</summary>
    public string DriverVersion { get; }

    public (int Major, int Minor) ComputeCapability { get; }

    public int Multiprocessors { get; }

    /// <summary>Dynamic shared memory that one block may ask for.</summary>
    public int SharedBytesPerBlock { get; }

    /// <summary>The driver keeps a current context for each thread; calls go to it.</summary>
    public void MakeCurrent()
    {
        if (currentOfThread == context)
            return;
        CudaDriver.Check(CudaDriver.CtxSetCurrent(context));
        currentOfThread = context;
    }

    public (long Free, long Total) Memory()
    {
        CudaDriver.Check(CudaDriver.MemGetInfo(out nuint free, out nuint total));
        return ((long)free, (long)total);
    }

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        currentOfThread = 0;
        _ = CudaDriver.DevicePrimaryCtxRelease(device); // behind a failure there is nothing left to release
    }

    private int Attribute(int attribute)
    {
        CudaDriver.Check(CudaDriver.DeviceGetAttribute(out int value, attribute, device));
        return value;
    }
}

/// <summary>A queue of work on the device, apart from other streams.</summary>
internal sealed class CudaStream : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Create"/>.</summary>
    public CudaStream()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    public static CudaStream Create()
    {
        CudaDriver.Check(CudaDriver.StreamCreate(out CudaStream stream, CudaDriver.NonBlocking));
        return stream;
    }

    protected override bool ReleaseHandle() => CudaDriver.StreamDestroy(handle) == 0;
}

/// <summary>A point in a stream's work, to wait for or to take the time of.</summary>
internal sealed class CudaEvent : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Create"/>.</summary>
    public CudaEvent()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    public static CudaEvent Create(bool timing)
    {
        CudaDriver.Check(CudaDriver.EventCreate(out CudaEvent created, timing ? 0 : CudaDriver.DisableTiming));
        return created;
    }

    protected override bool ReleaseHandle() => CudaDriver.EventDestroy(handle) == 0;
}

/// <summary>The compiled kernels of one fatbin, on the device.</summary>
internal sealed unsafe class CudaModule : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Load"/>.</summary>
    public CudaModule()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <param name="image">A fatbin, a cubin, or PTX that ends in a zero byte.</param>
    public static CudaModule Load(byte[] image)
    {
        fixed (byte* pointer = image)
        {
            CudaDriver.Check(CudaDriver.ModuleLoadData(out CudaModule module, pointer));
            return module;
        }
    }

    public nint Kernel(string name)
    {
        CudaDriver.Check(CudaDriver.ModuleGetFunction(out nint function, this, name), $"ModuleGetFunction {name}");
        return function;
    }

    /// <summary>
    /// Lets launches of a kernel have so much dynamic shared memory; without, it is 48 KiB less the kernel's own arrays. The driver refuses more than the
    /// device has beside the kernel's arrays, so a kernel cannot simply be allowed all.
    /// </summary>
    public static void AllowShared(nint kernel, int bytes) =>
        CudaDriver.Check(CudaDriver.FuncSetAttribute(kernel, CudaDriver.MaxDynamicSharedSizeBytes, bytes));

    protected override bool ReleaseHandle() => CudaDriver.ModuleUnload(handle) == 0;
}

/// <summary>Recorded work of a stream, ready to be queued again as a whole.</summary>
internal sealed class CudaGraph : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Record"/>.</summary>
    public CudaGraph()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Notes what work queues on the stream instead of running it.</summary>
    public static CudaGraph Record(CudaStream stream, Action work)
    {
        CudaDriver.Check(CudaDriver.StreamBeginCapture(stream, CudaDriver.CaptureThreadLocal));
        nint graph;
        try
        {
            work();
        }
        finally
        {
            CudaDriver.Check(CudaDriver.StreamEndCapture(stream, out graph));
        }
        try
        {
            CudaDriver.Check(CudaDriver.GraphInstantiate(out CudaGraph executable, graph, 0));
            return executable;
        }
        finally
        {
            _ = CudaDriver.GraphDestroy(graph);
        }
    }

    protected override bool ReleaseHandle() => CudaDriver.GraphExecDestroy(handle) == 0;
}

/// <summary>Page-locked memory of the host: the device copies from and to it while the host goes on.</summary>
internal sealed class CudaHostMemory : SafeHandle
{
    private CudaHostMemory(nint pointer, long bytes)
        : base(0, ownsHandle: true)
    {
        SetHandle(pointer);
        Bytes = bytes;
    }

    public override bool IsInvalid => handle == 0;

    public long Bytes { get; }

    public nint Pointer => handle;

    public static CudaHostMemory Allocate(long bytes)
    {
        CudaDriver.Check(CudaDriver.MemHostAlloc(out nint pointer, (nuint)bytes, 0));
        return new CudaHostMemory(pointer, bytes);
    }

    protected override bool ReleaseHandle() => CudaDriver.MemFreeHost(handle) == 0;
}

/// <summary>A block of device memory.</summary>
internal sealed class CudaDeviceMemory : SafeHandle
{
    private CudaDeviceMemory(nint address, long bytes)
        : base(0, ownsHandle: true)
    {
        SetHandle(address);
        Bytes = bytes;
    }

    public override bool IsInvalid => handle == 0;

    public long Bytes { get; }

    public nint Address => handle;

    public static CudaDeviceMemory Allocate(long bytes)
    {
        CudaDriver.Check(CudaDriver.MemAlloc(out nint address, (nuint)bytes));
        return new CudaDeviceMemory(address, bytes);
    }

    protected override bool ReleaseHandle() => CudaDriver.MemFree(handle) == 0;
}
