using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;
using Avedis.Trainer.Probes;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Reproduce;

/// <summary>A network of the grid, by what makes it differ from the others.</summary>
/// <param name="Dimension">Width of the speaker embedding; 0 where there is none.</param>
public sealed record GridPlace(string Method, string Recipe, int Dimension, ulong Seed)
{
    /// <summary>Whether its method makes an embedding forget.</summary>
    public bool Forgets => Adversarial.Contains(Method);

    /// <summary>Folder and name.</summary>
    public string Name => $"{Method}{(Forgets ? $"-{Recipe}" : "")}{(Dimension == 0 ? "" : $"-d{Dimension}")}-s{Seed}";

    /// <summary>The baseline that it is compared with, and that the strong recipe starts from.</summary>
    public GridPlace Baseline => new("baseline", Training.Recipe.Paper, Dimension, Seed);

    /// <summary>Trains nothing: closed form, on the baseline's embedding.</summary>
    public const string Leace = "leace";

    public static IReadOnlyList<string> Adversarial { get; } = ["gr", "alt", "conf", "projected"];
}

/// <summary>What statistics compare, clip by clip of the test split.</summary>
public sealed record Predictions(int[] Emotions, int[] PredictedEmotions, int[] Speakers, int[] PredictedSpeakers, int[] Probed)
{
    public static Predictions None { get; } = new([], [], [], [], []);
}

/// <summary>Trains and measures single networks of a grid, each in a folder of its own.</summary>
/// <param name="config">Settings of the baseline; speaker dimension, seed and strategy are the network's own.</param>
/// <param name="tuned">By method, what is to differ from the strong recipe; null for nothing.</param>
/// <param name="baseline">A run that is the baseline, whatever its width and seed; null: baselines are trained.</param>
public sealed class GridRun(Config config, JsonObject? tuned, PreparedDataset dataset, string folder, Interrupt interrupt, string? baseline = null)
{
    private const int ScatterPoints = 300;

    /// <summary>Where a network's results are.</summary>
    public string PathOf(GridPlace place) => Path.Combine(folder, "cells", place.Name);

    /// <summary>Where it is trained: there too, unless it is the baseline that was there before.</summary>
    public RunFolder RunOf(GridPlace place) => new(place.Method == "baseline" && baseline is not null ? baseline : PathOf(place));

    /// <exception cref="UserException">Exit code 7: the training that it is to start from diverged.</exception>
    public Config ConfigOf(GridPlace place)
    {
        var factors = config.Network.Factors.ToDictionary(
            f => f.Key, f => f.Key == Factor.Speaker && place.Dimension > 0 ? f.Value with { Embedding = place.Dimension } : f.Value);
        string? single = place.Method switch { "stl-emotion" => Factor.Emotion, "stl-speaker" => Factor.Speaker, _ => null };
        var own = config with
        {
            Network = config.Network with { Factors = factors, Tasks = single is null ? [] : [single] },
            Training = config.Training with
            {
                Strategy = single is null ? place.Method : "stl",
                Monitor = place.Method == "baseline",
                Seed = place.Seed,
                KeepCheckpoints = 1,
            },
        };
        if (place.Recipe != Recipe.Strong)
            return own;
        var start = RunOf(place.Baseline);
        if (!start.HasCheckpoint)
            throw new UserException(ExitCode.Diverged, $"{place.Name} starts from a baseline whose training diverged");
        own = Recipe.Apply(place.Recipe, own, start.Resolve("best"));
        return tuned?[place.Method] is JsonObject settings ? own.With(settings, $"settings of {place.Method}") : own;
    }

    /// <summary>Trains a network, or goes on with it.</summary>
    /// <returns>Seconds; null if it was stopped on the way.</returns>
    public double? Train(Config own, string path)
    {
        var run = new RunFolder(path);
        using var claim = run.Claim();
        using var log = new StreamWriter(Path.Combine(path, "train.log"), append: true) { AutoFlush = true };
        var clock = Stopwatch.StartNew();
        using var loop = new TrainingLoop(own, dataset, run, log, interrupt, resume: run.HasCheckpoint);
        loop.Run();
        return interrupt.Requested ? null : clock.Elapsed.TotalSeconds;
    }

    /// <summary>Opens a checkpoint of a network that was trained.</summary>
    public TrainedModel Open(string path, string checkpoint) =>
        TrainedModel.Open(new RunFolder(path).Resolve(checkpoint), config.Training.Device, null, config.Training.Threads, config.Training.BatchSize);

    /// <summary>Makes a backend for probes.</summary>
    public IBackend OpenBackend() =>
        BackendFactory.Create(config.Training.Device, config.Training.Threads, convolutions: config.Training.Convolutions);

    /// <summary>Scores a trained network on the test clips, and probes what its embeddings leak.</summary>
    public (GridCell Cell, Predictions Predictions) Measure(GridPlace place, double trainSeconds)
    {
        var clock = Stopwatch.StartNew();
        var run = RunOf(place);
        var state = TrainingState.Load(run.Resolve("latest"));
        // what is to forget is chosen by its leak; what is not, by what it is for
        var chosen = place.Forgets ? run.Chosen() : null;
        using var model = Open(run.Path, chosen is null ? "best" : "clean");
        var leaks = Embeddings(model);
        var test = leaks.Result(Split.Test) ?? throw new UserException(ExitCode.BadInput, $"{dataset.Folder} has no test clips: nothing to measure; see data.testFraction");
        var metrics = MetricsLog.Read(run.MetricsPath).Where(m => m.Split == "validation").ToList();
        var (cell, predictions) = Describe(place, leaks, Predicted(test.Find(Factor.Emotion)), Predicted(test.Find(Factor.Speaker)));
        return (cell with
        {
            Epoch = (chosen?.Epoch ?? state.BestEpoch) + 1,
            Selection = chosen is null ? "primary_score" : "lowest_leak",
            ByScore = chosen is null || chosen.Epoch == state.BestEpoch ? null : MeasureBest(run.Path, state.BestEpoch),
            ProbedEpochs = [.. state.Candidates.Select(c => new ProbedEpoch(c.Epoch + 1, c.Score, c.Leak, c == chosen))],
            Warnings = NotChosen(place, state, chosen) is { } reason ? [.. cell.Warnings, reason] : cell.Warnings,
            EmotionCurve = [.. metrics.Where(m => m.MacroF1!.ContainsKey(Factor.Emotion)).Select(m => m.MacroF1![Factor.Emotion])],
            SpeakerCurve = [.. metrics.Where(m => m.Accuracy!.ContainsKey(Factor.Speaker)).Select(m => m.Accuracy![Factor.Speaker])],
            TrainSeconds = trainSeconds,
            ProbeSeconds = clock.Elapsed.TotalSeconds,
            Settings = JsonSerializer.SerializeToElement(model.Config, Json.Indented),
        }, predictions);

        static int[] Predicted(FactorResult? result) => result is null ? [] : [.. result.Predictions.Select(p => p.Predicted)];
    }

    /// <summary>
    /// Takes from the speaker embedding of a baseline, in closed form, what a linear classifier could read of emotion, and puts a new linear speaker head on what
    /// is left. The emotions are the baseline's.
    /// </summary>
    /// <exception cref="UserException">Exit code 7: that training diverged.</exception>
    public (GridCell Cell, Predictions Predictions) Erase(GridPlace place)
    {
        var clock = Stopwatch.StartNew();
        var run = RunOf(place.Baseline);
        if (!run.HasCheckpoint)
            throw new UserException(ExitCode.Diverged, $"{place.Name} starts from a baseline whose training diverged");
        using var model = Open(run.Path, "best");
        var whole = Embeddings(model);
        var emotion = whole.Factor(Factor.Emotion);
        var speaker = whole.Factor(Factor.Speaker);
        var erasure = new LinearErasure(
            whole.Embedding(Factor.Speaker, Split.Train), model.Runtime.Network.Find(Factor.Speaker)!.Embedding.Shape[1], whole.Labels(Factor.Emotion, Split.Train), emotion.Classes.Count);
        var leaks = whole.With(Factor.Speaker, erasure.Apply);
        double seconds = clock.Elapsed.TotalSeconds;
        using var head = new Probe(OpenBackend(), leaks.Data(Factor.Speaker, speaker, place.Seed), ProbeSettings.Cheap with { Kinds = [ProbeKind.Linear] });
        int[] emotions = [.. whole.Result(Split.Test)!.Find(Factor.Emotion)!.Predictions.Select(p => p.Predicted)];
        var (cell, predictions) = Describe(place, leaks, emotions, head.Run(ProbeKind.Linear, balanced: false, place.Seed).Predictions);
        return (cell with
        {
            Epoch = TrainingState.Load(run.Resolve("best")).BestEpoch + 1,
            Selection = "primary_score",
            LeakInTrainingHead = null, // the baseline's, of the whole embedding
            TrainSeconds = seconds,
            ProbeSeconds = clock.Elapsed.TotalSeconds - seconds,
            Settings = JsonSerializer.SerializeToElement(model.Config, Json.Indented),
        }, predictions);
    }

    // what embeddings and predictions of the test clips tell, whatever they come from
    private (GridCell Cell, Predictions Predictions) Describe(GridPlace place, Leaks leaks, int[] emotions, int[] speakers)
    {
        // a single-task network is probed for the factor that it does not know
        var speakerEmotion = Probe(leaks, Factor.Speaker, Factor.Emotion, ProbeSettings.Full with { Codes = false });
        var emotionSpeaker = Probe(leaks, Factor.Emotion, Factor.Speaker, ProbeSettings.Epoch);
        var hidden = speakerEmotion?.Probes.Probes?.First(p => p.Kind == ProbeKind.Hidden && !p.Balanced);
        var emotion = Matrix(Factor.Emotion, emotions);
        var cell = new GridCell
        {
            Method = place.Method,
            Recipe = place.Recipe,
            SpeakerDimension = place.Dimension,
            Seed = place.Seed,
            EmotionMacroF1 = emotion?.MacroF1,
            SpeakerAccuracy = Matrix(Factor.Speaker, speakers)?.Accuracy,
            LeakEmotionFromSpeaker = speakerEmotion?.Fresh,
            LeakEmotionFromSpeakerBalanced = speakerEmotion?.Balanced,
            LeakEmotionFromSpeakerLinear = speakerEmotion?.Probes.Probes?.First(p => p.Kind == ProbeKind.Linear && !p.Balanced).Mean,
            LeakInTrainingHead = speakerEmotion?.InTraining,
            LeakSpeakerFromEmotion = emotionSpeaker?.Fresh,
            LeakChance = speakerEmotion?.Chance,
            LeakShuffled = hidden?.Control,
            LeakSpeakerLabel = speakerEmotion?.Probes.OtherFactor?.First(p => !p.Balanced).Mean,
            DeadShare = speakerEmotion?.Probes.Health.DeadShare,
            EmbeddingNorm = speakerEmotion?.Probes.Health.MeanNorm,
            Warnings = [.. new[] { speakerEmotion?.Warning, emotionSpeaker?.Warning }.OfType<string>(), .. Absent()],
            EmotionConfusion = emotion is null ? null : Counts(emotion),
            Scatter = speakers.Length == 0 ? [] : Scatter(leaks),
        };
        return (cell, new Predictions(
            leaks.Labels(Factor.Emotion, Split.Test), emotions, leaks.Labels(Factor.Speaker, Split.Test), speakers, hidden?.Scores[0].Predictions ?? []));

        // macro-F counts a class without a clip as 0, whoever predicts
        IEnumerable<string> Absent() => emotion is null ? [] : leaks.Factor(Factor.Emotion).Classes
            .Where((_, c) => emotion.Support(c) == 0).Select(name => $"no test clip is {name}: macro-F counts it as 0");

        ConfusionMatrix? Matrix(string factor, int[] predicted)
        {
            if (predicted.Length == 0)
                return null;
            var matrix = new ConfusionMatrix(leaks.Factor(factor).Classes.Count);
            foreach (var (truth, prediction) in leaks.Labels(factor, Split.Test).Zip(predicted).Where(pair => pair.First >= 0))
                matrix.Add(truth, prediction);
            return matrix.Total == 0 ? null : matrix; // of speakers who were never trained on
        }
    }

    private Leaks Embeddings(TrainedModel model) => new(model.Runtime, dataset, config.Training.BatchSize);

    private Leak? Probe(Leaks leaks, string embedding, string factor, ProbeSettings settings) =>
        leaks.Pairs.FirstOrDefault(pair => pair.Embedding == embedding && pair.Factor.Name == factor) is { Factor: { } found }
            ? leaks.Probe(OpenBackend, embedding, found, settings)
            : null;

    private ByScore MeasureBest(string path, int epoch)
    {
        using var model = Open(path, "best");
        var leaks = Embeddings(model);
        var test = leaks.Result(Split.Test)!;
        return new(
            epoch + 1, Score(test.Find(Factor.Emotion)), Score(test.Find(Factor.Speaker)),
            Probe(leaks, Factor.Speaker, Factor.Emotion, ProbeSettings.Epoch)?.Fresh);
    }

    private static double? Score(FactorResult? factor) => factor is { Matrix.Total: > 0 } ? factor.Score : null;

    private static string? NotChosen(GridPlace place, TrainingState state, Candidate? chosen) =>
        !place.Forgets || chosen is not null ? null
        : state.Candidates.Count > 0 ? $"no probed epoch kept its primary score above the floor: epoch {state.BestEpoch + 1}, of the best score, is shown"
        : $"no probed epoch had embeddings that recognise what they are for: epoch {state.BestEpoch + 1}, of the best score, is shown";

    private static long[][] Counts(ConfusionMatrix matrix) =>
        [.. Enumerable.Range(0, matrix.Classes).Select(t => Enumerable.Range(0, matrix.Classes).Select(p => matrix[t, p]).ToArray())];

    private static List<double[]> Scatter(Leaks leaks)
    {
        float[] points = leaks.Embedding(Factor.Speaker, Split.Test);
        int[] emotions = leaks.Labels(Factor.Emotion, Split.Test), speakers = leaks.Labels(Factor.Speaker, Split.Test);
        var places = PrincipalComponents.Project(points, points.Length / emotions.Length);
        int step = Math.Max(1, emotions.Length / ScatterPoints);
        return [.. Enumerable.Range(0, emotions.Length).Where(i => i % step == 0).Select(i => new[] { places[i].X, places[i].Y, emotions[i], speakers[i] })];
    }
}
