using Avedis.Bench;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class StepBenchmarkTests
{
    private static EngineReport Report(string engine, string precision, params double[] losses) =>
        new(engine, "1", "demo", precision, "nchw", 8, 2, losses, 1000);

    private static ResultRow Row(string engine, string preset, double clipsPerSecond) => new(
        engine, "1", preset, "fp32", "nchw", 8, 2, clipsPerSecond, 8 / clipsPerSecond, 100 << 20, [2.5], 10, 5, 1, "2020-01-02");

    [Test]
    public void Engines_whose_first_losses_agree_are_compared()
    {
        var ours = Report("avedis", "fp32", 2.3950, 2.3840, 2.2837);
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(ours, Report("pytorch", "fp32", 2.3951, 2.3839)));
    }

    [TestCase(2.40, 2.38)]
    [TestCase(2.395, 2.40)]
    [TestCase(2.395, double.NaN)]
    public void Engines_whose_first_losses_differ_are_not_compared(double first, double second)
    {
        var failure = Assert.Throws<UserException>(
            () => StepBenchmark.CompareLosses(Report("avedis", "fp32", 2.395, 2.384), Report("pytorch", "fp32", first, second)));
        Assert.That(failure!.Message, Does.StartWith("the engines do different work"));
    }

    [Test]
    public void Bf16_losses_may_differ_by_what_its_rounding_costs() =>
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(Report("avedis", "bf16", 2.40), Report("pytorch", "bf16", 2.43)));

    [TestCase(2.41)]
    public void Tf32_losses_may_differ_by_more_than_fp32_ones(double loss)
    {
        Assert.DoesNotThrow(() => StepBenchmark.CompareLosses(Report("avedis", "tf32", 2.40), Report("pytorch", "tf32", loss)));
        Assert.Throws<UserException>(() => StepBenchmark.CompareLosses(Report("avedis", "fp32", 2.40), Report("pytorch", "fp32", loss)));
    }

    [Test]
    public void An_engine_is_started_asked_for_steps_and_ended()
    {
        const string Script = """
            echo '{"engine":"fake","version":"1","preset":"demo","precision":"fp32","layout":"nchw","batch":8,"threads":2,"losses":[2.5],"peak_bytes":7}'
            while read n; do echo "{\"seconds\":[$n],\"peak_bytes\":9}"; done
            """;
        using var engine = EngineProcess.Start("fake", "/bin/sh", ["-c", Script], TimeSpan.FromSeconds(30));
        Assert.That(engine.Report.Losses, Is.EqualTo(new[] { 2.5 }));
        Assert.That(engine.Report.SecondsPerStep, Is.Null);
        Timing timing = engine.Run(3);
        Assert.That(timing.Seconds, Is.EqualTo(new[] { 3.0 }));
        Assert.That(timing.PeakBytes, Is.EqualTo(9));
    }

    [Test]
    public void An_engine_that_fails_to_start_says_why_in_one_line()
    {
        var failure = Assert.Throws<EngineAbsentException>(() => EngineProcess.Start(
            "fake", "/bin/sh", ["-c", "echo Traceback >&2; echo 'ModuleNotFoundError: no torch' >&2; exit 1"], TimeSpan.FromSeconds(30)));
        Assert.That(failure!.Message, Is.EqualTo("fake: ModuleNotFoundError: no torch"));
    }

    [Test]
    public void An_engine_without_its_program_says_so()
    {
        var failure = Assert.Throws<EngineAbsentException>(
            () => EngineProcess.Start("fake", "/nowhere/python3", [], TimeSpan.FromSeconds(30)));
        Assert.That(failure!.Message, Does.StartWith("fake: /nowhere/python3 cannot be started"));
    }

    [Test]
    public void An_engine_that_never_gets_ready_is_given_up()
    {
        var failure = Assert.Throws<EngineAbsentException>(
            () => EngineProcess.Start("fake", "/bin/sh", ["-c", "exec sleep 60"], TimeSpan.FromMilliseconds(200)));
        Assert.That(failure!.Message, Does.Contain("given up"));
    }

    [Test]
    public void Busy_seconds_are_those_of_the_processors_that_we_may_use()
    {
        string[] stat = ["cpu  9 9 9 9 9 9 9 9 0 0", "cpu0 100 20 30 5000 7 1 2 3 50 0", "cpu1 1000 0 0 1 0 0 0 0 0 0", "cpu10 0 0 600 0 0 0 0 0 0 0", "ctxt 1"];
        Assert.That(ProcessorLoad.BusySeconds(stat, new HashSet<int> { 0, 10 }), Is.EqualTo((100 + 20 + 30 + 1 + 2 + 3 + 600) / 100.0).Within(1e-9));
    }

    [Test]
    public void A_list_of_processors_is_read()
    {
        Assert.That(ProcessorLoad.Allowed(["Name:\tx", "Cpus_allowed_list:\t0-2,8"]), Is.EquivalentTo(new[] { 0, 1, 2, 8 }));
    }

    [Test]
    public void The_table_gives_the_ratio_to_the_best_row_of_pytorch()
    {
        var results = new ResultFile("cpu", "a machine", "1.0", 0.1, [Row("avedis", "demo", 60), Row("pytorch", "demo", 40), Row("pytorch", "demo", 30)]);
        string[] ratios = [.. ResultTable.Markdown(results).Split('\n').Where(line => line.StartsWith("| demo")).Select(line => line.Split('|')[8].Trim())];
        Assert.That(ratios, Is.EqualTo(new[] { "1.50", "1.00", "0.75" }));
    }

    [Test]
    public void Without_pytorch_there_is_no_ratio()
    {
        var results = new ResultFile("cpu", "a machine", "1.0", 0.1, [Row("avedis", "demo", 60)]);
        Assert.That(ResultTable.Markdown(results), Does.Contain("| 100 |  | 10 |"));
    }

    [Test]
    public void Written_results_keep_other_settings_and_replace_their_own()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, Path.GetRandomFileName());
        try
        {
            ResultTable.Write(folder, new ResultFile("cpu", "a machine", "1.0", 0.1, [Row("avedis", "paper", 1), Row("avedis", "demo", 50), Row("pytorch", "demo", 40)]));
            ResultTable.Write(folder, new ResultFile("cpu", "a machine", "1.1", 0.1, [Row("avedis", "demo", 60)]));
            string json = File.ReadAllText(Path.Combine(folder, "step.json"));
            var rows = System.Text.Json.JsonSerializer.Deserialize<ResultFile>(json, BenchJson.Options)!.Rows;
            Assert.That(rows.Select(row => (row.Engine, row.Preset, row.ClipsPerSecond)), Is.EqualTo(new[] { ("avedis", "paper", 1.0), ("avedis", "demo", 60.0) }));
            Assert.That(json, Does.Contain("\"clips_per_second\": 60").And.Not.Contain("setting"));

            var failure = Assert.Throws<UserException>(
                () => ResultTable.Write(folder, new ResultFile("cpu", "another machine", "1.1", 0.1, [Row("avedis", "demo", 60)])));
            Assert.That(failure!.Message, Does.Contain("another machine"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
