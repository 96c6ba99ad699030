using Avedis.Trainer.Reproduce;
using CsvHelper;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

public class GridTablesTests
{
    private static List<Dictionary<string, string>> Read(string text)
    {
        using var csv = CsvReader.FromText(text, new CsvReaderOptions { MalformedData = CsvMalformedDataHandling.Throw });
        csv.ReadHeader();
        var rows = new List<Dictionary<string, string>>();
        while (csv.Read())
        {
            Assert.That(csv.FieldCount, Is.EqualTo(csv.Headers.Count));
            rows.Add(csv.Headers.Select((name, i) => (name, csv.GetString(i))).ToDictionary(f => f.name, f => f.Item2));
        }
        return rows;
    }

    private static double? Number(string field) => field.Length == 0 ? null : double.Parse(field);

    [Test]
    public void Csv_reads_back_the_same()
    {
        var grid = SyntheticGrid.Full();
        var rows = Read(GridTables.Csv(grid));
        Assert.That(rows, Has.Count.EqualTo(grid.Cells.Count));
        foreach (var (row, cell) in rows.Zip(grid.Cells))
        {
            Assert.That((row["method"], row["recipe"], row["speaker_dimension"], row["seed"]), Is.EqualTo((cell.Method, cell.Recipe, $"{cell.SpeakerDimension}", $"{cell.Seed}")));
            Assert.That(Number(row["emotion_macro_f1"]), Is.EqualTo(cell.EmotionMacroF1));
            Assert.That(Number(row["speaker_accuracy_low"]), Is.EqualTo(cell.SpeakerInterval?.Low));
            Assert.That(Number(row["leak_emotion_from_speaker"]), Is.EqualTo(cell.LeakEmotionFromSpeaker));
            Assert.That(Number(row["leak_in_training_head"]), Is.EqualTo(cell.LeakInTrainingHead));
            Assert.That((row["epoch"], row["selection"], row["by_score_epoch"]), Is.EqualTo(($"{cell.Epoch}", cell.Selection, $"{cell.ByScore?.Epoch}")));
            Assert.That(Number(row["by_score_emotion_macro_f1"]), Is.EqualTo(cell.ByScore?.EmotionMacroF1));
            Assert.That(Number(row["by_score_leak_emotion_from_speaker"]), Is.EqualTo(cell.ByScore?.Leak));
            Assert.That(Number(row["bowker"]), Is.EqualTo(cell.Comparison?.Bowker));
            Assert.That(Number(row["leak_difference_high"]), Is.EqualTo(cell.Comparison?.LeakDifference?.High));
            Assert.That(Number(row["train_seconds"]), Is.EqualTo(cell.TrainSeconds));
        }
    }

    [Test]
    public void Csv_names_are_in_snake_case_and_unique()
    {
        string[] names = GridTables.Csv(SyntheticGrid.Of([], planned: 3)).TrimEnd('\n').Split(',');
        Assert.That(names, Is.Unique);
        Assert.That(names, Is.All.Match("^[a-z][a-z0-9_]*$"));
    }

    [Test]
    public void Csv_quotes_and_leaves_out_what_is_missing()
    {
        var cell = SyntheticGrid.Bare("a,\"b\"\nc", "r", 4, ulong.MaxValue) with { EmotionMacroF1 = double.NaN, Warnings = ["one, \"two\"", "three"] };
        var row = Read(GridTables.Csv(SyntheticGrid.Of([cell], planned: 1))).Single();
        Assert.That((row["method"], row["seed"], row["warnings"]), Is.EqualTo(("a,\"b\"\nc", "18446744073709551615", "one, \"two\"; three")));
        Assert.That((row["emotion_macro_f1"], row["mcnemar"], row["train_seconds"]), Is.EqualTo(("", "", "0")));
    }

    [Test]
    public void Markdown_rows_have_the_columns_of_the_header()
    {
        var grid = SyntheticGrid.Full();
        string[] lines = GridTables.Markdown(grid).TrimEnd('\n').Split('\n');
        Assert.That(lines, Has.Length.EqualTo(2 + 1 + 3 * 11));
        Assert.That(lines.Select(line => line.Split(" | ").Length), Is.All.EqualTo(10));
        Assert.That(lines, Is.All.StartsWith("| ").And.All.EndsWith(" |"));
        string alt = lines.Single(line => line.StartsWith("| ALT | strong | 64 |", StringComparison.Ordinal));
        var cells = grid.Cells.Where(c => c is { Method: "alt", Recipe: "strong", SpeakerDimension: 64 }).ToList();
        var baseline = grid.Cells.Where(c => c is { Method: "baseline", SpeakerDimension: 64 }).ToList();
        Assert.That(alt, Does.Contain($"| 3 | {cells.Average(c => c.EmotionMacroF1):F3} ({cells.Min(c => c.EmotionMacroF1):F3} to {cells.Max(c => c.EmotionMacroF1):F3}) |"));
        Assert.That(alt, Does.Contain($"| {baseline.Average(c => c.LeakEmotionFromSpeaker) - cells.Average(c => c.LeakEmotionFromSpeaker):F3} ("));
        Assert.That(lines.Count(line => line.StartsWith("| projected | ", StringComparison.Ordinal)), Is.EqualTo(2 * 3));
        Assert.That(lines[^3..], Is.All.StartsWith("| LEACE | – | "));
        Assert.That(lines.Single(line => line.StartsWith("| baseline | – | 256", StringComparison.Ordinal)), Does.EndWith("| – |"));
    }

    [Test]
    public void Markdown_of_little()
    {
        Assert.That(GridTables.Markdown(SyntheticGrid.Of([], planned: 3)).Split('\n'), Has.Length.EqualTo(3));
        string line = GridTables.Markdown(SyntheticGrid.Of([SyntheticGrid.Bare("a|b", "<r>", 4, 1) with { EmotionMacroF1 = double.NaN }], planned: 1)).Split('\n')[2];
        Assert.That(line, Is.EqualTo("| a\\|b | \\<r> | 4 | 1 | – | – | – | – | – | – |"));
    }

    [Test]
    public void Before_and_after_stand_beside_each_other_in_words()
    {
        var before = SyntheticGrid.Cell("baseline", "paper", 64, 1) with { EmotionMacroF1 = 0.951, SpeakerAccuracy = 1, LeakEmotionFromSpeaker = 0.8126, LeakEmotionFromSpeakerBalanced = 0.83, LeakChance = 0.142 };
        var after = SyntheticGrid.Cell("conf", "strong", 64, 1) with { EmotionMacroF1 = 0.951, SpeakerAccuracy = 0.996, LeakEmotionFromSpeaker = 0.25, LeakEmotionFromSpeakerBalanced = null, LeakChance = 0.142, Warnings = ["one\ntwo"] };
        string[] lines = GridTables.BeforeAndAfter(SyntheticGrid.Of([before, after], planned: 2)).TrimEnd('\n').Split('\n');
        Assert.Multiple(() =>
        {
            Assert.That(lines[0], Does.StartWith("800 clips").And.Match("before +after +chance$"));
            Assert.That(lines[1], Does.Match("emotions recognised .*0.951 +0.951 +0.142$"));
            Assert.That(lines[2], Does.Match("speakers recognised .*1.000 +0.996 +0.025$"));
            Assert.That(lines[3], Does.Match("read from the speaker embedding .*0.813 +0.250 +0.142$"));
            Assert.That(lines[4], Does.Match("0.830 +– +–$"));
            Assert.That(lines[..5].Select(line => line.Length).Distinct().Count(), Is.EqualTo(1), "columns stand under each other");
            Assert.That(lines[5], Is.EqualTo("  WARNING: one?two"));
            Assert.That(lines, Has.Length.EqualTo(6));
        });
    }

    [Test]
    public void Of_several_methods_each_has_a_column_by_its_name()
    {
        var grid = SyntheticGrid.Of([SyntheticGrid.Cell("gr", "strong", 64, 1), SyntheticGrid.Cell("baseline", "paper", 64, 1), SyntheticGrid.Cell("conf", "strong", 64, 1)], planned: 3);
        Assert.That(GridTables.BeforeAndAfter(grid).Split('\n')[0], Does.Match("before +GR strong +CONF strong +chance$"));
    }
}
