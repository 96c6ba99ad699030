using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Reproduce;

/// <summary>What a file declares: every combination of the settings' values is tried from every seed.</summary>
public sealed record SweepOptions
{
    /// <summary>gr, alt or conf, with the strong recipe as the rest of the settings.</summary>
    public string Method { get; init; } = "";

    /// <summary>Of the speaker embedding.</summary>
    public int Dimension { get; init; } = 64;

    public IReadOnlyList<ulong> Seeds { get; init; } = [1];

    /// <summary>By the full name of a setting, its values.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<JsonElement>> Settings { get; init; } = new Dictionary<string, IReadOnlyList<JsonElement>>();

    /// <exception cref="UserException">Exit code 2, with the file.</exception>
    public static SweepOptions Load(string path)
    {
        SweepOptions options;
        try
        {
            options = Config.ReadFile(path).Deserialize<SweepOptions>(strict)!;
        }
        catch (JsonException error)
        {
            throw new UserException(ExitCode.Usage, $"{path}: {error.Message.Split(" Path:")[0]} A sweep has method, dimension, seeds and settings: names with a list of values each", error);
        }
        string? wrong = !GridPlace.Adversarial.Contains(options.Method) ? $"method is '{options.Method}', expected one of {string.Join(", ", GridPlace.Adversarial)}"
            : options.Dimension is < 1 or > 65536 ? $"dimension is {options.Dimension}, expected 1 to 65536"
            : options.Seeds.Count == 0 ? "seeds is empty"
            : options.Settings.FirstOrDefault(setting => setting.Value.Count == 0).Key is { } empty ? $"settings.{empty} has no values"
            : null;
        return wrong is null ? options : throw new UserException(ExitCode.Usage, $"{path}: {wrong}");
    }

    private static readonly JsonSerializerOptions strict = new(Json.Indented) { UnmappedMemberHandling = System.Text.Json.Serialization.JsonUnmappedMemberHandling.Disallow };
}

/// <summary>One combination of values from one seed.</summary>
/// <param name="Epoch">The chosen one, from 1; 0 if no epoch could be chosen.</param>
/// <param name="Score">Mean of emotion macro-F and speaker accuracy on Validation.</param>
/// <param name="Leak">As <see cref="Candidate.Leak"/>, mean over three probes; null if no epoch could be chosen.</param>
public sealed record SweepTrial(ulong Seed, int Epoch, double? Score, double? Leak, double Seconds);

/// <summary>
/// A declared search over the settings of the strong recipe. It trains, chooses and compares on Train and Validation; the test clips, on which the grid reports,
/// are not looked at. Best is the lowest mean leak among those that kept the primary score above the floor from every seed.
/// </summary>
public sealed class Sweep
{
    private readonly Config config;
    private readonly SweepOptions options;
    private readonly PreparedDataset dataset;
    private readonly string folder;
    private readonly TextWriter log;
    private readonly GridRun run;

    /// <param name="folder">Of a grid, whose baselines are used, or made.</param>
    /// <exception cref="UserException">As <see cref="Grid"/>; exit code 2 for a setting that does not exist.</exception>
    public Sweep(Config config, SweepOptions options, PreparedDataset dataset, string folder, TextWriter log, Interrupt interrupt)
    {
        (this.config, this.options, this.dataset, this.folder, this.log) = (config, options, dataset, folder, log);
        run = new GridRun(config, null, dataset, folder, interrupt);
        foreach (var settings in Combinations())
            Recipe.Apply(Recipe.Strong, config with { Training = config.Training with { Strategy = options.Method } }, "").With(settings, "--sweep");
        Grid.Claim(folder, dataset, config);
    }

    /// <summary>Trains what is not finished yet, and writes sweep/METHOD/: trials, sweep.md, and the best settings as settings.json.</summary>
    /// <returns>The table, best first.</returns>
    public string Run()
    {
        var combinations = Combinations().ToList();
        var trials = combinations.Select(_ => new List<SweepTrial>()).ToList();
        var clock = Stopwatch.StartNew();
        int total = combinations.Count * options.Seeds.Count, done = 0, trained = 0;
        string table = "";
        foreach (ulong seed in options.Seeds)
        {
            var place = new GridPlace(options.Method, Recipe.Strong, options.Dimension, seed);
            if (!new RunFolder(run.PathOf(place.Baseline)).IsComplete(config.Training.Epochs))
            {
                log.WriteLine($"{place.Baseline.Name}, to start from");
                if (run.Train(run.ConfigOf(place.Baseline), run.PathOf(place.Baseline)) is null)
                    return table;
            }
            for (int i = 0; i < combinations.Count; i++, done++)
            {
                string path = Path.Combine(Root, $"{StableHash.Of($"{options.Dimension} {combinations[i].ToJsonString()}"):x16}-s{seed}");
                string result = Path.Combine(path, "trial.json");
                if (!File.Exists(result))
                {
                    string left = trained == 0 ? "" : $", about {Progress.Span(clock.Elapsed / trained * (total - done))} left";
                    log.WriteLine($"trial {done + 1} of {total}: {Describe(combinations[i])}, seed {seed}{left}");
                    if (Try(place, combinations[i], path) is not { } trial)
                        return table;
                    Grid.Save(result, JsonSerializer.Serialize(trial, Json.Indented));
                    trained++;
                }
                trials[i].Add(Grid.Load<SweepTrial>(result, Json.Indented));
                table = Write(combinations, trials);
            }
        }
        return table;
    }

    private string Root => Path.Combine(folder, "sweep", options.Method);

    private SweepTrial? Try(GridPlace place, JsonObject settings, string path)
    {
        try
        {
            if (run.Train(run.ConfigOf(place).With(settings, "--sweep"), path) is not { } seconds)
                return null;
            var own = new RunFolder(path);
            if (own.Chosen() is not { } chosen)
                return new(place.Seed, 0, TrainingState.Load(own.Resolve("latest")).BestScore, null, seconds);
            // an epoch is chosen by one probe, and flattered by it
            using var model = run.Open(path, "clean");
            var leaks = new Probes.Leaks(model.Runtime, dataset, config.Training.BatchSize, splits: [Split.Train, Split.Validation]);
            var judged = Selection.Judge(chosen.Epoch, model.Runtime.Network, leaks, run.OpenBackend, Probes.ProbeSettings.Epoch with { Seeds = 3, Seed = 101 });
            return new(place.Seed, chosen.Epoch + 1, chosen.Score, judged.Candidate?.Leak, seconds);
        }
        catch (UserException failure) when (failure.Code == ExitCode.Diverged)
        {
            log.WriteLine($"  {failure.Message}");
            return new(place.Seed, 0, null, null, 0);
        }
    }

    private string Write(List<JsonObject> combinations, List<List<SweepTrial>> trials)
    {
        var ranked = combinations.Zip(trials, (settings, own) => (Settings: settings, Trials: own)).Where(row => row.Trials.Count > 0)
            .OrderBy(row => row.Trials.Any(trial => trial.Leak is null)).ThenBy(row => row.Trials.Average(trial => trial.Leak)).ToList();
        var text = new StringBuilder("| settings | seeds | primary score | leak above chance | largest | seconds |\n| --- | ---: | ---: | ---: | ---: | ---: |\n");
        foreach (var (settings, own) in ranked)
            text.Append(CultureInfo.InvariantCulture,
                $"| {Describe(settings)} | {own.Count} | {Number(own.Average(t => t.Score))} | {(own.Any(t => t.Leak is null) ? "below the floor" : Number(own.Average(t => t.Leak)))} | {Number(own.Max(t => t.Leak))} | {own.Average(t => t.Seconds):F0} |\n");
        Directory.CreateDirectory(Root);
        Grid.Save(Path.Combine(Root, "sweep.md"), text.ToString());
        if (ranked[0].Trials.All(trial => trial.Leak is not null))
            Grid.Save(Path.Combine(Root, "settings.json"), new JsonObject { [options.Method] = ranked[0].Settings.DeepClone() }.ToJsonString(Json.Indented) + "\n");
        return text.ToString();

        static string Number(double? value) => value is { } v ? $"{v:F3}" : "–";
    }

    // the last setting changes fastest
    private IEnumerable<JsonObject> Combinations() => options.Settings.Aggregate(
        (IEnumerable<JsonObject>)[new JsonObject()],
        (made, setting) => made.SelectMany(before => setting.Value.Select(value => Join(before, setting.Key, value))).ToList());

    private static JsonObject Join(JsonObject before, string name, JsonElement value)
    {
        var joined = (JsonObject)before.DeepClone();
        var inner = joined;
        string[] keys = name.Split('.');
        foreach (string key in keys.SkipLast(1))
            inner = (inner[key] ??= new JsonObject()).AsObject();
        inner[keys[^1]] = JsonNode.Parse(value.GetRawText());
        return joined;
    }

    private string Describe(JsonObject settings) => settings.Count == 0 ? "the recipe" : string.Join(", ", options.Settings.Keys.Select(name =>
        $"{name.Split('.')[^1]} {name.Split('.').Aggregate((JsonNode)settings, (node, key) => node[key]!).ToJsonString()}"));
}
