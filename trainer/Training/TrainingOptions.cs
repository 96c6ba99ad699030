namespace Avedis.Trainer.Training;

/// <summary>Number format of activations and their gradients; weights, statistics and losses are always FP32.</summary>
public enum Precision
{
    /// <summary>BF16 where the device multiplies it natively, else FP32; the run says which.</summary>
    Auto,
    Fp32,

    /// <summary>FP32 activations; convolutions round their inputs to TF32 (10 bits of mantissa) for the matrix units of a GPU.</summary>
    Tf32,
    Bf16,
}

/// <summary>How the emotion loss treats rare classes.</summary>
public enum ClassWeights
{
    None,

    /// <summary>Each class weighs the inverse of its share.</summary>
    Balanced,

    /// <summary>The square root of the inverse share: between the two.</summary>
    Sqrt,
}

/// <summary>How a network is trained. Rates, weights and decay default to the paper's.</summary>
public sealed record TrainingOptions
{
    /// <summary>Which strategy drives the losses: see Strategies/.</summary>
    public string Strategy { get; init; } = "baseline";

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

    /// <summary>Weight of the emotion loss, w_em_prim of equation (1).</summary>
    public float EmotionWeight { get; init; } = 0.5f;

    /// <summary>Weight of the speaker loss, w_spk_prim of equation (1).</summary>
    public float SpeakerWeight { get; init; } = 0.5f;

    public ClassWeights ClassWeights { get; init; } = ClassWeights.None;

    /// <summary>Stops after so many epochs without a better validation score; 0 never.</summary>
    public int Patience { get; init; }

    /// <summary>Saves a checkpoint every so many seconds within an epoch, besides the one after each epoch; 0 never.</summary>
    public int CheckpointSeconds { get; init; } = 600;

    /// <summary>Checkpoints of past epochs to keep, besides the best.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>auto, cpu or cuda.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Threads of the CPU backend; 0 for all cores.</summary>
    public int Threads { get; init; }

    public ulong Seed { get; init; } = 1;

    public static TrainingOptions Paper { get; } = new();

    /// <summary>Rates for a corpus of hundreds of clips instead of a hundred thousand.</summary>
    public static TrainingOptions Demo { get; } = new() { LearningRate = 1e-3, Decay = 0.87, BatchSize = 8, Epochs = 14, ClassWeights = ClassWeights.Sqrt };

    public void Validate()
    {
        Require(BatchSize is >= 1 and <= 4096, "training.batchSize", BatchSize, "1 to 4096");
        Require(Epochs >= 1, "training.epochs", Epochs, "1 or more");
        Require(LearningRate > 0 && double.IsFinite(LearningRate), "training.learningRate", LearningRate, "above 0");
        Require(AuxiliaryLearningRate > 0 && double.IsFinite(AuxiliaryLearningRate), "training.auxiliaryLearningRate", AuxiliaryLearningRate, "above 0");
        Require(Decay is > 0 and <= 1, "training.decay", Decay, "above 0, at most 1");
        Require(EmotionWeight >= 0 && SpeakerWeight >= 0 && EmotionWeight + SpeakerWeight > 0, "training.emotionWeight", EmotionWeight, "0 or more, not both weights 0");
        Require(KeepCheckpoints >= 1, "training.keepCheckpoints", KeepCheckpoints, "1 or more");
        Require(Device is "auto" or "cpu" or "cuda", "training.device", Device, "auto, cpu or cuda");
        Require(Threads >= 0, "training.threads", Threads, "0 (all cores) or more");
    }

    private static void Require(bool holds, string key, object value, string expected)
    {
        if (!holds)
            throw new UserException(ExitCode.Usage, $"{key} is {value}, expected {expected}");
    }
}
