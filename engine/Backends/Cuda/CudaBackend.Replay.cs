using Avedis.Bindings.Cuda;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private readonly Dictionary<string, (CudaGraph Graph, Nccl? Summing)> recordings = [];
    private readonly HashSet<string> seen = [];
    private readonly List<CudaEvent> marks = [];
    private readonly List<string> launches = [];

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
            recording = (CudaGraph.Record(stream, work), summing);
            summing = queued;
            recordings.Add(name, recording);
        }
        Check(CudaDriver.GraphLaunch(recording.Graph, stream));
        summing = recording.Summing ?? summing;
    }

    public long Mark()
    {
        Enter();
        var mark = CudaEvent.Create(timing: true);
        Check(CudaDriver.EventRecord(mark, stream));
        marks.Add(mark);
        return marks.Count - 1;
    }

    public double Microseconds(long from, long to)
    {
        Enter();
        Check(CudaDriver.EventSynchronize(marks[(int)to]));
        Check(CudaDriver.EventElapsedTime(out float milliseconds, marks[(int)from], marks[(int)to]));
        return milliseconds * 1e3;
    }

    /// <summary>Kernels with their blocks, threads and dynamic shared memory; noted from the first mark on.</summary>
    public IReadOnlyList<string> TakeLaunches()
    {
        string[] taken = [.. launches];
        launches.Clear();
        return taken;
    }
}
