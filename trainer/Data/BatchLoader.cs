using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using Avedis.Engine;

namespace Avedis.Trainer.Data;

/// <summary>
/// One batch in buffers that are made once and pinned, so that a device can copy from them. Rows from <see cref="Count"/> on pad the last batch of
/// an evaluation: weight 0, labels -1, lengths 1, black and silent.
/// </summary>
/// <param name="factors">Factors that clips are labelled with.</param>
/// <param name="pooled">Channels of pooled features, in a batch that brings these instead of faces and mels; else 0.</param>
/// <param name="all">Clips of the batch that this is a rank's part of; 0: it is the whole.</param>
public sealed class Batch(int clips, int faceFrames, int faceSize, int melBins, int melFrames, int factors, int pooled = 0, int all = 0)
{
    /// <summary>Clips that the buffers hold: B.</summary>
    public int Capacity { get; } = clips;

    /// <summary>Grey pictures, [B, FaceFrames, FaceSize, FaceSize].</summary>
    public byte[] Faces { get; } = GC.AllocateArray<byte>(Length(clips, (long)faceFrames * faceSize * faceSize), pinned: true);

    /// <summary>Log-mel values, [B, MelBins, MelFrames].</summary>
    public float[] Mels { get; } = GC.AllocateArray<float>(Length(clips, (long)melBins * melFrames), pinned: true);

    /// <summary>What a frozen trunk makes of each clip, [B, channels]; empty where the trunk is to run.</summary>
    public float[] Pooled { get; } = GC.AllocateArray<float>(Length(clips, pooled), pinned: true);

    /// <summary>Pictures of each clip that are not padding.</summary>
    public int[] FaceLengths { get; } = GC.AllocateArray<int>(clips, pinned: true);

    /// <summary>Mel frames of each clip that are not padding.</summary>
    public int[] MelLengths { get; } = GC.AllocateArray<int>(clips, pinned: true);

    /// <summary>How a network that augments varies each clip; as it starts, not at all.</summary>
    public AugmentPlan[] Augmentation { get; } = GC.AllocateArray<AugmentPlan>(clips, pinned: true);

    /// <summary>Class of each clip per factor, in the dataset's order of factors; -1: none of the classes, as an unheard clip's speaker.</summary>
    public int[][] Labels { get; } = [.. Enumerable.Range(0, factors).Select(_ => GC.AllocateArray<int>(clips, pinned: true))];

    /// <summary>Whether this is a rank's part of a batch of training.</summary>
    public bool IsPart => all > 0;

    /// <summary>As <see cref="Labels"/>, but of the whole batch that this is a part of: a loss is a mean over all of it.</summary>
    public int[][] AllLabels { get; } = [.. Enumerable.Range(0, factors).Select(_ => new int[all])];

    /// <summary>Number of the first of these clips in the whole batch.</summary>
    public int FirstRow { get; internal set; }

    /// <summary>1 for a clip, 0 for padding.</summary>
    public float[] Weights { get; } = GC.AllocateArray<float>(clips, pinned: true);

    /// <summary>Number of each clip in PreparedDataset.Clips of the split; -1 for padding.</summary>
    public int[] ClipIndices { get; } = new int[clips];

    /// <summary>Name of each clip; empty for padding.</summary>
    public string[] Ids { get; } = new string[clips];

    /// <summary>Real clips: the first Count rows.</summary>
    public int Count { get; set; }

    /// <summary>Pass over the clips that this batch belongs to, from 0.</summary>
    public int Epoch { get; internal set; }

    /// <summary>Number of this batch within its epoch, from 0.</summary>
    public int Position { get; internal set; }

    private static int Length(int clips, long perClip) => clips * perClip <= Array.MaxLength
        ? (int)(clips * perClip)
        : throw new UserException(
            ExitCode.Usage, $"a batch of {clips} clips does not fit into one buffer: at these features at most {Array.MaxLength / perClip} clips do (--batch-size)");
}

/// <summary>
/// Fills batches ahead of use on threads of its own, into a ring of buffers made at the start: nothing is allocated per batch.
/// Which clips a training batch holds is a pure function of (seed, epoch, position), so training goes on anywhere exactly as if it had never stopped.
/// TryNext and Return belong to one consuming thread at a time.
/// </summary>
public sealed class BatchLoader : IDisposable
{
    private const int RingSize = 3; // one in use, one ready, one being filled
    private const ulong OrderStream = 0x4F52_4445UL << 32; // "ORDE"; the low half is the epoch

    private readonly PreparedDataset dataset;
    private readonly IReadOnlyList<ClipInfo> clips;
    private readonly int[] factors; // their numbers in the dataset
    private readonly float[]? pooled; // [clips, channels]: instead of faces and mels
    private readonly int batchSize; // of all ranks
    private readonly int end; // number of the batch that an evaluation stops before
    private readonly int rows, firstRow; // this rank's part of it
    private readonly ulong? seed; // null: in order, once
    private readonly Augmentation? augmentation;
    private readonly int[] order;
    private readonly Queue<Batch> free = new(RingSize), ready = new(RingSize);
    private readonly int workers;
    private readonly Thread? leader;
    private Batch? filled; // by the crew, at present
    private int epoch, position;
    private bool stopping, ended;
    private ExceptionDispatchInfo? failure;
    private long waitedTicks;

    private BatchLoader(PreparedDataset dataset, Split split, int batchSize, ulong? seed, int epoch, int position, IReadOnlyList<Factor>? factors, PooledFeatures? features,
        int limit = int.MaxValue, Augmentation? augmentation = null, int workers = 0, int rank = 0, int ranks = 1, int end = int.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (batchSize % ranks != 0)
            throw new ArgumentException($"a batch of {batchSize} clips has no {ranks} equal parts");
        (rows, firstRow) = (batchSize / ranks, rank * (batchSize / ranks));
        this.augmentation = augmentation;
        this.workers = workers > 0 ? workers : Math.Clamp(Environment.ProcessorCount / 4, 1, 8);
        (this.dataset, clips, this.batchSize, this.seed) = (dataset, dataset.Clips(split), batchSize, seed);
        (this.epoch, this.position, pooled) = (epoch, position, features?.Values[split]);
        var known = dataset.Factors.Select(factor => factor.Name).ToList();
        this.factors = [.. (factors ?? dataset.Factors).Select(factor => known.IndexOf(factor.Name))];
        order = new int[Math.Min(clips.Count, limit)];
        BatchesPerEpoch = seed is null ? (order.Length + batchSize - 1) / batchSize : TrainingBatches(dataset, batchSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, BatchesPerEpoch);
        this.end = Math.Min(end, BatchesPerEpoch);
        ended = seed is null && position >= this.end; // training goes on with the next epoch
        if (ended)
            return;
        var f = dataset.Features;
        for (int i = 0; i < RingSize; i++)
            free.Enqueue(features is null
                ? new Batch(rows, f.FaceFrames, f.FaceSize, f.MelBins, f.MelFrames, this.factors.Length, all: ranks == 1 ? 0 : batchSize)
                : new Batch(rows, 0, 0, 0, 0, this.factors.Length, features.Width, all: ranks == 1 ? 0 : batchSize));
        leader = new Thread(Work) { IsBackground = true, Name = "batch loader" };
        leader.Start();
    }

    /// <summary>Batches of one pass over the clips.</summary>
    public int BatchesPerEpoch { get; }

    /// <summary>Batches of an epoch of training: the rest is dropped, but there is one even if there are fewer clips than it takes.</summary>
    public static int TrainingBatches(PreparedDataset dataset, int batchSize) => Math.Max(1, dataset.Clips(Split.Train).Count / batchSize);

    /// <summary>Seconds that TryNext has spent waiting for a batch.</summary>
    public double WaitSeconds => (double)waitedTicks / Stopwatch.Frequency;

    /// <summary>
    /// Endless batches of the training clips, epoch after epoch, each in an order of its own, from batch <paramref name="position"/> of
    /// <paramref name="epoch"/> on.
    /// </summary>
    /// <param name="factors">The labels to bring, in this order; null for all of the dataset. One that the dataset lacks is -1 throughout.</param>
    /// <param name="features">Brings these instead of faces and mels.</param>
    /// <param name="augmentation">Plans how each clip is to be varied.</param>
    /// <param name="workers">Threads that read clips; 0 for a quarter of the processors, at most eight.</param>
    /// <param name="batchSize">Clips of a batch, of which each rank brings as many: what a batch holds does not depend on how many ranks there are.</param>
    /// <exception cref="UserException">Exit code 3: there are no training clips.</exception>
    public static BatchLoader ForTraining(
        PreparedDataset dataset, int batchSize, ulong seed, int epoch = 0, int position = 0, IReadOnlyList<Factor>? factors = null,
        PooledFeatures? features = null, Augmentation? augmentation = null, int workers = 0, int rank = 0, int ranks = 1)
    {
        if (dataset.Clips(Split.Train).Count == 0)
            throw new UserException(ExitCode.BadInput, $"{dataset.Folder} has no training clips; see data.validationFraction, data.testFraction and the split column");
        return new BatchLoader(dataset, Split.Train, batchSize, seed, epoch, position, factors, features, augmentation: augmentation, workers: workers, rank: rank, ranks: ranks);
    }

    /// <summary>Every clip of a split once, in the order of the manifest.</summary>
    /// <param name="limit">At most so many clips, evenly spaced.</param>
    /// <param name="begin">Number of the first batch to bring, from 0.</param>
    /// <param name="end">Number of the batch to stop before; null for all that there are.</param>
    /// <inheritdoc cref="ForTraining"/>
    public static BatchLoader ForEvaluation(
        PreparedDataset dataset, Split split, int batchSize, IReadOnlyList<Factor>? factors = null, PooledFeatures? features = null, int limit = int.MaxValue,
        int begin = 0, int? end = null) =>
        new(dataset, split, batchSize, null, 0, begin, factors, features, limit, end: end ?? int.MaxValue);

    /// <summary>Number of the clip that is the one of that number among <paramref name="taken"/> of <paramref name="all"/>, evenly spaced.</summary>
    public static int Spaced(int number, int taken, int all) => (int)((long)number * all / taken);

    /// <summary>Fills <paramref name="order"/> with the order in which an epoch takes its clips.</summary>
    public static void Order(ulong seed, int epoch, Span<int> order)
    {
        for (int i = 0; i < order.Length; i++)
            order[i] = i;
        new Philox(seed, OrderStream | (uint)epoch).Shuffle(order);
    }

    /// <summary>
    /// Takes the next batch, waiting for it if need be; false after the last of an evaluation. What went wrong while filling it is thrown here.
    /// </summary>
    public bool TryNext([NotNullWhen(true)] out Batch? batch)
    {
        lock (free)
        {
            if (ready.Count == 0 && !ended && failure is null)
            {
                long start = Stopwatch.GetTimestamp();
                while (ready.Count == 0 && !ended && failure is null)
                    Monitor.Wait(free);
                waitedTicks += Stopwatch.GetTimestamp() - start;
            }
            if (ready.TryDequeue(out batch))
                return true;
            failure?.Throw();
            return false;
        }
    }

    /// <summary>Gives a batch back to be filled again.</summary>
    public void Return(Batch batch)
    {
        lock (free)
        {
            free.Enqueue(batch);
            Monitor.PulseAll(free);
        }
    }

    /// <summary>Stops the thread; batches not yet taken are lost.</summary>
    public void Dispose()
    {
        lock (free)
        {
            stopping = true;
            ended = true;
            Monitor.PulseAll(free);
        }
        leader?.Join();
    }

    private void Work()
    {
        try
        {
            using var crew = new WorkCrew(workers, "batch loader", FillRow);
            PutInOrder();
            while (TakeFree() is { } batch)
            {
                if (position == end)
                {
                    if (seed is null)
                        break;
                    (epoch, position) = (epoch + 1, 0);
                    PutInOrder();
                }
                Fill(batch, crew);
                position++;
                lock (free)
                {
                    ready.Enqueue(batch);
                    Monitor.PulseAll(free);
                }
            }
        }
        catch (Exception exception)
        {
            failure = ExceptionDispatchInfo.Capture(exception);
        }
        lock (free)
        {
            ended = true;
            Monitor.PulseAll(free);
        }
    }

    private void PutInOrder()
    {
        if (seed is { } key)
            Order(key, epoch, order);
        else
            for (int i = 0; i < order.Length; i++)
                order[i] = Spaced(i, order.Length, clips.Count);
    }

    private Batch? TakeFree()
    {
        lock (free)
        {
            while (free.Count == 0 && !stopping)
                Monitor.Wait(free);
            return stopping ? null : free.Dequeue();
        }
    }

    private void Fill(Batch batch, WorkCrew crew)
    {
        int faceBytes = dataset.Features.FaceBytes, melCount = dataset.Features.MelCount, width = batch.Pooled.Length / rows;
        (batch.Epoch, batch.Position, batch.FirstRow) = (epoch, position, firstRow);
        batch.Count = seed is null ? Math.Min(rows, order.Length - (position * rows)) : rows;
        filled = batch;
        crew.Run(batch.Count);
        for (int row = batch.Count; row < rows; row++)
        {
            Describe(batch, row, -1, "", 1, 1, 0);
            foreach (int[] labels in batch.Labels)
                labels[row] = -1;
        }
        if (batch.IsPart)
            for (int row = 0; row < batchSize; row++)
                LabelRow(batch.AllLabels, row, clips[Index(row)]);
        if (pooled is null)
        {
            batch.Faces.AsSpan(batch.Count * faceBytes).Clear();
            batch.Mels.AsSpan(batch.Count * melCount).Clear();
        }
        batch.Pooled.AsSpan(batch.Count * width).Clear();
    }

    // of the clip in a row of the whole batch
    private int Index(int row) => order[((position * batchSize) + row) % order.Length];

    private void FillRow(int row)
    {
        var batch = filled!;
        int faceBytes = dataset.Features.FaceBytes, melCount = dataset.Features.MelCount, width = batch.Pooled.Length / rows;
        int index = Index(firstRow + row);
        var clip = clips[index];
        if (pooled is null)
            dataset.Read(clip, batch.Faces.AsSpan(row * faceBytes, faceBytes), batch.Mels.AsSpan(row * melCount, melCount));
        else
            pooled.AsSpan(index * width, width).CopyTo(batch.Pooled.AsSpan(row * width));
        Describe(batch, row, index, clip.Id, clip.Faces, clip.Mels, 1);
        augmentation?.Apply(batch, row);
        LabelRow(batch.Labels, row, clip);
    }

    private void LabelRow(int[][] labels, int row, ClipInfo clip)
    {
        for (int i = 0; i < factors.Length; i++)
            labels[i][row] = factors[i] < 0 ? -1 : dataset.Label(clip, factors[i]);
    }

    private static void Describe(Batch batch, int row, int index, string id, int faces, int mels, float weight)
    {
        (batch.ClipIndices[row], batch.Ids[row]) = (index, id);
        (batch.FaceLengths[row], batch.MelLengths[row]) = (faces, mels);
        batch.Weights[row] = weight;
    }
}
