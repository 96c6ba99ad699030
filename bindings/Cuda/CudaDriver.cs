using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>
/// A call into the CUDA driver failed. The message is the call's name, the driver's own name and text of the error, and what to do about it
/// where that is known.
/// </summary>
public sealed class CudaException : DeviceFailedException
{
    internal CudaException(string cause, int result)
        : base($"{(IsLasting(result) ? "the GPU failed" : "the GPU's driver refused a call")}: {cause}") =>
        (Cause, Result, Sticky) = (cause, result, IsLasting(result));

    /// <summary>The message from the call's name on.</summary>
    public string Cause { get; }

    /// <summary>CUresult, as cuda.h numbers it.</summary>
    public int Result { get; }

    /// <summary>Whether every later call in this process fails the same way.</summary>
    public bool Sticky { get; }

    /// <summary>
    /// Of these cuda.h says that the process must be started anew, or that the context is gone: a fault of a kernel (700, 702, 710, 714 to
    /// 719, 721), one that the GPU has contained (226), a context that was destroyed (709), a client that MPS has ended (810), a device
    /// outside of CUDA (911). An error of memory or NVLink that cannot be corrected (214, 220), and the unknown error (999) of a GPU that
    /// fell off the bus, leave nothing to go on with either. The other 700s refuse one call.
    /// </summary>
    internal static bool IsLasting(int result) =>
        result is 214 or 220 or 226 or 700 or 702 or 709 or 710 or (>= 714 and <= 719) or 721 or 810 or 911 or 999;
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

    private const int OldestVersion = 12000, TooOld = 36;

    private const string Report = "a kernel failed: please report it";
    private const string UpdateDriver = "update the NVIDIA driver: CUDA 12 or newer is needed";

    // what to do, where there is one thing to do
    private static readonly Dictionary<int, string> hints = new()
    {
        [OutOfMemory] = "use a smaller batch (--set training.batchSize=N), or end what else uses the GPU (nvidia-smi)",
        [3] = "the driver and its kernel module may not fit together: restart the machine, or reinstall the driver",
        [34] = "a stub for linking was loaded, no driver: take its folder (.../stubs) out of LD_LIBRARY_PATH; a container needs --gpus all",
        [35] = UpdateDriver,
        [TooOld] = UpdateDriver,
        [46] = "another program holds the GPU for itself: end it, or let programs share it (nvidia-smi -c DEFAULT)",
        [100] = "no NVIDIA GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES; a container needs --gpus all",
        [101] = "CUDA_VISIBLE_DEVICES names a GPU that is not there: nvidia-smi -L lists them",
        [200] = "the kernel file is damaged: build it again (cmake --build artifacts/cmake --target kernels)",
        [209] = "the kernels were compiled for other GPUs: sm_80 (Ampere) or newer is needed",
        [214] = "the GPU's memory has an error that cannot be corrected: reset or replace the GPU (nvidia-smi -q -d ECC)",
        [218] = "the driver could not compile the kernels for this GPU: update the NVIDIA driver",
        [220] = "a link between GPUs has an error that cannot be corrected: nvidia-smi nvlink -e shows which",
        [221] = "the driver's compiler, libnvidia-ptxjitcompiler.so, is missing: install all of the driver",
        [222] = "the driver is older than the kernels' compiler: update the NVIDIA driver",
        [226] = "the GPU has contained a hardware error: look into nvidia-smi and the kernel's log (dmesg, Xid)",
        [500] = "the kernel file is of another version of avedis: build it again",
        [700] = "a kernel touched memory outside its tensors: please report it",
        [702] = "a kernel took longer than this GPU allows: use one that no screen hangs on",
        [715] = Report,
        [716] = Report,
        [717] = Report,
        [718] = Report,
        [719] = Report,
        [802] = "the GPUs are not ready: with NVSwitch (HGX, DGX) start the driver's fabric manager (systemctl start nvidia-fabricmanager)",
        [803] = "driver and kernel module are of different versions: restart the machine, or reinstall the driver",
        [804] = "this GPU does not take the compatibility driver that was loaded: take its folder (.../cuda/compat) out of " +
            "LD_LIBRARY_PATH, or update the NVIDIA driver",
        [805] = "the MPS server does not answer: start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY",
        [810] = "the MPS server ended this program's work: look into its log",
        [999] = "look into nvidia-smi and the kernel's log (dmesg, Xid): a GPU that failed needs a reset",
    };

    static CudaDriver() => NativeLibraries.Register();

    /// <summary>The one check of every call.</summary>
    /// <exception cref="OutOfDeviceMemoryException">The result says so.</exception>
    /// <exception cref="CudaException">It is another error.</exception>
    public static void Check(int result, [CallerArgumentExpression(nameof(result))] string call = "")
    {
        if (result == 0)
            return;
        string waits = CudaException.IsLasting(result) && CudaWaitReport.Take() is { } text ? $"; {text}" : "";
        string cause = $"cu{call.Split('(')[0].Split('.')[^1]}: {Describe(result)}{waits}";
        throw result == OutOfMemory ? new OutOfDeviceMemoryException(cause) : new CudaException(cause, result);
    }

    /// <param name="version">As cuDriverGetVersion gives it.</param>
    /// <exception cref="CudaException">The driver is older than the kernels need.</exception>
    public static void CheckVersion(int version)
    {
        if (version < OldestVersion)
            throw new CudaException($"the driver knows CUDA {VersionText(version)}; {UpdateDriver}", TooOld);
    }

    /// <summary>Such as 12.4.</summary>
    public static string VersionText(int version) => $"{version / 1000}.{version % 1000 / 10}";

    // a stub or an older driver has no words for an error
    private static string Describe(int result)
    {
        string? name = GetErrorName(result, out nint text) == 0 ? Marshal.PtrToStringUTF8(text) : null;
        string? words = GetErrorString(result, out text) == 0 ? Marshal.PtrToStringUTF8(text) : null;
        string described = name is null ? $"error {result}" : $"{name} ({result})";
        return $"{described}{(words is null ? "" : $", {words}")}{(hints.TryGetValue(result, out string? hint) ? $"; {hint}" : "")}";
    }

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
