using Avedis.Engine;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench.Kernels;

/// <summary>
/// Times work on a GPU with the device's own events. Before each run a buffer of twice the level-2 cache is overwritten: nobody finds his operands there, and the host
/// has queued the work before the device comes to it.
/// </summary>
internal sealed class KernelClock(CudaBackend backend) : IDisposable
{
    private readonly Tensor buffer = new("cache", new Shape(checked((int)backend.CacheBytes), 2), DType.U8, backend.Allocate(backend.CacheBytes * 2));

    /// <summary>Median microseconds of each, who take turns.</summary>
    public double[] Median(IReadOnlyList<Action> contestants, int rounds)
    {
        var marks = contestants.Select(_ => new List<(long From, long To)>()).ToArray();
        for (int round = 0; round < rounds; round++)
            for (int i = 0; i < contestants.Count; i++)
            {
                backend.Zero(buffer);
                long from = backend.Mark();
                contestants[i]();
                marks[i].Add((from, backend.Mark()));
            }
        return [.. marks.Select(runs => TrainingBenchmark.Median(runs.Select(run => backend.Microseconds(run.From, run.To))))];
    }

    public void Dispose() => backend.Free(buffer.Address);
}
