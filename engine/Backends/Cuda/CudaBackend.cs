using System.Runtime.InteropServices;
using Avedis.Bindings;
using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>
/// The operations on an NVIDIA GPU, through the driver alone. Every operation launches kernels of kernels/ on one stream and returns at once; the
/// partial files carry the kernels' names. Uploads travel on a stream of their own (<see cref="CudaUploads"/>). One thread at a time may use it.
/// </summary>
public sealed partial class CudaBackend : IBackend
{
    /// <summary>
    /// Bytes that go through page-locked memory to the host, which the driver copies to at once; more are copied to where they are wanted.
    /// </summary>
    private const int DownloadBytes = 64 << 10;

    // estimates: recordings of steps and kernels that are loaded late take tens of MiB, the probes of an epoch up to a few hundred
    private const long MostReserve = 512 << 20;
    private const int ReserveShare = 16; // of a small card's memory

    private readonly CudaContext context;
    private readonly CudaModule module;
    private readonly CudaLane main;
    private readonly CudaUploads uploads;
    private readonly CudaHostMemory downloaded;
    private readonly Dictionary<string, (nint Function, int SharedBytes)> kernels = [];
    private readonly Dictionary<nint, CudaDeviceMemory> allocations = [];
    private readonly bool tf32;
    private readonly long totalMemory;
    private CudaLane? side; // beside the main one, for what SideBySide runs there
    private CudaLane lane; // where operations are queued
    private bool disposed;

    /// <param name="image">The fatbin of kernels/; see <see cref="KernelImage"/>.</param>
    /// <param name="tf32">Whether F32 convolutions run on the matrix units, their inputs rounded to TF32.</param>
    /// <param name="number">Of the GPU, from 0, among those that are visible.</param>
    /// <exception cref="DeviceUnavailableException">No driver, no GPU, or one that the kernels do not run on.</exception>
    /// <exception cref="OutOfDeviceMemoryException">Others have its memory.</exception>
    public CudaBackend(byte[] image, bool tf32 = false, int number = 0)
    {
        this.tf32 = tf32;
        bool hopperAllowed = HopperKernels.Allowed;
        try
        {
            context = new CudaContext(number);
            module = CudaModule.Load(context, image);
            lane = main = new CudaLane();
            module.ReportWaits(main.Stream);
            uploads = new CudaUploads(main.Stream, Scatter);
            downloaded = CudaHostMemory.Allocate(DownloadBytes);
            totalMemory = context.Memory().Total;
        }
        catch (Exception error)
        {
            Dispose();
            string? why = error switch
            {
                CudaException refused => refused.Cause,
                CudaLibraryException or OutOfDeviceMemoryException => error.Message,
                EntryPointNotFoundException => $"{CudaLibrary.Path} is no CUDA driver, or too old a one: {error.Message}",
                _ => null,
            };
            if (why is null)
                throw;
            why = $"device cuda: {why}; --device cpu works without a GPU";
            if (error is OutOfDeviceMemoryException full)
                throw new OutOfDeviceMemoryException(why, full);
            throw new DeviceUnavailableException(why, error);
        }
        var (major, minor) = context.ComputeCapability;
        Hopper = (major, minor) == (9, 0) && hopperAllowed;
        string kernels = Hopper ? ", kernels for Hopper" : hopperAllowed ? "" : $", kernels for all GPUs ({HopperKernels.Variable}=off)";
        Description = $"{context.DeviceName}, {context.Multiprocessors} multiprocessors, sm_{major}{minor}, " +
            $"{totalMemory / 1073741824.0:N0} GiB, CUDA {context.DriverVersion} ({CudaLibrary.Path}){kernels}";
    }

    public string Description { get; }

    // operations a cycle and multiprocessor, from NVIDIA's data sheets: products of matrix units with sums in FP32, and fused multiply-adds
    public PrecisionRates Rates()
    {
        var (fp32, bf16) = context.ComputeCapability switch
        {
            (8, 0) => (128, 2048),
            (9, 0) => (256, 4096),
            _ => (256, 512), // of other Amperes, Ada and consumer Blackwells; the large Blackwells have more
        };
        return new(fp32, bf16, "operations a cycle and multiprocessor");
    }

    /// <summary>Whether convolutions run on the kernels for Hopper where these can do it.</summary>
    internal bool Hopper { get; }

    /// <summary>Of the GPU's level-2 cache.</summary>
    internal long CacheBytes => context.CacheBytes;

    /// <summary>The driver's handle (CUstream) of the stream that the operations run on, for other libraries to join.</summary>
    internal nint Stream => main.Stream.DangerousGetHandle();

    internal int Multiprocessors => context.Multiprocessors;

    internal (int Major, int Minor) ComputeCapability => context.ComputeCapability;

    public long Margin(long largestUpload) => CudaUploads.MirrorBytes(largestUpload) + Math.Min(MostReserve, totalMemory / ReserveShare);

    public nint Allocate(long bytes, long margin = 0)
    {
        Enter();
        Release();
        try
        {
            if (margin > 0 && bytes + margin > context.Memory().Free)
                throw new OutOfDeviceMemoryException(bytes + margin, context.DeviceName);
            var memory = CudaDeviceMemory.Allocate(bytes);
            allocations.Add(memory.Address, memory);
            CudaDriver.Check(CudaDriver.MemsetD8Async(memory.Address, 0, (nuint)bytes, main.Stream));
            return memory.Address;
        }
        catch (OutOfDeviceMemoryException failure) when (failure.Bytes == 0)
        {
            throw new OutOfDeviceMemoryException(bytes, context.DeviceName);
        }
    }

    public void Free(nint address)
    {
        Release();
        // whether it has failed is for the next call that computes to say
        _ = context.TryMakeCurrent();
        _ = CudaDriver.StreamSynchronize(main.Stream);
        allocations.Remove(address, out var memory);
        uploads.Drop(address, memory!.Bytes);
        memory.Dispose();
    }

    public void SetWorkspace(nint address, long bytes, long side)
    {
        (main.Workspace, main.WorkspaceBytes) = (address, bytes - side);
        if (side == 0)
            return;
        Enter();
        this.side ??= new CudaLane();
        (this.side.Workspace, this.side.WorkspaceBytes) = (address + (nint)(bytes - side), side);
    }

    public long FreeMemory
    {
        get
        {
            Enter();
            return context.Memory().Free;
        }
    }

    public unsafe void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        context.MakeCurrent(); // instead of Enter: uploads wait for each other, to travel together
        Release(); // the ring may have to wait for earlier uploads
        RequireSize(destination, (long)source.Length * sizeof(T));
        uploads.Add(destination.Address, MemoryMarshal.AsBytes(source));
    }

    public unsafe void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        Enter();
        Release();
        RequireSize(source, (long)destination.Length * sizeof(T));
        if (source.Bytes <= DownloadBytes)
        {
            CudaDriver.Check(CudaDriver.MemcpyDtoHAsync(downloaded.Pointer, source.Address, (nuint)source.Bytes, main.Stream));
            Wait();
            new ReadOnlySpan<T>((void*)downloaded.Pointer, destination.Length).CopyTo(destination);
            return;
        }
        fixed (T* pointer = destination)
        {
            CudaDriver.Check(CudaDriver.MemcpyDtoHAsync((nint)pointer, source.Address, (nuint)source.Bytes, main.Stream));
            Wait(); // inside: the array must not move before its bytes have come
        }
    }

    public void Synchronize()
    {
        Enter();
        Release();
        Wait();
    }

    /// <summary>Of a backend that could not be opened too, as far as it came.</summary>
    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        _ = context?.TryMakeCurrent();
        gate?.Dispose();
        uploads?.Dispose();
        reductions?.Dispose();
        foreach (var (graph, _) in recordings.Values)
            graph.Dispose();
        foreach (var mark in marks)
            mark.Dispose();
        foreach (var memory in allocations.Values)
            memory.Dispose();
        downloaded?.Dispose();
        side?.Dispose();
        main?.Dispose();
    }

    /// <summary>
    /// First line of every operation: the driver keeps a current context for each calling thread, and what waits to be uploaded goes first.
    /// </summary>
    private void Enter()
    {
        context.MakeCurrent();
        uploads.Flush();
    }

    /// <summary>The suffix of a kernel's name that says which activations it takes.</summary>
    private static string Suffix(Tensor act) => act.Type switch
    {
        DType.F32 => "f32",
        DType.BF16 => "bf16",
        _ => throw new ArgumentException($"{act} cannot hold activations"),
    };

    private static void RequireSize(Tensor tensor, long bytes)
    {
        if (bytes != tensor.Bytes)
            throw new ArgumentException($"{tensor} holds {tensor.Bytes} bytes, the host side has {bytes}");
    }
}
