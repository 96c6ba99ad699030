namespace Avedis.Bench.Ranks;

/// <summary>
/// A sum over n ranks in a ring: each sends and receives (n-1)/n of the bytes twice, in 2 (n-1) messages.
/// </summary>
/// <param name="Latency">Seconds of a message.</param>
/// <param name="BytesPerSecond">That a rank sends while it receives as much.</param>
public sealed record Line(double Latency, double BytesPerSecond)
{
    public double Seconds(double bytes, int ranks) => ranks == 1 ? 0 : (2 * (ranks - 1) * Latency) + (2 * bytes * (ranks - 1) / ranks / BytesPerSecond);

    /// <summary>The line that measured sums are of: latency from the smallest, rate from the largest.</summary>
    public static Line Of(SumTime smallest, SumTime largest, int ranks)
    {
        double latency = smallest.Seconds / (2 * (ranks - 1));
        double rate = 2.0 * (largest.Bytes - smallest.Bytes) * (ranks - 1) / ranks / Math.Max(1e-9, largest.Seconds - smallest.Seconds);
        return new(latency, rate);
    }
}

/// <summary>What a training step takes on several ranks: its own work, and what of the sums its backward pass does not hide.</summary>
/// <param name="BackwardShare">Of the work, during which sums travel.</param>
public sealed record ScalingModel(double BackwardShare)
{
    /// <param name="work">Seconds of a rank's own work.</param>
    /// <param name="sums">Seconds of all sums.</param>
    /// <param name="last">Of the last bucket, which nothing hides.</param>
    public double Seconds(double work, double sums, double last) => work + Math.Max(last, sums - (work * BackwardShare));
}

/// <summary>GPUs of several machines: a sum within each, then between those of the same number, then back.</summary>
/// <param name="Inside">Between the GPUs of a machine.</param>
/// <param name="Between">From a GPU to its like in another machine.</param>
public sealed record Cluster(string Name, int GpusPerMachine, Line Inside, Line Between)
{
    public double Seconds(double bytes, int gpus)
    {
        int inside = Math.Min(gpus, GpusPerMachine), machines = gpus / inside;
        return Inside.Seconds(bytes, inside) + Between.Seconds(bytes / inside, machines);
    }
}
