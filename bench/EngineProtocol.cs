namespace Avedis.Bench;

/// <summary>What an engine says of itself after its first steps; see <see cref="EngineProcess"/>.</summary>
/// <param name="Engine">avedis, or a peer and its mode: pytorch-eager-nchw, torchsharp-channels-last, ...</param>
/// <param name="Losses">Of the first steps, from the golden weights and batches: two engines that do the same work agree on them.</param>
/// <param name="PeakBytes">As of <see cref="Timing"/>.</param>
/// <param name="SecondsPerStep">Set only by an engine that was so slow that it stopped after its first step; see <paramref name="Note"/>.</param>
/// <param name="PlannedBytes">What the engine plans for tensors, where it plans.</param>
/// <param name="FlopsDone">Multiplications and additions of a step, where they are fewer than those of direct sums.</param>
public sealed record EngineReport(
    string Engine, string Version, string Preset, string Precision, int Batch, int Threads, double[] Losses, long PeakBytes,
    double? SecondsPerStep = null, string? Note = null, long? PlannedBytes = null, double? FlopsDone = null);

/// <summary>Wall-clock seconds of each step, and the engine's largest resident set so far; on a GPU what its tensors take there.</summary>
public sealed record Timing(double[] Seconds, long PeakBytes);
