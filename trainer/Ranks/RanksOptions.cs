using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Ranks;

/// <summary>How gradients are summed over ranks.</summary>
public enum Reduction
{
    /// <summary>NCCL on GPUs if it is installed, else MPI.</summary>
    Auto,

    /// <summary>MPI. Gradients on GPUs pass through the host.</summary>
    Mpi,

    /// <summary>NCCL.</summary>
    Nccl,

    /// <summary>
    /// Sums in the order of the slices of a batch (<see cref="RanksOptions.Slices"/>): the bits do not depend on the number of ranks.
    /// </summary>
    FixedOrder,
}

/// <summary>Where batch norm takes its statistics from during training.</summary>
public enum BatchNormRanks
{
    /// <summary>From the rank's own part of the batch.</summary>
    Local,

    /// <summary>
    /// From the whole batch (synchronized batch norm), at the cost of two small sums over the ranks for each batch norm. The first block of
    /// each stream must then store the output of its convolution: more memory and a slower step.
    /// </summary>
    Global,
}

/// <summary>Training on several ranks. Each rank computes its part of every batch.</summary>
public sealed record RanksOptions
{
    /// <summary>How gradients are summed over the ranks.</summary>
    public Reduction Reduction { get; init; } = Reduction.Auto;

    /// <summary>
    /// Number of slices of a batch with reduction fixedOrder. Each slice has its own batch norm, and a rank computes one or several of
    /// them. 0: one slice for each rank.
    /// </summary>
    public int Slices { get; init; }

    /// <summary>Where batch norm takes its statistics from.</summary>
    public BatchNormRanks BatchNorm { get; init; } = BatchNormRanks.Local;

    /// <summary>Bytes of gradients that are summed at a time while the backward pass still runs.</summary>
    public int BucketBytes { get; init; } = GradientReduction.DefaultBucketBytes;

    /// <summary>Seconds without a heartbeat from another rank before it is considered dead.</summary>
    public int SilenceSeconds { get; init; } = 15;

    /// <summary>Seconds to wait for a rank that is alive but busy, with a validation or a slow disk for example.</summary>
    public int PatienceSeconds { get; init; } = 3600;

    /// <summary>Compares the weights of all ranks every N steps. 0: never.</summary>
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
