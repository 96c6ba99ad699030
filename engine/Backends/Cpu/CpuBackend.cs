using System.Diagnostics;
using Avedis.Bindings;
using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>
/// The operations on the processor: oneDNN for some convolutions, own fused passes for the rest. Every call has finished when it returns.
/// Same input, same bits, with any number of threads (but for BF16 gradients of weights on AMX). One thread at a time may use it.
/// </summary>
public sealed partial class CpuBackend : IBackend
{
    private readonly int threads;
    private readonly ConvolutionAlgorithm algorithm;
    private nint workspace;
    private long workspaceBytes;

    /// <param name="threads">Threads to compute with; 0 means every core that the process may use, by affinity and container.</param>
    /// <param name="convolutions">How convolutions of F32 activations are computed.</param>
    /// <exception cref="CpuLibraryException">libavedis_cpu.so or oneDNN is missing.</exception>
    public CpuBackend(int threads = 0, ConvolutionAlgorithm convolutions = ConvolutionAlgorithm.Auto)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        this.threads = threads > 0 ? threads : Environment.ProcessorCount;
        algorithm = convolutions;
        string count = this.threads == 1 ? "1 thread" : $"{this.threads} threads";
        Description = $"{ProcessorName()}, {count}, {CpuNative.InstructionSet}, oneDNN {CpuNative.OneDnnVersion}";
    }

    public string Description { get; }

    // processors differ, and so do convolutions by their algorithms: a BF16 multiply-add may take ten times as long as one in FP32
    public PrecisionRates Rates() => ConvolutionTrial.Measure(new CpuBackend(threads: 1, algorithm));

    public long FreeMemory
    {
        get
        {
            const string Key = "MemAvailable:";
            long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
            string? line = File.Exists("/proc/meminfo")
                ? File.ReadLines("/proc/meminfo").FirstOrDefault(line => line.StartsWith(Key, StringComparison.Ordinal))
                : null;
            // the system counts in KiB; a container may have less than the machine
            return line is null ? limit : Math.Min(limit, 1024 * long.Parse(line[Key.Length..].Replace("kB", "", StringComparison.Ordinal)));
        }
    }

    public long Margin(long largestUpload) => 0;

    public nint Allocate(long bytes, long margin = 0)
    {
        Enter();
        if (bytes > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
            throw new OutOfDeviceMemoryException(bytes, "this computer's memory");
        try
        {
            CpuNative.Check(CpuNative.Allocate(out nint address, bytes));
            return address;
        }
        catch (CpuCallException failure) when (failure.OutOfMemory)
        {
            throw new OutOfDeviceMemoryException(bytes, "this computer's memory");
        }
    }

    public void Free(nint address) => CpuNative.Check(CpuNative.Free(address));

    public void SetWorkspace(nint address, long bytes, long side)
    {
        workspace = address;
        workspaceBytes = bytes;
    }

    public unsafe void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        RequireSize(destination, (long)source.Length * sizeof(T));
        source.CopyTo(new Span<T>((void*)destination.Address, source.Length));
    }

    public unsafe void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        RequireSize(source, (long)destination.Length * sizeof(T));
        new ReadOnlySpan<T>((void*)source.Address, destination.Length).CopyTo(destination);
    }

    public void Synchronize()
    {
    }

    public bool HostMemory => true;

    public void AwaitReductions()
    {
    }

    public unsafe void AllReduce(Tensor x, ICollective collective) => collective.AllReduce(new Span<float>((void*)x.Address, checked((int)x.Count)), x.Name);

    public void Replay(string name, Action work) => work();

    // each of the two takes all cores by itself
    public void SideBySide(Action first, Action second)
    {
        first();
        second();
    }

    public long Mark() => Stopwatch.GetTimestamp();

    public double Microseconds(long from, long to) => (to - from) * 1e6 / Stopwatch.Frequency;

    public void ForgetMarks()
    {
    }

    public void Hold()
    {
    }

    public void Release()
    {
    }

    public IReadOnlyList<string> TakeLaunches() => [];

    public void Dispose()
    {
        foreach (CpuConv2d conv in convolutions.Values)
            conv.Dispose();
        convolutions.Clear();
    }

    /// <summary>First line of every operation: the library keeps the number of threads per calling thread.</summary>
    private void Enter() => CpuNative.Check(CpuNative.SetThreads(threads));

    private static CpuType Type(Tensor x) => x.Type switch
    {
        DType.F32 => CpuType.F32,
        DType.BF16 => CpuType.BF16,
        _ => throw new ArgumentException($"{x} cannot hold activations"),
    };

    private static void RequireSize(Tensor tensor, long bytes)
    {
        if (bytes != tensor.Bytes)
            throw new ArgumentException($"{tensor} holds {tensor.Bytes} bytes, the host side has {bytes}");
    }

    private static string ProcessorName()
    {
        const string Key = "model name";
        string? line = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith(Key, StringComparison.Ordinal))
            : null;
        return line is null ? "processor" : line[(line.IndexOf(':') + 1)..].Trim();
    }
}
