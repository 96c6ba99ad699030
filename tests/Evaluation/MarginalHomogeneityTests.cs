using Avedis.Engine;
using Avedis.Trainer.Evaluation;
using NUnit.Framework;

namespace Avedis.Tests.Evaluation;

public class MarginalHomogeneityTests
{
    private const double Rounding = 1e-12;         // relative: sums of a few positive terms, or elimination in another order
    private const double TailRounding = 1e-11;     // relative: p ~ exp(-X2 / 2) multiplies the rounding of X2 by X2 / 2, up to some 500
    private const double ManyTermsRounding = 1e-9; // relative: a hundred degrees of freedom by elimination with subtraction

    private const string FourGrades = "1520 266 124 66; 234 1512 432 78; 117 362 1772 205; 36 82 179 492";
    private const string ThreeClasses = "35 5 0; 15 20 5; 10 5 5";
    private const string TwoClasses = "10 5; 15 70";
    private const string TwoUnusedClasses = "50 5 3 0 0; 9 40 2 0 0; 1 2 30 0 0; 0 0 0 7 0; 0 0 0 0 0";
    private const string TwoEqualMarginals = "20 9 10 2; 5 30 6 7; 7 3 40 10; 3 6 10 50";
    private const string AllEqualMarginals = "20 10 5; 3 30 15; 12 8 40";
    private const string FarApart = "1000 900 0; 10 1000 5; 2 3 1000";

    private static long[,] Parse(string rows)
    {
        long[][] cells = [.. rows.Split(';').Select(r => r.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(long.Parse).ToArray())];
        var table = new long[cells.Length, cells.Length];
        for (int i = 0; i < cells.Length; i++)
            for (int j = 0; j < cells.Length; j++)
                table[i, j] = cells[i][j];
        return table;
    }

    private static void AssertResult(ChiSquareTest? test, double statistic, int df, double p)
    {
        Assert.That(test, Is.Not.Null);
        Assert.Multiple(() =>
        {
            Assert.That(test!.Value.Statistic, Is.EqualTo(statistic).Within(Rounding * statistic));
            Assert.That(test.Value.DegreesOfFreedom, Is.EqualTo(df));
            Assert.That(test.Value.P, Is.EqualTo(p).Within(TailRounding * p));
        });
    }

    // X2 and p by exact rational and 40-digit arithmetic; the first two tables are published examples
    [TestCase(FourGrades, 11.956569622982556, 3, 0.00753342505480054)]
    [TestCase(ThreeClasses, 14.0, 2, 0.000911881965554516)]
    [TestCase(TwoClasses, 5.0, 1, 0.0253473186774683)]
    [TestCase(TwoUnusedClasses, 1.0625, 2, 0.587869673122346)]
    [TestCase(TwoEqualMarginals, 1.308158564674506, 3, 0.727196662028791)]
    [TestCase(AllEqualMarginals, 0.0, 2, 1.0)]
    [TestCase(FarApart, 865.010969723563, 2, 1.46303437953036e-188)]
    public void Stuart_maxwell_of_known_tables(string table, double statistic, int df, double p) =>
        AssertResult(MarginalHomogeneity.StuartMaxwell(Parse(table)), statistic, df, p);

    [TestCase(FourGrades, 11.975720155525675, 3, 0.00746679746972396)]
    [TestCase(ThreeClasses, 16.27906976744186, 2, 0.000291772874994344)]
    [TestCase(TwoClasses, 5.263157894736842, 1, 0.0217814627911195)]
    [TestCase(TwoUnusedClasses, 1.0701309674693705, 2, 0.585630939588067)]
    [TestCase(TwoEqualMarginals, 1.3160558570644551, 3, 0.725324031185769)]
    [TestCase(AllEqualMarginals, 0.0, 2, 1.0)]
    [TestCase(FarApart, 1109.9362281538338, 2, 9.5589551546354e-242)]
    public void Bhapkar_of_known_tables(string table, double statistic, int df, double p) =>
        AssertResult(MarginalHomogeneity.Bhapkar(Parse(table)), statistic, df, p);

    [TestCase(AllEqualMarginals, 8.7820184930159355, 3, 0.0323339498472867)] // 7^2/13 + 7^2/17 + 7^2/23
    [TestCase(ThreeClasses, 15.0, 3, 0.00181664896657232)]                   // 10^2/20 + 10^2/10 + 0
    [TestCase(TwoClasses, 5.0, 1, 0.0253473186774683)]
    [TestCase(TwoUnusedClasses, 2.142857142857143, 3, 0.543291245021411)]    // 4^2/14 + 2^2/4 + 0
    public void Bowker_of_hand_tables(string table, double statistic, int df, double p) =>
        AssertResult(Bowker.Test(Parse(table)), statistic, df, p);

    /// <summary>The textbook form: leave out one class, solve by elimination with pivoting. For classes in one component.</summary>
    private static double LeavingOut(int dropped, long[,] table, bool bhapkar)
    {
        int[] kept = [.. Enumerable.Range(0, table.GetLength(0)).Where(c => c != dropped)];
        int k = kept.Length;
        long total = table.Cast<long>().Sum();
        long Row(int i) => Enumerable.Range(0, k + 1).Sum(j => table[i, j]);
        long Column(int j) => Enumerable.Range(0, k + 1).Sum(i => table[i, j]);
        double[] d = [.. kept.Select(i => (double)(Row(i) - Column(i)))];
        var s = new double[k, k + 1]; // the last column is the right-hand side
        for (int i = 0; i < k; i++)
        {
            for (int j = 0; j < k; j++)
                s[i, j] = -(table[kept[i], kept[j]] + table[kept[j], kept[i]]) + (i == j ? Row(kept[i]) + Column(kept[i]) : 0)
                    - (bhapkar ? d[i] * d[j] / total : 0);
            s[i, k] = d[i];
        }
        for (int p = 0; p < k; p++)
        {
            int best = Enumerable.Range(p, k - p).MaxBy(i => Math.Abs(s[i, p]));
            for (int j = 0; j <= k; j++)
                (s[p, j], s[best, j]) = (s[best, j], s[p, j]);
            for (int i = 0; i < k; i++)
            {
                double factor = i == p ? 0 : s[i, p] / s[p, p];
                for (int j = p; j <= k; j++)
                    s[i, j] -= factor * s[p, j];
            }
        }
        return Enumerable.Range(0, k).Sum(i => d[i] * s[i, k] / s[i, i]);
    }

    [TestCase(FourGrades)]
    [TestCase(ThreeClasses)]
    [TestCase(TwoEqualMarginals)]
    [TestCase(FarApart)]
    public void No_matter_which_class_is_left_out(string rows)
    {
        var table = Parse(rows);
        double stuart = MarginalHomogeneity.StuartMaxwell(table)!.Value.Statistic;
        double bhapkar = MarginalHomogeneity.Bhapkar(table)!.Value.Statistic;
        for (int dropped = 0; dropped < table.GetLength(0); dropped++)
            Assert.Multiple(() =>
            {
                Assert.That(LeavingOut(dropped, table, bhapkar: false), Is.EqualTo(stuart).Within(Rounding * stuart));
                Assert.That(LeavingOut(dropped, table, bhapkar: true), Is.EqualTo(bhapkar).Within(Rounding * bhapkar));
            });
    }

    [Test]
    public void No_matter_in_which_order_the_classes_come()
    {
        var random = new Philox(seed: 1, stream: 0);
        foreach (string rows in new[] { FourGrades, TwoUnusedClasses, TwoEqualMarginals, AllEqualMarginals })
        {
            var table = Parse(rows);
            var expected = MarginalHomogeneity.StuartMaxwell(table)!.Value;
            for (int repeat = 0; repeat < 20; repeat++)
            {
                int[] order = [.. Enumerable.Range(0, table.GetLength(0))];
                random.Shuffle<int>(order);
                var shuffled = new long[order.Length, order.Length];
                for (int i = 0; i < order.Length; i++)
                    for (int j = 0; j < order.Length; j++)
                        shuffled[i, j] = table[order[i], order[j]];
                AssertResult(MarginalHomogeneity.StuartMaxwell(shuffled), expected.Statistic, expected.DegreesOfFreedom, expected.P);
            }
        }
    }

    [Test]
    public void A_hundred_classes_agree_with_the_textbook()
    {
        var random = new Philox(seed: 2, stream: 0);
        const int classes = 100, clips = 3000;
        var table = new long[classes, classes];
        for (int i = 0; i < clips; i++)
            table[random.Next(classes), (int)(classes * Math.Pow(random.NextDouble(), 1.1))]++; // B prefers the first classes
        var test = MarginalHomogeneity.StuartMaxwell(table)!.Value;
        double expected = LeavingOut(17, table, bhapkar: false);
        Assert.That(test.Statistic, Is.EqualTo(expected).Within(ManyTermsRounding * expected));
        Assert.That(test.DegreesOfFreedom, Is.EqualTo(classes - 1));
    }

    [Test]
    public void Two_classes_are_mcnemar_without_correction([Values(0, 1, 7, 40)] long b, [Values(1, 2, 9)] long c)
    {
        var table = new long[,] { { 30, b }, { c, 50 } };
        double statistic = (double)((b - c) * (b - c)) / (b + c);
        Assert.Multiple(() =>
        {
            Assert.That(MarginalHomogeneity.StuartMaxwell(table), Is.EqualTo(new ChiSquareTest(statistic, 1)));
            Assert.That(Bowker.Test(table), Is.EqualTo(new ChiSquareTest(statistic, 1)));
        });
    }

    [Test]
    public void Classes_that_are_never_confused_across_groups_are_tested_group_by_group()
    {
        string[] parts = [FourGrades, ThreeClasses, TwoEqualMarginals, "5"];
        var tables = parts.Select(Parse).ToArray();
        int classes = tables.Sum(t => t.GetLength(0));
        // strided, so that the groups' classes lie between one another: place i of the joint table is class (7 i) mod 12
        int[] place = [.. Enumerable.Range(0, classes).Select(i => 7 * i % classes)];
        Assert.That(place.Distinct().Count(), Is.EqualTo(classes));
        var joint = new long[classes, classes];
        int first = 0;
        foreach (var table in tables)
        {
            for (int i = 0; i < table.GetLength(0); i++)
                for (int j = 0; j < table.GetLength(0); j++)
                    joint[place[first + i], place[first + j]] = table[i, j];
            first += table.GetLength(0);
        }
        var single = tables.Take(3).Select(t => MarginalHomogeneity.StuartMaxwell(t)!.Value).ToArray();
        var test = MarginalHomogeneity.StuartMaxwell(joint)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(test.Statistic, Is.EqualTo(single.Sum(t => t.Statistic)).Within(Rounding * 30));
            Assert.That(test.DegreesOfFreedom, Is.EqualTo(3 + 2 + 3), "12 classes in 4 components");
        });
    }

    /// <summary>Where the disagreements form a forest, a difference of marginals can only come from the pairs themselves: Bowker's test.</summary>
    [Test]
    public void A_forest_of_a_thousand_speakers_is_bowkers_test()
    {
        var random = new Philox(seed: 3, stream: 0);
        const int speakers = 1251, roots = 40;
        int[] order = [.. Enumerable.Range(0, speakers)];
        random.Shuffle<int>(order);
        var table = new long[speakers, speakers];
        for (int i = roots; i < speakers; i++)
        {
            int child = order[i], parent = order[random.Next(i)];
            table[child, parent] = random.Next(5);
            table[parent, child] = 1 + random.Next(5);
            table[child, child] = random.Next(20);
        }
        var stuart = MarginalHomogeneity.StuartMaxwell(table)!.Value;
        var bowker = Bowker.Test(table)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(stuart.Statistic, Is.EqualTo(bowker.Statistic).Within(ManyTermsRounding * bowker.Statistic));
            Assert.That(stuart.DegreesOfFreedom, Is.EqualTo(speakers - roots).And.EqualTo(bowker.DegreesOfFreedom));
        });
    }

    [Test]
    public void A_thousand_speakers_all_confused_with_all()
    {
        // A says an odd class, B any other: n_ij = 2 where i is odd, j != i. By symmetry only the split into odd and even classes matters, m of each:
        // X2 = (clips from odd to even - clips back)^2 / (clips across) = 2 m^2. Even classes are linked through the odd ones: one component.
        const int speakers = 1250;
        var table = new long[speakers, speakers];
        for (int i = 0; i < speakers; i++)
            for (int j = 0; j < speakers; j++)
                table[i, j] = i == j ? 0 : 2 * (i % 2);
        const double statistic = 2.0 * (speakers / 2) * (speakers / 2);
        var test = MarginalHomogeneity.StuartMaxwell(table)!.Value;
        Assert.Multiple(() =>
        {
            Assert.That(test.Statistic, Is.EqualTo(statistic).Within(ManyTermsRounding * statistic));
            Assert.That(test.DegreesOfFreedom, Is.EqualTo(speakers - 1));
            Assert.That(test.P, Is.Zero);
        });
    }

    [Test]
    public void Not_applicable_where_nothing_differs([Values("7", "7 0; 0 3", "0 0; 0 0", "4 0 0; 0 0 0; 0 0 9")] string table)
    {
        Assert.Multiple(() =>
        {
            Assert.That(MarginalHomogeneity.StuartMaxwell(Parse(table)), Is.Null);
            Assert.That(MarginalHomogeneity.Bhapkar(Parse(table)), Is.Null);
            Assert.That(Bowker.Test(Parse(table)), Is.Null);
        });
        Assert.That(MarginalHomogeneity.StuartMaxwell(new long[0, 0]), Is.Null);
    }

    [TestCase("0 1; 0 0")]
    [TestCase("0 30; 0 0")]
    [TestCase("0 3 0; 0 0 7; 0 0 0")]                   // always one class further
    [TestCase("0 0 11 13; 0 0 17 3; 0 0 0 0; 0 0 0 0")] // from two classes to two others
    public void Bhapkar_has_no_variance_where_every_clip_differs_the_same_way(string table)
    {
        var parsed = Parse(table);
        double clips = parsed.Cast<long>().Sum();
        Assert.Multiple(() =>
        {
            Assert.That(MarginalHomogeneity.StuartMaxwell(parsed)!.Value.Statistic, Is.EqualTo(clips).Within(Rounding * clips));
            Assert.That(MarginalHomogeneity.Bhapkar(parsed), Is.Null);
        });
        parsed[0, 0] = 1;
        double x2 = MarginalHomogeneity.StuartMaxwell(parsed)!.Value.Statistic;
        double expected = x2 * (clips + 1); // with one agreement X2 / N = clips / (clips + 1)
        Assert.That(MarginalHomogeneity.Bhapkar(parsed)!.Value.Statistic, Is.EqualTo(expected).Within(ManyTermsRounding * expected));
    }

    [Test]
    public void Tables_that_are_none_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => MarginalHomogeneity.StuartMaxwell(new long[2, 3]), Throws.ArgumentException);
            Assert.That(() => MarginalHomogeneity.Bhapkar(new long[,] { { 1, -1 }, { 2, 3 } }), Throws.ArgumentException);
            Assert.That(() => Bowker.Test(new long[,] { { 1, -1 }, { 2, 3 } }), Throws.ArgumentException);
            Assert.That(() => PairedTable.Count(2, [0, 1], [0]), Throws.ArgumentException);
            Assert.That(() => PairedTable.Count(2, [0, 2], [0, 1]), Throws.ArgumentException);
            Assert.That(() => PairedTable.Count(2, [0, 1], [0, -1]), Throws.ArgumentException);
        });
    }

    [Test]
    public void A_table_has_the_first_model_in_its_rows() =>
        Assert.That(PairedTable.Count(3, [0, 0, 1, 2], [0, 1, 1, 0]), Is.EqualTo(new long[,] { { 1, 1, 0 }, { 0, 1, 0 }, { 1, 0, 0 } }));

    [Test]
    public void Equal_models_are_called_different_as_often_as_alpha_says()
    {
        const int repeats = 2000, clips = 400, classes = 4;
        const double alpha = 0.05, Low = 0.03, High = 0.07; // four standard errors of 0.0049: asymptotics are good with 100 clips a class
        int stuart = 0, bowker = 0;
        for (int repeat = 0; repeat < repeats; repeat++)
        {
            var random = new Philox(seed: 4, stream: (ulong)repeat);
            var table = new long[classes, classes];
            for (int i = 0; i < clips; i++)
            {
                int said = random.Next(classes);
                bool swap = random.Next(2) == 0;
                int other = random.NextDouble() < 0.6 ? said : random.Next(classes);
                table[swap ? other : said, swap ? said : other]++;
            }
            stuart += MarginalHomogeneity.StuartMaxwell(table)!.Value.P < alpha ? 1 : 0;
            bowker += Bowker.Test(table)!.Value.P < alpha ? 1 : 0;
        }
        Assert.Multiple(() =>
        {
            Assert.That((double)stuart / repeats, Is.InRange(Low, High));
            Assert.That((double)bowker / repeats, Is.InRange(Low, High));
        });
    }

    /// <summary>With an even number of degrees of freedom the tail is a Poisson sum: exp(-x) times the sum of x^k / k! over k below df / 2.</summary>
    [Test]
    public void Tail_of_chi_square_is_a_poisson_sum([Values(2, 4, 8, 100, 1250)] int df, [Values(0.01, 0.7, 1.0, 1.3, 2.0)] double perDegree)
    {
        double x = perDegree * df / 2, logTerm = -x, sum = 0;
        for (int k = 0; k < df / 2; k++)
        {
            sum += Math.Exp(logTerm);
            logTerm += Math.Log(x / (k + 1));
        }
        const double Digits = 1e-11; // relative: terms are exponentials of differences of logarithms of some thousands
        Assert.That(new ChiSquareTest(perDegree * df, df).P, Is.EqualTo(sum).Within(Digits * sum));
    }

    [Test]
    public void Tail_of_chi_square_starts_at_one([Values(1, 2, 3, 1250)] int df) => Assert.That(new ChiSquareTest(0, df).P, Is.EqualTo(1));
}
