using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What a checkpoint tells a resumed run besides weights and moments.</summary>
public sealed class TrainingStateTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-state").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    [Test]
    public void Everything_that_was_saved_is_read_back()
    {
        var state = new TrainingState
        {
            Epoch = 3,
            Position = 5,
            Step = 1L << 40,
            BestScore = 0.1,
            BestEpoch = 2,
            Scores = new Dictionary<string, double> { ["emotion"] = 1.0 / 3 },
            StartScore = double.Epsilon,
            Candidates = [new(1, 0.25, 0.5), new(2, 0.75, 0.125)],
            MetricsBytes = 77,
            ScheduleSteps = 88,
            LastLosses = [float.NaN, 1.1f],
            LossSums = [double.PositiveInfinity, 2.2],
            WindowSums = [3.3],
            WindowBatches = 4,
            Factors = [Factor.Numbered("gender", 2), Factor.Numbered("site", 1)],
            DataHash = "hash",
            Precision = "bf16",
            Rates = new(1.5, 2.5, "GFLOP/s"),
            Device = "cpu",
            TrainClipsPerSecond = 5.5,
            PeakRssBytes = 99,
            Skipped = [6, 9],
            RateScale = 0.25,
            Returns = 2,
        };
        foreach (var property in typeof(TrainingState).GetProperties())
            Assert.That(property.GetValue(state), Is.Not.EqualTo(property.GetValue(new TrainingState())), $"{property.Name} is tried");
        state.Save(folder);
        Assert.That(Text(TrainingState.Load(folder)), Is.EqualTo(Text(state)));
    }

    [Test]
    public void A_training_that_has_not_begun_has_no_best_epoch_and_its_own_rates() =>
        Assert.That(new TrainingState(), Has.Property("BestEpoch").EqualTo(-1).And.Property("BestScore").EqualTo(double.NegativeInfinity).And.Property("RateScale").EqualTo(1));

    [TestCase("{\"epoch\": ")]
    [TestCase("{\"epoc\": 1}")]
    [TestCase(null)]
    public void A_file_that_cannot_be_read_is_told_with_its_name(string? text)
    {
        if (text is not null)
            File.WriteAllText(Path.Combine(folder, "state.json"), text);
        Assert.That(() => TrainingState.Load(folder), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.BadCheckpoint)
            .And.Message.StartsWith(Path.Combine(folder, "state.json")).And.Message.EndsWith("use another checkpoint"));
    }

    [Test]
    public void The_choice_is_among_its_candidates_and_above_what_it_started_from()
    {
        var state = new TrainingState { Candidates = [new(0, 0.9, 0.5), new(1, 0.8, 0.1)] };
        Assert.Multiple(() =>
        {
            Assert.That(state.Front(0.2).Select(c => c.Epoch), Is.EqualTo(new[] { 0, 1 }));
            Assert.That(state.Chosen(0.2)!.Epoch, Is.EqualTo(1));
            Assert.That(state.Chosen(0.05)!.Epoch, Is.EqualTo(0));
            Assert.That((state with { StartScore = 0.99 }).Chosen(0.05), Is.Null);
            Assert.That((state with { StartScore = 0.99 }).Front(0.05), Is.Empty);
        });
    }

    private static readonly Factor factor = new("emotion", ["happy", "sad"], [1, 2]);

    private static IEnumerable<TestCaseData> Impossible()
    {
        var whole = new TrainingState { Factors = [factor] };
        foreach (var (state, name) in new[]
        {
            (whole with { Epoch = -1 }, "epoch"),
            (whole with { Position = -1 }, "position"),
            (whole with { Step = -1 }, "step"),
            (whole with { MetricsBytes = -1 }, "metricsBytes"),
            (whole with { Candidates = [new(0, 1, 0), null!] }, "candidate"),
            (whole with { Factors = [factor, null!] }, "factor"),
            (whole with { Factors = [factor with { Classes = [], Counts = [] }] }, "no classes"),
            (whole with { Factors = [factor with { Counts = [1] }] }, "counts"),
            (whole with { Factors = [factor with { Classes = ["happy", null!] }] }, "class without a name"),
            (whole with { Factors = [factor, factor] }, "the same factor twice"),
        })
            yield return new TestCaseData(state).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Impossible))]
    public void What_no_training_writes_is_refused(TrainingState state)
    {
        state.Save(folder);
        Assert.That(() => TrainingState.Load(folder), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.BadCheckpoint).And.Message.StartsWith(Path.Combine(folder, "state.json")));
    }

    [Test]
    public void A_training_that_has_not_begun_is_read_back()
    {
        new TrainingState { Factors = [factor] }.Save(folder);
        Assert.That(TrainingState.Load(folder).Step, Is.Zero);
    }

    private static string Text(TrainingState state) => JsonSerializer.Serialize(state, Json.Line);
}
