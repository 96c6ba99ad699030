using System.Text.Json.Nodes;
using System.Xml.Linq;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Clips, people and classes with names that would move a terminal's cursor, forge a line or run in a browser: nothing that is printed, and no report, holds
/// them as they are.
/// </summary>
[NonParallelizable]
public sealed class StrangersNamesTests
{
    private const string Evil = "\u001b[31m<script>alert(1)<\\script>\"&'\u202e\u0007";

    private string folder = "";

    [OneTimeSetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-names").FullName;

    [OneTimeTearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private static string Clean(int code, params string[] arguments)
    {
        var (actual, output, error) = TinyCorpus.Run(arguments);
        Assert.That(actual, Is.EqualTo(code), output + error);
        AssertClean(output + error, string.Join(' ', arguments.Take(1)));
        return output + error;
    }

    private static void AssertClean(string text, string where) =>
        Assert.That(text.Where(c => (char.IsControl(c) && c is not ('\n' or '\r')) || c == '\u202e').Select(c => (int)c), Is.Empty, where);

    [Test]
    public void A_corpus_with_such_names_goes_all_the_way()
    {
        string data = Directory.CreateDirectory(Path.Combine(folder, "data")).FullName, run = Path.Combine(folder, "run");
        foreach (string file in Directory.GetFiles(TinyCorpus.Prepared))
            File.Copy(file, Path.Combine(data, Path.GetFileName(file)));
        string path = Path.Combine(data, DatasetIndex.FileName);
        var index = JsonNode.Parse(File.ReadAllText(path))!;
        foreach (string list in (string[])["speakers", "emotions"])
            for (int i = 0; i < index[list]!.AsArray().Count; i++)
                index[list]![i] = $"{i}{Evil}\navedis: forged";
        foreach (var clip in index["clips"]!.AsArray())
            clip!["id"] = $"{Evil}\navedis: forged {clip["id"]}";
        File.WriteAllText(path, index.ToJsonString());

        List<string> printed =
        [
            Clean(ExitCode.Ok, ["train", data, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1"]),
            Clean(ExitCode.Ok, "evaluate", data, "--run", run),
            Clean(ExitCode.Ok, "probe", data, "--run", run, "--quick"),
            Clean(ExitCode.Ok, "contact-sheet", data, "--out", Path.Combine(folder, "sheet.png"), "--clips", "3"),
        ];
        string film = Path.Combine(folder, $"{Evil}\navedis: forged.mp4"), plot = Path.Combine(folder, "plot.svg");
        File.Copy(TinyCorpus.Clip, film);
        printed.Add(Clean(ExitCode.Ok, "predict", "--run", run, film));
        printed.Add(Clean(ExitCode.Ok, "predict", "--run", run, "--timeline", "--plot", plot, film));
        printed.Add(Clean(ExitCode.BadInput, "predict", "--run", run, film + "gone"));
        printed.Add(Clean(ExitCode.BadInput, "predict", "--run", run, "--timeline", film + "gone"));
        printed.Add(Clean(ExitCode.BadInput, "evaluate", film + "gone", "--run", run));
        printed.Add(Clean(ExitCode.BadCheckpoint, "evaluate", data, "--run", film + "gone"));
        foreach (string text in printed)
            Assert.That(text, Does.Not.Contain("\navedis: forged"), "a line of its own");
        Assert.That(printed[1], Does.Contain("?[31m<script>"), "names are printed at all");

        string report = File.ReadAllText(Path.Combine(run, "report.html"));
        AssertClean(report, "report.html");
        Assert.That(report, Does.Not.Contain("<script").And.Contain("?[31m&lt;script&gt;alert(1)&lt;\\script&gt;&quot;&amp;&#39;"));
        string drawn = File.ReadAllText(plot);
        AssertClean(drawn, "plot.svg");
        Assert.That(XDocument.Parse(drawn).Descendants().Any(element => element.Name.LocalName == "script"), Is.False);
    }

    [Test]
    public void Rejected_clips_and_faults_of_a_manifest_are_listed_clean()
    {
        string manifest = Path.Combine(folder, "manifest.csv"), quoted = $"\"{Evil.Replace("\"", "\"\"", StringComparison.Ordinal)}\"", prepared = Path.Combine(folder, "prepared");
        File.Copy(TinyCorpus.Clip, Path.Combine(folder, "good.mp4"));
        File.WriteAllText(manifest, $"path,speaker,emotion,split\ngood.mp4,ann,neutral,train\n{quoted},ann,neutral,train\ngood.mp4#,{quoted},neutral,test\n");
        Clean(ExitCode.Ok, "prepare", manifest, "--out", prepared, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=2");
        string rejected = File.ReadAllText(Path.Combine(prepared, Preparer.RejectedFileName));
        AssertClean(rejected, "rejected.csv");
        Assert.That(rejected, Does.Contain("?[31m"));

        foreach (string row in (string[])[$"a.mp4,ann,{quoted},train", $"a.mp4,ann,neutral,{quoted}", $"\"../{quoted[1..]},ann,neutral,train"])
        {
            File.WriteAllText(manifest, $"path,speaker,emotion,split\n{row}\n");
            Assert.That(Clean(ExitCode.BadInput, "prepare", manifest, "--out", prepared), Does.Contain("?[31m"));
        }
    }

    [TestCase("a\nb\tc\u001b[0m", "a?b?c?[0m")]
    [TestCase("\u00e9\u4e2d\U0001f600", "\u00e9\u4e2d\U0001f600")]
    [TestCase("\u202eabc\u2028\ufffe", "?abc??")]
    public void Texts_are_made_printable(string text, string shown)
    {
        Assert.That(Printable.Name(text), Is.EqualTo(shown));
        Assert.That(Printable.Line(text), Is.EqualTo(shown));
    }

    [Test]
    public void Long_names_end_and_halves_of_characters_are_replaced()
    {
        Assert.That(Printable.Name(new string('x', 500)), Has.Length.EqualTo(120));
        Assert.That(Printable.Name("half \ud83d of one"), Is.EqualTo("half \ufffd of one"));
    }
}
