using System.Text;
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
        foreach (var (factor, matrix, names) in Factors())
            WriteMatrix(Path.Combine(path, $"confusion-{factor}.csv"), matrix, names);
        var metrics = File.Exists(folder.MetricsPath) ? MetricsLog.Read(folder.MetricsPath) : [];
        File.WriteAllText(Path.Combine(folder.Path, "report.html"), HtmlReport.Create(folder.Path, SplitName, State, metrics, Factors()));
    }

    /// <summary>The figures by the names that scripts read.</summary>
    public string ToJson()
    {
        var figures = new Dictionary<string, object?>
        {
            ["split"] = SplitName,
            ["clips"] = result.Predictions.Count,
            ["emotion_macro_f1"] = result.Emotion?.MacroF1,
            ["emotion_macro_f1_majority"] = result.Emotion?.MajorityMacroF1,
            ["emotion_accuracy"] = result.Emotion?.Accuracy,
            ["emotion_accuracy_majority"] = result.Emotion?.MajorityAccuracy,
            ["speaker_accuracy"] = result.Speaker?.Accuracy,
            ["speaker_accuracy_chance"] = result.Speaker is { } s ? 1.0 / s.Classes : null,
            ["train_clips_per_second"] = State.TrainClipsPerSecond,
            ["peak_rss_bytes"] = State.PeakRssBytes,
            ["precision"] = State.Precision,
            ["device"] = State.Device,
            ["checkpoint"] = Path.GetFileName(model.Checkpoint),
            ["epoch"] = State.Epoch,
            ["seed"] = model.Config.Training.Seed,
        };
        return JsonSerializer.Serialize(figures, Json.Indented);
    }

    /// <summary>The short table that the program prints.</summary>
    public string ToTable()
    {
        var table = new StringBuilder();
        table.AppendLine($"{result.Predictions.Count} clips of split {SplitName}{(split == Split.Train ? "" : ", never trained on")}");
        table.AppendLine($"  {"",-22}{"score",10}{"chance",10}");
        if (result.Emotion is { } e)
        {
            table.AppendLine($"  {"emotion macro-F",-22}{e.MacroF1,10:F3}{e.MajorityMacroF1,10:F3}");
            table.AppendLine($"  {"emotion accuracy",-22}{e.Accuracy,10:F3}{e.MajorityAccuracy,10:F3}");
        }
        if (result.Speaker is { } s)
            table.AppendLine($"  {"speaker accuracy",-22}{s.Accuracy,10:F3}{1.0 / s.Classes,10:F3}");
        if (result.Emotion is { } matrix)
            for (int c = 0; c < matrix.Classes; c++)
                table.AppendLine($"    F {State.Emotions[c],-18}{matrix.F1(c),10:F3}{"",10}  ({matrix.Support(c)} clips)");
        table.AppendLine($"  {"training",-22}{State.TrainClipsPerSecond,10:N1} clips/s ({State.Precision}), peak memory {State.PeakRssBytes / 1048576.0:N0} MiB");
        table.Append($"  run folder {folder.Path}: report.html, summary.json, evaluation/{SplitName}/");
        return table.ToString();
    }

    private List<(string Factor, ConfusionMatrix Matrix, IReadOnlyList<string> Names)> Factors()
    {
        var factors = new List<(string, ConfusionMatrix, IReadOnlyList<string>)>();
        if (result.Emotion is not null)
            factors.Add(("emotion", result.Emotion, State.Emotions));
        if (result.Speaker is not null)
            factors.Add(("speaker", result.Speaker, State.Speakers));
        return factors;
    }

    private void WritePredictions(string path) => WriteCsv(path, csv =>
    {
        string[] header = ["path", "emotion", "predicted_emotion", .. State.Emotions.Select(e => $"p_{e}"), "speaker", "predicted_speaker", "p_speaker"];
        csv.WriteRecord(header);
        foreach (var p in result.Predictions)
            csv.WriteRecord([
                p.Id, Name(State.Emotions, p.Emotion), Name(State.Emotions, p.PredictedEmotion),
                .. State.Emotions.Select((_, i) => i < p.EmotionProbabilities.Length ? $"{p.EmotionProbabilities[i]:G6}" : ""),
                Name(State.Speakers, p.Speaker), Name(State.Speakers, p.PredictedSpeaker),
                float.IsNaN(p.SpeakerProbability) ? "" : $"{p.SpeakerProbability:G6}"]);
    });

    private void WriteClasses(string path) => WriteCsv(path, csv =>
    {
        csv.WriteRecord(["factor", "class", "clips", "predicted", "precision", "recall", "f1"]);
        foreach (var (factor, matrix, names) in Factors())
            for (int c = 0; c < matrix.Classes; c++)
                csv.WriteRecord([
                    factor, names[c], $"{matrix.Support(c)}", $"{matrix.Predicted(c)}",
                    $"{matrix.Precision(c):F6}", $"{matrix.Recall(c):F6}", $"{matrix.F1(c):F6}"]);
    });

    private static void WriteMatrix(string path, ConfusionMatrix matrix, IReadOnlyList<string> names) => WriteCsv(path, csv =>
    {
        csv.WriteRecord(["truth", .. names]);
        for (int t = 0; t < matrix.Classes; t++)
            csv.WriteRecord([names[t], .. Enumerable.Range(0, matrix.Classes).Select(p => $"{matrix[t, p]}")]);
    });

    private static string Name(IReadOnlyList<string> names, int index) => index < 0 ? "" : names[index];

    private static void WriteCsv(string path, Action<CsvWriter> write)
    {
        using var csv = CsvWriter.Create(File.Create(path), new CsvWriterOptions { NewLine = "\n" });
        write(csv);
    }
}
