using System.Text;

namespace Avedis.Bindings.Cuda;

/// <summary>
/// The primary context of one of the GPUs that are visible (CUDA_VISIBLE_DEVICES chooses). It stays as long as the process: to make one
/// takes a good part of a second.
/// </summary>
internal sealed unsafe class CudaContext
{
    [ThreadStatic]
    private static nint currentOfThread;

    private static readonly Lock gate = new();
    private static readonly Dictionary<int, nint> retained = [];

    private readonly int device;

    /// <param name="number">Of the GPU, from 0; behind the last one comes the first again.</param>
    /// <exception cref="CudaLibraryException">There is no driver.</exception>
    /// <exception cref="CudaException">There is no GPU, or it cannot be used.</exception>
    public CudaContext(int number = 0)
    {
        CudaLibrary.Load();
        CudaDriver.Check(CudaDriver.Init(0));
        CudaDriver.Check(CudaDriver.DriverGetVersion(out int version));
        CudaDriver.CheckVersion(version);
        CudaDriver.Check(CudaDriver.DeviceGetCount(out int count));
        CudaDriver.Check(CudaDriver.DeviceGet(out device, count > 1 ? number % count : 0));
        Handle = Retain(device);
        DriverVersion = CudaDriver.VersionText(version);
        Span<byte> name = stackalloc byte[256];
        fixed (byte* pointer = name)
            CudaDriver.Check(CudaDriver.DeviceGetName(pointer, name.Length, device));
        DeviceName = Encoding.UTF8.GetString(name[..name.IndexOf((byte)0)]);
        ComputeCapability = (Attribute(CudaDriver.ComputeCapabilityMajor), Attribute(CudaDriver.ComputeCapabilityMinor));
        Multiprocessors = Attribute(CudaDriver.MultiprocessorCount);
        CacheBytes = Attribute(CudaDriver.L2CacheSize);
        SharedBytesPerBlock = Attribute(CudaDriver.MaxSharedMemoryPerBlockOptin);
        MakeCurrent();
    }

    /// <summary>The driver's own (CUcontext).</summary>
    public nint Handle { get; }

    /// <summary>Of the card, the same in every process.</summary>
    public Guid Uuid
    {
        get
        {
            Span<byte> uuid = stackalloc byte[16];
            fixed (byte* pointer = uuid)
                CudaDriver.Check(CudaDriver.DeviceGetUuid(pointer, device));
            return new(uuid);
        }
    }

    public string DeviceName { get; }

    /// <summary>The newest CUDA that the driver speaks, such as 12.4.</summary>
    public string DriverVersion { get; }

    public (int Major, int Minor) ComputeCapability { get; }

    public int Multiprocessors { get; }

    /// <summary>Of the level-2 cache.</summary>
    public int CacheBytes { get; }

    /// <summary>Dynamic shared memory that one block may ask for.</summary>
    public int SharedBytesPerBlock { get; }

    /// <summary>The driver keeps a current context for each thread; calls go to it.</summary>
    public void MakeCurrent() => CudaDriver.Check(TryMakeCurrent(), nameof(CudaDriver.CtxSetCurrent));

    /// <summary>The same for whoever cleans up, and can do nothing about a failure.</summary>
    /// <returns>CUresult.</returns>
    public int TryMakeCurrent()
    {
        if (currentOfThread == Handle)
            return 0;
        int result = CudaDriver.CtxSetCurrent(Handle);
        if (result == 0)
            currentOfThread = Handle;
        return result;
    }

    public (long Free, long Total) Memory()
    {
        CudaDriver.Check(CudaDriver.MemGetInfo(out nuint free, out nuint total));
        return ((long)free, (long)total);
    }

    private static nint Retain(int device)
    {
        lock (gate)
        {
            if (retained.TryGetValue(device, out nint known))
                return known;
            CudaDriver.Check(CudaDriver.DevicePrimaryCtxRetain(out nint context, device));
            retained.Add(device, context);
            return context;
        }
    }

    private int Attribute(int attribute)
    {
        CudaDriver.Check(CudaDriver.DeviceGetAttribute(out int value, attribute, device));
        return value;
    }
}
