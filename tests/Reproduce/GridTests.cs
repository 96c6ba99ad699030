using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Trainer;
using Avedis.Trainer.Probes;
using Avedis.Trainer.Reproduce;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

/// <summary>avedis reproduce on a few clips: every method in both recipes, stopped and gone on with.</summary>
public sealed class GridTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-grid").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private string[] Arguments(params string[] more) =>
    [
        "reproduce", TinyCorpus.Prepared, "--out", folder, "--seeds", "1", "--dimensions", "8", "--precision", "fp32", .. TinyCorpus.SmallNetwork,
        "--set", "training.epochs=2", .. more,
    ];

    private GridResult Run(params string[] more)
    {
        var (code, _, error) = TinyCorpus.Run(Arguments(more));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        return JsonSerializer.Deserialize<GridResult>(File.ReadAllText(Path.Combine(folder, "grid.json")), GridResult.Json)!;
    }

    [Test]
    [Category(Tier.Long)]
    public void Every_method_is_trained_probed_and_compared()
    {
        var grid = Run();
        Assert.Multiple(() =>
        {
            Assert.That(grid.Cells.Select(c => $"{c.Method} {c.Recipe}"), Is.EqualTo(new[]
            {
                "baseline paper", "stl-emotion paper", "stl-speaker paper", "gr paper", "gr strong", "alt paper", "alt strong", "conf paper", "conf strong", "projected paper", "projected strong",
                "leace paper",
            }));
            Assert.That(grid.Cells, Has.Count.EqualTo(grid.Planned));
            foreach (var cell in grid.Cells)
            {
                Assert.That(cell.EmotionMacroF1 is null, Is.EqualTo(cell.Method == "stl-speaker"), cell.Method);
                Assert.That(cell.SpeakerAccuracy is null, Is.EqualTo(cell.Method == "stl-emotion"), cell.Method);
                Assert.That(cell.LeakEmotionFromSpeaker is null, Is.EqualTo(cell.Method == "stl-emotion"), cell.Method);
                Assert.That(cell.LeakInTrainingHead is null, Is.EqualTo(cell.Method.StartsWith("stl") || cell.Method == "leace"), cell.Method);
                Assert.That(cell.Comparison is null, Is.EqualTo(cell.Method is "baseline" or "stl-emotion" or "stl-speaker"), cell.Method);
            }
        });
        // chosen by the leak only where something is to forget, and, if so, among the epochs that were probed
        foreach (var cell in grid.Cells)
            Assert.That(cell.ProbedEpochs.Count(epoch => epoch.Chosen), Is.EqualTo(cell.Selection == "lowest_leak" ? 1 : 0), cell.Method);
        Assert.That(grid.Cells.Where(c => c.Selection == "lowest_leak").Select(c => c.Method), Is.SubsetOf(GridPlace.Adversarial));
        Assert.That(grid.Cells.Single(c => c.Method == "leace").EmotionMacroF1, Is.EqualTo(grid.Cells[0].EmotionMacroF1));
        // the strong recipe leaves the trunk and the emotion branch of the baseline as they are
        double baseline = grid.Cells[0].EmotionMacroF1!.Value;
        Assert.That(grid.Cells.Where(c => c.Recipe == "strong").Select(c => c.EmotionMacroF1), Is.All.EqualTo(baseline));
    }

    [Test]
    [Category(Tier.Long)]
    public void A_grid_goes_on_where_it_was_and_ends_the_same()
    {
        string[] some = ["--methods", "baseline,gr"];
        Run(some);
        string[] cells = Directory.GetFiles(folder, "cell.json", SearchOption.AllDirectories);
        Assert.That(cells, Has.Length.EqualTo(3));
        var untouched = File.GetLastWriteTimeUtc(cells.First(path => path.Contains("baseline")));
        string strong = cells.First(path => path.Contains("gr-strong"));
        string before = Scores(strong);
        File.Delete(strong);
        Run(some);
        Assert.That(Scores(strong), Is.EqualTo(before), "the run was finished: only the measuring is done again, to the same figures");
        Assert.That(File.GetLastWriteTimeUtc(cells.First(path => path.Contains("baseline"))), Is.EqualTo(untouched));

        static string Scores(string path)
        {
            var cell = JsonSerializer.Deserialize<GridCell>(File.ReadAllText(path), GridResult.Json)!;
            return $"{cell.EmotionMacroF1} {cell.SpeakerAccuracy} {cell.LeakEmotionFromSpeaker} {cell.LeakEmotionFromSpeakerBalanced} {cell.LeakSpeakerFromEmotion}";
        }
    }

    [Test]
    [Category(Tier.Long)]
    public void Several_processes_share_a_grid_out()
    {
        string[] some = ["--methods", "baseline,stl-emotion,gr"];
        string alone = Figures(Run(some));
        Directory.Delete(folder, recursive: true);
        var workers = Enumerable.Range(0, 3).Select(_ => Task.Run(() => TinyCorpus.Run(Arguments(some)))).ToArray();
        Task.WaitAll(workers);
        foreach (var worker in workers)
            Assert.That(worker.Result.Code, Is.EqualTo(ExitCode.Ok), worker.Result.Error);
        string[] begun = [.. workers.SelectMany(worker => worker.Result.Output.Split('\n').Where(line => line.StartsWith("cell ", StringComparison.Ordinal))).Select(line => line.Split(": ")[1].Split(',')[0].Trim())];
        Assert.That(begun, Is.Unique.And.Length.EqualTo(4), "each cell is one process's");
        Assert.That(Figures(JsonSerializer.Deserialize<GridResult>(File.ReadAllText(Path.Combine(folder, "grid.json")), GridResult.Json)!), Is.EqualTo(alone));

        static string Figures(GridResult grid) => string.Join("; ", grid.Cells.Select(cell => $"{cell.Method} {cell.Recipe} {cell.EmotionMacroF1} {cell.SpeakerAccuracy} {cell.LeakEmotionFromSpeaker} {cell.Comparison?.McNemar}"));
    }

    private string TrainBaseline(string name, string epochs, params string[] more)
    {
        string run = Path.Combine(folder, name);
        var (code, _, error) = TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, "--precision", "fp32", .. TinyCorpus.SmallNetwork, "--epochs", epochs, "--seed", "3", .. more]);
        Assert.That(code, Is.Zero, error);
        return run;
    }

    private (int Code, string Output, string Error) RunFrom(string baseline, string methods = "baseline,conf", params string[] more) =>
        TinyCorpus.Run(["reproduce", TinyCorpus.Prepared, "--out", Path.Combine(folder, "grid"), "--baseline", baseline, "--methods", methods, "--recipes", "strong", .. more]);

    [Test, Category(Tier.Long)]
    public void A_run_that_is_there_can_be_the_baseline()
    {
        string run = TrainBaseline("run", "2");
        string[] before = [.. Directory.GetFiles(run, "*", SearchOption.AllDirectories).Select(path => $"{path} {File.GetLastWriteTimeUtc(path):O}").Order()];
        var (code, text, error) = RunFrom(run);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var grid = JsonSerializer.Deserialize<GridResult>(File.ReadAllText(Path.Combine(folder, "grid", "grid.json")), GridResult.Json)!;
        Assert.Multiple(() =>
        {
            Assert.That(grid.Cells.Select(c => $"{c.Method} {c.Recipe} {c.SpeakerDimension} {c.Seed}"), Is.EqualTo(new[] { "baseline paper 8 3", "conf strong 8 3" }));
            Assert.That(grid.Cells[1].EmotionMacroF1, Is.EqualTo(grid.Cells[0].EmotionMacroF1), "trunk and emotion branch are those of the run");
            Assert.That(grid.Cells[1].Comparison, Is.Not.Null);
            Assert.That(grid.Precision, Is.EqualTo("fp32"));
            Assert.That(text, Does.Contain("before").And.Contain("after").And.Contain("emotions read from the speaker embedding"));
            Assert.That(Directory.GetFiles(run, "*", SearchOption.AllDirectories).Select(path => $"{path} {File.GetLastWriteTimeUtc(path):O}").Order(), Is.EqualTo(before), "the run stays as it is");
            Assert.That(Directory.Exists(Path.Combine(folder, "grid", "cells", "baseline-d8-s3", "checkpoints")), Is.False, "no other baseline is trained");
        });
        var evaluation = TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", run, "--json");
        Assert.That(JsonNode.Parse(evaluation.Output)!.ToJsonString(), Does.Contain(grid.Cells[0].EmotionMacroF1!.Value.ToString("R")), "the score that evaluate gives");
    }

    [Test]
    public void A_grid_of_another_baseline_is_refused()
    {
        Assert.That(RunFrom(TrainBaseline("run", "1"), "baseline").Code, Is.EqualTo(ExitCode.Ok));
        var (code, _, error) = RunFrom(TrainBaseline("other", "2", "--set", "training.epochs=1"), "baseline");
        Assert.That(code, Is.EqualTo(ExitCode.BadCheckpoint));
        Assert.That(error, Does.Contain("--out"));
    }

    [TestCase("--seeds", "1")]
    [TestCase("--dimensions", "64")]
    [TestCase("--preset", "grid")]
    [TestCase("--quick")]
    public void A_baseline_decides_what_else_options_would(params string[] option)
    {
        var (code, _, error) = RunFrom(TrainBaseline("run", "1"), more: option);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.StartWith($"avedis: {option[0]} and --baseline"));
    }

    [Test]
    public void What_was_trained_for_one_task_is_no_baseline()
    {
        var (code, _, error) = RunFrom(TrainBaseline("run", "1", "--strategy", "stl", "--task", "emotion"));
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain("both emotion and speaker"));
    }

    [TestCase("cell.json")]
    [TestCase("predictions.json")]
    [Category(Tier.Long)]
    public void A_damaged_result_is_named_and_without_it_made_again(string file)
    {
        string[] some = ["--methods", "stl-emotion"];
        Run(some);
        string path = Directory.GetFiles(folder, file, SearchOption.AllDirectories).Single(), whole = File.ReadAllText(path);
        File.WriteAllText(path, whole[..(whole.Length / 2)]);
        var (code, _, error) = TinyCorpus.Run(Arguments(some));
        Assert.That(code, Is.EqualTo(ExitCode.BadCheckpoint));
        Assert.That(error, Does.Contain(path).And.Contain("done again"));
        File.Delete(path);
        Run(some);
        Assert.That(File.Exists(path));
    }

    [Test]
    public void A_training_that_diverges_is_a_cell_without_numbers()
    {
        // with the baseline goes what starts from it
        var grid = Run("--methods", "baseline,conf", "--recipes", "strong", "--set", "training.learningRate=1e30");
        Assert.That(grid.Cells.Select(cell => cell.EmotionMacroF1), Is.EqualTo(new double?[] { null, null }));
        Assert.That(grid.Cells.Select(cell => cell.Warnings.Single()), Is.All.Contain("diverged"));
    }

    [Test]
    public void A_grid_of_other_settings_is_refused()
    {
        Run("--methods", "stl-emotion");
        var (code, _, error) = TinyCorpus.Run(Arguments("--methods", "stl-emotion", "--set", "training.learningRate=0.005"));
        Assert.That(code, Is.EqualTo(ExitCode.BadCheckpoint));
        Assert.That(error, Does.Contain(folder).And.Contain("--out"));
    }

    [Test]
    [Category(Tier.Long)]
    public void A_grid_goes_on_with_a_program_that_knows_more_settings()
    {
        Run("--methods", "stl-emotion");
        string path = Path.Combine(folder, "config.json"), known = File.ReadAllText(path);
        var older = JsonNode.Parse(known)!;
        Assert.That(older["training"]!["selection"]!.AsObject().Remove("floor"));
        File.WriteAllText(path, older.ToJsonString());
        Run("--methods", "stl-emotion");
        Assert.That(File.ReadAllText(path), Is.EqualTo(known));
    }

    [TestCase("--methods", "gr,magic")]
    [TestCase("--methods", "gr")]
    [TestCase("--dimensions", "0")]
    [TestCase("--seeds", "")]
    [TestCase("--recipes", "weak")]
    public void Wrong_lists_are_refused(string option, string value)
    {
        var (code, _, error) = TinyCorpus.Run("reproduce", TinyCorpus.Prepared, "--out", folder, option, value);
        Assert.That(code, Is.EqualTo(ExitCode.Usage), error);
        Assert.That(error, Does.StartWith($"avedis: {option}"));
    }

    [Test]
    public void Probes_of_a_run_say_what_is_in_its_embeddings()
    {
        string run = Path.Combine(folder, "run");
        Assert.That(TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "2", "--strategy", "gr"]).Code, Is.Zero);
        var (code, text, error) = TinyCorpus.Run("probe", TinyCorpus.Prepared, "--run", run, "--seeds", "1");
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var leaks = JsonSerializer.Deserialize<List<Leak>>(File.ReadAllText(Path.Combine(run, "probes.json")), Avedis.Engine.Json.Indented)!;
        Assert.Multiple(() =>
        {
            Assert.That(text, Does.Contain("emotion in speaker").And.Contain("speaker in emotion").And.Contain("head"));
            Assert.That(leaks.Select(l => (l.Embedding, l.Factor)), Is.EqualTo(new[] { ("emotion", "speaker"), ("speaker", "emotion") }));
            Assert.That(leaks.Select(l => l.InTraining), Is.All.Not.Null);
            Assert.That(leaks.Select(l => l.Untrained), Is.All.Not.Null);
        });
    }

    [Test]
    public void Principal_components_are_the_directions_of_most_variation()
    {
        // along (3, 4, 0) / 5 with deviation 10, along (0, 0, 1) with 2, else nothing
        var random = new Random(1);
        var points = new float[600];
        var along = new double[200];
        for (int i = 0; i < 200; i++)
        {
            (double a, double b) = (10 * (random.NextDouble() - 0.5), 2 * (random.NextDouble() - 0.5));
            along[i] = a;
            (points[3 * i], points[3 * i + 1], points[3 * i + 2]) = ((float)(0.6 * a + 7), (float)(0.8 * a), (float)b);
        }
        var projected = PrincipalComponents.Project(points, 3);
        double mean = along.Average(), sign = Math.Sign(projected[0].X * (along[0] - mean));
        Assert.Multiple(() =>
        {
            for (int i = 0; i < 200; i++)
                Assert.That(sign * projected[i].X, Is.EqualTo(along[i] - mean).Within(0.05));
            Assert.That(projected.Average(p => p.Y), Is.Zero.Within(1e-9));
            Assert.That(PrincipalComponents.Project(new float[12], 3), Is.All.EqualTo((0.0, 0.0)), "points that do not vary");
        });
    }
}
