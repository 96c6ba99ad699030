using System.Globalization;
using System.Text;
using CsvHelper;

namespace Avedis.Trainer.Reproduce;

/// <summary>The numbers of a grid as files for other programs.</summary>
public static class GridTables
{
    private const string Missing = "–";

    private static readonly (string Name, Func<GridCell, string> Text)[] columns =
    [
        ("method", c => c.Method),
        ("recipe", c => c.Recipe),
        ("speaker_dimension", c => c.SpeakerDimension.ToString(CultureInfo.InvariantCulture)),
        ("seed", c => c.Seed.ToString(CultureInfo.InvariantCulture)),
        ("epoch", c => c.Epoch.ToString(CultureInfo.InvariantCulture)),
        ("selection", c => c.Selection),
        ("emotion_macro_f1", c => Number(c.EmotionMacroF1)),
        ("emotion_macro_f1_low", c => Number(c.EmotionInterval?.Low)),
        ("emotion_macro_f1_high", c => Number(c.EmotionInterval?.High)),
        ("speaker_accuracy", c => Number(c.SpeakerAccuracy)),
        ("speaker_accuracy_low", c => Number(c.SpeakerInterval?.Low)),
        ("speaker_accuracy_high", c => Number(c.SpeakerInterval?.High)),
        ("leak_emotion_from_speaker", c => Number(c.LeakEmotionFromSpeaker)),
        ("leak_emotion_from_speaker_balanced", c => Number(c.LeakEmotionFromSpeakerBalanced)),
        ("leak_emotion_from_speaker_linear", c => Number(c.LeakEmotionFromSpeakerLinear)),
        ("leak_in_training_head", c => Number(c.LeakInTrainingHead)),
        ("leak_speaker_from_emotion", c => Number(c.LeakSpeakerFromEmotion)),
        ("leak_chance", c => Number(c.LeakChance)),
        ("leak_shuffled", c => Number(c.LeakShuffled)),
        ("leak_speaker_label", c => Number(c.LeakSpeakerLabel)),
        ("by_score_epoch", c => c.ByScore?.Epoch.ToString(CultureInfo.InvariantCulture) ?? ""),
        ("by_score_emotion_macro_f1", c => Number(c.ByScore?.EmotionMacroF1)),
        ("by_score_speaker_accuracy", c => Number(c.ByScore?.SpeakerAccuracy)),
        ("by_score_leak_emotion_from_speaker", c => Number(c.ByScore?.Leak)),
        ("dead_share", c => Number(c.DeadShare)),
        ("embedding_norm", c => Number(c.EmbeddingNorm)),
        ("stuart_maxwell", c => Number(c.Comparison?.StuartMaxwell)),
        ("stuart_maxwell_holm", c => Number(c.Comparison?.StuartMaxwellHolm)),
        ("mcnemar", c => Number(c.Comparison?.McNemar)),
        ("bowker", c => Number(c.Comparison?.Bowker)),
        .. Difference("emotion", c => c.EmotionDifference),
        .. Difference("speaker", c => c.SpeakerDifference),
        .. Difference("leak", c => c.LeakDifference),
        ("train_seconds", c => Number(c.TrainSeconds)),
        ("probe_seconds", c => Number(c.ProbeSeconds)),
        ("warnings", c => string.Join("; ", c.Warnings)),
    ];

    /// <summary>One row per cell; a number that is missing is an empty field, every other one reads back to the same bits.</summary>
    public static string Csv(GridResult grid)
    {
        using var stream = new MemoryStream();
        using (var csv = CsvWriter.Create(stream, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true))
        {
            csv.WriteRecord([.. columns.Select(column => column.Name)]);
            foreach (var cell in grid.Cells)
                csv.WriteRecord([.. columns.Select(column => column.Text(cell))]);
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>The main table: mean over seeds, and the range where there are several.</summary>
    public static string Markdown(GridResult grid)
    {
        var view = new GridReportView(grid);
        var text = new StringBuilder();
        string[] header =
        [
            "method", "recipe", "dimension", "seeds", "emotion F", "speaker accuracy", "leak, fresh probe", "leak, balanced probe", "leak, head in training",
            "leak less than baseline's",
        ];
        Row(header);
        Row([.. header.Select((_, i) => i < 2 ? "---" : "---:")]);
        foreach (var variant in view.Variants)
            foreach (var group in view.Cells(variant, null).GroupBy(cell => cell.SpeakerDimension).OrderByDescending(group => group.Key))
                Row([
                    variant.MethodName,
                    variant.Recipe.Length == 0 ? Missing : variant.Recipe,
                    group.Key == 0 ? Missing : $"{group.Key}",
                    $"{group.Count()}",
                    Range(GridReportView.Mean(group, cell => cell.EmotionMacroF1)),
                    Range(GridReportView.Mean(group, cell => cell.SpeakerAccuracy)),
                    Range(GridReportView.Mean(group, cell => cell.LeakEmotionFromSpeaker)),
                    Range(GridReportView.Mean(group, cell => cell.LeakEmotionFromSpeakerBalanced)),
                    Range(GridReportView.Mean(group, cell => cell.LeakInTrainingHead)),
                    Range(GridReportView.Mean(group, cell =>
                        GridReportView.Finite(view.BaselineOf(cell)?.LeakEmotionFromSpeaker) - GridReportView.Finite(cell.LeakEmotionFromSpeaker))),
                ]);
        return text.ToString();

        void Row(string[] fields) => text.Append("| ").AppendJoin(" | ", fields.Select(Escape)).Append(" |\n");
    }

    /// <summary>In words what the networks tell of the test clips: the baseline, then each that starts from it.</summary>
    /// <param name="grid">Of one width and one seed.</param>
    public static string BeforeAndAfter(GridResult grid)
    {
        const int Words = 62;
        var view = new GridReportView(grid);
        var cells = view.Both.SelectMany(variant => view.Cells(variant, null).Select(cell => (variant.Name, Cell: cell))).OrderBy(c => c.Cell.Method != "baseline").ToList();
        string[] heads = [.. cells.Select(c => c.Cell.Method == "baseline" ? "before" : cells.Count == 2 ? "after" : c.Name), "chance"];
        int[] widths = [.. heads.Select(head => Math.Max(9, head.Length + 2))];
        var text = new StringBuilder();
        Row($"{grid.TestClips} clips of split test, never trained on", heads);
        Scores("emotions recognised (macro-F)", cell => cell.EmotionMacroF1, view.LeakChance);
        Scores("speakers recognised (accuracy)", cell => cell.SpeakerAccuracy, 1.0 / grid.Speakers);
        Scores("emotions read from the speaker embedding (macro-F)", cell => cell.LeakEmotionFromSpeaker, view.LeakChance);
        Scores("the same by a reader that weights every emotion alike", cell => cell.LeakEmotionFromSpeakerBalanced, null);
        foreach (string warning in cells.SelectMany(c => c.Cell.Warnings).Distinct())
            text.Append($"  WARNING: {Printable.Line(warning)}\n");
        return text.ToString();

        void Scores(string words, Func<GridCell, double?> of, double? chance) =>
            Row($"  {words}", [.. cells.Select(c => of(c.Cell)).Append(chance).Select(value => GridReportView.Finite(value) is { } v ? v.ToString("F3", CultureInfo.InvariantCulture) : Missing)]);
        void Row(string words, IEnumerable<string> numbers) =>
            text.Append($"{words,-Words}").AppendJoin("", numbers.Zip(widths, (number, width) => number.PadLeft(width))).Append('\n');
    }

    private static string Escape(string text) =>
        string.Concat(text.Select(c => c is '|' or '\\' or '<' or '*' or '`' or '[' ? $"\\{c}" : char.IsControl(c) ? " " : $"{c}"));

    private static string Range(Spread? spread) => spread switch
    {
        null => Missing,
        { HasRange: true } => $"{spread.Mean:F3} ({spread.Low:F3} to {spread.High:F3})",
        _ => $"{spread.Mean:F3}",
    };

    private static (string, Func<GridCell, string>)[] Difference(string name, Func<Comparison, Estimate?> of) =>
    [
        ($"{name}_difference", c => Number(c.Comparison is { } x ? of(x)?.Value : null)),
        ($"{name}_difference_low", c => Number(c.Comparison is { } x ? of(x)?.Low : null)),
        ($"{name}_difference_high", c => Number(c.Comparison is { } x ? of(x)?.High : null)),
    ];

    // shortest text that reads back to the same number
    private static string Number(double? value) => GridReportView.Finite(value) is { } v ? v.ToString("R", CultureInfo.InvariantCulture) : "";
}
