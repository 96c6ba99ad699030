using System.Diagnostics;
using System.Text.RegularExpressions;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What terminals of any width show, of programs that run in one, and what goes into files.</summary>
[NonParallelizable]
public sealed class ScreenTests
{
    private string folder = "";

    [OneTimeSetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-screen").FullName;

    [OneTimeTearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    /// <summary>What a program writes to a terminal of its own, which script makes.</summary>
    private static string InTerminal(int columns, string environment, params string[] words)
    {
        string line = string.Join(' ', words.Prepend(TinyCorpus.ProgramPath).Select(word => $"'{word}'"));
        string[] arguments = ["-qec", $"stty cols {columns} rows 30; env {environment} dotnet {line}", "/dev/null"];
        var start = new ProcessStartInfo("script", arguments) { RedirectStandardOutput = true, RedirectStandardInput = true };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("script (util-linux) is not there to make a terminal");
            throw;
        }
        using (process)
        {
            process.StandardInput.Close();
            string text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.That(process.ExitCode, Is.Zero, text);
            return text;
        }
    }

    private static string Plain(string text) => Regex.Replace(text, "\u001b\\[[0-9;?]*[A-Za-z]|\u001b[=>]", "");

    // each state of a line that was rewritten
    private static string[] States(string text, string what) =>
        [.. Plain(text).Split('\r', '\n').Where(line => line.StartsWith(what, StringComparison.Ordinal))];

    [TestCase(30)]
    [TestCase(40)]
    [TestCase(70)]
    [TestCase(120)]
    public void Progress_fits_the_terminal(int columns)
    {
        string run = Path.Combine(folder, $"run-{columns}");
        string[] train = ["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1", "--device", "cpu"];
        string text = InTerminal(columns, "TERM=xterm LC_ALL=C.UTF-8", train);
        string[] states = States(text, "epoch 1/1");
        Assert.That(states, Is.Not.Empty, text);
        Assert.That(states.Select(line => line.Length), Is.All.LessThan(columns));
        Assert.That(states[^1], Does.Match(@"\d+/\d+"));
        Assert.That(text, Does.Not.Contain("\u001b[?25l"), "the cursor is never hidden, so nothing can leave it so");
        if (columns >= 70)
            Assert.That(states[^1], Does.Contain("\u2501").And.Contain("took"), "a bar");
    }

    [Test]
    public void Tables_fit_the_terminal()
    {
        string run = Path.Combine(folder, "run");
        Assert.That(TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "1"]).Code,
            Is.EqualTo(ExitCode.Ok));
        foreach (int columns in (int[])[36, 120])
        {
            string[] lines = Plain(InTerminal(columns, "TERM=xterm", "evaluate", TinyCorpus.Prepared, "--run", run, "--device",
                "cpu")).Split('\n');
            string[] table = [.. lines.SkipWhile(line => !line.Contains("score")).Select(line => line.TrimEnd('\r'))];
            Assert.That(table, Has.Length.GreaterThan(5));
            Assert.That(table.Select(line => line.Length), Is.All.LessThanOrEqualTo(columns), string.Join('\n', table));
        }
        string piped = TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", run).Output;
        Assert.That(piped, Does.Match(@"(?m)^emotion macro-F +\d\.\d{3} +\d\.\d{3}$").And.Not.Contain("\u001b"), "plain rows for grep");
        Assert.That(piped.Split('\n').Single(line => line.StartsWith("run folder", StringComparison.Ordinal)),
            Does.Contain(run).And.Contain("evaluation/test/"));
    }

    [TestCase("TERM=dumb")]
    [TestCase("-u TERM")]
    public void A_terminal_that_can_do_nothing_gets_plain_lines(string environment)
    {
        string text = InTerminal(60, environment, "doctor");
        Assert.That(text, Does.Not.Contain("\u001b[").And.Contain("ready"));
    }

    [Test]
    public void No_colours_where_nobody_wants_them()
    {
        string synth = Path.Combine(folder, "synth");
        string[] words = ["synth", "--speakers", "3", "--clips", "6", "--seconds", "0.5", "--out"];
        Assert.That(InTerminal(80, "TERM=xterm", [.. words, synth]), Does.Match("\u001b\\[[0-9;]*3[0-9]|\u001b\\[[0-9;]*9[0-9]"),
            "a green bar");
        Assert.That(InTerminal(80, "TERM=xterm NO_COLOR=1", [.. words, synth + "-plain"]), Does.Not.Match("\u001b\\[[0-9;]*[39][0-9]m"));
    }

    [Test]
    public void A_terminal_of_no_width_is_taken_for_a_usual_one() =>
        Assert.That(InTerminal(0, "TERM=xterm", "doctor"), Does.Contain("ready"));

    [Test]
    public void Texts_of_strangers_are_no_markup()
    {
        var table = Screen.Table("name", "figure");
        table.Add("[red]none[/]", "1");
        table.Add("\u4e2d\u6587\u540d\u5b57", "22");
        table.Add("a\u001b[31mb\nc", "3");
        var text = new StringWriter();
        Screen.Write(text, table);
        string[] lines = text.ToString().TrimEnd().Split('\n');
        Assert.That(lines, Is.EqualTo(new[]
        {
            "name          figure",
            "[red]none[/]       1",
            "\u4e2d\u6587\u540d\u5b57          22", // each two columns wide
            "a?[31mb?c          3",
        }));
        var finding = new StringWriter();
        Screen.WriteFinding(finding, "[bold]x", new string('y', 300) + " [/]");
        Assert.That(finding.ToString(), Is.EqualTo($"[bold]x       {new string('y', 300)} [/]\n"), "one line in a file, however long");
    }

    [Test]
    public void Progress_in_a_file_is_plain_lines()
    {
        var text = new StringWriter();
        var progress = new Progress(text, "prepare", "clips");
        progress.Report(1, 3);
        progress.Report(3, 3, note: "[red]");
        progress.End();
        Assert.That(text.ToString(), Does.Match(@"^prepare: 3/3 clips, [\d,.]+/s, took 0 s, \[red\]\n$"));
    }
}
