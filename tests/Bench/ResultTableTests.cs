using System.Text.Json;
using Avedis.Bench;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class ResultTableTests
{
    private static ResultRow Row(
        string engine, string preset, double clipsPerSecond, string precision = "fp32", long peakMiB = 100, double? floor = null,
        string? cap = null, double? asItComes = null) => new(
        engine, "1", preset, precision, 8, 2, clipsPerSecond, 8 / clipsPerSecond, peakMiB << 20, [2.5], 10, 5, 1, "2020-01-02", floor,
        floor is null ? null : 450, cap, SecondsAsItComes: asItComes);

    private static ResultFile Results(params ResultRow[] rows) => new("cpu", "a machine", "1.0", 0.1, rows);

    private static string[][] Cells(string markdown, string preset) =>
    [
        .. markdown.Split('\n').Where(line => line.StartsWith($"| {preset} |", StringComparison.Ordinal))
            .Select(line => line.Split('|')[1..^1].Select(cell => cell.Trim()).ToArray()),
    ];

    [Test]
    public void The_first_table_gives_the_ratio_to_each_peer_and_the_second_that_to_the_best_and_the_third_that_to_each_of_any_precision()
    {
        string table = ResultTable.Markdown(Results(
            Row("avedis", "demo", 60, peakMiB: 50, floor: 41.26) with { PercentOfDone = 20.53 },
            Row("pytorch-channels-last", "demo", 40, peakMiB: 125),
            Row("pytorch-eager-nchw", "demo", 30, asItComes: 0.4),
            Row("avedis", "demo", 120, "bf16"), Row("pytorch-eager-nchw", "demo", 10, "bf16")));
        Assert.That(table, Does.Contain("| Avedis, as many times as fast as | pytorch-channels-last fp32 | pytorch-eager-nchw fp32 | pytorch-eager-nchw bf16 |"));
        Assert.That(table, Does.Contain("| demo fp32, 8 clips | 1.50 | 2.00 | 6.00 |").And.Contain("| demo bf16, 8 clips | 3.00 | 4.00 | 12.00 |"));
        var rows = Cells(table, "demo");
        Assert.That(rows[..5].Select(row => (row[4], row[11], row[12])), Is.EqualTo(new[]
        {
            ("avedis", "1.00", "1.00"), ("pytorch-channels-last", "1.50", "0.40"), ("pytorch-eager-nchw", "2.00", "0.50"),
            ("avedis", "1.00", "1.00"), ("pytorch-eager-nchw", "12.00", "1.00"),
        }));
        Assert.That(rows[0], Is.EqualTo(new[]
        {
            "demo", "fp32", "8", "all", "avedis", "60", "0.1333", "", "41.3 %", "20.5 %", "50", "1.00", "1.00", "10",
        }));
        Assert.That(rows[2][7], Is.EqualTo("0.4"));
        Assert.That(table, Does.Contain("As it comes: "));
        Assert.That(rows[5], Is.EqualTo(new[]
        {
            "demo", "fp32", "8", "all", "pytorch-channels-last", "1.50", "pytorch-channels-last fp32", "1.50", "pytorch-eager-nchw", "0.50",
        }));
        Assert.That(rows[6], Is.EqualTo(new[]
        {
            "demo", "bf16", "8", "all", "pytorch-eager-nchw", "12.00", "pytorch-channels-last fp32", "3.00", "pytorch-eager-nchw", "1.00",
        }));
    }

    [Test]
    public void A_peer_of_another_precision_alone_is_the_best_of_any()
    {
        var rows = Cells(ResultTable.Markdown(Results(Row("avedis", "demo", 60, "bf16"), Row("torchsharp-eager-nchw", "demo", 40))),
            "demo");
        Assert.That(rows[^1], Is.EqualTo(new[] { "demo", "bf16", "8", "all", "", "", "torchsharp-eager-nchw fp32", "1.50", "", "" }));
    }

    [Test]
    public void Capped_rows_are_compared_with_capped_rows()
    {
        string table = ResultTable.Markdown(Results(Row("avedis", "demo", 60), Row("torchsharp", "demo", 40), Row("avedis", "demo", 30, cap: "avx2"), Row("torchsharp", "demo", 25, cap: "avx2")));
        var rows = Cells(table, "demo");
        Assert.That(rows[3][11], Is.EqualTo("1.20"));
        Assert.That(rows.Select(row => row[3]), Is.EqualTo(new[] { "all", "all", "avx2 at most", "avx2 at most", "all", "avx2 at most" }));
    }

    [Test]
    public void Without_peers_there_is_no_ratio_to_the_best()
    {
        string table = ResultTable.Markdown(Results(Row("avedis", "demo", 60)));
        Assert.That(table, Does.Not.Contain("best peer").And.Not.Contain("The floor").And.Not.Contain("As it comes: "));
        Assert.That(Cells(table, "demo"), Has.Length.EqualTo(1));
    }

    [Test]
    public void Written_results_keep_other_settings_and_replace_their_own()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, Path.GetRandomFileName());
        try
        {
            ResultTable.Write(folder, Results(Row("avedis", "paper", 1), Row("avedis", "demo", 50), Row("torchsharp", "demo", 40), Row("avedis", "demo", 45, cap: "avx2")));
            ResultTable.Write(folder, Results(Row("avedis", "demo", 60, floor: 40)));
            string json = File.ReadAllText(Path.Combine(folder, "step.json"));
            var rows = ResultFile.Parse(json).Rows;
            Assert.That(rows.Select(row => (row.Engine, row.Preset, row.ClipsPerSecond)), Is.EqualTo(new[] { ("avedis", "paper", 1.0), ("avedis", "demo", 45.0), ("avedis", "demo", 60.0) }));
            Assert.That(json, Does.Contain("\"clips_per_second\": 60").And.Contain("\"percent_of_floor\": 40").And.Contain("\"isa_cap\": \"avx2\"").And.Not.Contain("setting"));

            var failure = Assert.Throws<UserException>(() => ResultTable.Write(folder, Results(Row("avedis", "demo", 60)) with { Machine = "another machine" }));
            Assert.That(failure!.Message, Does.Contain("another machine"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private const string Old = """
        {"device": "cpu", "machine": "a machine", "revision": "1", "foreign_limit": 0.1, "rows": [
        """;

    private static string OldRow(string engine, string layout) => $$"""
        {"engine": "{{engine}}", "version": "1", "preset": "demo", "precision": "fp32", "layout": "{{layout}}", "batch": 8, "threads": 2, "clips_per_second": 40,
         "seconds_per_step": 0.2, "peak_bytes": 7, "losses": [2.5], "steps": 1, "rounds_kept": 1, "rounds_discarded": 0, "date": "2020-01-02"}
        """;

    [Test]
    public void Results_of_before_engines_were_named_after_their_modes_are_read()
    {
        var file = ResultFile.Parse(
            $"{Old}{OldRow("avedis", "nhwc")}, {OldRow("pytorch", "nchw")}, {OldRow("pytorch", "channels-last")}, " +
            $"{OldRow("pytorch", "compile")}, {OldRow("torchsharp", "nchw")}]}}");
        Assert.That(file.Rows.Select(row => row.Engine), Is.EqualTo(new[]
        {
            "avedis", "pytorch-eager-nchw", "pytorch-channels-last", "pytorch-compile", "torchsharp-eager-nchw",
        }));
        Assert.That(JsonSerializer.Serialize(file, BenchJson.Options), Does.Not.Contain("layout"));
    }

    [Test]
    public void The_command_table_writes_old_results_anew()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-results-").FullName;
        try
        {
            using StringWriter output = new(), error = new();
            Assert.That(Commands.Run(["table", folder], output, error), Is.EqualTo(ExitCode.DiskOrIo));
            Assert.That(error.ToString(), Does.StartWith($"bench: results in {folder} cannot be read or written").And.Contain("step.json"));

            File.WriteAllText(Path.Combine(folder, "step.json"), $"{Old}{OldRow("avedis", "nhwc")}, {OldRow("pytorch", "nchw")}]}}");
            Assert.That(Commands.Run(["table", folder], output, error), Is.EqualTo(ExitCode.Ok));
            Assert.That(File.ReadAllText(Path.Combine(folder, "step.json")), Does.Contain("pytorch-eager-nchw").And.Not.Contain("layout"));
            Assert.That(File.ReadAllText(Path.Combine(folder, "step.md")), Is.EqualTo(output.ToString()).And.Contain("| pytorch-eager-nchw |"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Results_in_the_repository_are_named_so_and_their_tables_are_made_from_them()
    {
        string[] files = Directory.GetFiles(Path.Combine(Repository.Root, "bench", "results"), "step.json", SearchOption.AllDirectories);
        Assert.That(files, Is.Not.Empty);
        foreach (string path in files)
        {
            string json = File.ReadAllText(path);
            var results = ResultFile.Parse(json);
            Assert.That(json, Does.Not.Contain("\"layout\""), path);
            Assert.That(results.Rows.Select(row => row.Engine).Distinct(), Is.SubsetOf(
                PyTorchPeers.Modes.Select(mode => $"pytorch-{mode}").Concat(TorchSharpPeers.Modes.Select(mode => $"torchsharp-{mode}"))
                    .Append("avedis")), path);
            Assert.That(
                File.ReadAllText(Path.ChangeExtension(path, "md")), Is.EqualTo(ResultTable.Markdown(results)),
                $"dotnet run -c Release --project bench -- table {Path.GetDirectoryName(path)}");
        }
    }
}
