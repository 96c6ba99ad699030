using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;
using Avedis.Trainer.Reproduce;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

/// <summary>The report of a grid is one clean file whatever is missing; set AVEDIS_GRID_REPORTS to a folder to look at what these tests render.</summary>
public class GridReportTests
{
    private static readonly string[] anyResource = ["<script", "http", "src=", "@import", "<link", "<iframe", "<object", "javascript:"];

    /// <summary>Renders, and checks what holds for every report.</summary>
    private static XDocument Render(GridResult grid)
    {
        string html = GridReport.Create(grid);
        if (Environment.GetEnvironmentVariable("AVEDIS_GRID_REPORTS") is { Length: > 0 } folder)
            File.WriteAllText(Path.Combine(folder, $"{TestContext.CurrentContext.Test.Name}.html"), html);
        Assert.That(html, Does.Not.Contain("NaN").And.Not.Contains("Infinity").And.Not.Contains("∞"));
        foreach (string part in anyResource)
            Assert.That(html, Does.Not.Contain(part).IgnoreCase);
        Assert.That(Regex.Count(html, @"url\((?!#)"), Is.Zero, "a resource outside of the page");
        using var reader = XmlReader.Create(new StringReader(html), new XmlReaderSettings { DtdProcessing = DtdProcessing.Ignore });
        var document = XDocument.Load(reader);
        string[] ids = [.. document.Descendants().Select(e => (string?)e.Attribute("id")).OfType<string>()];
        Assert.That(ids, Is.Unique);
        foreach (string? link in document.Descendants("a").Select(a => (string?)a.Attribute("href")))
            Assert.That(link, Does.StartWith("#"));
        foreach (Match hatch in Regex.Matches(html, @"url\(#([^)]*)\)"))
            Assert.That(ids, Does.Contain(hatch.Groups[1].Value));
        foreach (var table in document.Descendants("table"))
            AssertRectangular(table);
        return document;
    }

    // every row spans as many columns as the others
    private static void AssertRectangular(XElement table)
    {
        var widths = new List<int>();
        int hanging = 0;
        foreach (var row in table.Descendants("tr"))
        {
            widths.Add(hanging + row.Elements().Sum(cell => (int?)cell.Attribute("colspan") ?? 1));
            hanging = row.Elements().Count(cell => (int?)cell.Attribute("rowspan") == 2);
        }
        Assert.That(widths.Distinct().Count(), Is.LessThanOrEqualTo(1), $"rows of {string.Join(", ", widths)} columns in {table.Parent?.Attribute("aria-label")}");
    }

    private static string Text(XDocument document) => document.Root!.Element("body")!.Value;

    private static string[] Sections(XDocument document) => [.. document.Descendants("section").Select(s => (string)s.Attribute("id")!)];

    private static string[] Fields(XElement row) => [.. row.Elements().Select(cell => cell.Value)];

    [Test]
    public void A_full_grid_has_all_its_sections_in_order()
    {
        var document = Render(SyntheticGrid.Full());
        Assert.That(Sections(document), Is.EqualTo((string[])[
            "table1", "figure3a", "figure3b", "pareto", "leaks", "comparison", "confusion", "curves", "scatter", "time", "settings"]));
        Assert.That(document.Descendants("a").Select(a => ((string)a.Attribute("href")!)[1..]), Is.EqualTo(Sections(document)));
        Assert.That(document.Descendants("p").Any(p => (string?)p.Attribute("class") == "notice"), Is.False);
        string lead = document.Descendants("p").Single(p => (string?)p.Attribute("class") == "lead").Value;
        Assert.That(lead, Does.Contain("64").And.Contains("0.174").And.Contains("ALT strong").And.Contains("CONF paper"));
    }

    [Test]
    public void One_seed_shows_bootstrap_intervals() => Assert.That(Text(Render(SyntheticGrid.Full(seeds: 1))), Does.Contain("bootstrap interval").And.Not.Contains("range over seeds"));

    [Test]
    public void Other_dimensions_than_the_papers_keep_its_rows_beside_them()
    {
        var table = Render(SyntheticGrid.Full(seeds: 2, 8, 64)).Descendants("table").First();
        var rows = table.Element("tbody")!.Elements("tr").Select(Fields).ToList();
        Assert.That(rows.Select(row => row[0]), Is.EqualTo((string[])["2048", "256", "64", "8"]));
        Assert.That(rows[2][^4..], Is.EqualTo((string[])["90.62", "92.83", "91.17", "90.75"]));
        Assert.That(rows[0][1..^4], Is.All.EqualTo("–"));
        Assert.That(rows[3][^4..], Is.All.EqualTo("–"));
    }

    [Test]
    public void An_empty_grid_says_so()
    {
        var document = Render(SyntheticGrid.Of([], planned: 45) with { Device = "", Precision = "" });
        Assert.That(Text(document), Does.Contain("0 of 45 cells").And.Contains("No finished cell"));
    }

    [TestCase("baseline", 64)]
    [TestCase("stl-emotion", 0)]
    [TestCase("stl-speaker", 256)]
    [TestCase("alt", 64)]
    public void One_cell(string method, int dimension) =>
        Assert.That(Text(Render(SyntheticGrid.Of([SyntheticGrid.Cell(method, "paper", dimension, 1)], planned: 45))), Does.Contain("1 of 45 cells"));

    [TestCase(12)]
    [TestCase(30)]
    public void Some_cells(int count)
    {
        var full = SyntheticGrid.Full();
        Assert.That(Text(Render(full with { Cells = [.. full.Cells.Reverse().Take(count)] })), Does.Contain($"{count} of {full.Planned} cells"));
    }

    [Test]
    public void Nothing_but_names()
    {
        var full = SyntheticGrid.Full();
        var document = Render(full with { Cells = [.. full.Cells.Select(c => SyntheticGrid.Bare(c.Method, c.Recipe, c.SpeakerDimension, c.Seed))] });
        Assert.That(document.Descendants("table").First().Descendants("td").Count(td => td.Value == "–"), Is.EqualTo(3 * 8));
    }

    [Test]
    public void Numbers_that_are_none_are_missing()
    {
        var none = new Estimate(double.NaN, double.NegativeInfinity, double.PositiveInfinity);
        var full = SyntheticGrid.Full();
        Render(full with
        {
            Cells =
            [
                .. full.Cells.Select(c => c with
                {
                    EmotionMacroF1 = double.NaN, SpeakerAccuracy = double.PositiveInfinity, EmotionInterval = none, SpeakerInterval = none, LeakEmotionFromSpeaker = double.NaN,
                    LeakChance = double.NaN, LeakInTrainingHead = double.NegativeInfinity, EmbeddingNorm = double.PositiveInfinity, TrainSeconds = double.NaN,
                    EmotionCurve = [double.NaN, 0.3, double.PositiveInfinity], SpeakerCurve = [double.NaN], Scatter = [[double.NaN, 1, 0, 0], [1], [1, 2, -1, 0]],
                    Comparison = new(double.NaN, double.NaN, double.NaN, none, none, none) { StuartMaxwellHolm = double.NaN }, EmotionConfusion = [[1, 2], [3, 4]],
                }),
            ],
        });
    }

    [Test]
    public void Values_that_are_all_the_same_render() => Render(SyntheticGrid.Of(
        [.. new[] { "baseline", "gr", "conf" }.Select(m => SyntheticGrid.Cell(m, "paper", 1, 1) with
        {
            EmotionMacroF1 = 0, SpeakerAccuracy = 0, EmotionInterval = null, LeakEmotionFromSpeaker = 0, LeakEmotionFromSpeakerBalanced = 0, LeakInTrainingHead = 0, LeakChance = 0,
            EmotionCurve = [0], SpeakerCurve = [0], Scatter = [[1, 1, 0, 0], [1, 1, 1, 0]], TrainSeconds = 0, ProbeSeconds = 0,
            EmotionConfusion = [.. Enumerable.Range(0, 5).Select(_ => new long[5])],
        })], planned: 3));

    [Test]
    public void Names_are_escaped()
    {
        const string Evil = "<b>&\"'\u0001]]>\ud800</style><scr ipt>";
        var cell = SyntheticGrid.Cell("alt", "paper", 64, 1) with { Method = $"m{Evil}", Recipe = $"r{Evil}", Warnings = [$"w{Evil}"] };
        var grid = SyntheticGrid.Of([SyntheticGrid.Cell("baseline", "paper", 64, 1), cell], planned: 2, data: $"d{Evil}", emotions: [.. SyntheticGrid.Emotions.Select(e => $"{Evil}{e}")]);
        var document = Render(grid with { DataHash = Evil, Version = Evil, Device = Evil, Precision = Evil });
        string shown = "<b>&\"' ]]>\ufffd</style><scr ipt>";
        Assert.That(document.Descendants("h1").Single().Value, Does.Contain($"d{shown}"));
        Assert.That(Text(document), Does.Contain($"w{shown}").And.Contains($"m{shown} r{shown}"));
        Assert.That(document.Descendants("td").Select(td => td.Value), Does.Contain(shown));
        Assert.That(document.Descendants().Any(e => e.Name.LocalName == "scr"), Is.False);
    }

    [Test]
    public void Settings_are_a_difference_to_the_baseline()
    {
        var rows = Render(SyntheticGrid.Full()).Descendants("section").Single(s => (string?)s.Attribute("id") == "settings")
            .Descendants("table").First().Element("tbody")!.Elements("tr").Select(Fields).ToDictionary(f => f[0]);
        Assert.That(rows.Keys, Does.Contain("training.strategy").And.Contains("training.adversary.strength"));
        Assert.That(rows.Keys, Does.Not.Contain("training.seed").And.Not.Contains("network.factors.speaker.embedding").And.Not.Contains("training.epochs"));
        // setting, baseline, emotion alone, speaker alone, ALT paper, ALT strong, ...
        Assert.That(rows["training.adversary.strength"][1..6], Is.EqualTo((string[])["1", "·", "·", "·", "3"]));
    }
}
