using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Ranks;

/// <summary>How gradients are summed over ranks.</summary>
public enum Reduction
{
    /// <summary>Between processes that a launcher started: by NCCL on GPUs, where there is one, else by MPI.</summary>
    Auto,
    Mpi,
    Nccl,

    /// <summary>In the order of <see cref="RanksOptions.Slices"/>: the bits do not depend on the number of processes.</summary>
    FixedOrder,
}

/// <summary>Whose inputs a batch norm takes its statistics of in training.</summary>
public enum BatchNormRanks
{
    /// <summary>Each rank's own part of a batch.</summary>
    Local,

    /// <summary>
    /// The whole batch, as one rank would: two small sums over the ranks for each batch norm. The first block of a stream then stores its convolution's output,
    /// which it does without otherwise: more memory, and a slower step.
    /// </summary>
    Global,
}

/// <summary>A training on several ranks, each of which computes its part of every batch.</summary>
public sealed record RanksOptions
{
    public Reduction Reduction { get; init; } = Reduction.Auto;

    /// <summary>
    /// Parts of a batch with <see cref="Reduction.FixedOrder"/>, each with a batch norm of its own; a process computes one or several of them. 0: one for each process.
    /// </summary>
    public int Slices { get; init; }

    public BatchNormRanks BatchNorm { get; init; } = BatchNormRanks.Local;

    /// <summary>Bytes of gradients that are summed at a time, while the backward pass goes on.</summary>
    public int BucketBytes { get; init; } = GradientReduction.DefaultBucketBytes;

    /// <summary>Seconds without a sign of life from another rank after which it is given up.</summary>
    public int SilenceSeconds { get; init; } = 15;

    /// <summary>Seconds that a rank waits for another that lives: a validation, or a slow disk, may take so long.</summary>
    public int PatienceSeconds { get; init; } = 3600;

    /// <summary>Compares the weights of all ranks every so many steps; 0 never.</summary>
    public int CompareEvery { get; init; } = 100;

    internal void Validate()
    {
        TrainingOptions.Require(Slices is >= 0 and <= 4096, "training.ranks.slices", Slices, "0 (one for each process) to 4096");
        TrainingOptions.Require(Slices == 0 || Reduction == Reduction.FixedOrder, "training.ranks.slices", Slices, "0 unless training.ranks.reduction is fixedOrder");
        TrainingOptions.Require(BucketBytes >= 1024, "training.ranks.bucketBytes", BucketBytes, "1024 or more");
        TrainingOptions.Require(SilenceSeconds >= 2, "training.ranks.silenceSeconds", SilenceSeconds, "2 or more");
        TrainingOptions.Require(PatienceSeconds >= 2, "training.ranks.patienceSeconds", PatienceSeconds, "2 or more");
        TrainingOptions.Require(CompareEvery >= 0, "training.ranks.compareEvery", CompareEvery, "0 (never) or more");
    }
}
