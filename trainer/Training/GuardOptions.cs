namespace Avedis.Trainer.Training;

/// <summary>What a training does about a step whose losses or weights are not finite.</summary>
public enum OnNonFinite
{
    Stop,

    /// <summary>Goes back to the last checkpoint and on from there, without the batch of that step.</summary>
    Skip,

    /// <summary>Goes back to the last checkpoint and on from there with half the learning rates.</summary>
    RollBack,
}

public sealed record GuardOptions
{
    public OnNonFinite OnNonFinite { get; init; }

    /// <summary>How often in a training before it stops all the same.</summary>
    public int Limit { get; init; } = 3;
}
