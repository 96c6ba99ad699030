using Avedis.Engine;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What each strategy moves and what it does not, to the bit, and that what it follows is the gradient of its objective. tests/golden holds the same against
/// PyTorch, for linear heads.
/// </summary>
public sealed class StrategyTests
{
    private const int Clips = 4;

    private static readonly Factor emotion = Factor.Numbered(Factor.Emotion, 5), speaker = Factor.Numbered(Factor.Speaker, 3), gender = Factor.Numbered("gender", 2);

    private static NetworkOptions Network(AuxiliaryOptions? auxiliary = null) => new()
    {
        FaceChannels = [4, 4, 4, 4, 4, 8],
        VoiceChannels = [4, 4, 4, 4, 4, 8],
        Factors = new Dictionary<string, FactorOptions>
        {
            ["emotion"] = new() { Embedding = 12, Forget = new Dictionary<string, float> { ["speaker"] = 0.3f } },
            ["speaker"] = new() { Hidden = 9, Embedding = 10, Forget = new Dictionary<string, float> { ["emotion"] = 0.3f } },
        },
        Auxiliary = auxiliary ?? new(),
    };

    private static readonly AuxiliaryOptions large = new() { Hidden = 7, Normalise = true, Noise = 0.5f, Heads = 2 };

    /// <summary>A tiny network on the processor that notes every group's gradients before, and its values behind, each update.</summary>
    private sealed class Rig : IDisposable
    {
        private readonly List<(string Group, Dictionary<string, float[]> Values)> updates = [];
        private long step;

        /// <param name="frozen">Parts that stay as they are; without its trunk a network takes pooled features.</param>
        public Rig(string strategy, NetworkOptions? network = null, AdversaryOptions? adversary = null, bool monitor = false, params string[] frozen)
        {
            network ??= Network();
            bool pooled = frozen.Contains(TwoStreamNetwork.TrunkName);
            Training = new() { Strategy = strategy, Monitor = monitor, Adversary = adversary ?? new() };
            var watch = new WatchedBackend(new CpuBackend())
            {
                BeforeWith = (operation, tensors) =>
                {
                    if (operation == "adam")
                        Gradients[GroupOf(tensors).Name] = [.. GroupOf(tensors).Parameters.SelectMany(p => Runtime!.Read(p.Gradient))];
                },
                After = (operation, tensors) =>
                {
                    if (operation == "adam")
                        updates.Add((GroupOf(tensors).Name, Values()));
                },
            };
            var shape = new NetworkShape(Clips, FaceFrames: 2, FaceSize: 64, MelBins: 40, MelFrames: 48, [emotion, speaker, gender], DType.F32);
            Runtime = new Runtime(watch, network, shape, Training, new NetworkParts(Strategy.PassesOf(Training), pooled, frozen));
            Runtime.Network.Initialise(3);
            Batch = TrainingBenchmark.RandomBatch(shape, seed: 5, number: 0);
            if (pooled)
                Batch = PooledBatch(shape, Trunk.WidthOf(network), Batch);
            updates.Clear(); // of the plan
        }

        private static Batch PooledBatch(NetworkShape shape, int width, Batch labels)
        {
            var batch = new Batch(shape.Batch, 0, 0, 0, 0, shape.Factors.Count, width) { Count = shape.Batch };
            var random = new Philox(6, 0);
            for (int i = 0; i < batch.Pooled.Length; i++)
                batch.Pooled[i] = random.NextFloat();
            for (int factor = 0; factor < shape.Factors.Count; factor++)
                labels.Labels[factor].CopyTo(batch.Labels[factor], 0);
            Array.Fill(batch.Weights, 1f);
            return batch;
        }

        public TrainingOptions Training { get; }

        public Runtime Runtime { get; }

        public Batch Batch { get; }

        public Dictionary<string, float[]> Gradients { get; } = [];

        private ParameterGroup GroupOf(Tensor?[] tensors) => Runtime.Network.Groups.First(group => group.Values == tensors[0]);

        public Dictionary<string, float[]> Values() => Runtime.Network.Groups.SelectMany(g => g.Parameters).ToDictionary(p => p.Name, p => Runtime.Read(p.Value));

        public Dictionary<string, float[]> Statistics() =>
            Runtime.Network.State().Where(s => s.Name.Contains(".running_")).ToDictionary(s => s.Name, s => Runtime.Read(s.Tensor));

        /// <summary>One step; the values behind each update, in order.</summary>
        public List<(string Group, Dictionary<string, float[]> Values)> Step(double progress = 1, double rate = 1e-3, double auxiliaryRate = 1e-2, double lossOfHead = double.NaN)
        {
            updates.Clear();
            Runtime.Prepare(step++, progress, _ => lossOfHead);
            Runtime.Advance(rate, auxiliaryRate);
            Runtime.Load(Batch);
            Runtime.TrainStep();
            return updates;
        }

        /// <summary>The gradient of each parameter of the primary group in the last step.</summary>
        public Dictionary<string, float[]> PrimaryGradients()
        {
            var byName = new Dictionary<string, float[]>();
            int offset = 0;
            foreach (var p in Runtime.Network.Primary.Parameters)
                byName[p.Name] = Gradients["primary"][offset..(offset += (int)p.Shape.Count)];
            return byName;
        }

        public double Sum(Tensor tensor) => Runtime.Read(tensor).Sum(value => (double)value);

        public void Dispose() => Runtime.Dispose();
    }

    private static readonly string[] headNames = ["emotion.auxiliary.speaker", "speaker.auxiliary.emotion"];

    // methods by rows: which group an update moves, in order
    private static IEnumerable<TestCaseData> Rows()
    {
        string[] primary = ["primary"], twice = [.. headNames.SelectMany(name => new[] { name, name })];
        yield return new TestCaseData("baseline", 1, false, primary).SetArgDisplayNames("baseline");
        yield return new TestCaseData("baseline", 1, true, (string[])[.. headNames, .. primary]).SetArgDisplayNames("baseline with monitor");
        yield return new TestCaseData("gr", 1, false, (string[])[.. primary, .. headNames]).SetArgDisplayNames("gr");
        yield return new TestCaseData("gr", 3, false, (string[])[.. twice, .. primary, .. headNames]).SetArgDisplayNames("gr, 3 updates");
        foreach (string strategy in new[] { "alt", "conf", "projected" })
        {
            yield return new TestCaseData(strategy, 1, false, (string[])[.. headNames, .. primary]).SetArgDisplayNames(strategy);
            yield return new TestCaseData(strategy, 2, false, (string[])[.. twice, .. primary]).SetArgDisplayNames($"{strategy}, 2 updates");
        }
    }

    [TestCaseSource(nameof(Rows))]
    public void Each_update_moves_every_parameter_of_its_row_and_no_other(string strategy, int updates, bool monitor, string[] groups)
    {
        using var rig = new Rig(strategy, adversary: new() { Updates = updates }, monitor: monitor);
        var before = rig.Values();
        var steps = rig.Step();
        Assert.That(steps.Select(s => s.Group), Is.EqualTo(groups));
        foreach (var (group, values) in steps)
        {
            var moved = values.Where(v => !v.Value.SequenceEqual(before[v.Key])).Select(v => v.Key);
            var expected = values.Keys.Where(name => headNames.FirstOrDefault(head => name.StartsWith(head)) is { } head ? head == group : group == "primary");
            Assert.That(moved, Is.EquivalentTo(expected), $"update of {group}");
            before = values;
        }
        foreach (var (group, optimiser) in rig.Runtime.Network.Groups.Zip(rig.Runtime.Optimisers))
        {
            Assert.That(rig.Runtime.Read(group.Gradients), Is.All.Zero, $"{group.Name}: nothing is left for the next step");
            Assert.That(optimiser.Step, Is.EqualTo(steps.Count(s => s.Group == group.Name)), $"{group.Name}: its optimiser has counted its updates");
        }
    }

    /// <summary>Through each auxiliary head: once for each update, and once more where another update follows its loss; and what is told of the strength.</summary>
    [TestCase("baseline", false, 0, null)]
    [TestCase("baseline", true, 1, null)]
    [TestCase("gr", false, 3, 2)]
    [TestCase("alt", false, 4, 2)]
    [TestCase("conf", false, 4, 2)]
    [TestCase("projected", false, 4, 2)]
    public void Passes_of_a_step_and_its_strength(string strategy, bool monitor, int passes, double? strength)
    {
        using var rig = new Rig(strategy, adversary: new() { Updates = 3, Strength = 4, Schedule = Schedule.Ramp }, monitor: monitor);
        Assert.That(Strategy.PassesOf(rig.Training), Is.EqualTo(passes));
        Assert.That(rig.Runtime.Strength(0.25), Is.EqualTo(strength));
    }

    [Test]
    public void Running_statistics_see_each_batch_once([Values("gr", "alt", "conf", "projected")] string strategy)
    {
        using var plain = new Rig("baseline", Network(large));
        plain.Step();
        using var rig = new Rig(strategy, Network(large), new() { Updates = 3 });
        rig.Step();
        var expected = plain.Statistics();
        var actual = rig.Statistics();
        foreach (string name in expected.Keys)
            Assert.That(actual[name], Is.EqualTo(expected[name]), name);
        // embeddings are the same in every pass of the step, so a single move of 1/10 has this mean
        using var once = new Rig("baseline", Network(large), monitor: true);
        once.Step();
        foreach (string name in actual.Keys.Except(expected.Keys))
            Assert.That(actual[name], Is.EqualTo(once.Statistics()[name]), name);
        Assert.That(actual.Keys.Except(expected.Keys).Count(), Is.EqualTo(8), "mean and variance of two heads for each of two embeddings");
    }

    [Test]
    public void Without_strength_an_adversary_is_the_baseline_to_the_bit([Values("gr", "alt", "conf")] string strategy)
    {
        using var plain = new Rig("baseline");
        using var rig = new Rig(strategy, adversary: new() { Strength = 0 });
        for (int i = 0; i < 3; i++)
        {
            plain.Step();
            rig.Step();
        }
        foreach (var (name, values) in plain.Values())
            Assert.That(rig.Values()[name], Is.EqualTo(values), name);
    }

    [Test]
    public void The_primary_gradient_is_that_of_the_objective(
        [Values("baseline", "gr", "alt", "conf")] string strategy, [Values] bool largeHeads)
    {
        const float Strength = 2;
        // FP32 sums through ReLU and pooling kinks: a wrong sign or a missing term is off by far more
        const double Tolerance = 0.02, Distance = 1e-4;
        // without noise: each step draws its own
        using var rig = new Rig(strategy, Network(largeHeads ? large with { Noise = 0 } : null), new() { Strength = Strength });
        var network = rig.Runtime.Network;
        double Objective()
        {
            rig.Step(rate: 0, auxiliaryRate: 0);
            double primary = network.Branches.Sum(branch => branch.Weight * rig.Sum(branch.Loss));
            double scale = 0.3 / (largeHeads ? large.Heads : 1);
            return strategy switch
            {
                "baseline" => primary,
                "conf" => primary + Strength * scale * network.Auxiliary.Sum(head => rig.Sum(head.Confusion)),
                _ => primary - Strength * scale * network.Auxiliary.Sum(head => rig.Sum(head.Loss)),
            };
        }
        Objective();
        // along the gradient of each layer behind the trunk, and of the trunk's as a whole
        float[] gradient = rig.Gradients["primary"];
        foreach (string part in new[] { "emotion.embedding", "speaker.hidden", "speaker.embedding", "emotion.head", "speaker.head", "face", "voice" })
        {
            var parameters = network.Primary.Parameters;
            var (start, direction) = (new Dictionary<string, float[]>(), new Dictionary<string, float[]>());
            int offset = 0;
            foreach (var p in parameters)
            {
                int count = (int)p.Shape.Count;
                if (p.Name.StartsWith(part + ".", StringComparison.Ordinal))
                    (start[p.Name], direction[p.Name]) = (rig.Runtime.Read(p.Value), gradient[offset..(offset + count)]);
                offset += count;
            }
            double length = Math.Sqrt(direction.Values.Sum(d => d.Sum(g => (double)g * g)));
            double At(double distance)
            {
                foreach (var p in parameters.Where(p => start.ContainsKey(p.Name)))
                    rig.Runtime.Write(p.Value, [.. start[p.Name].Zip(direction[p.Name], (value, g) => (float)(value + distance * g / length))]);
                return Objective();
            }
            double slope = (At(Distance) - At(-Distance)) / (2 * Distance);
            At(0);
            Assert.That(slope, Is.EqualTo(length).Within(Tolerance * length), part);
        }
    }

    private static readonly string[][] frozen = [[], ["speaker"], [TwoStreamNetwork.TrunkName], [TwoStreamNetwork.TrunkName, "emotion"]];

    /// <summary>P comes from a baseline's step, A from one of alternate training that is nearly all adversary.</summary>
    [Test]
    public void Projection_takes_the_adversarys_share_out_of_every_tensor(
        [Values(0f, 2f)] float strength, [Values] bool largeHeads, [ValueSource(nameof(frozen))] string[] frozen)
    {
        const float Most = 1e4f;
        // of P and A: FP32 sums, and the 1e-4 of P in what alternate training gives; of the largest gradient: batch norm takes away a shift in front of it
        // that no ReLU cuts, so that the gradient of face.bn5.bias is what rounding leaves
        const double Tolerance = 1e-3, Rounding = 1e-6;
        var options = Network(largeHeads ? large with { Noise = 0 } : null);
        using var plain = new Rig("baseline", options, frozen: frozen);
        using var adversary = new Rig("alt", options, new() { Strength = Most }, frozen: frozen);
        using var rig = new Rig("projected", options, new() { Strength = strength }, frozen: frozen);
        plain.Step();
        adversary.Step();
        rig.Step();
        var (primary, both, result) = (plain.PrimaryGradients(), adversary.PrimaryGradients(), rig.PrimaryGradients());
        Assert.That(result.Keys, Is.EquivalentTo(primary.Keys));
        static double Norm(IEnumerable<double> values) => Math.Sqrt(values.Sum(v => v * v));
        double rounding = Rounding * primary.Values.Max(values => Norm(values.Select(v => (double)v)));
        int reached = 0;
        foreach (string name in result.Keys)
        {
            double[] p = Array.ConvertAll(primary[name], v => (double)v), a = [.. p.Zip(both[name], (own, sum) => (own - sum) / Most)];
            double square = a.Sum(v => v * v), product = p.Zip(a, (x, y) => x * y).Sum();
            if (name.Contains(".head.") || square == 0)
            {
                Assert.That(result[name], Is.EqualTo(primary[name]), $"{name}: no auxiliary head reads it");
                continue;
            }
            reached++;
            double allowed = Tolerance * (Norm(p) + strength * Norm(a)) + rounding, off = 0, along = 0;
            for (int i = 0; i < p.Length; i++)
            {
                off += Math.Pow(result[name][i] - (p[i] - product / square * a[i] - strength * a[i]), 2);
                along += result[name][i] * a[i];
            }
            Assert.That(Math.Sqrt(off), Is.LessThan(allowed), name);
            // what the adversary's loss gains to first order: nothing but alpha's part
            Assert.That(along, Is.EqualTo(-strength * square).Within(allowed * Norm(a)), $"{name}: along A");
        }
        int streams = frozen.Contains(TwoStreamNetwork.TrunkName) ? 0 : 2 * 6 * 3, layers = (frozen.Contains("emotion") ? 0 : 1) + (frozen.Contains("speaker") ? 0 : 2);
        Assert.That(reached, Is.EqualTo(streams + 2 * layers), "weight, scale and shift of every convolution, weight and bias of every layer up to an embedding");
    }

    [Test]
    public void Projection_without_an_adversary_is_the_baseline_to_the_bit([Values("nothing to forget", "warm-up", "cap")] string why)
    {
        var network = Network();
        if (why == "nothing to forget")
            network = network with
            {
                Factors = network.Factors.ToDictionary(f => f.Key, f => f.Value with { Forget = f.Value.Forget.ToDictionary(w => w.Key, _ => 0f) }),
            };
        using var plain = new Rig("baseline", network);
        using var rig = new Rig("projected", network, new() { Strength = 3, WarmUp = why == "warm-up" ? 0.5 : 0, Cap = why == "cap" });
        for (int i = 0; i < 3; i++)
        {
            plain.Step();
            rig.Step(progress: 0.4, lossOfHead: 10);
        }
        foreach (var (name, values) in plain.Values())
            Assert.That(rig.Values()[name], Is.EqualTo(values), name);
        rig.Step(progress: 0.6, lossOfHead: 0);
        plain.Step();
        Assert.That(rig.PrimaryGradients()["face.conv1.weight"].SequenceEqual(plain.PrimaryGradients()["face.conv1.weight"]), Is.EqualTo(why == "nothing to forget"));
    }

    [Test]
    public void Stopped_at_the_trunk_an_adversary_moves_the_embeddings_alone([Values("gr", "alt", "conf")] string strategy)
    {
        using var plain = new Rig("baseline");
        using var through = new Rig(strategy, adversary: new() { Strength = 3 });
        using var stopped = new Rig(strategy, adversary: new() { Strength = 3, IntoTrunk = false });
        foreach (var rig in new[] { plain, through, stopped })
            rig.Step();
        foreach (var (name, gradient) in stopped.PrimaryGradients())
        {
            bool trunk = name.StartsWith("face.", StringComparison.Ordinal) || name.StartsWith("voice.", StringComparison.Ordinal);
            Assert.That(gradient, Is.EqualTo((trunk ? plain : through).PrimaryGradients()[name]), name);
        }
        Assert.That(through.PrimaryGradients()["face.conv1.weight"], Is.Not.EqualTo(plain.PrimaryGradients()["face.conv1.weight"]));
    }

    [Test]
    public void Heads_follow_their_own_loss_by_its_full_gradient([Values("gr", "alt", "conf", "projected")] string strategy)
    {
        // at strength 0 a head's gradient is as large as at strength 5
        using var without = new Rig(strategy, adversary: new() { Strength = 0 });
        using var with = new Rig(strategy, adversary: new() { Strength = 5 });
        without.Step();
        with.Step();
        foreach (string head in headNames)
        {
            Assert.That(with.Gradients[head], Is.EqualTo(without.Gradients[head]), head);
            Assert.That(with.Gradients[head].Any(g => g != 0), head);
        }
    }

    [Test]
    public void A_head_that_tells_nothing_gives_confusion_no_gradient()
    {
        using var rig = new Rig("conf", adversary: new() { Strength = 100 });
        using var plain = new Rig("baseline");
        foreach (var head in rig.Runtime.Network.Auxiliary)
            foreach (var p in head.Group.Parameters)
                rig.Runtime.Write(p.Value, new float[p.Shape.Count]);
        rig.Step(auxiliaryRate: 0);
        plain.Step();
        Assert.That(rig.Gradients["primary"], Is.EqualTo(plain.Gradients["primary"]));
        foreach (var head in rig.Runtime.Network.Auxiliary)
            Assert.That(rig.Sum(head.Divergence), Is.Zero);
    }

    [Test]
    public void The_cap_lets_go_of_an_embedding_whose_head_is_at_chance([Values(0, 0.01)] double worse)
    {
        using var rig = new Rig("alt", adversary: new() { Cap = true, Strength = 3 });
        using var plain = new Rig("baseline");
        plain.Step();
        rig.Runtime.Prepare(1, 1, head => Math.Log(head.Factor.Classes.Count) + worse);
        rig.Runtime.Advance(1e-3, 1e-2);
        rig.Runtime.Load(rig.Batch);
        rig.Runtime.TrainStep();
        Assert.That(rig.Gradients["primary"], Is.EqualTo(plain.Gradients["primary"]));
        rig.Step();
        Assert.That(rig.Gradients["primary"], Is.Not.EqualTo(plain.Gradients["primary"]));
    }

    [Test]
    public void Heads_are_renewed_in_turn()
    {
        using var rig = new Rig("conf", Network(large), new() { RenewEvery = 2 });
        var changed = new List<string>();
        for (int i = 0; i < 7; i++)
        {
            var before = rig.Values();
            rig.Step(rate: 0, auxiliaryRate: 0);
            changed.AddRange(rig.Values().Where(v => v.Key.EndsWith("head.weight") && v.Key.StartsWith("speaker.auxiliary") && !v.Value.SequenceEqual(before[v.Key]))
                .Select(v => $"{i} {v.Key}"));
        }
        Assert.That(changed, Is.EqualTo(new[]
        {
            "2 speaker.auxiliary.emotion.1.head.weight", "4 speaker.auxiliary.emotion.0.head.weight", "6 speaker.auxiliary.emotion.1.head.weight",
        }));
    }

    /// <summary>Adam's first step is as long as the rate, whatever the gradient: it would be three times that with the moments of a beginning and the corrections of a later step.</summary>
    [Test]
    public void A_renewed_head_has_an_optimiser_that_begins_anew()
    {
        const float Rate = 1e-2f;
        using var rig = new Rig("conf", Network(large), new() { RenewEvery = 3 });
        for (int i = 0; i < 3; i++)
            rig.Step(auxiliaryRate: Rate);
        var optimiser = rig.Runtime.Optimisers.Single(o => o.Group.Name == "speaker.auxiliary.emotion.1");
        Assert.That(optimiser.Step, Is.EqualTo(3));
        var before = rig.Values();
        rig.Step(auxiliaryRate: Rate);
        Assert.That(optimiser.Step, Is.EqualTo(1));
        float[] gradient = rig.Gradients[optimiser.Group.Name];
        float[] first = [.. optimiser.Group.Parameters.SelectMany(p => rig.Runtime.Read(optimiser.FirstMoment).AsSpan(OffsetOf(p), (int)p.Shape.Count).ToArray())];
        float[] second = [.. optimiser.Group.Parameters.SelectMany(p => rig.Runtime.Read(optimiser.SecondMoment).AsSpan(OffsetOf(p), (int)p.Shape.Count).ToArray())];
        var options = new AdamOptions();
        Assert.That(first, Is.EqualTo(gradient.Select(g => (1 - options.Beta1) * g)).Within(1e-5).Percent);
        Assert.That(second, Is.EqualTo(gradient.Select(g => (1 - options.Beta2) * g * g)).Within(1e-2).Percent);

        int OffsetOf(Parameter p) => (int)((p.Value.Address - optimiser.Group.Values.Address) / sizeof(float));
    }

    [Test]
    public void A_single_task_moves_every_tensor_by_its_gradient()
    {
        const double Rate = 1e-3;
        using var rig = new Rig("stl", Network() with { Tasks = ["emotion"] });
        var before = rig.Values();
        var (group, after) = rig.Step(rate: Rate).Single();
        Assert.That(group, Is.EqualTo("primary"));
        foreach (var (name, gradient) in rig.PrimaryGradients())
            for (int i = 0; i < gradient.Length; i++)
            {
                // Adam's first step
                double expected = before[name][i] - (Rate * gradient[i] / (Math.Abs(gradient[i]) + 1e-8));
                Assert.That(after[name][i], Is.EqualTo(expected).Within(1e-6 + (1e-6 * Math.Abs(expected))), $"{name} {i}");
            }
    }

    [Test]
    public void Any_factor_can_be_forgotten_by_any_other()
    {
        var network = Network() with
        {
            Factors = new Dictionary<string, FactorOptions>
            {
                ["emotion"] = new() { Embedding = 12, Forget = new Dictionary<string, float> { ["speaker"] = 0.3f, ["gender"] = 0.1f } },
                ["speaker"] = new() { Embedding = 10 },
                ["gender"] = new() { Embedding = 6, Forget = new Dictionary<string, float> { ["emotion"] = 0.2f, ["speaker"] = 0 } },
            },
        };
        using var rig = new Rig("alt", network);
        var before = rig.Values();
        rig.Step();
        Assert.That(rig.Runtime.Network.Auxiliary.Select(head => head.Name),
            Is.EqualTo(new[] { "emotion.auxiliary.speaker", "emotion.auxiliary.gender", "gender.auxiliary.emotion" }));
        Assert.That(rig.Values().Where(v => v.Value.SequenceEqual(before[v.Key])), Is.Empty, "everything has moved");
    }

    [Test]
    public void Schedules_start_and_end_where_they_say()
    {
        Assert.Multiple(() =>
        {
            // values of 2 / (1 + exp(-10 p)) - 1
            foreach (var (p, value) in new[] { (0, 0), (.1, .46212), (.25, .84828), (.5, .98661), (1, .99991) })
                Assert.That(new AdversaryOptions { Schedule = Schedule.Ganin }.StrengthAt(p), Is.EqualTo(value).Within(1e-5));
            Assert.That(new AdversaryOptions { Strength = 4, Schedule = Schedule.Ramp }.StrengthAt(0.25), Is.EqualTo(2));
            Assert.That(new AdversaryOptions { Strength = 4, Schedule = Schedule.Ramp }.StrengthAt(0.75), Is.EqualTo(4));
            Assert.That(new AdversaryOptions { WarmUp = 0.5 }.StrengthAt(0.49), Is.Zero);
            Assert.That(new AdversaryOptions { WarmUp = 0.5 }.StrengthAt(0.5), Is.EqualTo(1));
            Assert.That(new AdversaryOptions { WarmUp = 0.5, Schedule = Schedule.Ramp }.StrengthAt(0.625), Is.EqualTo(0.5));
        });
    }

    [Test]
    public void Learning_rates_fall_by_epochs_or_along_a_cosine()
    {
        Assert.Multiple(() =>
        {
            Assert.That(new TrainingOptions { Decay = 0.5 }.RateAt(3, 0.9), Is.EqualTo(0.125));
            // 0.01 + 0.99 (1 + cos(pi p)) / 2
            foreach (var (p, value) in new[] { (0, 1), (0.25, 0.855018), (0.5, 0.505), (0.75, 0.154982), (1, 0.01) })
                Assert.That(new TrainingOptions { Decay = 1, Annealing = Annealing.Cosine }.RateAt(7, p), Is.EqualTo(value).Within(1e-6));
            Assert.That(new TrainingOptions { Decay = 0.5, Annealing = Annealing.Cosine }.RateAt(1, 1), Is.EqualTo(0.005).Within(1e-9));
        });
    }
}
