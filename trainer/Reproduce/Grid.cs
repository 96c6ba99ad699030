using System.Diagnostics;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;
using Avedis.Trainer.Probes;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Reproduce;

/// <summary>What is to be trained.</summary>
public sealed record GridOptions(IReadOnlyList<string> Methods, IReadOnlyList<string> Recipes, IReadOnlyList<int> Dimensions, IReadOnlyList<ulong> Seeds);

/// <summary>
/// The paper's experiment: every method at every size of the speaker embedding from several seeds, each network probed for what its embeddings leak. A cell is a
/// run folder under cells/; it is finished when its cell.json is there. Stopped at any moment, the grid goes on where it was.
/// </summary>
public sealed class Grid
{
    private const int ScatterPoints = 300;

    private static readonly string[] adversarial = ["gr", "alt", "conf"];

    /// <summary>Every method, in the order in which they are trained: the baselines first, since others start from them.</summary>
    public static IReadOnlyList<string> AllMethods { get; } = ["baseline", "stl-emotion", "stl-speaker", .. adversarial];

    /// <summary>What statistics compare, clip by clip of the test split.</summary>
    private sealed record Predictions(int[] Emotions, int[] PredictedEmotions, int[] Speakers, int[] PredictedSpeakers, int[] Probed);

    private sealed record Cell(string Method, string Recipe, int Dimension, ulong Seed)
    {
        public string Name => $"{Method}{(adversarial.Contains(Method) ? $"-{Recipe}" : "")}{(Dimension == 0 ? "" : $"-d{Dimension}")}-s{Seed}";
    }

    private readonly Config config;
    private readonly PreparedDataset dataset;
    private readonly string folder;
    private readonly TextWriter log;
    private readonly Interrupt interrupt;
    private readonly List<Cell> plan;

    /// <param name="config">Settings of the baseline; speaker dimension, seed and strategy are the cell's.</param>
    /// <exception cref="UserException">Exit code 4: the folder holds a grid of other data or settings.</exception>
    public Grid(Config config, GridOptions options, PreparedDataset dataset, string folder, TextWriter log, Interrupt interrupt)
    {
        (this.config, this.dataset, this.folder, this.log, this.interrupt) = (config, dataset, folder, log, interrupt);
        plan = [.. Plan(options)];
        Claim();
    }

    /// <summary>Trains and measures what is not finished yet, and writes grid.json, grid.csv, grid.md and report.html after each cell.</summary>
    /// <returns>The grid as far as it got.</returns>
    public GridResult Run()
    {
        var clock = Stopwatch.StartNew();
        int before = plan.Count(IsFinished), done = before;
        foreach (var cell in plan.Where(cell => !IsFinished(cell)).ToList())
        {
            log.WriteLine($"cell {done + 1} of {plan.Count}: {cell.Name}{Left(clock.Elapsed, done - before, plan.Count - done)}");
            try
            {
                if (!Train(cell, out double trainSeconds))
                    break;
                Measure(cell, trainSeconds);
            }
            catch (UserException failure) when (failure.Code == ExitCode.Diverged)
            {
                Fail(cell, failure.Message);
            }
            done++;
            Write();
        }
        return Write();
    }

    private static string Left(TimeSpan passed, int done, int left) =>
        done == 0 ? "" : $", about {Progress.Span(passed / done * left)} left";

    private static IEnumerable<Cell> Plan(GridOptions options)
    {
        foreach (string method in AllMethods.Where(options.Methods.Contains))
            foreach (ulong seed in options.Seeds)
            {
                if (method == "stl-emotion")
                    yield return new(method, Recipe.Paper, 0, seed);
                else
                    foreach (int dimension in options.Dimensions)
                        foreach (string recipe in adversarial.Contains(method) ? options.Recipes : [Recipe.Paper])
                            yield return new(method, recipe, dimension, seed);
            }
    }

    private string PathOf(Cell cell) => Path.Combine(folder, "cells", cell.Name);

    private string ResultPath(Cell cell) => Path.Combine(PathOf(cell), "cell.json");

    private string PredictionsPath(Cell cell) => Path.Combine(PathOf(cell), "predictions.json");

    private bool IsFinished(Cell cell) => File.Exists(ResultPath(cell));

    // a grid belongs to its data and settings: cells of different ones do not compare
    private void Claim()
    {
        string path = Path.Combine(folder, "identity.txt");
        var shared = config with { Training = config.Training with { Threads = 0, Device = "auto" } };
        string text = $"{dataset.Hash}\n{shared.ToJson()}\n";
        if (File.Exists(path) && File.ReadAllText(path) != text)
            throw new UserException(ExitCode.BadCheckpoint, $"{folder} holds a grid of other data or settings: name another folder with --out, or use those of {path}");
        Directory.CreateDirectory(folder);
        File.WriteAllText(path, text);
    }

    private Config ConfigOf(Cell cell)
    {
        var factors = config.Network.Factors.ToDictionary(
            f => f.Key, f => f.Key == Factor.Speaker && cell.Dimension > 0 ? f.Value with { Embedding = cell.Dimension } : f.Value);
        string? single = cell.Method switch { "stl-emotion" => Factor.Emotion, "stl-speaker" => Factor.Speaker, _ => null };
        var own = config with
        {
            Network = config.Network with { Factors = factors, Tasks = single is null ? [] : [single] },
            Training = config.Training with
            {
                Strategy = single is null ? cell.Method : "stl",
                Monitor = cell.Method == "baseline",
                Seed = cell.Seed,
                KeepCheckpoints = 1,
            },
        };
        var baseline = new RunFolder(PathOf(new("baseline", Recipe.Paper, cell.Dimension, cell.Seed)));
        if (cell.Recipe == Recipe.Strong && !baseline.HasCheckpoint)
            throw new UserException(ExitCode.Diverged, $"{cell.Name} starts from a baseline whose training diverged");
        return Recipe.Apply(cell.Recipe, own, baseline.HasCheckpoint ? baseline.Resolve("latest") : "");
    }

    // false if it was stopped on the way
    private bool Train(Cell cell, out double seconds)
    {
        var run = new RunFolder(PathOf(cell));
        Directory.CreateDirectory(run.Path);
        var own = ConfigOf(cell);
        using var trainLog = new StreamWriter(Path.Combine(run.Path, "train.log"), append: true) { AutoFlush = true };
        var clock = Stopwatch.StartNew();
        using var loop = new TrainingLoop(own, dataset, run, trainLog, interrupt, resume: run.HasCheckpoint);
        loop.Run();
        seconds = clock.Elapsed.TotalSeconds;
        return !interrupt.Requested;
    }

    // a result too: the settings do not hold
    private void Fail(Cell cell, string reason)
    {
        log.WriteLine($"  {reason}");
        Save(PredictionsPath(cell), JsonSerializer.Serialize(new Predictions([], [], [], [], []), Json.Line));
        Save(ResultPath(cell), JsonSerializer.Serialize(
            new GridCell { Method = cell.Method, Recipe = cell.Recipe, SpeakerDimension = cell.Dimension, Seed = cell.Seed, Warnings = [reason] }, GridResult.Json));
    }

    private void Measure(Cell cell, double trainSeconds)
    {
        var clock = Stopwatch.StartNew();
        var run = new RunFolder(PathOf(cell));
        var training = config.Training;
        using var model = TrainedModel.Open(run.Resolve("latest"), training.Device, null, training.Threads, training.BatchSize);
        var leaks = new Leaks(model.Runtime, dataset, training.BatchSize);
        var test = leaks.Test ?? throw new UserException(ExitCode.BadInput, $"{dataset.Folder} has no test clips: nothing to measure; see data.testFraction");
        IBackend Open() => BackendFactory.Create(training.Device, training.Threads);
        // a single-task network is probed for the factor that it does not know
        var speakerEmotion = Probe(Factor.Speaker, Factor.Emotion, ProbeSettings.Full with { Codes = false });
        var emotionSpeaker = Probe(Factor.Emotion, Factor.Speaker, ProbeSettings.Cheap);
        var hidden = speakerEmotion?.Probes.Probes?.First(p => p.Kind == ProbeKind.Hidden && !p.Balanced);
        var (emotion, speaker) = (test.Find(Factor.Emotion), test.Find(Factor.Speaker));
        var metrics = MetricsLog.Read(run.MetricsPath).Where(m => m.Split == "validation").ToList();
        Save(PredictionsPath(cell), JsonSerializer.Serialize(new Predictions(
            leaks.Labels(Factor.Emotion, Split.Test), Predicted(emotion), leaks.Labels(Factor.Speaker, Split.Test), Predicted(speaker),
            hidden?.Scores[0].Predictions ?? []), Json.Line));
        Save(ResultPath(cell), JsonSerializer.Serialize(new GridCell
        {
            Method = cell.Method,
            Recipe = cell.Recipe,
            SpeakerDimension = cell.Dimension,
            Seed = cell.Seed,
            EmotionMacroF1 = emotion?.Matrix.MacroF1,
            SpeakerAccuracy = speaker?.Matrix.Accuracy,
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
            Warnings = [.. new[] { speakerEmotion?.Warning, emotionSpeaker?.Warning }.OfType<string>()],
            EmotionConfusion = emotion is null ? null : Counts(emotion.Matrix),
            EmotionCurve = [.. metrics.Where(m => m.MacroF1!.ContainsKey(Factor.Emotion)).Select(m => m.MacroF1![Factor.Emotion])],
            SpeakerCurve = [.. metrics.Where(m => m.Accuracy!.ContainsKey(Factor.Speaker)).Select(m => m.Accuracy![Factor.Speaker])],
            Scatter = speaker is null ? [] : Scatter(leaks),
            TrainSeconds = trainSeconds,
            ProbeSeconds = clock.Elapsed.TotalSeconds,
            Settings = JsonSerializer.SerializeToElement(model.Config, Json.Indented),
        }, GridResult.Json));

        Leak? Probe(string embedding, string factor, ProbeSettings settings) =>
            leaks.Pairs.FirstOrDefault(pair => pair.Embedding == embedding && pair.Factor.Name == factor) is { Factor: { } found }
                ? leaks.Probe(Open, embedding, found, settings)
                : null;
        static int[] Predicted(FactorResult? result) => result is null ? [] : [.. result.Predictions.Select(p => p.Predicted)];
    }

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

    private GridResult Write()
    {
        var cells = plan.Where(IsFinished).Select(cell => (
            Cell: cell,
            Result: JsonSerializer.Deserialize<GridCell>(File.ReadAllText(ResultPath(cell)), GridResult.Json)!,
            Predictions: JsonSerializer.Deserialize<Predictions>(File.ReadAllText(PredictionsPath(cell)), Json.Line)!)).ToList();
        var compared = cells.Select(c =>
        {
            var baseline = cells.FirstOrDefault(other => other.Cell.Method == "baseline" && other.Cell.Dimension == c.Cell.Dimension && other.Cell.Seed == c.Cell.Seed);
            return WithStatistics(c.Result, c.Predictions, c.Cell.Method == "baseline" ? null : baseline.Predictions);
        }).ToList();
        double?[] adjusted = Holm.Adjust([.. compared.Select(cell => cell.Comparison?.StuartMaxwell)]);
        var trained = cells.Select(c => new RunFolder(PathOf(c.Cell))).FirstOrDefault(run => run.HasCheckpoint);
        TrainingState? state = trained is null ? null : TrainingState.Load(trained.Resolve("latest"));
        var grid = new GridResult
        {
            Data = Path.GetFileName(Path.GetFullPath(dataset.Folder)),
            DataHash = dataset.Hash,
            Emotions = dataset.Emotions,
            Speakers = dataset.Speakers.Count,
            TrainClips = dataset.Clips(Split.Train).Count,
            ValidationClips = dataset.Clips(Split.Validation).Count,
            TestClips = dataset.Clips(Split.Test).Count,
            Version = typeof(Grid).Assembly.GetName().Version!.ToString(3),
            Device = state?.Device ?? "",
            Precision = state?.Precision ?? "",
            Planned = plan.Count,
            Cells = [.. compared.Zip(adjusted, (cell, p) => cell.Comparison is null ? cell : cell with { Comparison = cell.Comparison with { StuartMaxwellHolm = p } })],
        };
        Save(Path.Combine(folder, "grid.json"), JsonSerializer.Serialize(grid, GridResult.Json));
        Save(Path.Combine(folder, "grid.csv"), GridTables.Csv(grid));
        Save(Path.Combine(folder, "grid.md"), GridTables.Markdown(grid));
        Save(Path.Combine(folder, "report.html"), GridReport.Create(grid));
        return grid;
    }

    private GridCell WithStatistics(GridCell cell, Predictions own, Predictions? baseline)
    {
        const ulong Seed = 1;
        int emotions = dataset.Emotions.Count, speakers = dataset.Speakers.Count;
        cell = cell with
        {
            EmotionInterval = own.PredictedEmotions.Length == 0 ? null
                : Of(PairedBootstrap.Interval(BootstrapMetric.MacroF1, emotions, own.Emotions, own.PredictedEmotions, [], Seed)),
            SpeakerInterval = own.PredictedSpeakers.Length == 0 ? null
                : Of(PairedBootstrap.Interval(BootstrapMetric.Accuracy, speakers, own.Speakers, own.PredictedSpeakers, [], Seed)),
        };
        if (baseline is null || own.PredictedEmotions.Length == 0)
            return cell;
        var table = PairedTable.Count(emotions, own.PredictedEmotions, baseline.PredictedEmotions);
        return cell with
        {
            Comparison = new Comparison(
                MarginalHomogeneity.StuartMaxwell(table)?.P, McNemar.Of(own.Emotions, own.PredictedEmotions, baseline.PredictedEmotions).P, Bowker.Test(table)?.P,
                Difference(BootstrapMetric.MacroF1, emotions, own.Emotions, own.PredictedEmotions, baseline.PredictedEmotions),
                Difference(BootstrapMetric.Accuracy, speakers, own.Speakers, own.PredictedSpeakers, baseline.PredictedSpeakers),
                Difference(BootstrapMetric.MacroF1, emotions, own.Emotions, own.Probed, baseline.Probed)),
        };

        Estimate? Difference(BootstrapMetric metric, int classes, int[] truth, int[] a, int[] b) => a.Length == 0 || b.Length == 0 ? null
            : Of(PairedBootstrap.Difference(metric, classes, truth, a, b, [], Seed));
        static Estimate? Of(BootstrapInterval? interval) => interval is { } i ? new(i.Estimate, i.Low, i.High) : null;
    }

    // whole or not at all: a grid that is killed finds it finished or does the cell's last part again
    private static void Save(string path, string text)
    {
        File.WriteAllText(path + ".tmp", text);
        File.Move(path + ".tmp", path, overwrite: true);
    }
}
