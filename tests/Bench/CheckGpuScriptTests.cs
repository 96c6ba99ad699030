using System.Diagnostics;
using System.Formats.Tar;
using System.IO.Compression;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// bench/check-gpu with doubles of the programs that it starts: in which order, for how long at most, and what is there whatever ends it. A
/// double does as the variable DOUBLE_ and its name says: it sleeps for ever, or fails.
/// </summary>
public sealed class CheckGpuScriptTests
{
    private const string Avedis =
        """
        #!/bin/sh
        echo $$ >>"$CALLS.processes"
        echo "avedis $*" >>"$CALLS"
        case $1 in
            doctor) eval "${DOUBLE_DOCTOR:-}"; echo 'cuda        A GPU, sm_90' ;;
            train) for last; do [ "$before" != --run ] || mkdir -p "$last/checkpoints"; before=$last; done ;;
        esac
        """;

    private const string RunTests =
        """
        #!/bin/bash
        echo $$ >>"$CALLS.processes"
        echo "run-tests $*" >>"$CALLS"
        for last; do [ "$before" != --log ] || log=$last; before=$last; done
        part=$(tail -1 "$log")
        echo '{"kind":"started","name":"a test"}' >>"$log"
        case $part in *bf16*) eval "${DOUBLE_BF16:-}" ;; *fp32*) eval "${DOUBLE_FP32:-}" ;; esac
        echo '{"kind":"ended","name":"a test","outcome":"Passed"}' >>"$log"
        """;

    private const string RunBench =
        """
        #!/bin/sh
        for last; do [ "$before" != --out ] || out=$last; before=$last; done
        case $1 in
            summary)
                cp "$2/parts.tsv" "$2/check-gpu.json"
                cp "$2/parts.tsv" "$2/check-gpu.md"
                cat "$2/parts.tsv"
                ! grep -qvP '\tpassed\t' "$2/parts.tsv"
                exit
                ;;
            step) echo rows >"$out/step.json"; eval "${DOUBLE_STEP:-}" ;;
        esac
        echo $$ >>"$CALLS.processes"
        echo "run-bench $*" >>"$CALLS"
        """;

    private string folder = "";

    private string Out => Path.Combine(folder, "out");

    private string Calls => Path.Combine(folder, "calls");

    [SetUp]
    public void SetUp()
    {
        folder = Directory.CreateTempSubdirectory("avedis-check").FullName;
        Program("check-gpu", File.ReadAllText(Path.Combine(Repository.Root, "bench", "check-gpu")));
        Program("avedis", Avedis);
        Program("run-tests", RunTests);
        Program("run-bench", RunBench);
        Program("program/avedis", "");
        Directory.CreateDirectory(Path.Combine(folder, "data", "demo"));
        File.WriteAllText(Path.Combine(folder, "data", "demo", "dataset.json"), "{}");
    }

    [TearDown]
    public void TearDown()
    {
        foreach (int process in Started())
            if (Alive(process))
                Process.GetProcessById(process).Kill();
        Directory.Delete(folder, recursive: true);
    }

    private void Program(string name, string content)
    {
        string path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content + "\n");
        Assert.That(ChildProgram.Run("chmod", ["+x", path], TimeSpan.FromMinutes(1)).Succeeded);
    }

    private int[] Started() => File.Exists(Calls + ".processes") ? [.. File.ReadLines(Calls + ".processes").Select(int.Parse)] : [];

    private static bool Alive(int process) => Directory.Exists($"/proc/{process}")
        && !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);

    private Process Start(string[] arguments, params (string Name, string Does)[] doubles)
    {
        var start = new ProcessStartInfo(Path.Combine(folder, "check-gpu"), ["--out", Out, .. arguments]) { RedirectStandardOutput = true,
            RedirectStandardError = true };
        start.Environment["CALLS"] = Calls;
        foreach (var (name, does) in doubles)
            start.Environment[$"DOUBLE_{name}"] = does;
        return Process.Start(start)!;
    }

    private (int Code, string Output) Run(string[] arguments, params (string Name, string Does)[] doubles)
    {
        using var process = Start(arguments, doubles);
        var errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }

    /// <summary>Name and result of each part, from what stands for check-gpu.json.</summary>
    private (string Name, string Result, string Note)[] Parts() =>
        [.. File.ReadLines(Path.Combine(Out, "check-gpu.json")).Select(line => line.Split('\t')).Select(part =>
            (part[0], part[1], part[3]))];

    private string[] Archived()
    {
        using var file = File.OpenRead(Path.Combine(Out, "results.tar.gz"));
        using var tar = new TarReader(new GZipStream(file, CompressionMode.Decompress));
        var names = new List<string>();
        while (tar.GetNextEntry() is { } entry)
            names.Add(entry.Name.TrimStart('.', '/'));
        return [.. names];
    }

    private void ExpectFewFilesWithPlainNames()
    {
        string[] files = [.. Directory.EnumerateFileSystemEntries(Out, "*", SearchOption.AllDirectories).Select(path =>
            Path.GetRelativePath(Out, path))];
        Assert.That(files, Has.Length.LessThanOrEqualTo(8).And.All.Match("^[A-Za-z0-9._-]+$"));
    }

    private string[] Schedule(params string[] arguments) =>
        [.. Run([.. arguments, "--schedule"]).Output.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1)];

    [Test]
    public void The_headline_comes_behind_single_instructions_and_operations_and_within_four_minutes()
    {
        string[] rows = Schedule();
        Assert.That(rows.Take(7).Select(row => row.Split('|')[1].Trim()),
            Is.EqualTo(new[] { "doctor", "probes", "tests fp32", "tests tf32", "tests bf16", "tiles bf16", "**step paper 16 bf16**" }));
        Assert.That(rows.Take(7).Sum(row => int.Parse(row.Split('|')[4])), Is.LessThanOrEqualTo(240),
            "if every part takes as long as it may");
        string[] kinds = [.. rows.Select(row => row.Split('|')[1].Trim().Split(' ')[0])];
        Assert.That(kinds.Distinct(), Is.EqualTo(new[]
        {
            "doctor", "probes", "tests", "tiles", "**step", "networks", "train", "evaluate", "kernels", "step", "ops",
        }));
        Assert.That(rows.Sum(row => int.Parse(row.Split('|')[2])), Is.LessThan(530), "what is foreseen has to fit");
        Assert.That(File.Exists(Calls), Is.False, "a schedule runs nothing");
    }

    [Test]
    public void The_schedule_that_is_written_down_is_that_of_the_script() =>
        Assert.That(File.ReadAllText(Path.Combine(Repository.Root, "bench", "bundle-readme.md")), Does.Contain(Run(["--schedule"]).Output));

    [Test]
    public void Everything_in_its_order_and_in_few_files()
    {
        var (code, output) = Run(["--quick"]);
        Assert.That(code, Is.Zero, output);
        string[] names = ["doctor", "probes", "tests fp32", "tests tf32", "tests bf16", "tiles bf16", "step paper 16 bf16", "networks bf16",
            "train bf16", "evaluate bf16"];
        Assert.That(Parts().Select(part => part.Name), Is.EqualTo(names));
        Assert.That(Parts().Select(part => part.Result), Is.All.EqualTo("passed"));
        ExpectFewFilesWithPlainNames();
        Assert.That(Archived(), Is.SupersetOf(new[] { "logs/probes.log", "parts.tsv", "doctor.txt", "tests.jsonl" }));
        Assert.That(File.ReadAllText(Path.Combine(Out, "step.json")), Is.EqualTo("rows\n"));
        Assert.That(output.TrimEnd('\n').Split('\n')[^names.Length..], Is.EqualTo(File.ReadLines(Path.Combine(Out, "check-gpu.md"))),
            "the table of parts comes last");
    }

    [Test]
    public void A_driver_that_does_not_answer_is_no_gpu()
    {
        var (code, output) = Run(["--limit", "doctor=1"], ("DOCTOR", "trap '' TERM; while :; do sleep 1; done"));
        Assert.That(code, Is.EqualTo(5), output);
        Assert.That(output, Does.Contain("no answer from the driver within 1 s"));
        Assert.That(Started().Where(Alive), Is.Empty);
        Assert.That(Parts().Single(), Is.EqualTo(("doctor", "failed", "avedis doctor had no answer from the driver within 1 s")));
        ExpectFewFilesWithPlainNames();
    }

    [Test]
    public void A_part_ends_at_its_limit_with_all_that_it_started_and_the_next_one_runs()
    {
        // it ignores a polite end, and has a child that would go on by itself
        var (code, output) = Run(
            ["--parts", "tests", "--limit", "tests fp32=1"], ("FP32",
                "trap '' TERM; sleep 1000 & echo $! >>\"$CALLS.processes\"; while :; do sleep 1; done"));
        Assert.That(code, Is.EqualTo(1), output);
        Assert.That(Parts().Select(part => (part.Name, part.Result)),
            Is.EqualTo(new[]
            {
                ("doctor", "passed"), ("tests fp32", "timeout"), ("tests tf32", "passed"), ("tests bf16", "passed"),
                ("tiles bf16", "passed"),
            }));
        Assert.That(Parts()[1].Note, Is.EqualTo("longer than 1 s"));
        Assert.That(Started(), Has.Length.EqualTo(6));
        Assert.That(Started().Where(Alive), Is.Empty);
    }

    [Test]
    [Category(Tier.Long)]
    public void A_precision_in_which_a_test_hung_is_not_tried_again()
    {
        var (code, output) = Run(
            ["--parts", "tests,step"], ("BF16", """echo '{"kind":"ended","name":"a test","outcome":"Hung"}' >>"$log"; exit 1"""));
        Assert.That(code, Is.EqualTo(1), output);
        Assert.Multiple(() =>
        {
            foreach (var (name, result, note) in Parts())
                if (name != "tests bf16" && name.EndsWith("bf16", StringComparison.Ordinal))
                    Assert.That((result, note), Is.EqualTo(("not tried", "a test hung in tests bf16")), name);
                else
                    Assert.That(result, Is.EqualTo(name == "tests bf16" ? "failed" : "passed"), name);
        });
        Assert.That(Parts().Count(part => part.Result == "not tried"), Is.EqualTo(3));
    }

    [TestCase("", "timeout", Description = "slow: it has left rows")]
    [TestCase("rm $out/step.json;", "not tried", Description = "not one row")]
    [Category(Tier.Long)]
    public void A_step_that_gets_nowhere_is_not_tried_again_in_that_precision(string before, string second)
    {
        Run(["--parts", "step", "--limit", "step paper 16 bf16=1", "--limit", "step demo 32 bf16=1"],
            ("STEP", $"case $* in *bf16*) {before} sleep 1000 ;; esac"));
        Assert.That(Parts().Where(part => part.Name.EndsWith("bf16", StringComparison.Ordinal)).Select(part => part.Result),
            Is.EqualTo(new[] { "timeout", second }));
    }

    [Test]
    public void What_had_finished_is_there_when_everything_is_killed()
    {
        using var check = Start(["--parts", "probes,tests,step"], ("STEP", "sleep 1000"));
        string rows = Path.Combine(Out, "step.json"), progress = Path.Combine(Out, "progress.txt");
        WaitFor(check, () => File.Exists(rows));
        check.Kill(entireProcessTree: true);
        check.WaitForExit();
        ExpectFewFilesWithPlainNames();
        string[] finished = ["doctor", "probes", "tests fp32", "tests tf32", "tests bf16", "tiles bf16"];
        Assert.That(Parts().Select(part => part.Name), Is.EqualTo(finished));
        Assert.That(Archived(), Does.Contain("logs/tests-bf16.log"));
        Assert.That(File.ReadAllText(rows), Is.EqualTo("rows\n"), "of a part that had not finished");
        Assert.That(File.ReadLines(progress).Last(), Does.Match("step paper 16 bf16 begins, at most \\d+ s$"));
    }

    [Test]
    public void A_test_is_named_before_it_runs()
    {
        using var check = Start(["--parts", "tests"], ("FP32", "sleep 1000"));
        string log = Path.Combine(Out, "tests.jsonl");
        WaitFor(check, () => File.Exists(log) && File.ReadLines(log).Count() == 2);
        check.Kill(entireProcessTree: true);
        check.WaitForExit();
        string[] lines = ["""{"kind":"part","name":"tests fp32"}""", """{"kind":"started","name":"a test"}"""];
        Assert.That(File.ReadLines(log), Is.EqualTo(lines));
    }

    [Test]
    [Category(Tier.Long)]
    public void A_polite_end_still_brings_the_table()
    {
        using var check = Start(["--parts", "probes,tests"], ("FP32", "sleep 1000"));
        string log = Path.Combine(Out, "tests.jsonl");
        WaitFor(check, () => File.Exists(log) && File.ReadLines(log).Count() == 5);
        Process.Start("kill", ["-TERM", check.Id.ToString()]).WaitForExit();
        string output = check.StandardOutput.ReadToEnd();
        check.WaitForExit();
        Assert.That(check.ExitCode, Is.EqualTo(1));
        Assert.That(Parts().Select(part => (part.Name, part.Result)), Is.EqualTo(new[]
        {
            ("doctor", "passed"), ("probes", "passed"), ("tests fp32", "failed"), ("tests tf32", "not tried"),
            ("tests bf16", "not tried"), ("tiles bf16", "not tried"),
        }));
        Assert.That(output.TrimEnd(), Does.EndWith("the check was stopped"));
        Assert.That(Started().Where(Alive), Is.Empty);
    }

    [TestCase("--parts", "all")]
    [TestCase("--limit", "doctor")]
    [TestCase("--slow", "1")]
    public void A_wrong_option_is_refused(string option, string value)
    {
        var (code, output) = Run([option, value]);
        Assert.That(code, Is.EqualTo(2));
        Assert.That(output, Does.Contain("check-gpu"));
        Assert.That(Directory.Exists(Out), Is.False);
    }

    private static void WaitFor(Process process, Func<bool> condition)
    {
        while (!condition())
        {
            Assert.That(process.HasExited, Is.False, "check-gpu ended before its time");
            Thread.Sleep(20);
        }
    }
}
