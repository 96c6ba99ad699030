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

    private static IEnumerable<string> Links(XDocument document) => document.Descendants("a").Select(a => ((string)a.Attribute("href")!)[1..]);

    private static XElement Section(XDocument document, string id) => document.Descendants("section").Single(s => (string?)s.Attribute("id") == id);

    private static string[] Fields(XElement row) => [.. row.Elements().Select(cell => cell.Value)];

    [Test]
    public void A_full_grid_has_all_its_sections_in_order()
    {
        var document = Render(SyntheticGrid.Full());
        Assert.That(Sections(document), Is.EqualTo((string[])[
            "table1", "figure3a", "figure3b", "pareto", "selection", "leaks", "comparison", "confusion", "curves", "scatter", "time", "settings"]));
        Assert.That(Links(document), Is.EqualTo(Sections(document)));
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
        Assert.That(document.Descendants("table").First().Descendants("td").Count(td => td.Value == "–"), Is.EqualTo(3 * 11));
        Assert.That(Sections(document), Does.Not.Contain("selection").And.Not.Contains("curves"));
        Assert.That(Links(document), Is.EqualTo(Sections(document)));
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
                    ByScore = new(3, double.NaN, double.NaN, double.NegativeInfinity), ProbedEpochs = [.. c.ProbedEpochs.Select((e, i) => i == 0 ? e : e with { Leak = double.NaN })],
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
        string shown = "<b>&\"'?]]>\ufffd</style><scr ipt>";
        Assert.That(document.Descendants("h1").Single().Value, Does.Contain($"d{shown}"));
        Assert.That(Text(document), Does.Contain($"w{shown}").And.Contains($"m{shown} r{shown}"));
        Assert.That(document.Descendants("td").Select(td => td.Value), Does.Contain(shown));
        Assert.That(document.Descendants().Any(e => e.Name.LocalName == "scr"), Is.False);
    }

    [Test]
    public void Settings_are_a_difference_to_the_baseline()
    {
        var rows = Section(Render(SyntheticGrid.Full()), "settings").Descendants("table").First().Element("tbody")!.Elements("tr").Select(Fields).ToDictionary(f => f[0]);
        Assert.That(rows.Keys, Does.Contain("training.strategy").And.Contains("training.adversary.strength"));
        Assert.That(rows.Keys, Does.Not.Contain("training.seed").And.Not.Contains("network.factors.speaker.embedding").And.Not.Contains("training.epochs"));
        // setting, baseline, emotion alone, speaker alone, ALT paper, ALT strong, ...
        Assert.That(rows["training.adversary.strength"][1..6], Is.EqualTo((string[])["1", "·", "·", "·", "3"]));
    }

    [Test]
    public void The_yardsticks_are_told_from_the_papers_methods()
    {
        var document = Render(SyntheticGrid.Full());
        Assert.That(Text(document), Does.Contain("Zhang et al. 2018").And.Contains("Belrose et al. 2023").And.Contains("are yardsticks from elsewhere"));
        Assert.That(Section(document, "figure3a").Descendants("li").Select(li => li.Value).Take(10), Is.EqualTo((string[])[
            "baseline", "ALT paper", "ALT strong", "GR paper", "GR strong", "CONF paper", "CONF strong", "projected paper", "projected strong", "LEACE"]));
        var full = SyntheticGrid.Full();
        string text = Text(Render(full with { Cells = [.. full.Cells.Where(c => c.Method != "projected")] }));
        Assert.That(text, Does.Contain("is a yardstick from elsewhere").And.Not.Contains("Zhang"));
    }

    [Test]
    public void Selection_by_leak_stands_beside_selection_by_score()
    {
        var grid = SyntheticGrid.Full();
        var section = Section(Render(grid), "selection");
        var rows = section.Descendants("tbody").Last().Elements("tr").Skip(1).ToList();
        Assert.That(rows, Has.Count.EqualTo(8), "ALT, GR, CONF and projected in two recipes; LEACE and the baseline have nothing to choose");
        var gr = grid.Cells.Where(c => c is { Method: "gr", Recipe: "strong", SpeakerDimension: 64 }).ToList();
        Assert.That(gr.Any(c => c.ByScore is not null));
        string[] fields = Fields(rows.Single(row => row.Elements().First().Value == "GR strong"));
        var leak = gr.Select(c => c.ByScore?.Leak ?? c.LeakEmotionFromSpeaker).ToList();
        Assert.That(fields[1], Is.EqualTo(Range(gr.Select(c => c.Epoch))));
        Assert.That(fields[5], Is.EqualTo(Range(gr.Select(c => c.ByScore?.Epoch ?? c.Epoch))));
        Assert.That(fields[2], Does.StartWith($"{gr.Average(c => c.EmotionMacroF1):F3}"));
        Assert.That(fields[4], Does.StartWith($"{gr.Average(c => c.LeakEmotionFromSpeaker):F3}"));
        Assert.That(fields[6], Does.StartWith($"{gr.Average(c => c.ByScore?.EmotionMacroF1 ?? c.EmotionMacroF1):F3}"));
        Assert.That(fields[7], Does.StartWith($"{100 * gr.Average(c => c.ByScore?.SpeakerAccuracy ?? c.SpeakerAccuracy):F1}"));
        Assert.That(fields[8], Does.StartWith($"{leak.Average():F3}"));
        Assert.That(fields[10], Does.StartWith($"−{leak.Average() - gr.Average(c => c.LeakEmotionFromSpeaker):F3}"));
        Assert.That(rows.Single(row => row.Elements().First().Value.StartsWith("CONF strong", StringComparison.Ordinal)).Value, Does.Contain("1 of 3 without a choice"));

        static string Range(IEnumerable<int> epochs) => epochs.Min() == epochs.Max() ? $"{epochs.Min()}" : $"{epochs.Min()}–{epochs.Max()}";
    }

    [Test]
    public void The_front_of_the_probed_epochs_is_drawn_and_the_chosen_one_marked()
    {
        ProbedEpoch[] epochs = [new(2, 0.5, 0.1, false), new(4, 0.9, 0.5, true), new(6, 0.905, 0.6, false), new(8, 0.8, 0.7, false), new(10, 0.4, 0.1, false)];
        var cell = SyntheticGrid.Cell("gr", "strong", 64, 1) with { ProbedEpochs = epochs };
        var panel = Section(Render(SyntheticGrid.Of([cell], planned: 1)), "selection").Descendants("div").Single(d => (string?)d.Attribute("class") == "panel");
        string front = (string)panel.Descendants("polyline").Single().Attribute("points")!;
        double[][] points = [.. front.Split(' ').Select(p => p.Split(',').Select(double.Parse).ToArray())];
        Assert.That(points, Has.Length.EqualTo(3), "epochs 2, 4 and 6");
        Assert.That(points.Select(p => p[0]), Is.Ordered.Ascending);
        Assert.That(points.Select(p => p[1]), Is.Ordered.Descending);
        var marks = panel.Descendants("path").Where(p => p.Value.Length > 0).ToDictionary(p => Regex.Match(p.Value, @"epoch (\d+)").Groups[1].Value, p => p);
        Assert.That(marks.Where(m => (string?)m.Value.Attribute("class") == "solid").Select(m => m.Key), Is.EquivalentTo((string[])["2", "4", "6"]));
        Assert.That(marks.Where(m => (string?)m.Value.Attribute("class") == "solid pale").Select(m => m.Key), Is.EquivalentTo((string[])["8", "10"]));
        Assert.That((string?)((XElement)marks["4"].PreviousNode!).Attribute("class"), Is.EqualTo("ring"));
        Assert.That(panel.Descendants("path").Count(p => (string?)p.Attribute("class") == "ring"), Is.EqualTo(1));
    }

    [Test]
    public void One_probed_epoch_and_none()
    {
        var cell = SyntheticGrid.Cell("alt", "paper", 64, 1) with { ByScore = null, ProbedEpochs = [new(3, 0, 0, true)] };
        var section = Section(Render(SyntheticGrid.Of([cell], planned: 1)), "selection");
        Assert.That(section.Descendants("polyline").Count(p => p.Parent!.Name == "g"), Is.Zero);
        // other dimensions than the smallest have the table and no figure
        var other = cell with { SpeakerDimension = 256 };
        section = Section(Render(SyntheticGrid.Of([other, cell with { ProbedEpochs = [] }], planned: 2)), "selection");
        Assert.That(section.Descendants("figure"), Is.Empty);
        Assert.That(section.Descendants("table").Count(), Is.EqualTo(1));
        Assert.That(Sections(Render(SyntheticGrid.Of([cell with { ProbedEpochs = [] }], planned: 1))), Does.Not.Contain("selection"));
        Assert.That(Sections(Render(SyntheticGrid.Of([cell with { ProbedEpochs = [new(3, double.NaN, 0.2, false)] }], planned: 1))), Does.Not.Contain("selection"));
    }
}
