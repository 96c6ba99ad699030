using System.Text.Json.Nodes;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

/// <summary>avedis reproduce --sweep: a declared search, and a grid with what it found.</summary>
public sealed class SweepTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-sweep").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private (int Code, string Output, string Error) Run(params string[] more) => TinyCorpus.Run(
    [
        "reproduce", TinyCorpus.Prepared, "--out", folder, "--seeds", "1", "--dimensions", "8", "--precision", "fp32", .. TinyCorpus.SmallNetwork, "--set", "training.epochs=2", .. more,
    ]);

    private string Declare(string text)
    {
        string path = Path.Combine(folder, "search.json");
        File.WriteAllText(path, text);
        return path;
    }

    [Test]
    [Category(Tier.Long)]
    public void Every_combination_is_tried_and_the_best_goes_into_a_grid()
    {
        string file = Declare("""{ "method": "conf", "dimension": 8, "seeds": [1], "settings": { "training.adversary.strength": [0, 1], "training.epochs": [2, 3], "training.selection.floor": [1] } }""");
        var (code, output, error) = Run("--sweep", file);
        Assert.That(code, Is.Zero, error);
        Assert.That(output, Does.Contain("trial 4 of 4").And.Contain("strength 1, epochs 3"));
        string[] trials = Directory.GetFiles(Path.Combine(folder, "sweep", "conf"), "trial.json", SearchOption.AllDirectories);
        Assert.That(trials, Has.Length.EqualTo(4));
        var table = File.ReadAllLines(Path.Combine(folder, "sweep", "conf", "sweep.md"));
        Assert.That(table, Has.Length.EqualTo(2 + 4));

        // a second call has nothing to do and finds the same
        var (_, again, _) = Run("--sweep", file);
        Assert.That(again, Does.Not.Contain("trial "));
        Assert.That(File.ReadAllLines(Path.Combine(folder, "sweep", "conf", "sweep.md")), Is.EqualTo(table));

        string settings = Path.Combine(folder, "sweep", "conf", "settings.json");
        Assert.That(JsonNode.Parse(File.ReadAllText(settings))!["conf"]!["training"]!["epochs"]!.GetValue<int>(), Is.AnyOf(2, 3));
        (code, _, error) = Run("--settings", settings, "--methods", "baseline,conf", "--recipes", "strong");
        Assert.That(code, Is.Zero, error);
        Assert.That(File.ReadAllText(Path.Combine(folder, "cells", "conf-strong-d8-s1", "config.json")), Does.Contain("\"floor\": 1"));
        Assert.That(Run("--methods", "baseline,conf", "--recipes", "strong").Code, Is.EqualTo(ExitCode.BadCheckpoint), "cells of other settings do not compare");
    }

    [TestCase("""{ "method": "baseline" }""", "baseline")]
    [TestCase("""{ "method": "conf", "setting": {} }""", "setting")]
    [TestCase("""{ "method": "conf", "settings": { "training.adversary.strenth": [1] } }""", "strength")]
    [TestCase("""{ "method": "conf", "settings": { "training.epochs": [] } }""", "training.epochs")]
    [TestCase("""{ "method": "conf", "settings": { "training.epochs": 3 } }""", "list")]
    [TestCase("""{ "method": "conf", "seeds": [] }""", "seeds")]
    [TestCase("[]", "object")]
    public void A_file_that_declares_no_search_is_refused(string text, string what)
    {
        var (code, _, error) = Run("--sweep", Declare(text));
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain(what).And.Not.Contain("   at "));
    }

    [Test]
    public void Settings_of_an_unknown_method_are_refused() => Assert.That(Run("--settings", Declare("""{ "magic": {} }""")).Error, Does.Contain("magic"));
}
