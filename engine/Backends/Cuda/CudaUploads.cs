using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

/// <summary>
/// Brings data of the host to the device while the device computes: a ring of page-locked host memory and its mirror on the device. An
/// upload is copied into the ring at once, so its source is free again, and waits there. <see cref="Flush"/> sends all that wait as one
/// pack: one copy to the mirror on a stream of its own; then one launch on the computing stream, behind all that was queued there before,
/// puts each piece in its place. So a batch of ten tensors takes five calls of the driver instead of fifty. The ring holds two of the
/// largest upload at least, so that one travels while the one before waits for its turn.
/// </summary>
/// <param name="scatter">Queues the launch: where on the device the table of pieces is, how many, and the bytes of the largest.</param>
internal sealed unsafe class CudaUploads(CudaStream computing, Action<nint, int, long> scatter) : IDisposable
{
    private const long SmallestRing = 1 << 20, Alignment = 256;

    /// <summary>Pieces of a pack; the table that says where they go travels behind them.</summary>
    private const int MostPieces = 64;

    private static readonly long tableBytes = Align(MostPieces * sizeof(ScatterPiece));

    private readonly record struct Pack(long Begin, long End, CudaEvent Consumed);

    private readonly CudaStream copying = CudaStream.Create();
    private readonly Queue<Pack> travelling = [];
    private readonly List<ScatterPiece> waiting = [];
    private readonly Stack<CudaEvent> spareEvents = [];
    private readonly List<CudaEvent> events = []; // all of them
    private CudaHostMemory? host;
    private CudaDeviceMemory? mirror;
    private long capacity, begin, end; // of the ring, and of the pack that waits in it

    /// <summary>Bytes of device memory that uploads of at most so many bytes each take.</summary>
    public static long MirrorBytes(long largest) => Math.Max(SmallestRing, 2 * (Align(largest) + tableBytes));

    /// <summary>Takes a copy to device memory, which the next <see cref="Flush"/> queues.</summary>
    public void Add(nint destination, ReadOnlySpan<byte> source)
    {
        // the pieces of a pack are put in place in any order
        nint behind = destination + source.Length;
        if (waiting.Count == MostPieces || waiting.Exists(piece => piece.To < behind && destination < piece.To + (nint)piece.Bytes))
            Flush();
        Reserve(source.Length);
        source.CopyTo(new Span<byte>((byte*)host!.Pointer + end, source.Length));
        waiting.Add(new(destination, mirror!.Address + (nint)end, source.Length));
        end += Align(source.Length);
    }

    /// <summary>Queues all that wait.</summary>
    public void Flush()
    {
        if (waiting.Count == 0)
            return;
        int count = waiting.Count;
        long largest = waiting.Max(piece => piece.Bytes), table = end;
        for (int i = 0; i < count; i++)
            ((ScatterPiece*)(host!.Pointer + (nint)table))[i] = waiting[i];
        waiting.Clear(); // first: the launch below asks for a flush itself
        end += tableBytes;
        var arrived = TakeEvent();
        CudaDriver.Check(
            CudaDriver.MemcpyHtoDAsync(mirror!.Address + (nint)begin, host!.Pointer + (nint)begin, (nuint)(end - begin), copying));
        CudaDriver.Check(CudaDriver.EventRecord(arrived, copying));
        CudaDriver.Check(CudaDriver.StreamWaitEvent(computing, arrived, 0));
        scatter(mirror.Address + (nint)table, count, largest);
        // the wait has been queued and keeps its point in time: the event may be recorded again
        CudaDriver.Check(CudaDriver.EventRecord(arrived, computing));
        travelling.Enqueue(new(begin, end, arrived));
        begin = end;
    }

    /// <summary>Forgets what waits to be put in memory that is about to be freed.</summary>
    public void Drop(nint address, long bytes) => waiting.RemoveAll(piece => piece.To >= address && piece.To < address + (nint)bytes);

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

    /// <summary>
    /// Makes so many bytes behind the waiting pack, and its table behind them, the pack's own; waits for the oldest packs if need be.
    /// </summary>
    private void Reserve(long bytes)
    {
        long needed = Align(bytes) + tableBytes;
        if (needed * 2 > capacity)
            Grow(MirrorBytes(bytes));
        if (end + needed > capacity)
        {
            Flush();
            begin = end = 0;
        }
        while (travelling.TryPeek(out var oldest) && travelling.Any(pack => pack.Begin < end + needed && end < pack.End))
        {
            CudaDriver.Check(CudaDriver.EventSynchronize(oldest.Consumed));
            spareEvents.Push(travelling.Dequeue().Consumed);
        }
    }

    private void Grow(long bytes)
    {
        Flush();
        Drain();
        host?.Dispose();
        mirror?.Dispose();
        (capacity, begin, end) = (0, 0, 0);
        host = CudaHostMemory.Allocate(bytes);
        mirror = CudaDeviceMemory.Allocate(bytes);
        capacity = bytes;
    }

    private void Drain()
    {
        while (travelling.TryDequeue(out var pack))
        {
            CudaDriver.Check(CudaDriver.EventSynchronize(pack.Consumed));
            spareEvents.Push(pack.Consumed);
        }
    }

    private CudaEvent TakeEvent()
    {
        if (spareEvents.TryPop(out var spare))
            return spare;
        events.Add(CudaEvent.Create(timing: false));
        return events[^1];
    }

    private static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;
}
