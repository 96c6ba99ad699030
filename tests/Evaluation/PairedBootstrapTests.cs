using Avedis.Engine;
using Avedis.Trainer.Evaluation;
using NUnit.Framework;

namespace Avedis.Tests.Evaluation;

public class PairedBootstrapTests
{
    private const double Rounding = 1e-12; // sums and differences of numbers near 1
    private const int Classes = 3;
    private static readonly double[] Prior = [0.5, 0.3, 0.2];

    // right with probability Right, otherwise one of the other classes; B repeats A on half of the clips
    private const double RightA = 0.8, RightB = 0.7;

    private static int Guess(Philox random, int truth, double right) =>
        random.NextDouble() < right ? truth : (truth + 1 + random.Next(Classes - 1)) % Classes;

    private static (int[] Truth, int[] A, int[] B) Draw(Philox random, int clips)
    {
        int[] truth = new int[clips], a = new int[clips], b = new int[clips];
        for (int i = 0; i < clips; i++)
        {
            double u = random.NextDouble();
            truth[i] = u < Prior[0] ? 0 : u < Prior[0] + Prior[1] ? 1 : 2;
            a[i] = Guess(random, truth[i], RightA);
            b[i] = random.Next(2) == 0 ? a[i] : Guess(random, truth[i], RightB);
        }
        return (truth, a, b);
    }

    /// <summary>Macro-F of endlessly many clips.</summary>
    private static double TrueMacroF(double right) => Enumerable.Range(0, Classes).Average(c =>
        2 * Prior[c] * right / (Prior[c] + (Prior[c] * right) + ((1 - Prior[c]) * (1 - right) / (Classes - 1))));

    private static double TrueScore(BootstrapMetric metric, double right) => metric == BootstrapMetric.Accuracy ? right : TrueMacroF(right);

    private static ConfusionMatrix Matrix(int classes, int[] truth, int[] prediction)
    {
        var matrix = new ConfusionMatrix(classes);
        for (int i = 0; i < truth.Length; i++)
            matrix.Add(truth[i], prediction[i]);
        return matrix;
    }

    private static double Width(BootstrapInterval? interval) => interval!.Value.High - interval.Value.Low;

    [TestCase(BootstrapMetric.MacroF1)]
    [TestCase(BootstrapMetric.Accuracy)]
    public void The_interval_holds_the_truth_about_19_times_out_of_20(BootstrapMetric metric)
    {
        const int repeats = 500, clips = 200, resamples = 300;
        const double Low = 0.91, High = 0.985; // four standard errors of 0.0097; percentile intervals are rather too narrow
        double scoreA = TrueScore(metric, RightA), scoreB = TrueScore(metric, (RightA + RightB) / 2);
        int single = 0, paired = 0;
        for (int repeat = 0; repeat < repeats; repeat++)
        {
            var (truth, a, b) = Draw(new Philox(seed: 11, stream: (ulong)repeat), clips);
            var one = PairedBootstrap.Interval(metric, Classes, truth, a, [], seed: (ulong)repeat, resamples)!.Value;
            var two = PairedBootstrap.Difference(metric, Classes, truth, a, b, [], seed: (ulong)repeat, resamples)!.Value;
            single += one.Low <= scoreA && scoreA <= one.High ? 1 : 0;
            paired += two.Low <= scoreA - scoreB && scoreA - scoreB <= two.High ? 1 : 0;
        }
        Assert.Multiple(() =>
        {
            Assert.That((double)single / repeats, Is.InRange(Low, High));
            Assert.That((double)paired / repeats, Is.InRange(Low, High));
        });
    }

    [Test]
    public void With_good_and_bad_speakers_only_resampled_speakers_hold_the_truth()
    {
        const int repeats = 400, speakers = 40, clipsEach = 20, resamples = 300;
        const double Low = 0.90, High = 0.985;   // 40 groups: a percent or two too narrow, and four standard errors of 0.011 less
        const double ClipsBelow = 0.75;          // the variance is some five times what clips alone would give: holds the truth 6 times out of 10
        int byClip = 0, bySpeaker = 0;
        for (int repeat = 0; repeat < repeats; repeat++)
        {
            var random = new Philox(seed: 12, stream: (ulong)repeat);
            int[] truth = new int[speakers * clipsEach], a = new int[truth.Length], groups = new int[truth.Length];
            double right = 0;
            for (int i = 0; i < truth.Length; i++)
            {
                right = i % clipsEach == 0 ? random.NextDouble(0.1, 0.9) : right;
                groups[i] = 1000 - (i / clipsEach);
                a[i] = random.NextDouble() < right ? 0 : 1;
            }
            var clip = PairedBootstrap.Interval(BootstrapMetric.Accuracy, 2, truth, a, [], seed: (ulong)repeat, resamples)!.Value;
            var speaker = PairedBootstrap.Interval(BootstrapMetric.Accuracy, 2, truth, a, groups, seed: (ulong)repeat, resamples)!.Value;
            byClip += clip.Low <= 0.5 && 0.5 <= clip.High ? 1 : 0;
            bySpeaker += speaker.Low <= 0.5 && 0.5 <= speaker.High ? 1 : 0;
        }
        Assert.Multiple(() =>
        {
            Assert.That((double)bySpeaker / repeats, Is.InRange(Low, High));
            Assert.That((double)byClip / repeats, Is.LessThan(ClipsBelow));
        });
    }

    [Test]
    public void The_estimate_is_the_score_of_the_split()
    {
        var (truth, a, b) = Draw(new Philox(seed: 13, stream: 0), 300);
        const int fixedClasses = 5; // two never occur
        ConfusionMatrix ofA = Matrix(fixedClasses, truth, a), ofB = Matrix(fixedClasses, truth, b);
        foreach (var metric in Enum.GetValues<BootstrapMetric>())
        {
            double scoreA = metric == BootstrapMetric.Accuracy ? ofA.Accuracy : ofA.MacroF1;
            double scoreB = metric == BootstrapMetric.Accuracy ? ofB.Accuracy : ofB.MacroF1;
            var one = PairedBootstrap.Interval(metric, fixedClasses, truth, a, [], seed: 1)!.Value;
            var two = PairedBootstrap.Difference(metric, fixedClasses, truth, a, b, [], seed: 1)!.Value;
            Assert.Multiple(() =>
            {
                Assert.That(one.Estimate, Is.EqualTo(scoreA).Within(Rounding).And.InRange(one.Low, one.High));
                Assert.That(two.Estimate, Is.EqualTo(scoreA - scoreB).Within(Rounding).And.InRange(two.Low, two.High));
            });
        }
    }

    [Test]
    public void Accuracy_has_the_width_of_the_normal_approximation()
    {
        const double Sampling = 0.08; // relative: each end is good to 0.06 of a width of 3.92, and scores come in steps of 1 / 1200
        int[] truth = new int[1200], a = [.. Enumerable.Range(0, 1200).Select(i => i % 4 == 0 ? 1 : 0)];
        double expected = 2 * 1.96 * Math.Sqrt(0.75 * 0.25 / 1200);
        Assert.That(Width(PairedBootstrap.Interval(BootstrapMetric.Accuracy, 2, truth, a, [], seed: 5)),
            Is.EqualTo(expected).Within(Sampling * expected));
        // of independent models the variances add up; of a model and its copy nothing is left
        int[] b = [.. Enumerable.Range(0, 1200).Select(i => i / 4 % 4 == 0 ? 1 : 0)];
        Assert.That(Width(PairedBootstrap.Difference(BootstrapMetric.Accuracy, 2, truth, a, b, [], seed: 5)),
            Is.EqualTo(expected * Math.Sqrt(2)).Within(Sampling * expected * Math.Sqrt(2)));
        Assert.That(PairedBootstrap.Difference(BootstrapMetric.Accuracy, 2, truth, a, a, [], seed: 5), Is.EqualTo(new BootstrapInterval(0, 0, 0)));
    }

    [Test]
    public void Same_seed_same_bits()
    {
        var (truth, a, b) = Draw(new Philox(seed: 14, stream: 0), 500);
        BootstrapInterval? Run(ulong seed) => PairedBootstrap.Difference(BootstrapMetric.MacroF1, Classes, truth, a, b, [], seed);
        BootstrapInterval? first = Run(1), again = Run(1), other = Run(2);
        Assert.Multiple(() =>
        {
            Assert.That(again, Is.EqualTo(first));
            Assert.That(other, Is.Not.EqualTo(first));
            Assert.That(other!.Value.Estimate, Is.EqualTo(first!.Value.Estimate));
        });
    }

    [Test]
    public void Exchanged_models_mirror_the_interval()
    {
        var (truth, a, b) = Draw(new Philox(seed: 15, stream: 0), 300);
        var ab = PairedBootstrap.Difference(BootstrapMetric.MacroF1, Classes, truth, a, b, [], seed: 3)!.Value;
        var ba = PairedBootstrap.Difference(BootstrapMetric.MacroF1, Classes, truth, b, a, [], seed: 3)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(ba.Estimate, Is.EqualTo(-ab.Estimate).Within(Rounding));
            Assert.That(ba.Low, Is.EqualTo(-ab.High).Within(Rounding));
            Assert.That(ba.High, Is.EqualTo(-ab.Low).Within(Rounding));
        });
    }

    [Test]
    public void Identical_clips_of_a_group_count_once()
    {
        const int groups = 60, clipsEach = 9;
        const double Sampling = 0.1; // relative, of a ratio of two widths, each to some 3 %
        var (truth, a, b) = Draw(new Philox(seed: 16, stream: 0), groups);
        int[] Repeat(int[] values) => [.. values.SelectMany(v => Enumerable.Repeat(v, clipsEach))];
        int[] group = Repeat([.. Enumerable.Range(0, groups)]);
        foreach (var metric in Enum.GetValues<BootstrapMetric>())
        {
            var byClip = PairedBootstrap.Difference(metric, Classes, Repeat(truth), Repeat(a), Repeat(b), [], seed: 4);
            var byGroup = PairedBootstrap.Difference(metric, Classes, Repeat(truth), Repeat(a), Repeat(b), group, seed: 4);
            var once = PairedBootstrap.Difference(metric, Classes, truth, a, b, [], seed: 4);
            Assert.Multiple(() =>
            {
                Assert.That(Width(byGroup) / Width(byClip), Is.EqualTo(Math.Sqrt(clipsEach)).Within(Sampling * Math.Sqrt(clipsEach)));
                Assert.That(byGroup!.Value.Low, Is.EqualTo(once!.Value.Low).Within(Rounding), "the same draws");
                Assert.That(byGroup.Value.High, Is.EqualTo(once.Value.High).Within(Rounding));
            });
        }
    }

    [Test]
    public void A_group_for_every_clip_is_resampling_by_clip()
    {
        var (truth, a, b) = Draw(new Philox(seed: 17, stream: 0), 100);
        int[] groups = [.. Enumerable.Range(0, 100).Select(i => -17 * i)];
        Assert.That(PairedBootstrap.Difference(BootstrapMetric.MacroF1, Classes, truth, a, b, groups, seed: 5),
            Is.EqualTo(PairedBootstrap.Difference(BootstrapMetric.MacroF1, Classes, truth, a, b, [], seed: 5)));
    }

    [Test]
    public void Higher_levels_are_wider()
    {
        var (truth, a, _) = Draw(new Philox(seed: 18, stream: 0), 200);
        double[] widths = [.. new[] { 0.5, 0.9, 0.95, 0.99 }.Select(level =>
            Width(PairedBootstrap.Interval(BootstrapMetric.MacroF1, Classes, truth, a, [], seed: 6, level: level)))];
        Assert.That(widths, Is.Ordered.Ascending.And.Unique);
    }

    [Test]
    public void Ends_are_interpolated_between_the_resamples()
    {
        // two clips, one right: accuracies 0, 1/2, 1; the ends of a level of nearly 1 are the extremes, of nearly 0 the median
        BootstrapInterval Of(double level, int resamples) =>
            PairedBootstrap.Interval(BootstrapMetric.Accuracy, 2, [0, 0], [0, 1], [], seed: 7, resamples, level)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(Of(1 - 1e-9, 200), Is.EqualTo(new BootstrapInterval(0.5, 0, 1)).Using<BootstrapInterval>(Close));
            Assert.That(Of(1e-9, 201), Is.EqualTo(new BootstrapInterval(0.5, 0.5, 0.5)).Using<BootstrapInterval>(Close));
            Assert.That(Of(0.95, 1).Low, Is.EqualTo(Of(0.95, 1).High), "a single resample");
        });
        static bool Close(BootstrapInterval x, BootstrapInterval y) =>
            x.Estimate == y.Estimate && Math.Abs(x.Low - y.Low) < 1e-6 && Math.Abs(x.High - y.High) < 1e-6;
    }

    [Test]
    public void One_clip_or_one_group_is_not_applicable()
    {
        Assert.Multiple(() =>
        {
            Assert.That(PairedBootstrap.Interval(BootstrapMetric.Accuracy, 2, [0], [0], [], seed: 1), Is.Null);
            Assert.That(PairedBootstrap.Difference(BootstrapMetric.MacroF1, 2, [0], [0], [1], [], seed: 1), Is.Null);
            Assert.That(PairedBootstrap.Interval(BootstrapMetric.MacroF1, 2, [0, 1, 1], [0, 1, 0], [8, 8, 8], seed: 1), Is.Null);
        });
    }

    [Test]
    public void A_class_that_is_rare_or_absent_gives_numbers()
    {
        // class 1 occurs once and is never predicted, class 2 never occurs; many resamples hold class 0 alone
        var interval = PairedBootstrap.Interval(BootstrapMetric.MacroF1, 3, [0, 0, 0, 1], [0, 0, 0, 0], [], seed: 1)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(interval.Estimate, Is.EqualTo(6.0 / 7 / 3).Within(Rounding));
            Assert.That(interval.High, Is.EqualTo(1.0 / 3).Within(Rounding), "three times class 0: F = 1, 0, 0");
            Assert.That(interval.Low, Is.InRange(0, interval.Estimate));
        });
        Assert.That(PairedBootstrap.Interval(BootstrapMetric.MacroF1, 3, [0, 0], [2, 2], [], seed: 1),
            Is.EqualTo(new BootstrapInterval(0, 0, 0)), "all wrong");
    }

    [Test]
    public void Bad_input_is_refused()
    {
        const BootstrapMetric metric = BootstrapMetric.MacroF1;
        Assert.Multiple(() =>
        {
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [], [], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Difference(metric, 2, [], [], [], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Difference(metric, 2, [0, 1], [0, 1], [], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0, 1], [3], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 2], [0, 1], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0, -1], [], seed: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0, 1], [], 1, resamples: 0), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0, 1], [], seed: 1, level: 1), Throws.ArgumentException);
            Assert.That(() => PairedBootstrap.Interval(metric, 2, [0, 1], [0, 1], [], seed: 1, level: double.NaN), Throws.ArgumentException);
        });
    }
}
