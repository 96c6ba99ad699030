namespace Avedis.Trainer.Data;

/// <summary>What a frozen trunk makes of every clip of some splits: computed once, in place of faces and mels.</summary>
/// <param name="Width">Channels of a clip's features.</param>
/// <param name="Values">[clips, Width] of each split, in the dataset's order.</param>
public sealed record PooledFeatures(int Width, IReadOnlyDictionary<Split, float[]> Values);
