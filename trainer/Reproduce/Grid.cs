using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Reproduce;

/// <summary>What is to be trained.</summary>
public sealed record GridOptions(IReadOnlyList<string> Methods, IReadOnlyList<string> Recipes, IReadOnlyList<int> Dimensions, IReadOnlyList<ulong> Seeds);

/// <summary>
/// The paper's experiment: every method at every size of the speaker embedding from several seeds, each network probed for what its embeddings leak. A cell is a
/// run folder under cells/; it is finished when its cell.json is there. Stopped at any moment, the grid goes on where it was. Any number of processes may work on
/// one grid, on any machines that see its folder: each takes a cell that nobody has.
/// </summary>
public sealed class Grid
{
    /// <summary>Every method, in the order in which they are trained: the baselines first, since others start from them.</summary>
    public static IReadOnlyList<string> AllMethods { get; } = ["baseline", "stl-emotion", "stl-speaker", .. GridPlace.Adversarial, GridPlace.Leace];

    private static readonly TimeSpan Poll = TimeSpan.FromSeconds(2);

    private readonly Config config;
    private readonly PreparedDataset dataset;
    private readonly string folder;
    private readonly TextWriter log;
    private readonly Interrupt interrupt;
    private readonly GridRun run;
    private readonly string? baseline;
    private readonly List<GridPlace> plan;

    /// <param name="config">Settings of the baseline; speaker dimension, seed and strategy are the cell's.</param>
    /// <param name="tuned">By method, what is to differ from the strong recipe; null for nothing.</param>
    /// <param name="baseline">A run that was trained with these settings on these data, and is the baseline; null: the grid trains its own.</param>
    /// <exception cref="UserException">Exit code 4: the folder holds a grid of other data, settings or baseline.</exception>
    public Grid(Config config, GridOptions options, JsonObject? tuned, PreparedDataset dataset, string folder, TextWriter log, Interrupt interrupt, string? baseline = null)
    {
        (this.config, this.dataset, this.folder, this.log, this.interrupt, this.baseline) = (config, dataset, folder, log, interrupt, baseline);
        run = new GridRun(config, tuned, dataset, folder, interrupt, baseline);
        plan = [.. Plan(options)];
        using var turn = TakeTurn(folder);
        Claim(folder, dataset, config);
        Claim(folder, "settings.json", tuned?.ToJsonString(Json.Indented) ?? "{}", text => text);
        Claim(folder, "baseline.txt", baseline is null ? "trained here" : WeightsOf(baseline), text => text);
    }

    /// <summary>Trains and measures what is not finished yet, and writes grid.json, grid.csv, grid.md and report.html after each cell.</summary>
    /// <returns>The grid as far as it got: with what other processes had in work.</returns>
    public GridResult Run()
    {
        var clock = Stopwatch.StartNew();
        int before = plan.Count(IsFinished);
        bool waiting = false;
        var progress = new Progress(log, "reproduce", "cells");
        while (plan.Any(cell => !IsFinished(cell)) && !interrupt.Requested)
        {
            bool worked = false;
            foreach (var cell in plan)
            {
                if (interrupt.Requested || IsFinished(cell) || !CanBegin(cell))
                    continue;
                using var claim = TryTake(Path.Combine(run.PathOf(cell), "cell.lock"));
                if (claim is null || IsFinished(cell))
                    continue;
                int done = plan.Count(IsFinished);
                log.WriteLine($"cell {done + 1} of {plan.Count}: {cell.Name}{Left(clock.Elapsed, done - before, plan.Count - done)}");
                progress.Report(done, plan.Count, before);
                if (!Work(cell))
                    break;
                Write();
                progress.Report(done + 1, plan.Count, before);
                (worked, waiting) = (true, false);
            }
            if (worked)
                continue;
            if (!waiting)
                log.WriteLine($"{plan.Count(cell => !IsFinished(cell))} cells are left, which other processes have in work: waiting for them");
            waiting = true;
            interrupt.Token.WaitHandle.WaitOne(Poll);
        }
        progress.End();
        return Write();
    }

    /// <summary>Trains and measures one cell; false if it was stopped on the way.</summary>
    private bool Work(GridPlace cell)
    {
        try
        {
            if (cell.Method == GridPlace.Leace)
                Keep(cell, run.Erase(cell));
            else if (baseline is not null && cell.Method == "baseline")
                Keep(cell, run.Measure(cell, trainSeconds: 0)); // not in this grid
            else if (run.Train(run.ConfigOf(cell), run.PathOf(cell)) is { } seconds)
                Keep(cell, run.Measure(cell, seconds));
            else
                return false;
        }
        catch (UserException failure) when (failure.Code == ExitCode.Diverged)
        {
            // a result too: the settings do not hold
            log.WriteLine($"  {failure.Message}");
            Keep(cell, (new GridCell { Method = cell.Method, Recipe = cell.Recipe, SpeakerDimension = cell.Dimension, Seed = cell.Seed, Warnings = [failure.Message] }, Predictions.None));
        }
        return true;
    }

    // what starts from a baseline waits for it
    private bool CanBegin(GridPlace cell) => (cell.Recipe != Recipe.Strong && cell.Method != GridPlace.Leace) || IsFinished(cell.Baseline);

    // of the processes that write the grid's own files
    private static FileStream TakeTurn(string folder)
    {
        while (true)
            if (TryTake(Path.Combine(folder, "grid.lock")) is { } turn)
                return turn;
            else
                Thread.Sleep(100);
    }

    /// <summary>A lock that the system gives back when the process ends, however it ends; null: another has it.</summary>
    private static FileStream? TryTake(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
        }
        catch (IOException) when (File.Exists(path))
        {
            return null;
        }
    }

    private static string Left(TimeSpan passed, int done, int left) =>
        done == 0 ? "" : $", about {Progress.Span(passed / done * left)} left";

    private static IEnumerable<GridPlace> Plan(GridOptions options)
    {
        foreach (string method in AllMethods.Where(options.Methods.Contains))
            foreach (ulong seed in options.Seeds)
            {
                if (method == "stl-emotion")
                    yield return new(method, Recipe.Paper, 0, seed);
                else
                    foreach (int dimension in options.Dimensions)
                        foreach (string recipe in GridPlace.Adversarial.Contains(method) ? options.Recipes : [Recipe.Paper])
                            yield return new(method, recipe, dimension, seed);
            }
    }

    private string ResultPath(GridPlace cell) => Path.Combine(run.PathOf(cell), "cell.json");

    private string PredictionsPath(GridPlace cell) => Path.Combine(run.PathOf(cell), "predictions.json");

    private bool IsFinished(GridPlace cell) => File.Exists(ResultPath(cell)) && File.Exists(PredictionsPath(cell));

    /// <summary>A grid belongs to its data and settings: cells of different ones do not compare. A setting that is newer than the grid had its present default.</summary>
    /// <exception cref="UserException">Exit code 4.</exception>
    internal static void Claim(string folder, PreparedDataset dataset, Config config)
    {
        Claim(folder, "data.txt", dataset.Hash, text => text);
        var shared = config with { Training = config.Training with { Threads = 0, Device = "auto" } };
        Claim(folder, "config.json", shared.ToJson(), _ => Config.Load(null, Path.Combine(folder, "config.json"), []).ToJson());
    }

    private static string WeightsOf(string run)
    {
        using var weights = File.OpenRead(Path.Combine(new RunFolder(run).Resolve("best"), "model.safetensors"));
        return Convert.ToHexStringLower(SHA256.HashData(weights));
    }

    private static void Claim(string folder, string name, string text, Func<string, string> known)
    {
        string path = Path.Combine(folder, name);
        if (File.Exists(path) && known(File.ReadAllText(path)) != text)
            throw new UserException(ExitCode.BadCheckpoint, $"{folder} holds a grid of other data or settings, or of another baseline: name another folder with --out, or use what {path} names");
        Directory.CreateDirectory(folder);
        File.WriteAllText(path, text);
    }

    private void Keep(GridPlace cell, (GridCell Cell, Predictions Predictions) measured)
    {
        Directory.CreateDirectory(run.PathOf(cell));
        Save(PredictionsPath(cell), JsonSerializer.Serialize(measured.Predictions, Json.Line));
        Save(ResultPath(cell), JsonSerializer.Serialize(measured.Cell, GridResult.Json));
    }

    private GridResult Write()
    {
        using var turn = TakeTurn(folder);
        var cells = plan.Where(IsFinished).Select(cell => (
            Cell: cell,
            Result: Load<GridCell>(ResultPath(cell), GridResult.Json),
            Predictions: Load<Predictions>(PredictionsPath(cell), Json.Line))).ToList();
        var compared = cells.Select(c =>
        {
            var baseline = cells.FirstOrDefault(other => other.Cell == c.Cell.Baseline);
            return WithStatistics(c.Result, c.Predictions, c.Cell.Method == "baseline" ? null : baseline.Predictions);
        }).ToList();
        double?[] adjusted = Holm.Adjust([.. compared.Select(cell => cell.Comparison?.StuartMaxwell)]);
        var trained = cells.Select(c => run.RunOf(c.Cell)).FirstOrDefault(found => found.HasCheckpoint);
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
        int[] known = [.. Enumerable.Range(0, own.Speakers.Length).Where(i =>
            own.Speakers[i] >= 0)]; // clips of speakers who were trained on
        int[] Known(int[] values) => values.Length == 0 ? [] : [.. known.Select(i => values[i])];
        cell = cell with
        {
            EmotionInterval = own.PredictedEmotions.Length == 0 ? null
                : Of(PairedBootstrap.Interval(BootstrapMetric.MacroF1, emotions, own.Emotions, own.PredictedEmotions, [], Seed)),
            SpeakerInterval = own.PredictedSpeakers.Length == 0 || known.Length == 0 ? null
                : Of(PairedBootstrap.Interval(BootstrapMetric.Accuracy, speakers, Known(own.Speakers), Known(own.PredictedSpeakers), [],
                    Seed)),
        };
        if (baseline is null || own.PredictedEmotions.Length == 0)
            return cell;
        var table = PairedTable.Count(emotions, own.PredictedEmotions, baseline.PredictedEmotions);
        return cell with
        {
            Comparison = new Comparison(
                MarginalHomogeneity.StuartMaxwell(table)?.P, McNemar.Of(own.Emotions, own.PredictedEmotions, baseline.PredictedEmotions).P, Bowker.Test(table)?.P,
                Difference(BootstrapMetric.MacroF1, emotions, own.Emotions, own.PredictedEmotions, baseline.PredictedEmotions),
                Difference(BootstrapMetric.Accuracy, speakers, Known(own.Speakers), Known(own.PredictedSpeakers),
                    Known(baseline.PredictedSpeakers)),
                Difference(BootstrapMetric.MacroF1, emotions, own.Emotions, own.Probed, baseline.Probed)),
        };

        Estimate? Difference(BootstrapMetric metric, int classes, int[] truth, int[] a, int[] b) => a.Length == 0 || b.Length == 0 ? null
            : Of(PairedBootstrap.Difference(metric, classes, truth, a, b, [], Seed));
        static Estimate? Of(BootstrapInterval? interval) => interval is { } i ? new(i.Estimate, i.Low, i.High) : null;
    }

    // whole or not at all: a grid that is killed finds it finished or does the cell's last part again
    internal static void Save(string path, string text) => WholeFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <exception cref="UserException">Exit code 4.</exception>
    internal static T Load<T>(string path, JsonSerializerOptions options)
    {
        const long Longest = 1L << 30;
        try
        {
            return JsonSerializer.Deserialize<T>(RegularFiles.ReadAllText(path, Longest), options) ?? throw new JsonException("it is empty");
        }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{path} cannot be read: {error.Message}; without this file its part is done again", error);
        }
    }
}
