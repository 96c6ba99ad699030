using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

public sealed class ProbeTests
{
    /// <summary>How far the score of a probe that can learn nothing may lie from that of the majority: chance among some hundred test rows.</summary>
    private const double Chance = 0.08;

    /// <summary>Twenty steps of Adam in F32 and in double: its step is a quotient of gradients, so that their rounding counts in full.</summary>
    private const double AdamSteps = 1e-4;

    private static readonly ProbeKind[] kinds = Enum.GetValues<ProbeKind>();

    private static IEnumerable<BackendCase> AllBackends() => Backends.All().Where(backend => !Tier.Fast || backend.Name != "emulated");

    [TestCaseSource(nameof(AllBackends))]
    public void Separable_classes_are_told_apart_on_every_device(BackendCase backend)
    {
        backend.Require();
        var data = ProbeCases.Data(6, 3, 150, 40, 60, seed: 1, ProbeCases.Corners(12, 0.5, 0.3, 0.2));
        using var probe = new Probe(backend.Open(), data, ProbeCases.Quick with { Steps = 60, MaxRows = 64 });
        foreach (var kind in kinds)
            foreach (bool balanced in new[] { false, true })
            {
                var score = probe.Run(kind, balanced, seed: 1);
                Assert.That(
                    new[] { score.MacroF1, score.Accuracy, score.BalancedAccuracy, score.TrainMacroF1, score.ValidationMacroF1 }, Is.All.EqualTo(1.0));
                Assert.That(score.Predictions, Is.EqualTo(data.Labels.Test));
            }
    }

    [TestCaseSource(nameof(kinds))]
    public void Noise_scores_like_the_majority(ProbeKind kind)
    {
        var data = ProbeCases.Data(8, 3, 600, 300, 800, seed: 2, ProbeCases.Corners(0, 0.7, 0.2, 0.1));
        var chance = Controls.Chance(data);
        Assert.That(ProbeCases.Run(data, kind).MacroF1, Is.EqualTo(chance.MajorityMacroF1).Within(Chance));
    }

    [Test]
    public void Only_a_hidden_layer_learns_exclusive_or()
    {
        var data = ProbeCases.Data(4, 2, 600, 200, 600, seed: 3, ProbeCases.Xor);
        Assert.That(ProbeCases.Run(data, ProbeKind.Linear).MacroF1, Is.LessThan(5.0 / 8));
        Assert.That(ProbeCases.Run(data, ProbeKind.Hidden).MacroF1, Is.GreaterThan(0.95));
    }

    [TestCaseSource(nameof(kinds))]
    public void A_balanced_loss_finds_the_rare_class(ProbeKind kind)
    {
        var data = ProbeCases.Data(3, 2, 1000, 400, 2000, seed: 4, ProbeCases.Corners(1.2, 0.9, 0.1));
        var (plain, balanced) = (ProbeCases.Run(data, kind), ProbeCases.Run(data, kind, balanced: true));
        Assert.That(balanced.BalancedAccuracy, Is.GreaterThan(plain.BalancedAccuracy + 0.05));
        Assert.That(balanced.Accuracy, Is.LessThan(plain.Accuracy));
        Assert.That(balanced.Confusion[1][1], Is.GreaterThan(plain.Confusion[1][1]));
    }

    /// <summary>Probes that stop after each number of steps give the curve from which the choice follows; the case is one where other choices differ.</summary>
    [Test]
    public void The_step_is_chosen_on_validation()
    {
        const int Every = 5, Checks = 16;
        var settings = ProbeCases.Quick with { CheckEvery = Every, Steps = Every * Checks };
        for (ulong seed = 1; seed <= 20; seed++)
        {
            var data = ProbeCases.Data(20, 3, 90, 60, 90, seed, ProbeCases.Corners(2, 0.6, 0.2, 0.2));
            var curve = Enumerable.Range(1, Checks)
                .Select(i => ProbeCases.Run(data, ProbeKind.Hidden, settings: settings with { CheckEvery = Every * i, Steps = Every * i })).ToList();
            double best = curve.Max(s => s.ValidationMacroF1);
            var expected = curve.First(s => s.ValidationMacroF1 == best);
            if (curve.Count(s => s.ValidationMacroF1 == best) > 1 || expected == curve[^1] || expected.MacroF1 == curve[^1].MacroF1
                || expected.MacroF1 == curve.Max(s => s.MacroF1))
                continue;
            var score = ProbeCases.Run(data, ProbeKind.Hidden, settings: settings);
            Assert.That((score.Step, score.ValidationMacroF1, score.MacroF1), Is.EqualTo((expected.Step, best, expected.MacroF1)));
            Assert.That(score.TrainMacroF1, Is.EqualTo(expected.TrainMacroF1));
            Assert.That(score.Predictions, Is.EqualTo(expected.Predictions));
            return;
        }
        Assert.Fail("no case in which the validation rows, the test rows and the last step choose differently");
    }

    [Test]
    public void The_figures_follow_from_the_predictions()
    {
        var data = ProbeCases.Data(5, 4, 200, 80, 150, seed: 5, ProbeCases.Corners(1, 0.5, 0.2, 0.3)); // the fourth class never occurs
        var score = ProbeCases.Run(data, ProbeKind.Linear);
        var matrix = new ConfusionMatrix(4);
        for (int i = 0; i < score.Predictions.Length; i++)
            matrix.Add(data.Labels.Test[i], score.Predictions[i]);
        Assert.That((score.MacroF1, score.Accuracy), Is.EqualTo((matrix.MacroF1, matrix.Accuracy)));
        Assert.That(score.BalancedAccuracy, Is.EqualTo((matrix.Recall(0) + matrix.Recall(1) + matrix.Recall(2)) / 3).Within(Tolerance.Double));
        Assert.That(score.Confusion[1][0], Is.EqualTo(matrix[1, 0]));
        Assert.That(score.MacroF1, Is.LessThanOrEqualTo(0.75), "over the fixed classes");
    }

    [TestCase(false, 4096)]
    [TestCase(true, 4096)]
    [TestCase(true, 64)]
    public void The_linear_probe_is_softmax_regression_by_adam(bool balanced, int maxRows)
    {
        const int Steps = 20, Classes = 3, Width = 5;
        var data = ProbeCases.Data(Width, Classes, 150, 20, 20, seed: 6, ProbeCases.Corners(1, 0.6, 0.3, 0.1));
        using var probe = new Probe(new CpuBackend(2), data, ProbeCases.Quick with { MaxRows = maxRows });
        probe.Begin(ProbeKind.Linear, data.Labels.Train, balanced, seed: 7);
        var reference = new SoftmaxRegression(probe.SaveWeights(), data, balanced);
        for (int step = 1; step <= Steps; step++)
        {
            probe.Step();
            reference.Step(step, probe.Settings.LinearRate / Math.Sqrt(Width));
        }
        var probabilities = probe.TrainProbabilities(0, data.Labels.Train.Length);
        Assert.That(probabilities.Select(p => (double)p), Is.EqualTo(reference.Probabilities()).Within(AdamSteps));
    }

    [TestCaseSource(nameof(kinds))]
    public void Chunks_are_one_batch(ProbeKind kind)
    {
        const int Steps = 20;
        var data = ProbeCases.Data(7, 3, 333, 20, 20, seed: 8, ProbeCases.Corners(1, 0.6, 0.3, 0.1));
        float[] Train(int maxRows)
        {
            using var probe = new Probe(new CpuBackend(2), data, ProbeCases.Quick with { MaxRows = maxRows });
            probe.Begin(kind, data.Labels.Train, balanced: true, seed: 1);
            for (int step = 0; step < Steps; step++)
                probe.Step();
            return probe.TrainProbabilities(0, data.Labels.Train.Length);
        }
        Assert.That(Train(64), Is.EqualTo(Train(4096)).Within(AdamSteps));
    }

    [Test]
    public void Any_rows_can_be_asked_for()
    {
        var data = ProbeCases.Data(3, 2, 300, 20, 20, seed: 9, ProbeCases.Corners(1, 0.5, 0.5));
        using var probe = new Probe(new CpuBackend(2), data, ProbeCases.Quick with { MaxRows = 128 });
        probe.Begin(ProbeKind.Linear, data.Labels.Train, balanced: false, seed: 1);
        var all = probe.TrainProbabilities(0, 300);
        Assert.That(probe.TrainProbabilities(77, 190), Is.EqualTo(all[(77 * 2)..(267 * 2)]));
    }

    [Test]
    public void A_probe_does_not_remember_the_one_before()
    {
        var data = ProbeCases.Data(4, 2, 150, 50, 80, seed: 10, ProbeCases.Corners(1, 0.6, 0.4));
        using var probe = new Probe(new CpuBackend(2), data, ProbeCases.Quick);
        ProbeScore Fresh() => probe.Run(ProbeKind.Hidden, balanced: false, seed: 1);
        var first = Fresh();
        var other = probe.Run(ProbeKind.Hidden, balanced: true, seed: 2, Controls.Shuffle(data.Labels, 1));
        var again = Fresh();
        Assert.That(Json(again), Is.EqualTo(Json(first)));
        Assert.That(again.Predictions, Is.EqualTo(first.Predictions));
        Assert.That(Json(other), Is.Not.EqualTo(Json(first)));

        static string Json(ProbeScore score) => System.Text.Json.JsonSerializer.Serialize(score, Engine.Json.Line);
    }

    [TestCaseSource(nameof(kinds))]
    public void A_dead_embedding_scores_exactly_like_the_majority(ProbeKind kind)
    {
        var data = ProbeCases.Data(4, 3, 200, 60, 100, seed: 11, (random, row) => random.NextDouble() < 0.7 ? 1 : random.Next(3));
        Assert.That(data.Train, Is.All.Zero);
        Assert.That(ProbeCases.Run(data, kind).MacroF1, Is.EqualTo(Controls.Chance(data).MajorityMacroF1));
    }

    [Test]
    public void Cancellation_ends_a_probe()
    {
        var data = ProbeCases.Data(2, 2, 50, 20, 20, seed: 12, ProbeCases.Corners(1, 0.5, 0.5));
        Assert.That(
            () => LeakProbe.Run(() => new CpuBackend(2), data, ProbeCases.Quick, cancellation: new CancellationToken(true)),
            Throws.InstanceOf<OperationCanceledException>());
    }

    /// <summary>The same in double precision and plain loops.</summary>
    private sealed class SoftmaxRegression(float[] start, ProbeData data, bool balanced)
    {
        private const double Beta1 = 0.9, Beta2 = 0.999, Epsilon = 1e-8;

        private readonly double[] values = [.. start.Select(v => (double)v)];
        private readonly double[] first = new double[start.Length], second = new double[start.Length];

        // parameters begin on multiples of 16 elements
        private int BiasStart => (data.Classes * data.Width + 15) / 16 * 16;

        public void Step(int step, double rate)
        {
            int[] labels = data.Labels.Train;
            var p = Probabilities();
            var gradient = new double[values.Length];
            int observed = labels.Distinct().Count();
            for (int i = 0; i < labels.Length; i++)
                for (int k = 0; k < data.Classes; k++)
                {
                    double weight = balanced ? 1.0 / (observed * labels.Count(l => l == labels[i])) : 1.0 / labels.Length;
                    double delta = weight * (p[i * data.Classes + k] - (labels[i] == k ? 1 : 0));
                    gradient[BiasStart + k] += delta;
                    for (int d = 0; d < data.Width; d++)
                        gradient[k * data.Width + d] += delta * data.Train[i * data.Width + d];
                }
            for (int j = 0; j < values.Length; j++)
            {
                first[j] = Beta1 * first[j] + (1 - Beta1) * gradient[j];
                second[j] = Beta2 * second[j] + (1 - Beta2) * gradient[j] * gradient[j];
                values[j] -= rate * first[j] / (1 - Math.Pow(Beta1, step)) / (Math.Sqrt(second[j] / (1 - Math.Pow(Beta2, step))) + Epsilon);
            }
        }

        public double[] Probabilities()
        {
            var result = new double[data.Labels.Train.Length * data.Classes];
            for (int i = 0; i < data.Labels.Train.Length; i++)
            {
                var e = Enumerable.Range(0, data.Classes).Select(k => Math.Exp(values[BiasStart + k]
                    + Enumerable.Range(0, data.Width).Sum(d => values[k * data.Width + d] * data.Train[i * data.Width + d]))).ToArray();
                for (int k = 0; k < data.Classes; k++)
                    result[i * data.Classes + k] = e[k] / e.Sum();
            }
            return result;
        }
    }
}
