using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

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
