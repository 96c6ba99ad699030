using Avedis.Trainer;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

public sealed class ProbeDataTests
{
    /// <summary>Sums of some hundred F32 values.</summary>
    private const double Rounding = 1e-5;

    private static readonly ProbeSplit empty = new([], []);

    [Test]
    public void Columns_have_the_train_rows_statistics()
    {
        // the third column is constant in the train split, with a value that has no exact sum
        static int Fill(Engine.Philox random, Memory<float> row)
        {
            (row.Span[0], row.Span[1], row.Span[2]) = ((float)(5 + 3 * random.NextGaussian()), (float)(1e6 * random.NextGaussian()), 0.1f);
            return random.Next(2);
        }
        var train = ProbeCases.Split(301, 3, 1, Fill);
        var held = new ProbeSplit([5, 0, 7, 5, float.MaxValue, 0.1f], [0, 1]);
        var data = new ProbeData(3, 2, train, held, held, seed: 1);
        for (int d = 0; d < 2; d++)
        {
            var column = Enumerable.Range(0, 301).Select(i => (double)data.Train[i * 3 + d]).ToList();
            Assert.That(column.Average(), Is.Zero.Within(Rounding));
            Assert.That(column.Average(x => x * x), Is.EqualTo(1).Within(Rounding));
        }
        Assert.That(Enumerable.Range(0, 301).Select(i => data.Train[i * 3 + 2]), Is.All.Zero);
        Assert.That((data.Validation[2], data.Test[5]), Is.EqualTo((0f, 0f)), "constant in training: tells nothing");
        Assert.That(data.Test[4], Is.EqualTo(1000), "far out, but finite");
        Assert.That(data.Test[0], Is.Zero.Within(0.5), "by the train rows' mean, not its own");
    }

    [Test]
    public void Rows_without_a_label_are_left_out()
    {
        var fill = ProbeCases.Corners(1, 0.5, 0.5);
        ProbeSplit[] clean = [ProbeCases.Split(100, 2, 1, fill), ProbeCases.Split(40, 2, 2, fill), ProbeCases.Split(60, 2, 3, fill)];
        // a row that would spoil the statistics, after every third
        ProbeSplit Spoil(ProbeSplit split)
        {
            var (inputs, labels) = (new List<float>(), new List<int>());
            for (int i = 0; i < split.Labels.Length; i++)
            {
                inputs.AddRange(split.Inputs[(2 * i)..(2 * i + 2)]);
                labels.Add(split.Labels[i]);
                if (i % 3 != 2)
                    continue;
                inputs.AddRange(1e9f, -1e9f);
                labels.Add(-1);
            }
            return new([.. inputs], [.. labels]);
        }
        var data = new ProbeData(2, 2, clean[0], clean[1], clean[2], seed: 1);
        var spoilt = new ProbeData(2, 2, Spoil(clean[0]), Spoil(clean[1]), Spoil(clean[2]), seed: 1);
        Assert.That(spoilt.Train, Is.EqualTo(data.Train));
        var (expected, score) = (ProbeCases.Run(data, ProbeKind.Hidden), ProbeCases.Run(spoilt, ProbeKind.Hidden));
        Assert.That(score.Predictions.Where((_, i) => i % 4 == 3), Is.All.EqualTo(-1));
        Assert.That(score.Predictions.Where((_, i) => i % 4 != 3), Is.EqualTo(expected.Predictions));
        Assert.That(score.MacroF1, Is.EqualTo(expected.MacroF1));
    }

    [Test]
    public void Without_a_validation_split_a_fifth_of_every_class_is_kept_apart()
    {
        var train = new ProbeSplit([.. Enumerable.Range(0, 100).Select(i => (float)i)], [.. Enumerable.Range(0, 100).Select(i => i < 90 ? 0 : 1)]);
        var data = new ProbeData(1, 2, train, empty, train, seed: 1);
        Assert.That(data.ValidationFromTrain);
        Assert.That(data.Labels.Validation.Order(), Is.EqualTo(Enumerable.Repeat(0, 18).Concat([1, 1])));
        Assert.That(data.Labels.Train, Has.Length.EqualTo(80));
        Assert.That(data.Train.Concat(data.Validation), Is.Unique, "no row is in both");
        Assert.That(new ProbeData(1, 2, train, empty, train, seed: 1).Train, Is.EqualTo(data.Train), "the same seed");
        Assert.That(new ProbeData(1, 2, train, empty, train, seed: 2).Train, Is.Not.EqualTo(data.Train), "another seed");
    }

    private static IEnumerable<TestCaseData> Inapplicable()
    {
        var two = new ProbeSplit([1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1]);
        var one = two with { Labels = [1, 1, 1, 1, -1, 1] };
        var none = two with { Labels = [-1, -1, -1, -1, -1, -1] };
        yield return new TestCaseData(one, two, two, "the train split has fewer than two classes");
        yield return new TestCaseData(none, two, two, "the train split has no labelled clip");
        yield return new TestCaseData(empty, two, two, "the train split has no labelled clip");
        yield return new TestCaseData(two, two, empty, "the test split has no labelled clip");
        yield return new TestCaseData(two, two, none, "the test split has no labelled clip");
        yield return new TestCaseData(
            new ProbeSplit([1, 2, 3], [0, 1, 0]), empty, two, "without a validation split, 5 labelled train clips are needed; there are 3");
    }

    [TestCaseSource(nameof(Inapplicable))]
    public void What_cannot_be_probed_says_why(ProbeSplit train, ProbeSplit validation, ProbeSplit test, string reason)
    {
        var data = new ProbeData(1, 2, train, validation, test, seed: 1);
        Assert.That(data.NotApplicable, Is.EqualTo(reason));
        var result = LeakProbe.Run(() => throw new InvalidOperationException("nothing to compute"), data, ProbeSettings.Full);
        Assert.That(new object?[] { result.Chance, result.Probes, result.Codes, result.OtherFactor }, Is.All.Null);
        Assert.That(result.Missing.Keys, Is.EquivalentTo(new[] { "chance", "probes", "codes", "otherFactor" }));
        Assert.That(result.Missing.Values, Is.All.EqualTo(reason));
        Assert.That(LeakProbeTests.ToJson(result), Does.Not.Contain("NaN").And.Not.Contain("Infinity"));
    }

    [TestCase(float.NaN, "NaN")]
    [TestCase(float.NegativeInfinity, "-Infinity")]
    public void An_input_that_is_no_number_is_named(float value, string name)
    {
        var good = new ProbeSplit([1, 2, 3, 4], [0, 1]);
        var bad = new ProbeSplit([1, 2, 3, 4, 5, value], [0, 1, -1]);
        var error = Assert.Throws<UserException>(() => _ = new ProbeData(2, 2, good, bad, good, seed: 1))!;
        Assert.That(error.Code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(error.Message, Does.Contain($"row 2 of split validation is {name} in column 1"));
    }

    [TestCase(2)]
    [TestCase(-2)]
    public void A_label_out_of_range_is_named(int label)
    {
        var good = new ProbeSplit([1, 2], [0, 1]);
        var error = Assert.Throws<UserException>(() => _ = new ProbeData(1, 2, good, good, good with { Labels = [0, label] }, seed: 1))!;
        Assert.That(error.Message, Does.Contain($"label of row 1 (from 0) of split test is {label}"));
    }

    [Test]
    public void Inputs_and_labels_belong_together()
    {
        var good = new ProbeSplit([1, 2], [0, 1]);
        Assert.That(() => new ProbeData(1, 2, good with { Labels = [0] }, good, good, seed: 1), Throws.ArgumentException);
    }
}
