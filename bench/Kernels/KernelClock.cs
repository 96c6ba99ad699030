using System.Diagnostics;
using Avedis.Engine;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench.Kernels;

/// <summary>
/// Times work on a GPU with the device's own events, after work that brings its clocks up. The device is held until all of a round is
/// queued, so that it never waits for the host, and before each run a buffer of twice the level-2 cache is overwritten, so that nobody
/// finds his operands there.
/// </summary>
internal sealed class KernelClock(CudaBackend backend) : IDisposable
{
    private static readonly TimeSpan warmUp = TimeSpan.FromMilliseconds(100), measuring = TimeSpan.FromMilliseconds(50);

    private readonly Tensor buffer = new("cache", new Shape(checked((int)backend.CacheBytes), 2), DType.U8, backend.Allocate(backend.CacheBytes * 2));

    /// <summary>
    /// Median microseconds of each, who take turns for 50 ms, or longer if that is less than so many rounds. With one round each runs once,
    /// for a trial.
    /// </summary>
    public double[] Median(IReadOnlyList<Action> contestants, int fewestRounds)
    {
        if (fewestRounds == 1)
            return Round(contestants);
        long start = Stopwatch.GetTimestamp();
        do
        {
            foreach (var contestant in contestants)
                contestant();
            backend.Synchronize();
        }
        while (Stopwatch.GetElapsedTime(start) < warmUp);

        var times = contestants.Select(_ => new List<double>()).ToArray();
        start = Stopwatch.GetTimestamp();
        do
        {
            foreach (var (runs, microseconds) in times.Zip(Round(contestants)))
                runs.Add(microseconds);
        }
        while (times[0].Count < fewestRounds || Stopwatch.GetElapsedTime(start) < measuring);
        return [.. times.Select(TrainingBenchmark.Median)];
    }

    public void Dispose() => backend.Free(buffer.Address);

    /// <summary>Microseconds of one run of each.</summary>
    private double[] Round(IReadOnlyList<Action> contestants)
    {
        backend.Hold();
        var marks = new List<(long From, long To)>();
        foreach (var contestant in contestants)
        {
            backend.Zero(buffer);
            long from = backend.Mark();
            contestant();
            marks.Add((from, backend.Mark()));
        }
        backend.Release();
        double[] microseconds = [.. marks.Select(run => backend.Microseconds(run.From, run.To))];
        backend.ForgetMarks();
        return microseconds;
    }
}
