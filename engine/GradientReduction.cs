using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Avedis.Engine;

/// <summary>
/// Sums the gradients of all ranks. A group's gradients are cut into buckets, from the last parameter to the first as a backward pass fills them, and a bucket is
/// on its way as soon as the layers have added to all of its parameters, while the pass goes on with those in front. <see cref="Finish"/> comes before
/// gradients are used: it sends what has not been sent and waits for the rest.
/// </summary>
public sealed class GradientReduction : IDisposable
{
    /// <summary>Long enough for the network's full rate, short enough that the first is under way early.</summary>
    public const int DefaultBucketBytes = 25 << 20;

    private readonly IBackend backend;
    private readonly ICollective collective;
    private readonly int bucketElements;
    private readonly Dictionary<ParameterGroup, List<Bucket>> groups = [];
    private readonly Dictionary<Parameter, Bucket> bucketOf = [];
    private readonly Dictionary<Tensor, Bucket> sums = []; // of Sum
    private readonly BlockingCollection<Bucket> ready = [];
    private readonly Thread? worker;
    private ExceptionDispatchInfo? failure;
    private long busyTicks;

    public GradientReduction(IBackend backend, ICollective collective, int bucketBytes = DefaultBucketBytes)
    {
        (this.backend, this.collective, bucketElements) = (backend, collective, Math.Max(1, bucketBytes / sizeof(float)));
        if (!collective.Overlaps || !backend.HostMemory)
            return;
        worker = new Thread(Work) { IsBackground = true, Name = "gradient reduction" };
        worker.Start();
    }

    /// <summary>Bytes that this rank has had summed.</summary>
    public long Bytes { get; private set; }

    /// <summary>Parts that the gradients are sent in.</summary>
    public int Buckets => groups.Values.Sum(buckets => buckets.Count);

    /// <summary>Seconds of collective calls on gradients.</summary>
    public double BusySeconds => (double)Volatile.Read(ref busyTicks) / Stopwatch.Frequency;

    /// <summary>Seconds in which the step waited for them: what the backward pass did not hide.</summary>
    public double WaitSeconds { get; private set; }

    /// <summary>Takes a sealed group in.</summary>
    public void Add(ParameterGroup group)
    {
        var buckets = new List<Bucket>();
        for (int last = group.Parameters.Count - 1; last >= 0;)
        {
            int first = last, end = group.Offsets[last + 1];
            while (first > 0 && end - group.Offsets[first] < bucketElements)
                first--;
            var gradients = group.Gradients.Part($"{group.Gradients.Name}.bucket{buckets.Count}", new Shape(end - group.Offsets[first]), group.Offsets[first]);
            var bucket = new Bucket(gradients, last - first + 1);
            buckets.Add(bucket);
            for (int i = first; i <= last; i++)
                bucketOf.Add(group.Parameters[i], bucket);
            last = first - 1;
        }
        groups.Add(group, buckets);
    }

    /// <summary>A layer has added to the gradient of a parameter, and will not again before <see cref="Finish"/>.</summary>
    /// <exception cref="InvalidOperationException">Its bucket is on its way already.</exception>
    public void Ready(Parameter parameter)
    {
        if (!bucketOf.TryGetValue(parameter, out var bucket))
            return;
        if (bucket.Sent)
            throw new InvalidOperationException($"{parameter.Name}: a gradient was added to behind its reduction");
        bucket.Touch();
        if (bucket.Whole)
            Send(bucket); // at once also without a worker: all ranks must send in one order
    }

    /// <summary>Returns when the group's gradients are the sums of all ranks'. What no layer has added to since the last time is left alone.</summary>
    public void Finish(ParameterGroup group)
    {
        if (!groups.TryGetValue(group, out var buckets))
            return;
        foreach (var bucket in buckets.Where(bucket => bucket is { Touched: true, Sent: false }))
            Send(bucket);
        long start = Stopwatch.GetTimestamp();
        foreach (var bucket in buckets.Where(bucket => bucket.Sent))
        {
            bucket.Done.Wait();
            bucket.Reset();
        }
        backend.AwaitReductions();
        WaitSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
        failure?.Throw();
    }

    /// <summary>x = its sum over all ranks, at once, but behind what is on its way: all ranks must send in one order.</summary>
    public void Sum(Tensor x)
    {
        if (!sums.TryGetValue(x, out var whole))
            sums.Add(x, whole = new Bucket(x, 0));
        Send(whole);
        long start = Stopwatch.GetTimestamp();
        whole.Done.Wait();
        whole.Reset();
        backend.AwaitReductions();
        WaitSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
        failure?.Throw();
    }

    public void Dispose()
    {
        ready.CompleteAdding();
        worker?.Join();
        ready.Dispose();
        foreach (var bucket in groups.Values.SelectMany(buckets => buckets).Concat(sums.Values))
            bucket.Done.Dispose();
    }

    private void Send(Bucket bucket)
    {
        bucket.Sent = true;
        Bytes += bucket.Gradients.Bytes;
        if (worker is not null)
        {
            ready.Add(bucket);
            return;
        }
        long start = Stopwatch.GetTimestamp();
        Reduce(bucket);
        WaitSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
        failure?.Throw();
    }

    private void Work()
    {
        foreach (var bucket in ready.GetConsumingEnumerable())
            Reduce(bucket);
    }

    private void Reduce(Bucket bucket)
    {
        long start = Stopwatch.GetTimestamp();
        try
        {
            if (failure is null)
                backend.AllReduce(bucket.Gradients, collective);
        }
        catch (Exception thrown)
        {
            failure = ExceptionDispatchInfo.Capture(thrown);
        }
        Interlocked.Add(ref busyTicks, Stopwatch.GetTimestamp() - start);
        bucket.Done.Set();
    }

    private sealed class Bucket(Tensor gradients, int parameters)
    {
        public Tensor Gradients { get; } = gradients;

        private int touched;

        /// <summary>Whether layers have added to all of its parameters.</summary>
        public bool Whole => touched == parameters;

        public bool Touched => touched > 0;

        public bool Sent { get; set; }

        public ManualResetEventSlim Done { get; } = new();

        public void Touch() => touched++;

        public void Reset()
        {
            (touched, Sent) = (0, false);
            Done.Reset();
        }
    }
}
