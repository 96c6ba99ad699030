using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Ranks;

namespace Avedis.Trainer.Training;

/// <summary>Number format of activations and their gradients; weights, statistics and losses are always FP32.</summary>
public enum Precision
{
    /// <summary>
    /// BF16 where convolutions are clearly faster in it (<see cref="PrecisionRates"/>), else FP32; the run says which, and keeps it.
    /// </summary>
    Auto,
    Fp32,

    /// <summary>FP32 activations; convolutions round their inputs to TF32 (10 bits of mantissa) for the matrix units of a GPU.</summary>
    Tf32,
    Bf16,
}

/// <summary>How the adversary's strength goes from 0 to 1 over the training.</summary>
public enum Schedule
{
    Constant,

    /// <summary>Linear over the first half.</summary>
    Ramp,

    /// <summary>2 / (1 + exp(-10 p)) - 1 at progress p (Ganin and Lempitsky 2015).</summary>
    Ganin,
}

/// <summary>How the learning rates fall over the training, besides training.decay.</summary>
public enum Annealing
{
    None,

    /// <summary>Along half a cosine, batch by batch, to a hundredth: high for long, then so low that the last batches no longer throw the weights about.</summary>
    Cosine,
}

/// <summary>How a strategy makes an embedding forget. The defaults are the paper's as far as it states them; it leaves strength, schedule and k open.</summary>
public sealed record AdversaryOptions
{
    /// <summary>
    /// What the auxiliary heads' gradient is multiplied by where it enters the embedding, besides the weight of each (network.factors.*.forget): lambda of
    /// gradient reversal and of alternate training, the weight of the confusion loss, alpha of gradient projection.
    /// </summary>
    public float Strength { get; init; } = 1;

    public Schedule Schedule { get; init; } = Schedule.Constant;

    /// <summary>Share of the training, 0 to 1, before the adversary acts on the embeddings; the schedule starts behind it.</summary>
    public double WarmUp { get; init; }

    /// <summary>Whether the adversary changes the trunk as well, as in the paper, or the embeddings alone: what one is to forget, another may need. Not for projected.</summary>
    public bool IntoTrunk { get; init; } = true;

    /// <summary>Updates of each auxiliary head per batch: k.</summary>
    public int Updates { get; init; } = 1;

    /// <summary>Stops pushing while the auxiliary cross-entropy of the batch before was at ln C or above: it has no upper bound. For gr, alt and projected.</summary>
    public bool Cap { get; init; }

    /// <summary>Gives one of the auxiliary heads, in turn, new weights every so many batches, so that an embedding cannot hide from a head it knows; 0 never.</summary>
    public int RenewEvery { get; init; }

    /// <summary>Adam's beta1 for the auxiliary heads.</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>Whether training.decay applies to the auxiliary heads' rate.</summary>
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

/// <summary>How a network is trained. Rates, weights and decay default to the paper's.</summary>
public sealed record TrainingOptions
{
    /// <summary>Which strategy drives the losses: see Strategies/.</summary>
    public string Strategy { get; init; } = "baseline";

    public AdversaryOptions Adversary { get; init; } = new();

    /// <summary>Trains auxiliary heads beside a baseline, on embeddings that they do not touch, to watch what those hold.</summary>
    public bool Monitor { get; init; }

    /// <summary>Checkpoint to start from instead of random weights; what it lacks, and what <see cref="Renew"/> names, starts afresh.</summary>
    public string Start { get; init; } = "";

    /// <summary>
    /// Parts that stay as they are: trunk, or the names of factors. With a frozen trunk its pooled features are computed once, and an epoch takes a moment.
    /// </summary>
    public IReadOnlyList<string> Freeze { get; init; } = [];

    /// <summary>Factors whose branches start afresh although <see cref="Start"/> has them.</summary>
    public IReadOnlyList<string> Renew { get; init; } = [];

    public AugmentOptions Augment { get; init; } = new();

    public SelectionOptions Selection { get; init; } = new();

    public GuardOptions Guard { get; init; } = new();

    public RanksOptions Ranks { get; init; } = new();

    /// <summary>Clips of a batch, over all ranks.</summary>
    public int BatchSize { get; init; } = 32;

    public int Epochs { get; init; } = 20;

    /// <summary>Stops after this many batches in all; 0 for no limit.</summary>
    public long MaxSteps { get; init; }

    /// <summary>Adam's rate for trunk, embeddings and heads.</summary>
    public double LearningRate { get; init; } = 1e-4;

    /// <summary>Adam's rate for the auxiliary heads.</summary>
    public double AuxiliaryLearningRate { get; init; } = 1e-3;

    /// <summary>Both rates are multiplied by this after each epoch.</summary>
    public double Decay { get; init; } = 0.9;

    /// <summary>Of both rates, besides <see cref="Decay"/>. What a run is prolonged by is trained at the lowest rate.</summary>
    public Annealing Annealing { get; init; }

    /// <summary>Stops after so many epochs without a better validation score; 0 never.</summary>
    public int Patience { get; init; }

    /// <summary>Saves a checkpoint every so many seconds within an epoch, besides the one after each epoch; 0 never.</summary>
    public int CheckpointSeconds { get; init; } = 600;

    /// <summary>
    /// Checkpoints in a row that may fail to be written, to a full disk say, while training goes on with the old one and tries again a minute later; one more
    /// ends it. 0: the first ends it.
    /// </summary>
    public int FailedSaves { get; init; } = 10;

    /// <summary>Seconds that a step may take before the run is given up as stuck; 0 for any time.</summary>
    public int WatchdogSeconds { get; init; } = 1800;

    /// <summary>Checkpoints of past epochs to keep, besides the best.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>
    /// How the processor computes convolutions in FP32: auto (Winograd's minimal filtering where it is faster, by shape and instruction
    /// set) or direct.
    /// </summary>
    public ConvolutionAlgorithm Convolutions { get; init; } = ConvolutionAlgorithm.Auto;

    /// <summary>auto, cpu or cuda.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Threads of the CPU backend; 0 for all cores. The bits of a run are promised for its number of threads only.</summary>
    public int Threads { get; init; }

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
