using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Ranks;

namespace Avedis.Trainer.Training;

/// <summary>Number format of activations and their gradients; weights, statistics and losses are always FP32.</summary>
public enum Precision
{
    /// <summary>
    /// BF16 if a short measurement finds convolutions clearly faster in it, else FP32. The run prints the choice and keeps it.
    /// </summary>
    Auto,

    /// <summary>32-bit floating point throughout.</summary>
    Fp32,

    /// <summary>FP32 activations; convolutions round their inputs to TF32 (10 bits of mantissa) for the matrix units of a GPU.</summary>
    Tf32,

    /// <summary>BF16 activations and gradients of activations.</summary>
    Bf16,
}

/// <summary>How the strength of the adversary grows from 0 to its full value during training.</summary>
public enum Schedule
{
    /// <summary>Full strength after the warm-up.</summary>
    Constant,

    /// <summary>Grows linearly over the first half.</summary>
    Ramp,

    /// <summary>2 / (1 + exp(-10 p)) - 1 at progress p (Ganin and Lempitsky 2015).</summary>
    Ganin,
}

/// <summary>How the learning rates fall over the training, in addition to training.decay.</summary>
public enum Annealing
{
    /// <summary>They do not.</summary>
    None,

    /// <summary>Along half a cosine, batch by batch, to one hundredth of the rate.</summary>
    Cosine,
}

/// <summary>
/// How a strategy makes an embedding forget. The defaults are the paper's where it states them; it leaves strength, schedule and k open.
/// </summary>
public sealed record AdversaryOptions
{
    /// <summary>
    /// Factor of the auxiliary heads' gradient where it enters the embedding, in addition to the weight of each head
    /// (network.factors.*.forget): lambda of gradient reversal and of alternate training, the weight of the confusion loss, alpha of
    /// gradient projection.
    /// </summary>
    public float Strength { get; init; } = 1;

    /// <summary>How the strength grows during training.</summary>
    public Schedule Schedule { get; init; } = Schedule.Constant;

    /// <summary>Share of the training, 0 to 1, before the adversary acts on the embeddings. The schedule starts after it.</summary>
    public double WarmUp { get; init; }

    /// <summary>
    /// Whether the adversary also changes the trunk, as in the paper, or only the embeddings. Another embedding may need what one must
    /// forget. Not for projected.
    /// </summary>
    public bool IntoTrunk { get; init; } = true;

    /// <summary>Updates of each auxiliary head per batch (k in the paper).</summary>
    public int Updates { get; init; } = 1;

    /// <summary>
    /// Pauses the adversary while the auxiliary cross-entropy of the previous batch was at chance (ln C) or above, since it has no upper
    /// bound. For gr, alt and projected.
    /// </summary>
    public bool Cap { get; init; }

    /// <summary>
    /// Gives one auxiliary head, in turn, new weights every N batches, so that an embedding cannot hide from one particular head. 0: never.
    /// </summary>
    public int RenewEvery { get; init; }

    /// <summary>Adam's beta1 for the auxiliary heads.</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>Whether training.decay applies to the auxiliary heads' learning rate.</summary>
    public bool Decay { get; init; } = true;

    /// <summary>At progress 0 to 1 of the training: strength, between 0 and <see cref="Strength"/>.</summary>
    public double StrengthAt(double progress)
    {
        if (progress < WarmUp)
            return 0;
        double p = WarmUp < 1 ? (progress - WarmUp) / (1 - WarmUp) : 1;
        return Strength * Schedule switch
        {
            Schedule.Ramp => Math.Min(1, 2 * p),
            Schedule.Ganin => 2 / (1 + Math.Exp(-10 * p)) - 1,
            _ => 1,
        };
    }
}

/// <summary>How a network is trained. Learning rates, weights and decay default to the paper's.</summary>
public sealed record TrainingOptions
{
    /// <summary>Training strategy: baseline, stl, gr, alt, conf or projected.</summary>
    public string Strategy { get; init; } = "baseline";

    /// <summary>The adversary.</summary>
    public AdversaryOptions Adversary { get; init; } = new();

    /// <summary>Trains auxiliary heads next to a baseline without changing its embeddings, to monitor what they hold.</summary>
    public bool Monitor { get; init; }

    /// <summary>Checkpoint to start from. Parts that it lacks, and those named by <see cref="Renew"/>, start with random weights.</summary>
    public string Start { get; init; } = "";

    /// <summary>
    /// Parts that are not trained: trunk, or names of factors. With a frozen trunk the pooled features are computed once, which makes
    /// epochs short.
    /// </summary>
    public IReadOnlyList<string> Freeze { get; init; } = [];

    /// <summary>Factors whose branches start with random weights although <see cref="Start"/> has them.</summary>
    public IReadOnlyList<string> Renew { get; init; } = [];

    /// <summary>Augmentation.</summary>
    public AugmentOptions Augment { get; init; } = new();

    /// <summary>Selection of the cleanest epoch.</summary>
    public SelectionOptions Selection { get; init; } = new();

    /// <summary>Protection against numbers that are not finite.</summary>
    public GuardOptions Guard { get; init; } = new();

    /// <summary>Training on several ranks.</summary>
    public RanksOptions Ranks { get; init; } = new();

    /// <summary>Clips in a batch, over all ranks.</summary>
    public int BatchSize { get; init; } = 32;

    /// <summary>Passes over the training clips.</summary>
    public int Epochs { get; init; } = 20;

    /// <summary>Stops after this many batches in total. 0: no limit.</summary>
    public long MaxSteps { get; init; }

    /// <summary>Adam's learning rate for trunk, embeddings and heads.</summary>
    public double LearningRate { get; init; } = 1e-4;

    /// <summary>Adam's learning rate for the auxiliary heads.</summary>
    public double AuxiliaryLearningRate { get; init; } = 1e-3;

    /// <summary>Factor of both learning rates after each epoch.</summary>
    public double Decay { get; init; } = 0.9;

    /// <summary>
    /// Annealing of both learning rates, in addition to <see cref="Decay"/>. If a run is extended, the added epochs use the lowest rate.
    /// </summary>
    public Annealing Annealing { get; init; }

    /// <summary>Stops after this many epochs without a better validation score. 0: never.</summary>
    public int Patience { get; init; }

    /// <summary>Seconds between checkpoints within an epoch. One is also saved after each epoch. 0: only after epochs.</summary>
    public int CheckpointSeconds { get; init; } = 600;

    /// <summary>
    /// How many checkpoints in a row may fail to be written, for example to a full disk. Training continues with the old checkpoint and
    /// tries again after a minute; one failure more ends it.
    /// </summary>
    public int FailedSaves { get; init; } = 10;

    /// <summary>Seconds after which a step counts as stuck and the run ends. 0: no limit.</summary>
    public int WatchdogSeconds { get; init; } = 1800;

    /// <summary>Number of past epochs whose checkpoints are kept, in addition to the best one.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Number format of activations and their gradients. Weights, statistics and losses are always FP32.</summary>
    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>
    /// How the processor computes convolutions in FP32: auto (Winograd's minimal filtering where it is faster, chosen by shape and
    /// instruction set) or direct.
    /// </summary>
    public ConvolutionAlgorithm Convolutions { get; init; } = ConvolutionAlgorithm.Auto;

    /// <summary>Device: auto, cpu or cuda. auto takes a GPU if one can be used.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Threads of the CPU backend. 0: all cores.</summary>
    public int Threads { get; init; }

    /// <summary>Seed of weights, order of the clips and augmentation.</summary>
    public ulong Seed { get; init; } = 1;

    public static TrainingOptions Paper { get; } = new();

    /// <summary>Rates for a corpus of hundreds of clips instead of a hundred thousand.</summary>
    public static TrainingOptions Demo { get; } = new()
    {
        LearningRate = 1e-3, AuxiliaryLearningRate = 1e-2, Decay = 0.87, BatchSize = 8, Epochs = 14,
    };

    /// <summary>For a network of an eighth of the channels on a thousand clips.</summary>
    public static TrainingOptions Grid { get; } = new() { LearningRate = 1e-3, AuxiliaryLearningRate = 1e-2, Decay = 0.93, Epochs = 24, Selection = new() { ProbeEvery = 4 }, Precision = Precision.Fp32 };

    /// <summary>What the learning rates are multiplied by.</summary>
    /// <param name="epoch">From 0.</param>
    /// <param name="progress">Share of the training that is done, 0 to 1.</param>
    public double RateAt(int epoch, double progress)
    {
        const double Lowest = 0.01;
        double annealed = Annealing == Annealing.Cosine ? Lowest + (1 - Lowest) * 0.5 * (1 + Math.Cos(Math.PI * progress)) : 1;
        return Math.Pow(Decay, epoch) * annealed;
    }

    public void Validate()
    {
        Require(BatchSize is >= 1 and <= 4096, "training.batchSize", BatchSize, "1 to 4096");
        Require(Epochs >= 1, "training.epochs", Epochs, "1 or more");
        Require(LearningRate > 0 && double.IsFinite(LearningRate), "training.learningRate", LearningRate, "above 0");
        Require(AuxiliaryLearningRate > 0 && double.IsFinite(AuxiliaryLearningRate), "training.auxiliaryLearningRate", AuxiliaryLearningRate, "above 0");
        Require(Decay is > 0 and <= 1, "training.decay", Decay, "above 0, at most 1");
        Require(FailedSaves >= 0, "training.failedSaves", FailedSaves, "0 or more");
        Require(WatchdogSeconds >= 0, "training.watchdogSeconds", WatchdogSeconds, "0 (any time) or more");
        Require(KeepCheckpoints >= 1, "training.keepCheckpoints", KeepCheckpoints, "1 or more");
        Require(Device is "auto" or "cpu" or "cuda", "training.device", Device, "auto, cpu or cuda");
        Require(Threads >= 0, "training.threads", Threads, "0 (all cores) or more");
        Require(Selection.ProbeEvery >= 0, "training.selection.probeEvery", Selection.ProbeEvery, "0 (never) or more");
        Require(Selection.Clips >= 1, "training.selection.clips", Selection.Clips, "1 or more");
        Require(Selection.Floor is >= 0 and <= 1, "training.selection.floor", Selection.Floor, "0 to 1");
        Require(Guard.Limit >= 0, "training.guard.limit", Guard.Limit, "0 or more");
        Ranks.Validate();
        Augment.Validate();
        Require(!Augment.Enabled || !Freeze.Contains(TwoStreamNetwork.TrunkName), "training.freeze", TwoStreamNetwork.TrunkName,
            "another part with training.augment: the pooled features of a frozen trunk are computed once, of clips as they are");
        Require(Adversary.Strength >= 0 && float.IsFinite(Adversary.Strength), "training.adversary.strength", Adversary.Strength, "0 or more");
        Require(Adversary.WarmUp is >= 0 and <= 1, "training.adversary.warmUp", Adversary.WarmUp, "0 to 1");
        Require(Adversary.Updates is >= 1 and <= 100, "training.adversary.updates", Adversary.Updates, "1 to 100");
        Require(Adversary.RenewEvery >= 0, "training.adversary.renewEvery", Adversary.RenewEvery, "0 (never) or more");
        Require(Adversary.Beta1 is >= 0 and < 1, "training.adversary.beta1", Adversary.Beta1, "0 or more, below 1");
    }

    /// <exception cref="UserException">Exit code 2: a setting does not hold what it must.</exception>
    internal static void Require(bool holds, string key, object value, string expected)
    {
        if (!holds)
            throw new UserException(ExitCode.Usage, $"{key} is {value}, expected {expected}");
    }
}
