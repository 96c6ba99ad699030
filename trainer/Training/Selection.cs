using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Probes;

namespace Avedis.Trainer.Training;

/// <summary>An epoch whose leak was probed, and whose embeddings still recognise what they are for.</summary>
/// <param name="Score">Mean of the factors' scores on Validation.</param>
/// <param name="Leak">
/// What fresh probes read there of what is to be forgotten, 0 (chance) to 1 (everything), mean over the embeddings; the plain or the balanced probe,
/// whichever reads more.
/// </param>
public sealed record Candidate(int Epoch, double Score, double Leak);

/// <summary>How the epoch with the cleanest embeddings is chosen.</summary>
public sealed record SelectionOptions
{
    /// <summary>Probes the embeddings every N epochs, and after the last one. 0: never.</summary>
    public int ProbeEvery { get; init; } = 1;

    /// <summary>Number of training clips, evenly spaced, that such a probe learns from.</summary>
    public int Clips { get; init; } = 2000;

    /// <summary>
    /// How far the primary score may lie below that of the best epoch, or of the checkpoint that the training started from. 0.005 is one
    /// point of one of two factors.
    /// </summary>
    public double Floor { get; init; } = 0.005;
}

/// <summary>
/// Chooses an epoch by the leak that fresh probes find on Validation, never by what the auxiliary heads of the training say. The lowest leak alone would be
/// won by an embedding that has collapsed, hence the floor under the primary score; such an embedding is no candidate at all.
/// </summary>
public static class Selection
{
    /// <summary>Of the way from chance to everything, what an embedding must recognise of its own factor: less is what a collapsing one has left.</summary>
    internal const double Alive = 0.1;

    /// <summary>Those that no other beats in both score and leak, and that are, or may become, eligible: their checkpoints are kept.</summary>
    /// <param name="start">Score of the checkpoint that the training started from; null without.</param>
    public static IReadOnlyList<Candidate> Front(IReadOnlyList<Candidate> candidates, double? start, double floor) =>
        [.. Eligible(candidates, start, floor).Where(a => !candidates.Any(b => Beats(b, a)))];

    /// <summary>The lowest leak above the floor; null if there is none.</summary>
    /// <inheritdoc cref="Front"/>
    public static Candidate? Choose(IReadOnlyList<Candidate> candidates, double? start, double floor) =>
        Front(candidates, start, floor).MinBy(candidate => candidate.Leak);

    /// <summary>Folder of a candidate's checkpoint.</summary>
    public static string CheckpointName(Candidate candidate) => $"{Prefix}{candidate.Epoch + 1:D6}";

    internal const string Prefix = "epoch-";

    /// <summary>Every embedding that learns and every factor that it is to forget.</summary>
    public static IEnumerable<(Branch Branch, Factor Factor)> Pairs(TwoStreamNetwork network) =>
        network.Learning.SelectMany(branch => branch.Auxiliary.Select(head => (branch, head.Factor)).DistinctBy(pair => pair.Factor.Name));

    /// <summary>Probes the embeddings of an epoch.</summary>
    /// <param name="leaks">Train and Validation.</param>
    /// <returns>The candidate, or null and why there is none; and each leak by its name, as the probe scores it.</returns>
    public static (Candidate? Candidate, string? Reason, IReadOnlyDictionary<string, double> Leaks) Judge(
        int epoch, TwoStreamNetwork network, Leaks leaks, Func<IBackend> open, ProbeSettings settings)
    {
        var read = new Dictionary<string, double>();
        var excess = new List<double>();
        var result = leaks.Result(Split.Validation)!;
        string? reason = null;
        foreach (var (branch, factor) in Pairs(network))
        {
            var leak = leaks.Probe(open, branch.Name, factor, settings, test: Split.Validation);
            if (leak.Probes.Health.Collapsed)
                reason ??= $"{leak.Probes.Health.DeadShare:P0} of the {branch.Name} embedding is dead";
            else if (result.Find(branch.Name) is { Matrix.Total: > 0 } own && Excess(own.Score, own.Chance) < Alive)
                reason ??= $"{branch.Name} is recognised hardly better than by chance";
            if (leak.Fresh is not { } plain || leak.Balanced is not { } balanced || leak.Chance is not { } chance)
            {
                reason ??= $"{factor.Name} cannot be probed: {leak.Probes.Missing.GetValueOrDefault("probes")}";
                continue;
            }
            double worst = read[$"{branch.Name}.{factor.Name}"] = Math.Max(plain, balanced);
            excess.Add(Excess(worst, chance));
        }
        return (reason is null ? new Candidate(epoch, result.Score, excess.Average()) : null, reason, read);
    }

    /// <summary>Share of the way from chance to everything that a score has come: 0 to 1.</summary>
    internal static double Excess(double score, double chance) => chance < 1 ? Math.Max(0, (score - chance) / (1 - chance)) : 0;

    private static IEnumerable<Candidate> Eligible(IReadOnlyList<Candidate> candidates, double? start, double floor)
    {
        double least = Math.Max(start ?? double.NegativeInfinity, candidates.Count == 0 ? double.NegativeInfinity : candidates.Max(c => c.Score)) - floor;
        return candidates.Where(candidate => candidate.Score >= least);
    }

    // of equals the later
    private static bool Beats(Candidate a, Candidate b) =>
        a.Score >= b.Score && a.Leak <= b.Leak && (a.Score > b.Score || a.Leak < b.Leak || a.Epoch > b.Epoch);
}
