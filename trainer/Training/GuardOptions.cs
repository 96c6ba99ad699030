namespace Avedis.Trainer.Training;

/// <summary>What to do when a loss or a weight becomes NaN or infinite.</summary>
public enum OnNonFinite
{
    /// <summary>Ends the training with exit code 7.</summary>
    Stop,

    /// <summary>Returns to the last checkpoint and continues without the batch of that step.</summary>
    Skip,

    /// <summary>Returns to the last checkpoint and continues with half the learning rates.</summary>
    RollBack,
}

/// <summary>Protection against numbers that are not finite.</summary>
public sealed record GuardOptions
{
    /// <summary>What to do when a loss or a weight becomes NaN or infinite.</summary>
    public OnNonFinite OnNonFinite { get; init; }

    /// <summary>How often a training may skip or roll back before it stops.</summary>
    public int Limit { get; init; } = 3;
}
