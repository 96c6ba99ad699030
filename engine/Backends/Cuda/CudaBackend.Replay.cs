using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    /// <summary>
    /// Launches and marks that are queued while the device is held. A driver's queue takes some 1,024 commands and then makes the host
    /// wait, which nobody would release. Copies and fills are not counted, but each stands between two marks.
    /// </summary>
    private const int MostWhileHeld = 500;

    private readonly Dictionary<string, (CudaGraph Graph, Nccl? Summing)> recordings = [];
    private readonly HashSet<string> seen = [];
    private readonly List<CudaEvent> marks = [];
    private readonly List<string> launches = [];
    private int marksInUse, queuedWhileHeld;
    private CudaGate? gate;

    /// <summary>Whether the device waits for <see cref="Release"/>.</summary>
    internal bool Held => gate is { Closed: true };

    /// <summary>
    /// Runs work as it is the first time, which loads its kernels, records it as a CUDA graph the second time, and replays that from then on: a whole step is
    /// one call of the driver, and hundreds of launches no longer wait for the host. Once marks have been asked for, somebody takes the time of
    /// single operations, so work runs as it is.
    /// </summary>
    public void Replay(string name, Action work)
    {
        Enter();
        if (marks.Count > 0 || seen.Add(name))
        {
            work();
            return;
        }
        if (!recordings.TryGetValue(name, out var recording))
        {
            var queued = summing;
            summing = null;
            recording = (CudaGraph.Record(main.Stream, work), summing);
            summing = queued;
            recordings.Add(name, recording);
        }
        CudaDriver.Check(CudaDriver.GraphLaunch(recording.Graph, main.Stream));
        summing = recording.Summing ?? summing;
    }

    public long Mark()
    {
        Enter();
        CountWhileHeld();
        if (marksInUse == marks.Count)
            marks.Add(CudaEvent.Create(timing: true));
        CudaDriver.Check(CudaDriver.EventRecord(marks[marksInUse], main.Stream));
        return marksInUse++;
    }

    public double Microseconds(long from, long to)
    {
        Enter();
        Release();
        CudaDriver.Check(CudaDriver.EventSynchronize(marks[(int)to]));
        CudaDriver.Check(CudaDriver.EventElapsedTime(out float milliseconds, marks[(int)from], marks[(int)to]));
        return milliseconds * 1e3;
    }

    public void ForgetMarks() => marksInUse = 0;

    public void Hold()
    {
        Enter();
        gate ??= new(main.Stream);
        gate.Close();
        queuedWhileHeld = 0;
    }

    public void Release() => gate?.Open();

    private void CountWhileHeld()
    {
        if (Held && ++queuedWhileHeld > MostWhileHeld)
            Release();
    }

    /// <summary>Kernels with their blocks, threads and dynamic shared memory; noted from the first mark on.</summary>
    public IReadOnlyList<string> TakeLaunches()
    {
        string[] taken = [.. launches];
        launches.Clear();
        return taken;
    }
}
