using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What precision auto chooses by, that a run records it, and that a resumed run keeps it. How fast this machine is plays no part.
/// </summary>
[NonParallelizable]
public sealed class PrecisionTests
{
    private const string Unit = "GFLOP/s";

    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-precision").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    [TestCase(351, 168, false)] // BF16 units that are slower than those of FP32
    [TestCase(475, 950, true)]
    [TestCase(100, 100, false)]
    [TestCase(100, 124, false)]
    [TestCase(100, 125, true)]
    [TestCase(16, 512, true)]
    public void Bf16_is_chosen_where_it_is_clearly_faster(double fp32, double bf16, bool chosen) =>
        Assert.That(new PrecisionRates(fp32, bf16, Unit).PreferBf16, Is.EqualTo(chosen));

    [Test]
    public void The_shortest_time_counts_and_is_sought_while_it_falls()
    {
        double[] first = [9, 8, 7, 6, 5, 4, 3, 2, 1], second = [0.5];
        int calls = 0, others = 0;
        double[] best = ConvolutionTrial.Fastest(() => first[Math.Min(calls++, first.Length - 1)], () => second[others++ * 0]);
        Assert.That(best, Is.EqualTo(new[] { 1, 0.5 }));
        Assert.That(calls, Is.GreaterThan(first.Length).And.EqualTo(others));
    }

    [Test]
    public void A_machine_that_never_comes_to_rest_is_not_waited_for()
    {
        double time = 1;
        int calls = 0;
        ConvolutionTrial.Fastest(() =>
        {
            calls++;
            return time /= 2;
        });
        Assert.That(calls, Is.LessThan(100));
    }

    [Test]
    public void Both_formats_are_tried_on_the_processor()
    {
        using var backend = new CpuBackend();
        var rates = backend.Rates();
        Assert.That(new[] { rates.Fp32, rates.Bf16 }, Is.All.Positive.And.All.Not.EqualTo(double.PositiveInfinity));
        Assert.That(rates.Unit, Is.EqualTo(Unit));
    }

    [TestCase(80, 16)]
    [TestCase(90, 16)]
    public void The_rates_of_a_GPU_are_known_from_its_kind(int capability, double factor)
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        using var backend = Emulation.Open(tf32: false, capability);
        var choice = Precisions.Choose(Precision.Auto, backend);
        Assert.That(choice.Precision, Is.EqualTo(Precision.Bf16));
        Assert.That(choice.Rates!.Bf16 / choice.Rates.Fp32, Is.EqualTo(factor));
    }

    [Test]
    public void A_run_says_and_records_what_it_chose_by()
    {
        string text = Train("run", "--precision", "auto");
        var state = State("run");
        Assert.That(state.Rates, Is.Not.Null);
        Assert.That(state.Precision, Is.EqualTo(state.Rates!.PreferBf16 ? "bf16" : "fp32"));
        Assert.That(text, Does.Contain($"precision auto: {state.Precision} (convolutions: {state.Rates};"));
        Assert.That(text, Does.Contain($", {state.Precision}\n"));
    }

    [Test]
    public void A_precision_that_was_named_is_not_measured()
    {
        string text = Train("run", "--precision", "fp32");
        Assert.That(State("run").Rates, Is.Null);
        Assert.That(text, Does.Not.Contain("precision auto"));
    }

    /// <summary>Of two precisions, this machine would choose one.</summary>
    [TestCase("fp32")]
    [TestCase("bf16")]
    public void A_resumed_run_keeps_its_precision_whatever_the_machine_would_choose(string precision)
    {
        Train("run", "--precision", precision, "--set", "training.maxSteps=2");
        string text = Train("run", "--resume", "--precision", "auto", "--set", "training.maxSteps=4");
        Assert.That(text, Does.Contain($"precision auto: {precision}, as the run began").And.Not.Contain("convolutions:"));
        Assert.That((State("run").Step, State("run").Precision), Is.EqualTo((4, precision)));
    }

    [Test]
    public void A_resumed_run_keeps_the_rates_that_it_chose_by()
    {
        Train("run", "--precision", "auto", "--set", "training.maxSteps=2");
        var rates = State("run").Rates;
        Train("run", "--resume", "--set", "training.maxSteps=4");
        Assert.That(State("run").Rates, Is.EqualTo(rates));
    }

    [Test]
    public void Another_precision_than_the_runs_is_refused_when_it_is_named()
    {
        Train("run", "--precision", "fp32", "--set", "training.maxSteps=2");
        var (code, _, error) = TinyCorpus.Run(Arguments("run", "--resume", "--precision", "bf16"));
        Assert.That((code, error), Is.EqualTo((ExitCode.BadCheckpoint, error)));
        Assert.That(error, Does.Contain("add --precision fp32"));
    }

    private string[] Arguments(string run, params string[] more) =>
    [
        "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, run), "--device", "cpu", "--epochs", "1", .. TinyCorpus.SmallNetwork,
        .. more,
    ];

    private string Train(string run, params string[] more)
    {
        var (code, output, error) = TinyCorpus.Run(Arguments(run, more));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        return output;
    }

    private TrainingState State(string run) => TrainingState.Load(Checkpoint.Latest(Path.Combine(folder, run, "checkpoints"))!);
}
