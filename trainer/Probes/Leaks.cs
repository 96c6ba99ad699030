using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Probes;

/// <summary>How much of one factor an embedding that is meant for another tells.</summary>
/// <param name="Embedding">The factor whose embedding it is.</param>
/// <param name="Factor">The factor that is read from it.</param>
/// <param name="Score">"macroF1" or "accuracy": what the four numbers that follow are.</param>
/// <param name="Fresh">Of a fresh one-hidden-layer probe, mean over the starts: the paper's measure. Null where there is nothing to probe.</param>
/// <param name="Balanced">The same with a class-balanced loss, which rare classes cannot hide from.</param>
/// <param name="InTraining">What the auxiliary head of the training scores; null where there is none.</param>
/// <param name="Chance">Of always naming the most frequent class or, of speakers, any one.</param>
/// <param name="Warning">Where the numbers would mislead who looks at one alone.</param>
/// <param name="Probes">Everything else.</param>
/// <param name="Untrained">The cheap probes on the embedding of a network with random weights; null where not asked for.</param>
public sealed record Leak(
    string Embedding, string Factor, string Score, double? Fresh, double? Balanced, double? InTraining, double? Chance, string? Warning,
    LeakProbeResult Probes, LeakProbeResult? Untrained);

/// <summary>Embeddings and labels of a network's clips, and the leaks that probes find in them.</summary>
public sealed class Leaks
{
    // in-training head at most so far above chance, and fresh probe at least so far: then the head is blind, not the embedding clean
    private const double Blind = 0.05, Reading = 0.1;

    private const long MostOneHot = 1 << 26; // values of another factor's labels as inputs, 256 MiB

    private static readonly Split[] all = Enum.GetValues<Split>();

    private readonly IReadOnlyList<Factor> factors;
    private Dictionary<(string Factor, Split Split), float[]> embeddings = [];
    private readonly Dictionary<(string Factor, Split Split), int[]> labels = [];
    private readonly Dictionary<string, int> widths = [];
    private readonly Dictionary<Split, EvaluationResult> results = [];

    /// <summary>Runs the network over splits.</summary>
    /// <param name="batchSize">The one that the runtime was built for.</param>
    /// <param name="pooled">What a network that takes pooled features is fed with.</param>
    /// <param name="splits">null for train, validation and test; the others are empty.</param>
    /// <param name="trainClips">At most so many clips of the train split, evenly spaced.</param>
    /// <param name="progress">Called with clips done and clips in all, of this rank.</param>
    /// <param name="ranks">Who share the clips, batch by batch, and all get everything; null for this process alone.</param>
    public Leaks(
        Runtime runtime, PreparedDataset dataset, int batchSize, PooledFeatures? pooled = null, IReadOnlyList<Split>? splits = null,
        int trainClips = int.MaxValue, Action<int, int>? progress = null, ICollective? ranks = null)
    {
        var network = runtime.Network;
        factors = network.Shape.Factors;
        splits ??= [Split.Train, Split.Validation, Split.Test];
        int Clips(Split split) => !splits.Contains(split) ? 0 : Math.Min(dataset.Clips(split).Count, split == Split.Train ? trainClips
            : int.MaxValue);
        // whole batches: a clip's bits may depend on its row
        int Begin(Split split, int rank) => (int)((Clips(split) + (long)batchSize - 1) / batchSize * rank / (ranks?.Size ?? 1));
        int FirstRow(Split split, int rank) => (int)Math.Min(Clips(split), (long)Begin(split, rank) * batchSize);
        string[] Ids(Split split) => [.. Enumerable.Range(0, Clips(split)).Select(i => dataset.Clips(split)[BatchLoader.Spaced(i, Clips(split), dataset.Clips(split).Count)].Id)];
        int own = ranks?.Rank ?? 0, total = all.Sum(split => FirstRow(split, own + 1) - FirstRow(split, own)), done = 0;
        foreach (var branch in network.Branches)
            widths[branch.Name] = branch.Embedding.Shape[1];
        foreach (var split in all)
        {
            int clips = Clips(split), row = FirstRow(split, own);
            foreach (var branch in network.Branches)
                embeddings[(branch.Name, split)] = new float[clips * widths[branch.Name]];
            foreach (var factor in factors)
                labels[(factor.Name, split)] = new int[clips];
            if (clips == 0)
                continue;
            using var loader = BatchLoader.ForEvaluation(dataset, split, batchSize, factors, pooled, clips, Begin(split, own), Begin(split, own + 1));
            var result = Evaluator.Run(runtime, loader, batch =>
            {
                foreach (var branch in network.Branches)
                    runtime.Output(branch.Embedding).AsSpan(0, batch.Count * widths[branch.Name])
                        .CopyTo(embeddings[(branch.Name, split)].AsSpan(row * widths[branch.Name]));
                for (int i = 0; i < factors.Count; i++)
                    batch.Labels[i].AsSpan(0, batch.Count).CopyTo(labels[(factors[i].Name, split)].AsSpan(row));
                row += batch.Count;
                done += batch.Count;
                progress?.Invoke(done, total);
            });
            results[split] = ranks is null ? result : Gather(ranks, split, result, Ids(split), FirstRow(split, own));
        }
    }

    // what each rank has of a split, in all: sums of values that all ranks but one leave at 0 are exact
    private EvaluationResult Gather(ICollective ranks, Split split, EvaluationResult own, string[] ids, int firstRow)
    {
        ranks.AllGather([0], $"clips of {split}"); // who waits here for a slower rank leaves the processor to others; in a sum it would not
        foreach (string factor in widths.Keys)
            ranks.AllReduce(embeddings[(factor, split)], $"embeddings of {split}");
        foreach (var factor in factors)
        {
            float[] values = Array.ConvertAll(labels[(factor.Name, split)], label => (float)label);
            ranks.AllReduce(values, $"labels of {split}");
            labels[(factor.Name, split)] = Array.ConvertAll(values, value => (int)value);
        }
        return new(ids, [.. own.Factors.Select(Whole)], [.. own.Auxiliary.Select(Whole)]);

        FactorResult Whole(FactorResult part)
        {
            int width = 1 + (part.Factor.ByMacroF ? part.Factor.Classes.Count : 1);
            var table = new float[ids.Length * width]; // of each clip what is predicted, and the probabilities
            for (int i = 0; i < part.Predictions.Count; i++)
            {
                int start = (firstRow + i) * width;
                table[start] = part.Predictions[i].Predicted;
                part.Predictions[i].Probabilities.CopyTo(table, start + 1);
            }
            ranks.AllReduce(table, $"predictions of {split}");
            int[] truth = labels[(part.Factor.Name, split)];
            return FactorResult.Of(part.Name, part.Factor, [.. truth.Select((t, i) => new Prediction(t, (int)table[i * width], table[(i * width + 1)..((i + 1) * width)]))]);
        }
    }

    /// <summary>These with one embedding changed in every split.</summary>
    public Leaks With(string embedding, Func<float[], float[]> change)
    {
        var changed = (Leaks)MemberwiseClone();
        changed.embeddings = embeddings.ToDictionary(e => e.Key, e => e.Key.Factor == embedding ? change(e.Value) : e.Value);
        return changed;
    }

    /// <summary>Scores of the network itself on a split; null without its clips.</summary>
    public EvaluationResult? Result(Split split) => results.GetValueOrDefault(split);

    /// <summary>One of the factors that the clips are labelled with.</summary>
    public Factor Factor(string name) => factors.First(factor => factor.Name == name);

    /// <summary>[clips, width] of a split.</summary>
    public float[] Embedding(string factor, Split split) => embeddings[(factor, split)];

    /// <summary>One per clip of a split.</summary>
    public int[] Labels(string factor, Split split) => labels[(factor, split)];

    /// <summary>Every pair of an embedding and another factor.</summary>
    public IEnumerable<(string Embedding, Factor Factor)> Pairs =>
        from embedding in widths.Keys
        from factor in factors
        where factor.Name != embedding
        select (embedding, factor);

    /// <param name="test">The split that the probes are scored on; the others are trained and chosen on.</param>
    public ProbeData Data(string embedding, Factor factor, ulong seed, Split test = Split.Test)
    {
        ProbeSplit Of(Split split) => new(embeddings[(embedding, split)], labels[(factor.Name, split)]);
        // whoever scores on Validation must not choose on it
        var validation = test == Split.Validation ? new ProbeSplit([], []) : Of(Split.Validation);
        return new ProbeData(widths[embedding], factor.Classes.Count, Of(Split.Train), validation, Of(test), seed);
    }

    /// <summary>Probes an embedding for a factor.</summary>
    /// <param name="open">Makes a backend for the probes.</param>
    /// <param name="untrained">The same clips through a network with random weights, as a control.</param>
    /// <param name="test">As <see cref="Data"/>.</param>
    /// <param name="ranks">As <see cref="LeakProbe.Run"/>.</param>
    public Leak Probe(
        Func<IBackend> open, string embedding, Factor factor, ProbeSettings settings, Leaks? untrained = null, Split test = Split.Test, ICollective? ranks = null)
    {
        var own = factors.FirstOrDefault(f => f.Name == embedding);
        int clips = labels[(factor.Name, Split.Train)].Length + labels[(factor.Name, Split.Validation)].Length + labels[(factor.Name,
            test)].Length;
        var other = settings.Controls && own is not null && (long)clips * own.Classes.Count <= MostOneHot
            ? Controls.OneHot(own.Classes.Count, factor.Classes.Count, Pair(Split.Train), Pair(Split.Validation), Pair(test), settings.Seed)
            : null;
        var probes = LeakProbe.Run(open, Data(embedding, factor, settings.Seed, test), settings, other, ranks);
        double Score(ProbeScore score) => factor.ByMacroF ? score.MacroF1 : score.Accuracy;
        double? Fresh(bool balanced) => probes.Probes?.First(p => p.Kind == ProbeKind.Hidden && p.Balanced == balanced).Scores.Average(Score);
        var heads = Result(test)?.Auxiliary.Where(head => head.Factor.Name == factor.Name && head.Name.StartsWith($"{embedding}.auxiliary.", StringComparison.Ordinal)).ToList();
        double? inTraining = heads is { Count: > 0 } && heads[0].Matrix.Total > 0 ? heads.Average(head => head.Score) : null;
        double? chance = factor.ByMacroF ? probes.Chance?.MajorityMacroF1 : probes.Chance?.UniformAccuracy;
        return new Leak(
            embedding, factor.Name, factor.ByMacroF ? "macroF1" : "accuracy", Fresh(false), Fresh(true), inTraining, chance,
            Warn(embedding, factor.Name, probes, Fresh(false), inTraining, chance),
            probes, untrained is null ? null : LeakProbe.Run(open, untrained.Data(embedding, factor, settings.Seed, test),
                ProbeSettings.Cheap with { Seed = settings.Seed }, ranks: ranks));

        (int[] Other, int[] Labels) Pair(Split split) => (labels[(embedding, split)], labels[(factor.Name, split)]);
    }

    internal static string? Warn(string embedding, string factor, LeakProbeResult probes, double? fresh, double? inTraining, double? chance)
    {
        if (probes.Health.Collapsed)
            return $"{probes.Health.DeadShare:P0} of the {embedding} embedding is dead: it leaks nothing because it holds nothing";
        if (inTraining - chance <= Blind && fresh - chance >= Reading)
            return $"the head of the training reads {inTraining:F3} of {factor}, no more than chance ({chance:F3}), but a fresh probe reads {fresh:F3}: {factor} is hidden from that head, not gone";
        return null;
    }
}
