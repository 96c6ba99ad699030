using System.Text.Json;
using Avedis.Trainer;
using Avedis.Trainer.Reproduce;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

/// <summary>A grid on data that lacks something: a clear error, or a defined result that says what is missing; never a NaN.</summary>
[Category(Tier.Long)]
public sealed class OddDataTests
{
    private string folder = "", manifest = "";

    [SetUp]
    public void SetUp()
    {
        folder = Directory.CreateTempSubdirectory("avedis-odd").FullName;
        manifest = Path.Combine(TinyCorpus.Corpus, $"{Path.GetFileName(folder)}.csv");
    }

    [TearDown]
    public void TearDown()
    {
        File.Delete(manifest);
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Prepares rows (path, speaker, emotion, split) of the tiny corpus and runs a small grid on them.</summary>
    private (int Code, string Error, GridResult? Grid) Run(Func<IEnumerable<string[]>, IEnumerable<string[]>> change, string methods)
    {
        var rows = File.ReadAllLines(Path.Combine(TinyCorpus.Corpus, "manifest.csv")).Skip(1).Select(line => line.Split(',')[..4]);
        File.WriteAllLines(manifest, ["path,speaker,emotion,split", .. change(rows).Select(row => string.Join(',', row))]);
        string data = Path.Combine(folder, "data");
        var prepared = TinyCorpus.Run(
            "prepare", manifest, "--out", data, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=2", "--set", "data.dropSpeakerPercentile=0");
        Assert.That(prepared.Code, Is.Zero, prepared.Error);
        var (code, _, error) = TinyCorpus.Run(
        [
            "reproduce", data, "--out", folder, "--seeds", "1", "--dimensions", "8", "--methods", methods, .. TinyCorpus.SmallNetwork, "--set", "training.epochs=1",
        ]);
        string path = Path.Combine(folder, "grid.json");
        foreach (string file in Directory.GetFiles(folder, "*.*").Where(file => Path.GetExtension(file) is ".json" or ".csv" or ".md" or ".html"))
            Assert.That(File.ReadAllText(file), Does.Not.Contain("NaN").And.Not.Contain("Infinity"), file);
        return (code, error, code == 0 ? JsonSerializer.Deserialize<GridResult>(File.ReadAllText(path), GridResult.Json) : null);
    }

    [Test]
    public void A_speaker_with_one_clip()
    {
        var (code, error, grid) = Run(
            rows => rows.GroupBy(row => row[1]).SelectMany((speaker, i) => i > 0 ? speaker : speaker.Take(1).Select(row => new[] { row[0], row[1], row[2], "train" })),
            "baseline,gr,leace");
        Assert.That(code, Is.Zero, error);
        Assert.That(grid!.Speakers, Is.EqualTo(3));
        Assert.That(grid.Cells.Where(cell => cell.Recipe == "paper").Select(cell => cell.SpeakerAccuracy), Is.All.Not.Null);
    }

    [Test]
    public void An_emotion_without_test_clips()
    {
        var (code, error, grid) = Run(rows => rows.Where(row => row[2] == "neutral" || row[3] != "test"), "baseline,leace");
        Assert.That(code, Is.Zero, error);
        Assert.That(grid!.Cells.SelectMany(cell => cell.Warnings), Has.Some.Contains("no test clip is").And.Some.Contains("macro-F counts it as 0"));
        Assert.That(grid.Cells[0].EmotionMacroF1, Is.InRange(0, 1));
    }

    [Test]
    public void One_speaker()
    {
        var (code, error, _) = Run(rows => rows.Where(row => row[1] == rows.First()[1]), "baseline");
        Assert.That(code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(error, Does.Contain("factor speaker has 1 class").And.Contain("network.tasks"));
    }

    [Test]
    public void No_test_clips()
    {
        var (code, error, _) = Run(rows => rows.Select(row => new[] { row[0], row[1], row[2], row[3] == "test" ? "train" : row[3] }), "baseline");
        Assert.That(code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(error, Does.Contain("no test clips"));
    }
}
