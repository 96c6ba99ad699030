using System.Text.Json;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Training;

/// <summary>
/// Everything besides weights and moments that a resumed run needs to go on as if it had never stopped, and that a user of the model needs to read its
/// outputs; state.json of a checkpoint.
/// </summary>
public sealed record TrainingState
{
    /// <summary>Epochs finished.</summary>
    public int Epoch { get; init; }

    /// <summary>Batches of the current epoch already trained on.</summary>
    public int Position { get; init; }

    /// <summary>Batches in all.</summary>
    public long Step { get; init; }

    /// <summary>Bytes of a state.json that are read at most: there, a hundred thousand speakers take a twentieth.</summary>
    private const int Longest = 64 << 20;

    private static readonly JsonSerializerOptions Strict = new(Json.Indented)
    {
        AllowDuplicateProperties = false, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    };

    public double BestScore { get; init; } = double.NegativeInfinity;

    public int BestEpoch { get; init; } = -1;

    /// <summary>Of each factor on Validation after the last epoch: macro-F or, of speakers, accuracy.</summary>
    public IReadOnlyDictionary<string, double> Scores { get; init; } = new Dictionary<string, double>();

    /// <summary>Mean of those of the checkpoint that the training started from; null without one.</summary>
    public double? StartScore { get; init; }

    /// <summary>Every probed epoch.</summary>
    public IReadOnlyList<Candidate> Candidates { get; init; } = [];

    /// <summary>Length of metrics.jsonl at the time; a resumed run cuts what was written later.</summary>
    public long MetricsBytes { get; init; }

    /// <summary>Batches that the adversary's schedule spans; fixed when training starts, so that a longer run does not bend it.</summary>
    public long ScheduleSteps { get; init; }

    /// <summary>Losses of the last batch, in the order of the run's factors and auxiliary heads: the cap looks at them.</summary>
    public IReadOnlyList<float> LastLosses { get; init; } = [];

    /// <summary>Sums of this epoch's losses so far, for its mean.</summary>
    public IReadOnlyList<double> LossSums { get; init; } = [];

    /// <summary>Sums of the losses since the last line of metrics.jsonl, and how many batches they hold.</summary>
    public IReadOnlyList<double> WindowSums { get; init; } = [];

    public int WindowBatches { get; init; }

    /// <summary>Batches left out because a step on them was not finite, by the number of batches before them.</summary>
    public IReadOnlyList<long> Skipped { get; init; } = [];

    /// <summary>What the learning rates are multiplied by: halved whenever the training went back because of a step that was not finite.</summary>
    public double RateScale { get; init; } = 1;

    /// <summary>How often the training went back.</summary>
    public int Returns { get; init; }

    /// <summary>The factors that the network recognises or forgets: names and order of the outputs of each.</summary>
    public IReadOnlyList<Factor> Factors { get; init; } = [];

    /// <summary>Identity of the prepared data.</summary>
    public string DataHash { get; init; } = "";

    /// <summary>Number format that was trained with, "fp32", "tf32" or "bf16".</summary>
    public string Precision { get; init; } = "";

    /// <summary>What precision auto chose by when the run began; null where the precision was named.</summary>
    public PrecisionRates? Rates { get; init; }

    /// <summary>Device that trained, for people.</summary>
    public string Device { get; init; } = "";

    /// <summary>Clips per second of the training steps of the last epoch, validation not counted.</summary>
    public double TrainClipsPerSecond { get; init; }

    /// <summary>Largest resident set of the process so far.</summary>
    public long PeakRssBytes { get; init; }

    /// <inheritdoc cref="Selection.Front"/>
    public IReadOnlyList<Candidate> Front(double floor) => Selection.Front(Candidates, StartScore, floor);

    /// <inheritdoc cref="Selection.Choose"/>
    public Candidate? Chosen(double floor) => Selection.Choose(Candidates, StartScore, floor);

    internal const string ConfigFile = "config.json";

    private const string StateFile = "state.json";

    /// <summary>Files of a checkpoint.</summary>
    internal static IReadOnlyList<string> Files { get; } = ["model.safetensors", "optim.safetensors", StateFile];

    public void Save(string folder) =>
        File.WriteAllText(Path.Combine(folder, StateFile), JsonSerializer.Serialize(this, Json.Indented));

    // what no training writes would make whoever uses it stumble
    private bool IsWhole => Epoch >= 0 && Position >= 0 && Step >= 0 && MetricsBytes >= 0 && Candidates.All(candidate => candidate is not null)
        && Factors.All(factor => factor is not null && factor.Classes.Count > 0 && factor.Classes.Count == factor.Counts.Count && factor.Classes.All(name => name is not null))
        && Factors.DistinctBy(factor => factor.Name).Count() == Factors.Count;

    /// <exception cref="UserException">Exit code 4.</exception>
    public static TrainingState Load(string folder)
    {
        string path = Path.Combine(folder, StateFile);
        try
        {
            var state = JsonSerializer.Deserialize<TrainingState>(RegularFiles.ReadAllText(path, Longest), Strict);
            return state?.IsWhole == true ? state : throw new JsonException("a part of it is missing, or not possible");
        }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{path} cannot be read: {error.Message}; use another checkpoint", error);
        }
    }
}
