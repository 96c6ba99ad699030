using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;
using CsvHelper;

namespace Avedis.Trainer.Evaluation;

/// <summary>
/// What evaluation leaves in a run folder: summary.json (of the test split), evaluation/SPLIT/ with predictions.csv, classes.csv and a confusion matrix per
/// factor, and report.html.
/// </summary>
public sealed class EvaluationReport(RunFolder folder, Split split, TrainedModel model, EvaluationResult result)
{
    public const string PageName = "report.html";

    private TrainingState State => model.State;

    private string SplitName => split.ToString().ToLowerInvariant();

    public void Write()
    {
        string path = Path.Combine(folder.Path, "evaluation", SplitName);
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, "metrics.json"), ToJson());
        if (split == Split.Test)
            File.WriteAllText(Path.Combine(folder.Path, "summary.json"), ToJson());
        WritePredictions(Path.Combine(path, "predictions.csv"));
        WriteClasses(Path.Combine(path, "classes.csv"));
        foreach (var factor in result.Factors)
            WriteMatrix(Path.Combine(path, $"confusion-{factor.Name}.csv"), factor);
        var metrics = File.Exists(folder.MetricsPath) ? MetricsLog.Read(folder.MetricsPath) : [];
        File.WriteAllText(Path.Combine(folder.Path, PageName), HtmlReport.Create(folder.Path, SplitName, State, metrics, result));
    }

    /// <summary>The figures by the names that scripts read.</summary>
    public string ToJson()
    {
        var figures = new Dictionary<string, object?> { ["split"] = SplitName, ["clips"] = result.Ids.Count };
        foreach (var factor in result.Factors)
        {
            figures[$"{factor.Name}_clips"] = factor.Matrix.Total;
            if (factor.Matrix.Total == 0)
                continue;
            figures[$"{factor.Name}_macro_f1"] = factor.Matrix.MacroF1;
            figures[$"{factor.Name}_macro_f1_majority"] = factor.Matrix.MajorityMacroF1;
            figures[$"{factor.Name}_accuracy"] = factor.Matrix.Accuracy;
            figures[$"{factor.Name}_balanced_accuracy"] = factor.Matrix.BalancedAccuracy;
            figures[$"{factor.Name}_accuracy_majority"] = factor.Matrix.MajorityAccuracy;
            figures[$"{factor.Name}_accuracy_chance"] = 1.0 / factor.Matrix.Classes;
        }
        foreach (var head in result.Auxiliary.Where(head => head.Matrix.Total > 0))
            figures[$"{head.Name}_{(head.Factor.ByMacroF ? "macro_f1" : "accuracy")}"] = head.Score;
        foreach (var (name, value) in FiguresOfTheRun())
            figures[name] = value;
        return JsonSerializer.Serialize(figures, Json.Indented);
    }

    private Dictionary<string, object?> FiguresOfTheRun() => new()
    {
        ["train_clips_per_second"] = State.TrainClipsPerSecond,
        ["peak_rss_bytes"] = State.PeakRssBytes,
        ["precision"] = State.Precision,
        ["device"] = State.Device,
        ["checkpoint"] = Path.GetFileName(model.Checkpoint),
        ["epoch"] = State.Epoch,
        ["seed"] = model.Config.Training.Seed,
    };

    /// <summary>Prints the short table.</summary>
    public void Print(TextWriter output)
    {
        output.WriteLine($"{result.Ids.Count} clips of split {SplitName}{(split == Split.Train ? "" : ", never trained on")}");
        var table = Screen.Table("", "score", "chance", "clips");
        foreach (var factor in result.Factors.Where(factor => factor.Matrix.Total > 0))
        {
            if (factor.Factor.ByMacroF)
                table.Add($"{factor.Name} macro-F", $"{factor.Score:F3}", $"{factor.Chance:F3}", "");
            var (accuracy, chance) = factor.Factor.ByMacroF ? (factor.Matrix.Accuracy, factor.Matrix.MajorityAccuracy)
                : (factor.Score, factor.Chance);
            table.Add($"{factor.Name} accuracy", $"{accuracy:F3}", $"{chance:F3}", "");
            if (factor.Factor.ByMacroF)
                table.Add($"{factor.Name} mean recall", $"{factor.Matrix.BalancedAccuracy:F3}", $"{factor.Matrix.ChanceRecall:F3}", "");
        }
        foreach (var factor in result.Factors.Where(factor => factor.Factor.ByMacroF && factor.Matrix.Total > 0))
            for (int c = 0; c < factor.Matrix.Classes; c++)
                table.Add($"  F {Printable.Name(factor.Factor.Classes[c])}", $"{factor.Matrix.F1(c):F3}", "",
                    $"{factor.Matrix.Support(c)}");
        Screen.Write(output, table);
        foreach (string note in result.Notes)
            output.WriteLine($"note: {Printable.Line(note)}");
        Screen.WriteFinding(
            output, "training", $"{State.TrainClipsPerSecond:N1} clips/s ({State.Precision}), peak memory {State.PeakRssBytes / 1048576.0:N0} MiB");
        Screen.WriteFinding(output, "run folder", $"{folder.Path}: report.html, summary.json, evaluation/{SplitName}/");
    }

    private void WritePredictions(string path) => WriteCsv(path, csv =>
    {
        static IEnumerable<string> Columns(FactorResult factor) =>
        [
            factor.Name, $"predicted_{factor.Name}",
            .. factor.Factor.ByMacroF ? factor.Factor.Classes.Select(name => $"p_{name}") : [$"p_{factor.Name}"],
        ];
        csv.WriteRecord(["path", .. result.Factors.SelectMany(Columns)]);
        for (int i = 0; i < result.Ids.Count; i++)
            csv.WriteRecord([result.Ids[i], .. result.Factors.SelectMany(factor =>
            {
                var p = factor.Predictions[i];
                return (string[])[
                    Name(factor.Factor.Classes, p.Truth), Name(factor.Factor.Classes, p.Predicted), .. p.Probabilities.Select(value => $"{value:G6}")];
            })]);
    });

    private void WriteClasses(string path) => WriteCsv(path, csv =>
    {
        csv.WriteRecord(["factor", "class", "clips", "predicted", "precision", "recall", "f1"]);
        foreach (var factor in result.Factors)
            for (int c = 0; c < factor.Matrix.Classes; c++)
                csv.WriteRecord([
                    factor.Name, factor.Factor.Classes[c], $"{factor.Matrix.Support(c)}", $"{factor.Matrix.Predicted(c)}",
                    $"{factor.Matrix.Precision(c):F6}", $"{factor.Matrix.Recall(c):F6}", $"{factor.Matrix.F1(c):F6}"]);
    });

    private static void WriteMatrix(string path, FactorResult factor) => WriteCsv(path, csv =>
    {
        if (factor.Matrix.Classes > ConfusionMatrix.WholeUpTo)
        {
            csv.WriteRecord(["truth", "predicted", "clips"]);
            foreach (var (truth, prediction, clips) in factor.Matrix.Pairs)
                csv.WriteRecord([factor.Factor.Classes[truth], factor.Factor.Classes[prediction], $"{clips}"]);
            return;
        }
        csv.WriteRecord(["truth", .. factor.Factor.Classes]);
        for (int t = 0; t < factor.Matrix.Classes; t++)
            csv.WriteRecord([factor.Factor.Classes[t], .. Enumerable.Range(0, factor.Matrix.Classes).Select(p => $"{factor.Matrix[t, p]}")]);
    });

    private static string Name(IReadOnlyList<string> names, int index) => index < 0 ? "" : names[index];

    private static void WriteCsv(string path, Action<CsvWriter> write)
    {
        using var csv = CsvWriter.Create(File.Create(path), new CsvWriterOptions { NewLine = "\n" });
        write(csv);
    }
}
