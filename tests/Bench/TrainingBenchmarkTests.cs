using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>avedis bench, its table of operations, and the backend behind it that times them.</summary>
[NonParallelizable]
public sealed class TrainingBenchmarkTests
{
    private static readonly Tensor First = new("face.conv1.output", new Shape(2, 3), DType.F32);
    private static readonly Tensor Second = new("face.conv2.output", new Shape(4, 5), DType.F32);

    private static string[] Arguments(params string[] more) =>
        ["bench", .. TinyCorpus.SmallNetwork, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=1", "--steps", "2", .. more];

    [Test]
    public void Rows_are_medians_over_the_steps_per_operation_and_tensor()
    {
        OpCall[] Step(double seconds) =>
        [
            new("conv2d forward", First, seconds, 6e9, 3_000_000_000, ["conv_64x64", "reduce"]),
            new("conv2d forward", Second, 1, 5e9, 1_000_000_000, []),
            new("add", First, 0.5, 0, 1_000_000_000, []),
            new("add", First, 0.5, 0, 1_000_000_000, []),
        ];
        OpRow[] rows = OpTable.Rows([Step(100), Step(2), Step(1)]);
        Assert.That(rows.Select(row => (row.Op, row.Tensor)), Is.EqualTo(new[]
        {
            ("conv2d forward", First.Name), ("conv2d forward", Second.Name), ("add", First.Name),
        }));
        Assert.That(rows[0], Is.EqualTo(new OpRow("conv2d forward", First.Name, "[2, 3]", 2e6, 0.5, 3, 1.5, "conv_64x64, reduce")));
        Assert.That(rows[2], Is.EqualTo(new OpRow("add", First.Name, "[2, 3]", 1e6, 0.25, null, 2)));
        Assert.That(OpTable.Markdown(rows), Does.Contain("| launches |").And.Contain("| conv_64x64, reduce |"));
        Assert.That(OpTable.Markdown(rows[2..]), Does.Not.Contain("launches"), "where there are none");
    }

    [Test]
    public void The_median_is_the_middle_value()
    {
        Assert.That(TrainingBenchmark.Median([5, 1, 3]), Is.EqualTo(3));
        Assert.That(TrainingBenchmark.Median([5, 1, 3, 100]), Is.EqualTo(4));
    }

    [Test]
    public void Needs_no_data_and_says_how_fast_and_how_large()
    {
        var (code, json, error) = TinyCorpus.Run(Arguments("--json", "--ops", "--precision", "fp32"));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var report = JsonSerializer.Deserialize<BenchReport>(json, BenchJson.Options)!;
        string[] operations = [.. report.Ops!.Select(row => row.Op).Distinct()];
        Assert.Multiple(() =>
        {
            Assert.That((report.Preset, report.Precision, report.Batch, report.Steps), Is.EqualTo(("demo", "fp32", 4, 2)));
            Assert.That(report.ClipsPerSecond, Is.EqualTo(4 / report.SecondsPerStep).Within(1e-9).And.GreaterThan(0));
            Assert.That(Math.Min(report.ArenaBytes, report.PeakRssBytes), Is.GreaterThan(100_000));
            Assert.That(operations, Is.SupersetOf(new[]
            {
                "upload", "stem forward", "conv2d forward", "batch_norm forward", "softmax_cross_entropy", "stem backward", "adam", "download",
            }));
            Assert.That(report.Ops!.Sum(row => row.ShareOfStep), Is.EqualTo(1).Within(1e-9));
            Assert.That(report.Ops!.Single(row => row.Op == "log_mel"), Is.EqualTo(report.Ops![^1] with { Shape = "[1, 40, 100]", ShareOfStep = 0 }));
            Assert.That(report.Ops!.Single(row => row is { Op: "stem forward", Tensor: "face.bn1.output" }).Gflops, Is.GreaterThan(0));
        });
    }

    [Test]
    public void Times_the_operations_of_the_strategy_that_it_is_told()
    {
        var (code, json, error) = TinyCorpus.Run(Arguments("--json", "--ops", "--precision", "fp32", "--set", "training.strategy=projected"));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var rows = JsonSerializer.Deserialize<BenchReport>(json, BenchJson.Options)!.Ops!;
        Assert.That(rows.Count(row => row is { Op: "gradient_projection", Tensor: "primary.gradients" }), Is.EqualTo(1));
    }

    [Test]
    public void Times_the_augmentation_that_it_is_told()
    {
        var (code, json, error) = TinyCorpus.Run(Arguments("--json", "--ops", "--precision", "fp32", "--set", "training.augment.flip=true"));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var rows = JsonSerializer.Deserialize<BenchReport>(json, BenchJson.Options)!.Ops!;
        Assert.That(rows.Where(row => row.Op.StartsWith("augment", StringComparison.Ordinal)).Select(row => (row.Op, row.Tensor)), Is.EqualTo(new[] { ("augment faces", "face.input"), ("augment mels", "voice.input") }));
    }

    [Test]
    public void Writes_its_tables_where_it_is_told()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-bench").FullName;
        try
        {
            var (code, output, error) = TinyCorpus.Run(Arguments("--out", folder, "--precision", "fp32", "--batch-size", "2", "--threads", "1"));
            Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
            Assert.That(output, Does.Contain("demo, fp32, 2 clips").And.Contain("clips/s").And.Contain("1 thread").And.Not.Contain("GFLOP/s"));
            Assert.That(File.ReadAllText(Path.Combine(folder, "bench-demo-fp32.md")).TrimEnd(), Is.EqualTo(output.TrimEnd()));
            Assert.That(File.ReadAllText(Path.Combine(folder, "bench-demo-fp32.json")), Does.Contain("\"clips_per_second\"").And.Not.Contain("\"ops\""));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Refuses_a_number_of_steps_that_has_no_median() =>
        Assert.That(TinyCorpus.Run("bench", "--steps", "0").Code, Is.EqualTo(ExitCode.Usage));
}
