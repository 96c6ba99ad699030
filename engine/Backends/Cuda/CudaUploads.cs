using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>
/// Brings data of the host to the device while the device computes: a ring of page-locked host memory and its mirror on the device. An upload is copied
/// into the ring at once (so its source is free again), travels to the mirror on a stream of its own, and is put in place on the computing
/// stream, behind all that was queued there before. The ring holds two of the largest upload at least, so that one travels while the one before waits for
/// its turn.
/// </summary>
internal sealed unsafe class CudaUploads(CudaStream computing) : IDisposable
{
    private const long SmallestRing = 1 << 20, Alignment = 256;

    private readonly record struct Piece(long Offset, long Bytes, CudaEvent Consumed);

    private readonly CudaStream copying = CudaStream.Create();
    private readonly Queue<Piece> pieces = [];
    private readonly Stack<CudaEvent> spareEvents = [];
    private readonly List<CudaEvent> events = []; // all of them
    private CudaHostMemory? host;
    private CudaDeviceMemory? mirror;
    private long capacity, next;

    /// <summary>Bytes of the ring, on the host and again on the device, that serves uploads of so many bytes.</summary>
    public static long RingBytes(long largest) => Math.Max(SmallestRing, (largest + Alignment - 1) / Alignment * Alignment * 2);

    /// <summary>Queues a copy to device memory.</summary>
    public void Queue(nint destination, ReadOnlySpan<byte> source)
    {
        long offset = Reserve((source.Length + Alignment - 1) / Alignment * Alignment);
        source.CopyTo(new Span<byte>((byte*)host!.Pointer + offset, source.Length));
        nint staged = mirror!.Address + (nint)offset;
        CudaDriver.Check(CudaDriver.MemcpyHtoDAsync(staged, host.Pointer + (nint)offset, (nuint)source.Length, copying));
        var arrived = TakeEvent();
        CudaDriver.Check(CudaDriver.EventRecord(arrived, copying));
        CudaDriver.Check(CudaDriver.StreamWaitEvent(computing, arrived, 0));
        CudaDriver.Check(CudaDriver.MemcpyDtoDAsync(destination, staged, (nuint)source.Length, computing));
        // the wait has been queued and keeps its point in time: the event may be recorded again
        CudaDriver.Check(CudaDriver.EventRecord(arrived, computing));
        pieces.Enqueue(new(offset, (source.Length + Alignment - 1) / Alignment * Alignment, arrived));
    }

    public void Dispose()
    {
        // copies may be under way; a failure has been told before
        _ = CudaDriver.StreamSynchronize(copying);
        _ = CudaDriver.StreamSynchronize(computing);
        foreach (var made in events)
            made.Dispose();
        host?.Dispose();
        mirror?.Dispose();
        copying.Dispose();
    }

    /// <summary>Offset of so many bytes of the ring that nobody uses any more; waits for the oldest uploads if need be.</summary>
    private long Reserve(long bytes)
    {
        if (RingBytes(bytes) > capacity)
            Grow(RingBytes(bytes));
        if (next + bytes > capacity)
            next = 0;
        while (pieces.TryPeek(out var oldest) && pieces.Any(p => p.Offset < next + bytes && next < p.Offset + p.Bytes))
        {
            CudaDriver.Check(CudaDriver.EventSynchronize(oldest.Consumed));
            spareEvents.Push(pieces.Dequeue().Consumed);
        }
        long offset = next;
        next += bytes;
        return offset;
    }

    private void Grow(long bytes)
    {
        Drain();
        host?.Dispose();
        mirror?.Dispose();
        (capacity, next) = (0, 0);
        host = CudaHostMemory.Allocate(bytes);
        mirror = CudaDeviceMemory.Allocate(bytes);
        capacity = bytes;
    }

    private void Drain()
    {
        while (pieces.TryDequeue(out var piece))
        {
            CudaDriver.Check(CudaDriver.EventSynchronize(piece.Consumed));
            spareEvents.Push(piece.Consumed);
        }
    }

    private CudaEvent TakeEvent()
    {
        if (spareEvents.TryPop(out var spare))
            return spare;
        events.Add(CudaEvent.Create(timing: false));
        return events[^1];
    }
}
