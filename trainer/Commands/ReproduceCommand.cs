using System.CommandLine;
using System.Globalization;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Reproduce;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>avedis reproduce: the paper's grid of methods, sizes and seeds, measured.</summary>
public static class ReproduceCommand
{
    private const int QuickEpochs = 10;

    public static Command Create()
    {
        var common = new CommonOptions();
        var data = new Argument<string>("data") { Description = "Folder that avedis prepare wrote." };
        var folder = new Option<string>("--out") { Description = "Folder to write or to go on with.", DefaultValueFactory = _ => "runs/grid" };
        var methods = new Option<string>("--methods") { Description = $"Any of {string.Join(",", Grid.AllMethods)}.", DefaultValueFactory = _ => string.Join(",", Grid.AllMethods) };
        var recipes = new Option<string>("--recipes") { Description = $"Settings of {string.Join(", ", GridPlace.Adversarial)}: {string.Join(", ", Recipe.Names)}.", DefaultValueFactory = _ => string.Join(",", Recipe.Names) };
        var dimensions = new Option<string?>("--dimensions") { Description = "Widths of the speaker embedding. [default: 2048,256,64; with --quick 64]" };
        var seeds = new Option<string?>("--seeds") { Description = "[default: 1,2,3; with --quick 1]" };
        var settings = new Option<string?>("--settings") { Description = "JSON file of settings that differ from the strong recipe, by method: what --sweep writes." };
        var sweep = new Option<string?>("--sweep")
        {
            Description = "JSON file of settings to try on Validation instead: method, dimension, seeds, settings (names with lists of values).",
        };
        var quick = new Option<bool>("--quick") { Description = $"One width, one seed, {QuickEpochs} epochs." };
        var start = new Option<string?>("--baseline")
        {
            Description = "Run that avedis train wrote on these data: it is the baseline, and its settings, width and seed are the grid's. Prints what there was before and after.",
        };
        var folds = new Option<string?>("--folds")
        {
            Description = "speaker, or a further column of the manifest such as session: holds out each value in turn, "
                + "trains on the others, and reports each fold, mean, s.d. and pooled.",
        };
        var foldCount = new Option<int?>("--fold-count") { Description = "Folds to put the values of --folds into. [default: one each]" };
        var command = new Command(
            "reproduce", "Trains single-task, baseline and disentangled networks at several widths and seeds, probes each, and reports. Stopped at any time, the same command goes on.");
        command.Arguments.Add(data);
        command.Options.Add(folder);
        command.Options.Add(methods);
        command.Options.Add(recipes);
        command.Options.Add(dimensions);
        command.Options.Add(seeds);
        command.Options.Add(settings);
        command.Options.Add(sweep);
        command.Options.Add(quick);
        command.Options.Add(start);
        command.Options.Add(folds);
        command.Options.Add(foldCount);
        common.AddConfig(command);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            bool small = parsed.GetValue(quick);
            string? baseline = parsed.GetValue(start);
            if (parsed.GetValue(folds) is not null)
                foreach (Option other in (Option[])[start, sweep])
                    if (parsed.GetResult(other) is { Implicit: false })
                        throw new UserException(ExitCode.Usage,
                            $"--folds and {other.Name}: each fold trains networks of its own; leave one of the two out");
            if (parsed.GetValue(foldCount) is not null && parsed.GetValue(folds) is null)
                throw new UserException(ExitCode.Usage, "--fold-count: name a column with --folds too");
            if (baseline is not null)
                foreach (Option decided in (Option[])[dimensions, seeds, sweep, quick, common.Preset, common.ConfigFile])
                    if (parsed.GetResult(decided) is { Implicit: false })
                        throw new UserException(ExitCode.Usage, $"{decided.Name} and --baseline: settings, width and seed are those of the run; leave one of the two out");
            var config = common.Load(parsed, baseline is null ? null : CommonOptions.OpenRun(baseline).Folder.ConfigPath);
            if (small)
                config = config with { Training = config.Training with { Epochs = QuickEpochs } };
            var options = new GridOptions(
                List(methods.Name, parsed.GetRequiredValue(methods), Grid.AllMethods.Contains, text => text, Grid.AllMethods),
                List(recipes.Name, parsed.GetRequiredValue(recipes), Recipe.Names.Contains, text => text, Recipe.Names),
                baseline is not null ? [config.Network.Factors.GetValueOrDefault(Factor.Speaker)?.Embedding ?? 0] : List(dimensions.Name, parsed.GetValue(dimensions) ?? (small ? "64" : "2048,256,64"), text => int.TryParse(text, out int d) && d is >= 1 and <= 65536, text => int.Parse(text, CultureInfo.InvariantCulture)),
                baseline is not null ? [config.Training.Seed] : List(seeds.Name, parsed.GetValue(seeds) ?? (small ? "1" : "1,2,3"), text => ulong.TryParse(text, out _), text => ulong.Parse(text, CultureInfo.InvariantCulture)));
            if (options.Recipes.Contains(Recipe.Strong) && options.Methods.Any(GridPlace.Adversarial.Contains) && !options.Methods.Contains("baseline"))
                throw new UserException(ExitCode.Usage, "--methods: the strong recipe starts from the baseline: name it too");
            if (options.Methods.Contains(GridPlace.Leace) && !options.Methods.Contains("baseline"))
                throw new UserException(ExitCode.Usage, "--methods: leace works on the baseline's embedding: name it too");
            using var dataset = PreparedDataset.Open(parsed.GetRequiredValue(data));
            if (baseline is not null)
                CheckBaseline(baseline, config, dataset);
            config = config with { Features = dataset.Features };
            // what no cell could work with is refused before the folder is taken for it
            if (config.Network.Built.FirstOrDefault(name => dataset.Factors.All(factor => factor.Name != name)) is { } absent)
                throw new UserException(ExitCode.BadInput, $"network.factors names '{absent}', which {dataset.Folder} does not have");
            using (var backend = TrainingLoop.CreateBackend(config.Training, say: null))
                if (config.Training.Precision != Precision.Auto)
                    Precisions.Choose(config.Training.Precision, backend);
            using var interrupt = new Interrupt();
            if (parsed.GetValue(sweep) is { } file)
            {
                output.WriteLine(new Sweep(config, SweepOptions.Load(file), dataset, parsed.GetRequiredValue(folder),
                    GuardedWriter.Log(output), interrupt).Run());
                output.WriteLine($"{parsed.GetRequiredValue(folder)}/sweep: sweep.md, settings.json (for --settings)");
                return interrupt.ExitCode;
            }
            var tuned = parsed.GetValue(settings) is { } path ? Config.ReadFile(path) : null;
            if (tuned?.FirstOrDefault(method => !GridPlace.Adversarial.Contains(method.Key)).Key is { } unknown)
                throw new UserException(ExitCode.Usage, $"--settings {parsed.GetValue(settings)}: '{unknown}' is none of {string.Join(", ", GridPlace.Adversarial)}");
            if (parsed.GetValue(folds) is { } column)
            {
                string target = parsed.GetRequiredValue(folder);
                output.WriteLine(new Folds(dataset, column, parsed.GetValue(foldCount), target,
                    GuardedWriter.Log(output)).Run((part, place) =>
                {
                    var done = new Grid(config, options, tuned, part, place, GuardedWriter.Log(output), interrupt).Run();
                    return done.Cells.Count == done.Planned;
                }));
                output.WriteLine($"{target}: folds.md, folds.csv, folds.json; the grid of each fold in fold-001 and so on");
                return interrupt.ExitCode;
            }
            var grid = new Grid(config, options, tuned, dataset, parsed.GetRequiredValue(folder), GuardedWriter.Log(output), interrupt,
                baseline).Run();
            output.WriteLine(baseline is null ? GridTables.Markdown(grid) : GridTables.BeforeAndAfter(grid));
            output.WriteLine($"{grid.Cells.Count} of {grid.Planned} cells: {parsed.GetRequiredValue(folder)}/report.html, grid.json, grid.csv, grid.md");
            return interrupt.ExitCode;
        });
        return command;
    }

    private static void CheckBaseline(string path, Config config, PreparedDataset dataset)
    {
        if (config.Training.Strategy != "baseline" || !((string[])[Factor.Emotion, Factor.Speaker]).All(config.Network.Built.Contains))
            throw new UserException(ExitCode.Usage, $"--baseline {path}: a network of both emotion and speaker is needed, trained with --strategy baseline");
        if (TrainingState.Load(new RunFolder(path).Resolve("best")).DataHash != dataset.Hash)
            throw new UserException(ExitCode.BadCheckpoint, $"--baseline {path}: it was trained on other data than {dataset.Folder}, whose test clips it may have seen");
    }

    private static List<T> List<T>(string option, string text, Func<string, bool> valid, Func<string, T> parse,
        IReadOnlyList<string>? known = null)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        string? wrong = parts.FirstOrDefault(part => !valid(part));
        if (parts.Length == 0 || wrong is not null)
            throw new UserException(ExitCode.Usage,
                $"{option} {text}: expected {(known is null ? "values" : $"some of {string.Join(", ", known)}")} between commas"
                + (wrong is null ? "" : $", not '{wrong}'{Spelling.Hint(wrong, known ?? [])}"));
        return [.. parts.Select(parse)];
    }
}
