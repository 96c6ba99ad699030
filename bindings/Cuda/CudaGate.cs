using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>
/// A gate in a stream: what is queued behind <see cref="Close"/> waits for <see cref="Open"/>. The stream waits in a function of the host,
/// which every driver can do. A wait for the device while the gate is closed would be one for ever; so the gate opens by itself after a
/// quarter of a second, and stays open from then on.
/// </summary>
internal sealed unsafe class CudaGate : IDisposable
{
    private static readonly TimeSpan patience = TimeSpan.FromMilliseconds(250);

    private readonly CudaStream stream;
    private readonly ManualResetEventSlim open = new(initialState: true);
    private readonly GCHandle self;

    public CudaGate(CudaStream stream)
    {
        this.stream = stream;
        self = GCHandle.Alloc(this);
    }

    public bool Closed => !open.IsSet;

    /// <summary>Whether somebody waited for the device while the gate was closed.</summary>
    public bool GaveUp { get; private set; }

    /// <summary>Queues the gate, closed.</summary>
    public void Close()
    {
        if (Closed || GaveUp)
            return;
        open.Reset(); // for an earlier gate that the stream has not come to yet as well: all open together
        CudaDriver.Check(CudaDriver.LaunchHostFunc(stream, &Wait, GCHandle.ToIntPtr(self)));
    }

    public void Open() => open.Set();

    public void Dispose()
    {
        Open();
        // a stream that has failed may still call the function: then the handle stays
        if (CudaDriver.StreamSynchronize(stream) == 0)
            self.Free();
    }

    [UnmanagedCallersOnly]
    private static void Wait(nint self)
    {
        var gate = (CudaGate)GCHandle.FromIntPtr(self).Target!;
        if (gate.open.Wait(patience))
            return;
        gate.GaveUp = true;
        gate.Open();
    }
}
