using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>
/// A call into the CUDA driver failed. The message is the call's name, the driver's own name and text of the error, and what to do about it
/// where that is known.
/// </summary>
public sealed class CudaException(string message, int result) : Exception(message)
{
    /// <summary>CUresult, as cuda.h numbers it.</summary>
    public int Result { get; } = result;

    public bool OutOfMemory => Result == CudaDriver.OutOfMemory;

    /// <summary>
    /// Whether the error has destroyed the context: every later call in this process fails the same way (illegal address, launch failed, assertion,
    /// hardware fault, ...).
    /// </summary>
    public bool Sticky => Result is 214 or 220 or >= 700 and < 705 or >= 710 and <= 720;
}

/// <summary>The functions of the CUDA driver API that we use, one to one as in cuda.h, and the one check that every call goes through.</summary>
internal static unsafe partial class CudaDriver
{
    internal const int OutOfMemory = 2;

    // CUdevice_attribute
    internal const int MultiprocessorCount = 16, L2CacheSize = 38, ComputeCapabilityMajor = 75, ComputeCapabilityMinor = 76, MaxSharedMemoryPerBlockOptin = 97;

    // CUfunction_attribute
    internal const int MaxDynamicSharedSizeBytes = 8;

    // CUstream_flags, CUevent_flags, CUstreamCaptureMode
    internal const uint NonBlocking = 1, DisableTiming = 2;
    internal const int CaptureThreadLocal = 1;

    private static readonly Dictionary<int, string> hints = new()
    {
        [2] = "use a smaller batch (--set training.batchSize=N)",
        [3] = "the driver and its kernel module may not fit together: restart, or reinstall the driver",
        [35] = "update the NVIDIA driver: CUDA 12 or newer is needed",
        [46] = "another program holds the device exclusively",
        [100] = "no NVIDIA GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES",
        [101] = "check CUDA_VISIBLE_DEVICES",
        [200] = "the kernel file is damaged: build it again (cmake --build artifacts/cmake --target kernels)",
        [209] = "the kernels were compiled for other GPUs: sm_80 or newer is needed",
        [218] = "the driver could not compile the kernels' PTX for this GPU",
        [222] = "update the NVIDIA driver: its PTX compiler is older than the kernels",
        [500] = "the kernel file is of another version of avedis: build it again",
        [700] = "a kernel touched memory outside its tensors: please report it",
        [719] = "a kernel failed: please report it",
        [802] = "the device is not ready: check nvidia-smi",
        [803] = "driver and kernel module versions differ: restart, or reinstall the driver",
        [999] = "check nvidia-smi and the kernel's log (dmesg)",
    };

    static CudaDriver() => NativeLibraries.Register();

    /// <exception cref="CudaException">The result is an error.</exception>
    public static void Check(int result, [CallerArgumentExpression(nameof(result))] string call = "")
    {
        if (result == 0)
            return;
        string name = call.Split('(')[0].Split('.')[^1];
        string hint = hints.TryGetValue(result, out string? text) ? $"; {text}" : "";
        throw new CudaException($"cu{name}: {ErrorName(result)} ({result}), {ErrorText(result)}{hint}", result);
    }

    private static string ErrorName(int result) => GetErrorName(result, out nint text) == 0 ? Marshal.PtrToStringUTF8(text)! : "unknown error";

    private static string ErrorText(int result) => GetErrorString(result, out nint text) == 0 ? Marshal.PtrToStringUTF8(text)! : "no text";

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuInit")]
    public static partial int Init(uint flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDriverGetVersion")]
    public static partial int DriverGetVersion(out int version);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGetErrorName")]
    private static partial int GetErrorName(int result, out nint text);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGetErrorString")]
    private static partial int GetErrorString(int result, out nint text);

    // device and context

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDeviceGetCount")]
    public static partial int DeviceGetCount(out int count);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDeviceGet")]
    public static partial int DeviceGet(out int device, int ordinal);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDeviceGetUuid_v2")]
    public static partial int DeviceGetUuid(byte* uuid, int device);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDeviceGetName")]
    public static partial int DeviceGetName(byte* name, int length, int device);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDeviceGetAttribute")]
    public static partial int DeviceGetAttribute(out int value, int attribute, int device);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDevicePrimaryCtxRetain")]
    public static partial int DevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    public static partial int DevicePrimaryCtxRelease(int device);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuCtxSetCurrent")]
    public static partial int CtxSetCurrent(nint context);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemGetInfo_v2")]
    public static partial int MemGetInfo(out nuint free, out nuint total);

    // memory

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemAlloc_v2")]
    public static partial int MemAlloc(out nint address, nuint bytes);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemFree_v2")]
    public static partial int MemFree(nint address);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemHostAlloc")]
    public static partial int MemHostAlloc(out nint pointer, nuint bytes, uint flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemFreeHost")]
    public static partial int MemFreeHost(nint pointer);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial int MemcpyHtoDAsync(nint to, nint from, nuint bytes, CudaStream stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial int MemcpyDtoHAsync(nint to, nint from, nuint bytes, CudaStream stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemcpyDtoDAsync_v2")]
    public static partial int MemcpyDtoDAsync(nint to, nint from, nuint bytes, CudaStream stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuMemsetD8Async")]
    public static partial int MemsetD8Async(nint to, byte value, nuint bytes, CudaStream stream);

    // streams and events

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamCreate")]
    public static partial int StreamCreate(out CudaStream stream, uint flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamDestroy_v2")]
    public static partial int StreamDestroy(nint stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamSynchronize")]
    public static partial int StreamSynchronize(CudaStream stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamWaitEvent")]
    public static partial int StreamWaitEvent(CudaStream stream, CudaEvent @event, uint flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuEventCreate")]
    public static partial int EventCreate(out CudaEvent @event, uint flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuEventDestroy_v2")]
    public static partial int EventDestroy(nint @event);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuEventRecord")]
    public static partial int EventRecord(CudaEvent @event, CudaStream stream);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuEventSynchronize")]
    public static partial int EventSynchronize(CudaEvent @event);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuEventElapsedTime")]
    public static partial int EventElapsedTime(out float milliseconds, CudaEvent from, CudaEvent to);

    // modules and launches

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuModuleLoadData")]
    public static partial int ModuleLoadData(out CudaModule module, byte* image);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuModuleUnload")]
    public static partial int ModuleUnload(nint module);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuModuleGetFunction", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int ModuleGetFunction(out nint function, CudaModule module, string name);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuModuleGetGlobal_v2", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int ModuleGetGlobal(out nint address, out nuint bytes, CudaModule module, string name);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuFuncSetAttribute")]
    public static partial int FuncSetAttribute(nint function, int attribute, int value);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuLaunchKernel")]
    public static partial int LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, CudaStream stream,
        void** parameters, void** extra);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuLaunchHostFunc")]
    public static partial int LaunchHostFunc(CudaStream stream, delegate* unmanaged<nint, void> function, nint data);

    // graphs

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamBeginCapture_v2")]
    public static partial int StreamBeginCapture(CudaStream stream, int mode);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuStreamEndCapture")]
    public static partial int StreamEndCapture(CudaStream stream, out nint graph);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGraphInstantiateWithFlags")]
    public static partial int GraphInstantiate(out CudaGraph executable, nint graph, ulong flags);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGraphDestroy")]
    public static partial int GraphDestroy(nint graph);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGraphExecDestroy")]
    public static partial int GraphExecDestroy(nint executable);

    [LibraryImport(CudaLibrary.Name, EntryPoint = "cuGraphLaunch")]
    public static partial int GraphLaunch(CudaGraph executable, CudaStream stream);
}
