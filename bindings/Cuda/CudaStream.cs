using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

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
        catch
        {
            // what broke the recording is to be told, not what its end says of that
            if (CudaDriver.StreamEndCapture(stream, out graph) == 0 && graph != 0)
                _ = CudaDriver.GraphDestroy(graph);
            throw;
        }
        CudaDriver.Check(CudaDriver.StreamEndCapture(stream, out graph));
        int instantiated = CudaDriver.GraphInstantiate(out CudaGraph executable, graph, 0);
        _ = CudaDriver.GraphDestroy(graph);
        CudaDriver.Check(instantiated, nameof(CudaDriver.GraphInstantiate));
        return executable;
    }

    protected override bool ReleaseHandle() => CudaDriver.GraphExecDestroy(handle) == 0;
}
