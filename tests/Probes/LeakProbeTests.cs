using System.Text.Json;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

public sealed class LeakProbeTests
{
    /// <summary>How far chance may lie from what is expected, among some hundred test rows.</summary>
    private const double Chance = 0.1;

    internal static string ToJson(LeakProbeResult result) => JsonSerializer.Serialize(result, Json.Indented);

    private static CpuBackend Open() => new(2);

    private static ProbeData Data() => ProbeCases.Data(6, 3, 240, 80, 200, seed: 1, ProbeCases.Corners(6, 0.6, 0.2, 0.2));

    private static ProbeData Other(bool telling)
    {
        (int[], int[]) Split(int rows, ulong seed)
        {
            var random = new Philox(seed, 1);
            int[] others = [.. Enumerable.Range(0, rows).Select(_ => random.Next(6))];
            return (others, [.. others.Select(o => telling ? o / 2 : random.NextDouble() < 0.6 ? 0 : random.Next(3))]);
        }
        return Controls.OneHot(6, 3, Split(240, 1), Split(80, 2), Split(200, 3), seed: 1);
    }

    [Test]
    public void The_full_set_is_complete_and_finite()
    {
        var result = LeakProbe.Run(Open, Data(), ProbeSettings.Full with { Hidden = 32, Seeds = 2 }, Other(telling: false));
        Assert.Multiple(() =>
        {
            Assert.That((result.Classes, result.TrainClips, result.ValidationClips, result.TestClips), Is.EqualTo((3, 240, 80, 200)));
            Assert.That(result.Missing, Is.Empty);
            Assert.That(result.Probes!.Select(p => (p.Kind, p.Balanced)), Is.EqualTo(new[]
            {
                (ProbeKind.Linear, false), (ProbeKind.Linear, true), (ProbeKind.Hidden, false), (ProbeKind.Hidden, true),
            }));
            foreach (var probe in result.Probes!)
            {
                Assert.That(probe.Scores.Select(s => s.Seed), Is.EqualTo(new ulong[] { 1, 2 }));
                Assert.That(probe.Mean, Is.EqualTo(probe.Scores.Average(s => s.MacroF1)));
                Assert.That(probe.Max, Is.EqualTo(probe.Scores.Max(s => s.MacroF1)));
                Assert.That(probe.Mean, Is.GreaterThan(0.97));
                Assert.That(probe.Control, Is.LessThan(0.45), "labels that tell nothing");
                Assert.That(probe.Selectivity, Is.EqualTo(probe.Mean - probe.Control));
            }
            Assert.That(result.Codes!.Select(c => c.Kind), Is.EqualTo(new[] { ProbeKind.Linear, ProbeKind.Hidden }));
            Assert.That(result.OtherFactor!.Select(p => (p.Kind, p.Balanced)), Is.EqualTo(new[] { (ProbeKind.Linear, false), (ProbeKind.Linear, true) }));
        });
        string json = ToJson(result);
        Assert.That(json, Does.Not.Contain("NaN").And.Not.Contain("Infinity").And.Contain("\"trainMacroF1\""));
        Assert.That(ToJson(JsonSerializer.Deserialize<LeakProbeResult>(json, Json.Indented)!), Is.EqualTo(json));
    }

    [Test]
    public void The_cheap_set_says_what_it_leaves_out()
    {
        var result = LeakProbe.Run(Open, Data(), ProbeCases.Quick);
        Assert.That(result.Probes!.Select(p => p.Scores.Count), Is.EqualTo(new[] { 1, 1, 1, 1 }));
        Assert.That(result.Probes!.Select(p => (p.Control, p.Selectivity)), Is.All.EqualTo(((double?)null, (double?)null)));
        Assert.That((result.Codes, result.OtherFactor), Is.EqualTo(((object?)null, (object?)null)));
        Assert.That(result.Chance, Is.Not.Null);
        Assert.That(result.Missing.Keys, Is.EquivalentTo(new[] { "codes", "otherFactor", "control" }));
        Assert.That(result.Missing.Values, Is.All.EqualTo("not asked for"));
    }

    [Test]
    public void Same_seed_same_bits()
    {
        var settings = ProbeSettings.Full with { Hidden = 16, Seeds = 2, Steps = 40 };
        string first = ToJson(LeakProbe.Run(Open, Data(), settings, Other(telling: true)));
        Assert.That(ToJson(LeakProbe.Run(Open, Data(), settings, Other(telling: true))), Is.EqualTo(first));
        Assert.That(ToJson(LeakProbe.Run(Open, Data(), settings with { Seed = 5 }, Other(telling: true))), Is.Not.EqualTo(first));
    }

    [Test]
    public void Another_factors_label_alone_tells_what_goes_with_it()
    {
        var settings = ProbeCases.Quick with { Controls = true };
        var (telling, silent) = (Other(telling: true), Other(telling: false));
        Assert.That(LeakProbe.Run(Open, Data(), settings, telling).OtherFactor!.Select(p => p.Mean), Is.All.EqualTo(1.0));
        Assert.That(LeakProbe.Run(Open, Data(), settings, silent).OtherFactor![0].Mean, Is.EqualTo(Controls.Chance(silent).MajorityMacroF1).Within(Chance));
        Assert.That(LeakProbe.Run(Open, Data(), settings).Missing["otherFactor"],
            Is.EqualTo("no other factor was given, or it has too many classes"));
    }

    [Test]
    public void One_hot_rows_without_the_other_label_are_left_out()
    {
        var data = Controls.OneHot(3, 2, ([0, 1, 2, -1], [0, 1, 0, 1]), ([0], [1]), ([2, -1], [0, 0]), seed: 1);
        Assert.That((data.Labels.Train.Length, data.Labels.Test.Length, data.Width), Is.EqualTo((3, 1, 3)));
    }

    [Test]
    public void Chance_is_that_of_the_train_splits_majority()
    {
        int[] test = [.. Enumerable.Repeat(0, 77), .. Enumerable.Range(0, 23).Select(i => 1 + i % 4)];
        ProbeSplit Split(int[] labels) => new(new float[labels.Length], labels);
        var chance = Controls.Chance(new ProbeData(1, 5, Split([0, 0, 1]), Split([0]), Split(test), seed: 1));
        Assert.That(chance.MajorityMacroF1, Is.EqualTo(0.174011).Within(1e-6), "the paper's");
        Assert.That((chance.MajorityClass, chance.MajorityAccuracy, chance.UniformAccuracy), Is.EqualTo((0, 0.77, 0.2)));
        // 100 clips, 20 predictions of each class: hits are a fifth of each class
        double uniform = new[] { 77.0, 6, 6, 6, 5 }.Average(n => 2 * n / 5 / (n + 20));
        Assert.That(chance.UniformMacroF1, Is.EqualTo(uniform).Within(Tolerance.Double));
        chance = Controls.Chance(new ProbeData(1, 5, Split([0, 1, 1]), Split([0]), Split(test), seed: 1));
        Assert.That((chance.MajorityClass, chance.MajorityAccuracy), Is.EqualTo((1, 0.06)), "frequent in training, rare in the test split");
    }

    [Test]
    public void Shuffled_labels_are_as_frequent_and_elsewhere()
    {
        var labels = Data().Labels;
        var shuffled = Controls.Shuffle(labels, 1);
        foreach (var (before, after) in new[] { (labels.Train, shuffled.Train), (labels.Validation, shuffled.Validation), (labels.Test, shuffled.Test) })
        {
            Assert.That(after, Is.Not.EqualTo(before));
            Assert.That(after.Order(), Is.EqualTo(before.Order()));
        }
        Assert.That(Controls.Shuffle(labels, 1).Test, Is.EqualTo(shuffled.Test));
        Assert.That(Controls.Shuffle(labels, 2).Test, Is.Not.EqualTo(shuffled.Test));
    }
}
