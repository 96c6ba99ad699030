using System.Text.Json;
using System.Text.Json.Serialization;

namespace Avedis.Trainer.Reproduce;

/// <summary>An estimate and its 95 % bootstrap interval over the test clips.</summary>
public sealed record Estimate(double Value, double Low, double High);

/// <summary>Paired comparison of a cell with the baseline of the same speaker dimension and seed, on the same test clips.</summary>
/// <param name="StuartMaxwell">p of marginal homogeneity of the emotion predictions; null where the test does not apply. The paper's test.</param>
/// <param name="McNemar">Exact p of equal emotion accuracy.</param>
/// <param name="Bowker">p of symmetry of the emotion predictions; null where the test does not apply.</param>
/// <param name="EmotionDifference">Macro-F less that of the baseline; null where there is too little to resample.</param>
/// <param name="SpeakerDifference">Speaker accuracy less that of the baseline.</param>
/// <param name="LeakDifference">Macro-F of the probe less that of the baseline's probe.</param>
public sealed record Comparison(
    double? StuartMaxwell, double McNemar, double? Bowker, Estimate? EmotionDifference, Estimate? SpeakerDifference, Estimate? LeakDifference)
{
    /// <summary><see cref="StuartMaxwell"/> adjusted over the grid by Holm; set when the grid is complete.</summary>
    public double? StuartMaxwellHolm { get; init; }
}

/// <summary>An epoch of a training whose leak was probed, as it scored on Validation.</summary>
/// <param name="Score">Mean of emotion macro-F and speaker accuracy.</param>
/// <param name="Leak"><inheritdoc cref="Training.Candidate" path="/param[@name='Leak']"/></param>
/// <param name="Chosen">Whether it is the cell's.</param>
public sealed record ProbedEpoch(int Epoch, double Score, double Leak, bool Chosen);

/// <summary>What the epoch of the best primary score gives on the test clips, beside the one of the lowest leak.</summary>
/// <param name="Leak">Emotion read from the speaker embedding by a fresh one-hidden-layer probe, macro-F.</param>
public sealed record ByScore(int Epoch, double? EmotionMacroF1, double? SpeakerAccuracy, double? Leak);

/// <summary>
/// One trained and measured network of the grid; a file cell.json of its own as soon as it is finished, and an element of grid.json. Numbers of a factor that a
/// single-task network lacks, and of a probe that does not apply, are null; a training that diverged has no numbers and says so in its warnings.
/// </summary>
public sealed record GridCell
{
    /// <summary>stl-emotion, stl-speaker, baseline, gr, alt, conf.</summary>
    public required string Method { get; init; }

    /// <summary>Name of the settings: paper or strong.</summary>
    public required string Recipe { get; init; }

    public required int SpeakerDimension { get; init; }

    public required ulong Seed { get; init; }

    /// <summary>The epoch that was chosen on Validation, from 1.</summary>
    public int Epoch { get; init; }

    /// <summary>lowest_leak, with the floor under the primary score, or primary_score.</summary>
    public string Selection { get; init; } = "";

    /// <summary>Null where the primary score chose the cell's own epoch.</summary>
    public ByScore? ByScore { get; init; }

    public IReadOnlyList<ProbedEpoch> ProbedEpochs { get; init; } = [];

    public double? EmotionMacroF1 { get; init; }

    public double? SpeakerAccuracy { get; init; }

    public Estimate? EmotionInterval { get; init; }

    public Estimate? SpeakerInterval { get; init; }

    /// <summary>Emotion read from the speaker embedding by a fresh one-hidden-layer probe, macro-F, mean over its starts.</summary>
    public double? LeakEmotionFromSpeaker { get; init; }

    /// <summary>The same by a probe with a class-balanced loss.</summary>
    public double? LeakEmotionFromSpeakerBalanced { get; init; }

    /// <summary>The same by a linear probe.</summary>
    public double? LeakEmotionFromSpeakerLinear { get; init; }

    /// <summary>What the auxiliary head of the training says of it.</summary>
    public double? LeakInTrainingHead { get; init; }

    /// <summary>Speakers read from the emotion embedding by a fresh one-hidden-layer probe, accuracy.</summary>
    public double? LeakSpeakerFromEmotion { get; init; }

    /// <summary>Macro-F of always the most frequent emotion.</summary>
    public double? LeakChance { get; init; }

    /// <summary>Macro-F of a probe with shuffled labels, and of one that sees nothing but the speaker's number.</summary>
    public double? LeakShuffled { get; init; }

    /// <inheritdoc cref="LeakShuffled"/>
    public double? LeakSpeakerLabel { get; init; }

    public double? DeadShare { get; init; }

    public double? EmbeddingNorm { get; init; }

    public IReadOnlyList<string> Warnings { get; init; } = [];

    public Comparison? Comparison { get; init; }

    /// <summary>Emotion counts by truth, then prediction.</summary>
    public long[][]? EmotionConfusion { get; init; }

    /// <summary>Validation scores by epoch: emotion macro-F and speaker accuracy.</summary>
    public IReadOnlyList<double> EmotionCurve { get; init; } = [];

    /// <inheritdoc cref="EmotionCurve"/>
    public IReadOnlyList<double> SpeakerCurve { get; init; } = [];

    /// <summary>Speaker embeddings of some test clips in their first two principal components, [x, y, emotion, speaker].</summary>
    public IReadOnlyList<double[]> Scatter { get; init; } = [];

    /// <summary>Seconds of training and of measuring.</summary>
    public double TrainSeconds { get; init; }

    /// <inheritdoc cref="TrainSeconds"/>
    public double ProbeSeconds { get; init; }

    /// <summary>The resolved config; null for a network that could not be trained.</summary>
    public JsonElement? Settings { get; init; }
}

/// <summary>grid.json: every finished cell and what they have in common.</summary>
public sealed record GridResult
{
    /// <summary>As grid.json and cell.json are written: names in snake_case.</summary>
    public static JsonSerializerOptions Json { get; } = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        IgnoreReadOnlyProperties = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    public int Schema { get; init; } = 1;

    public required string Data { get; init; }

    public required string DataHash { get; init; }

    public required IReadOnlyList<string> Emotions { get; init; }

    public required int Speakers { get; init; }

    public required int TrainClips { get; init; }

    public required int ValidationClips { get; init; }

    public required int TestClips { get; init; }

    /// <summary>Version of the program, processor or GPU, precision.</summary>
    public required string Version { get; init; }

    /// <inheritdoc cref="Version"/>
    public required string Device { get; init; }

    /// <inheritdoc cref="Version"/>
    public required string Precision { get; init; }

    /// <summary>Cells of the whole grid, finished or not.</summary>
    public required int Planned { get; init; }

    public required IReadOnlyList<GridCell> Cells { get; init; }
}
