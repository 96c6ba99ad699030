using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Every gradient of every update of a step, on random networks, against a tape that knows nothing of the engine: what each strategy follows, written down as
/// an objective. The networks take pooled features, random ones; that the trunk is differentiated rightly is shown by the golden network.
/// </summary>
public sealed class StrategyGradientTests
{
    /// <summary>Of a tensor's gradient as a whole: FP32 sums over at most 10 clips and 40 features, five layers deep, each off by some roundings (6e-8).</summary>
    private const double Tolerance = 5e-6;

    /// <summary>The same behind a batch norm, which raises what an embedding is off by from roundings of its size to such of its deviation over a few clips.</summary>
    private const double BehindNorm = 2e-4;

    /// <summary>
    /// Of those, as a share of the group's largest gradient: what roundings leave of sums that nearly cancel, as the shift in front of a batch norm does.
    /// </summary>
    private const double Rounding = 0.05;

    /// <summary>A ReLU's input within some roundings of 0, where its gradient jumps: which side it is on is chance.</summary>
    private const double Kink = 1e-6;

    /// <summary>An update as the engine made it: the gradients that its optimiser was given, and all values at the time.</summary>
    private sealed record Update(string Group, Dictionary<string, double[]> Gradients, Dictionary<string, float[]> Values);

    /// <summary>A random network with random clips, and the step of a strategy on them.</summary>
    private sealed class Problem
    {
        private readonly Random random;
        private readonly int clips;
        private readonly List<Factor> factors;
        private readonly Batch batch;

        public Problem(int seed, string strategy)
        {
            random = new Random(seed);
            clips = random.Next(2, 11);
            factors = [.. new[] { "emotion", "speaker", "gender" }.Select(name => Factor.Numbered(name, random.Next(2, 7)))];
            int features = random.Next(1, 20), more = random.Next(1, 20);
            Options = new()
            {
                FaceChannels = [4, 4, 4, 4, 4, features],
                VoiceChannels = [4, 4, 4, 4, 4, more],
                Factors = new[] { "emotion", "speaker" }.ToDictionary(name => name, name => new FactorOptions
                {
                    Hidden = random.Next(2) * random.Next(1, 12),
                    Embedding = random.Next(1, 16),
                    Weight = 0.1f + random.NextSingle(),
                    Forget = factors.Where(other => other.Name != name && random.Next(4) > 0).ToDictionary(other => other.Name, _ => 0.1f + random.NextSingle()),
                }),
                Auxiliary = new() { Hidden = random.Next(2) * random.Next(1, 9), Normalise = random.Next(2) == 1, Heads = random.Next(1, 3) },
            };
            Training = new()
            {
                Strategy = strategy, Monitor = true, Adversary = new() { Strength = random.NextSingle() * 3, Updates = random.Next(1, 4) },
            };
            batch = new Batch(clips, 0, 0, 0, 0, factors.Count, features + more) { Count = clips };
            for (int i = 0; i < batch.Pooled.Length; i++)
                batch.Pooled[i] = 2 * random.NextSingle();
            for (int n = 0; n < clips; n++)
            {
                batch.Weights[n] = n > 0 && random.Next(5) == 0 ? 0 : 1;
                for (int factor = 0; factor < factors.Count; factor++)
                    batch.Labels[factor][n] = random.Next(6) == 0 ? -1 : random.Next(factors[factor].Classes.Count);
            }
        }

        public NetworkOptions Options { get; }

        public TrainingOptions Training { get; }

        public double Allowed => Options.Auxiliary.Normalise ? BehindNorm : Tolerance;

        public List<Update> Step()
        {
            var updates = new List<Update>();
            Runtime? runtime = null;
            bool planned = false;
            var watch = new WatchedBackend(new CpuBackend())
            {
                BeforeWith = (operation, tensors) =>
                {
                    if (operation != "adam" || !planned)
                        return;
                    var group = runtime!.Network.Groups.First(group => group.Values == tensors[0]);
                    updates.Add(new(
                        group.Name, group.Parameters.ToDictionary(p => p.Name, p => Array.ConvertAll(runtime.Read(p.Gradient), v => (double)v)),
                        runtime.Network.Groups.SelectMany(g => g.Parameters).ToDictionary(p => p.Name, p => runtime.Read(p.Value))));
                },
            };
            var shape = new NetworkShape(clips, FaceFrames: 2, FaceSize: 64, MelBins: 40, MelFrames: 48, factors, DType.F32);
            using (runtime = new Runtime(watch, Options, shape, Training, new NetworkParts(Strategy.PassesOf(Training), Pooled: true, [TwoStreamNetwork.TrunkName])))
            {
                planned = true;
                runtime.Network.Initialise((ulong)random.Next());
                runtime.Prepare(0, progress: 1, _ => double.NaN);
                runtime.Advance(rate: 1e-3, auxiliaryRate: 1e-2);
                runtime.Load(batch);
                runtime.TrainStep();
                runtime.ReadLosses();
            }
            return updates;
        }

        /// <summary>
        /// Gradients of the update's group by the strategy's objective, each with the norm that its error is measured by. Without those that are projected off
        /// an A of nothing but roundings, whose direction is chance; null where a ReLU is at its kink.
        /// </summary>
        /// <param name="values">Primary parameters as the step found them, heads as the update found them.</param>
        public Dictionary<string, (double[] Gradient, double Size)>? Expected(string group, Dictionary<string, float[]> values)
        {
            var tape = new Tape();
            var leaves = new Dictionary<string, Node>();
            Node Leaf(string name, int rows) => leaves[name] = Tape.Constant(rows, values[name].Length / rows, values[name]);
            Node Layer(Node x, string name)
            {
                var b = Leaf($"{name}.bias", 1);
                return tape.Linear(x, Leaf($"{name}.weight", b.Columns), b);
            }
            var pooled = Tape.Constant(clips, batch.Pooled.Length / clips, batch.Pooled);
            List<(Node, double)> primary = [], labels = [], uniform = [], own = [];
            foreach (var (name, factor) in Options.Factors)
            {
                var x = factor.Hidden > 0 ? tape.Relu(Layer(pooled, $"{name}.hidden")) : pooled;
                var embedding = tape.Relu(Layer(x, $"{name}.embedding"));
                primary.Add((Entropy(tape, Layer(embedding, $"{name}.head"), name), factor.Weight));
                foreach (var (other, weight) in factor.Forget)
                    for (int i = 0; i < Options.Auxiliary.Heads; i++)
                    {
                        string head = $"{name}.auxiliary.{other}{(Options.Auxiliary.Heads == 1 ? "" : $".{i}")}";
                        var y = embedding;
                        if (Options.Auxiliary.Normalise)
                        {
                            var centred = tape.Centre(y);
                            y = tape.DivideByRoot(centred, tape.MeanSquare(centred), 1e-5);
                        }
                        if (Options.Auxiliary.Hidden > 0)
                            y = tape.Relu(Layer(y, $"{head}.hidden"));
                        y = Layer(y, $"{head}.head");
                        var (loss, scale) = (Entropy(tape, y, other), (double)weight / Options.Auxiliary.Heads);
                        labels.Add((loss, scale));
                        double[] shares = Shares(other);
                        uniform.Add((tape.Sum(tape.LogSoftmax(y), (n, _) => -shares[n] / y.Columns), scale));
                        if (head == group)
                            own.Add((loss, scale));
                    }
            }
            if (tape.NearestKink < Kink)
                return null;
            double strength = Training.Adversary.Strength;
            IEnumerable<(Node, double)> Times(IEnumerable<(Node Scalar, double Factor)> terms, double factor) => terms.Select(term => (term.Scalar, factor * term.Factor));
            Dictionary<string, (double[] Gradient, double Size)> Gradients(IEnumerable<(Node, double)> terms)
            {
                tape.Backward(terms, [.. leaves.Values, pooled]);
                return leaves.Where(leaf => leaf.Key.Contains(".auxiliary.") ? leaf.Key.StartsWith($"{group}.") : group == "primary")
                    .ToDictionary(leaf => leaf.Key, leaf => ((double[])leaf.Value.Gradient.Clone(), Norm(leaf.Value.Gradient)));
            }
            if (group != "primary")
                return Gradients(own);
            switch (Training.Strategy)
            {
                case "baseline":
                    return Gradients(primary);
                case "conf":
                    return Gradients(primary.Concat(Times(uniform, strength)));
                case "projected":
                    var (p, a) = (Gradients(primary), Gradients(labels));
                    double rounding = Rounding * Allowed * a.Values.Max(tensor => tensor.Size);
                    // a head of its own is read by no auxiliary head, nor is an embedding that has none
                    foreach (string name in p.Keys.Where(name => !name.Contains(".head.") && Options.Factors[name.Split('.')[0]].Forget.Count > 0))
                    {
                        var ((gradient, size), (direction, length)) = (p[name], a[name]);
                        double factor = gradient.Zip(direction, (x, y) => x * y).Sum() / (length * length) + strength;
                        // what A is off by, as a share of its length, turns the direction that P loses
                        p[name] = ([.. gradient.Zip(direction, (x, y) => x - factor * y)], 3 * size + strength * length + 2 * size * rounding / length / Allowed);
                        if (length <= rounding)
                            p.Remove(name);
                    }
                    return p;
                default:
                    return Gradients(primary.Concat(Times(labels, -strength)));
            }
        }

        private Node Entropy(Tape tape, Node logits, string factor)
        {
            double[] shares = Shares(factor);
            int[] labels = Labels(factor);
            return tape.Sum(tape.LogSoftmax(logits), (n, c) => labels[n] == c ? -shares[n] : 0);
        }

        private int[] Labels(string factor) => batch.Labels[factors.FindIndex(f => f.Name == factor)];

        // the mean over the clips that count and have a label
        private double[] Shares(string factor)
        {
            double[] valid = [.. Labels(factor).Zip(batch.Weights, (label, weight) => label < 0 ? 0.0 : weight)];
            return [.. valid.Select(v => valid.Sum() == 0 ? 0 : v / valid.Sum())];
        }
    }

    [Test, Category(Soak.Category)]
    public void Every_gradient_is_that_of_the_objective([Values("baseline", "gr", "alt", "conf", "projected")] string strategy)
    {
        double worst = 0;
        int networks = Soak.Count(50, 500), compared = 0, all = 0;
        for (int seed = 1; seed <= networks; seed++)
        {
            var problem = new Problem(seed, strategy);
            var updates = problem.Step();
            var start = updates[0].Values;
            foreach (var update in updates)
            {
                // the embeddings of a step are those that it began with, also for a head that moves after them
                var values = update.Values.ToDictionary(v => v.Key, v => v.Key.Contains(".auxiliary.") ? v.Value : start[v.Key]);
                all += update.Gradients.Count;
                if (problem.Expected(update.Group, values) is not { } expected)
                    continue;
                Assert.That(expected.Keys, strategy == "projected" ? Is.SubsetOf(update.Gradients.Keys) : Is.EquivalentTo(update.Gradients.Keys));
                double rounding = Rounding * problem.Allowed * expected.Values.Max(tensor => tensor.Size);
                foreach (var (name, (gradient, size)) in expected)
                {
                    double off = Norm([.. update.Gradients[name].Zip(gradient, (x, y) => x - y)]);
                    Assert.That(off, Is.LessThanOrEqualTo(problem.Allowed * size + rounding), $"network {seed}, update of {update.Group}: {name}, of norm {size}");
                    worst = Math.Max(worst, size > rounding ? (off - rounding) / size : 0);
                    compared++;
                }
            }
        }
        Assert.That(compared, Is.GreaterThan(0.95 * all), "chance is rare");
        Soak.Say($"{strategy}: {compared} gradients of {networks} random networks agree with the tape, of {all}; the farthest is off by {worst:E1} of its norm");
    }

    private static double Norm(double[] values) => Math.Sqrt(values.Sum(v => v * v));

    /// <summary>The tape itself, by finite differences of what it computes.</summary>
    [Test]
    public void The_tape_agrees_with_finite_differences()
    {
        const double Step = 1e-5, Tolerance = 1e-8; // of third order in the step, and roundings over the step
        var random = new Random(1);
        float[] Some(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
        Node x = Tape.Constant(5, 3, Some(15)), w = Tape.Constant(4, 3, Some(12)), b = Tape.Constant(1, 4, Some(4));
        double[] factors = [.. Some(20).Select(v => (double)v)];
        (Tape Tape, Node Value) Compute()
        {
            var tape = new Tape();
            var centred = tape.Centre(tape.Relu(tape.Linear(x, w, b)));
            var y = tape.LogSoftmax(tape.DivideByRoot(centred, tape.MeanSquare(centred), 1e-2));
            return (tape, tape.Sum(y, (n, c) => factors[n * 4 + c]));
        }
        var (tape, value) = Compute();
        tape.Backward([(value, 2)], [x, w, b]);
        foreach (var leaf in new[] { x, w, b })
            for (int i = 0; i < leaf.Values.Length; i++)
            {
                double at = leaf.Values[i];
                double At(double moved)
                {
                    leaf.Values[i] = moved;
                    return 2 * Compute().Value.Values[0];
                }
                double slope = (At(at + Step) - At(at - Step)) / (2 * Step);
                leaf.Values[i] = at;
                Assert.That(leaf.Gradient[i], Is.EqualTo(slope).Within(Tolerance));
            }
    }
}
