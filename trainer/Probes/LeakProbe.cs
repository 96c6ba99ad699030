using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Ranks;

namespace Avedis.Trainer.Probes;

/// <summary>Probes of one kind, from several starts.</summary>
/// <param name="Mean">Macro-F on the test rows, mean over the starts; Max the largest.</param>
/// <param name="Control">The same mean with shuffled labels, a different shuffle for each start; null where that was not measured.</param>
/// <param name="Selectivity">Mean - Control.</param>
public sealed record ProbeSummary(
    ProbeKind Kind, bool Balanced, double Mean, double Max, double? Control, double? Selectivity, IReadOnlyList<ProbeScore> Scores);

/// <summary>How much of a factor frozen embeddings tell. Every number is finite; a part that is null has its reason in <see cref="Missing"/>.</summary>
public sealed record LeakProbeResult
{
    public required int Classes { get; init; }

    public required int TrainClips { get; init; }

    public required int ValidationClips { get; init; }

    public required int TestClips { get; init; }

    /// <summary>Whether the clips that chose the step were taken from the train split, for want of a validation split.</summary>
    public required bool ValidationFromTrain { get; init; }

    /// <summary>Of the whole train split.</summary>
    public required EmbeddingHealth Health { get; init; }

    public ChanceLevels? Chance { get; init; }

    public IReadOnlyList<ProbeSummary>? Probes { get; init; }

    public IReadOnlyList<OnlineCodeResult>? Codes { get; init; }

    /// <summary>Linear probes on nothing but another factor's label. With one-hot inputs they can learn any function, so there are no others.</summary>
    public IReadOnlyList<ProbeSummary>? OtherFactor { get; init; }

    /// <summary>Why a part is null, by its name.</summary>
    public required IReadOnlyDictionary<string, string> Missing { get; init; }
}

/// <summary>The whole set of probes on one embedding for one factor.</summary>
public static class LeakProbe
{
    /// <param name="open">Makes a backend; called at most once for each width of inputs.</param>
    /// <param name="other">Another factor's label as the input, from <see cref="Controls.OneHot"/>; null for none.</param>
    /// <param name="ranks">Who share the work and all get the same result, without <see cref="ProbeScore.Predictions"/>; null for this process alone.</param>
    public static LeakProbeResult Run(
        Func<IBackend> open, ProbeData data, ProbeSettings settings, ProbeData? other = null, ICollective? ranks = null, CancellationToken cancellation = default)
    {
        var missing = new Dictionary<string, string>();
        var result = new LeakProbeResult
        {
            Classes = data.Classes,
            TrainClips = data.Labels.Train.Length,
            ValidationClips = data.Labels.Validation.Length,
            TestClips = data.Labels.Test.Length,
            ValidationFromTrain = data.ValidationFromTrain,
            Health = EmbeddingHealth.Of(data.Given.Inputs, data.Width),
            Missing = missing,
        };
        string? codes = data.NotApplicable ?? (settings.Codes ? null : "not asked for");
        string? otherFactor = data.NotApplicable ?? (settings.Controls ? other is null
            ? "no other factor was given, or it has too many classes" : other.NotApplicable : "not asked for");
        foreach (var (part, reason) in new[] { ("chance", data.NotApplicable), ("probes", data.NotApplicable), ("codes", codes), ("otherFactor", otherFactor) })
            if (reason is not null)
                missing.Add(part, reason);
        if (!settings.Controls)
            missing.Add("control", "not asked for");
        if (data.NotApplicable is not null)
            return result;

        var pieces = Pieces(settings, withCodes: codes is null, withOther: otherFactor is null);
        var mine = ranks is null ? pieces : Deal(pieces, piece => Cost(piece, data, other, settings), ranks);
        var found = new Dictionary<Piece, Outcome>();
        Find(open, data, settings, mine.Where(piece => piece.Work != Work.OtherFactor), found, cancellation);
        Find(open, other!, settings with { Codes = false }, mine.Where(piece => piece.Work == Work.OtherFactor), found, cancellation);
        if (ranks is not null)
            found = Gather(found.Values, ranks);
        return result with
        {
            Chance = Controls.Chance(data),
            Probes = Summaries(found, Work.Probe, settings, settings.Kinds),
            Codes = codes is null ? [.. settings.Kinds.Select(kind => found[new(Work.Code, kind, false, settings.Seed)].Code!)] : null,
            OtherFactor = otherFactor is null ? Summaries(found, Work.OtherFactor, settings, [ProbeKind.Linear]) : null,
        };
    }

    private enum Work
    {
        Probe,
        Shuffled,
        Code,
        OtherFactor,
    }

    /// <summary>A piece of the work that needs no other, and gives the same to the bit wherever it is done.</summary>
    private sealed record Piece(Work Work, ProbeKind Kind, bool Balanced, ulong Seed);

    /// <summary>What came of a piece: one of the two.</summary>
    private sealed record Outcome(Piece Piece, ProbeScore? Score, OnlineCodeResult? Code);

    private static List<Piece> Pieces(ProbeSettings settings, bool withCodes, bool withOther)
    {
        var pieces = new List<Piece>();
        foreach (var kind in settings.Kinds)
        {
            Add(Work.Probe, kind);
            if (settings.Controls)
                Add(Work.Shuffled, kind);
            if (withCodes)
                pieces.Add(new(Work.Code, kind, false, settings.Seed));
        }
        if (withOther)
            Add(Work.OtherFactor, ProbeKind.Linear);
        return pieces;

        void Add(Work work, ProbeKind kind)
        {
            foreach (bool balanced in new[] { false, true })
                foreach (ulong seed in Seeds(settings))
                    pieces.Add(new(work, kind, balanced, seed));
        }
    }

    private static IEnumerable<ulong> Seeds(ProbeSettings settings) => Enumerable.Range(0, settings.Seeds).Select(i => settings.Seed + (ulong)i);

    // weights of the probe: what a step costs for each row; the prefixes of an online code are about as many rows together as a probe has
    private static long Cost(Piece piece, ProbeData data, ProbeData? other, ProbeSettings settings)
    {
        long width = piece.Work == Work.OtherFactor ? other!.Width : data.Width;
        return piece.Kind == ProbeKind.Linear ? width * data.Classes : (width + data.Classes) * settings.Hidden;
    }

    /// <summary>This rank's share: the dearest piece first, each is for the rank that has the least to do. All ranks deal alike.</summary>
    private static List<Piece> Deal(List<Piece> pieces, Func<Piece, long> cost, ICollective ranks)
    {
        var mine = new List<Piece>();
        var load = new long[ranks.Size];
        foreach (var piece in pieces.OrderByDescending(cost))
        {
            int rank = Array.IndexOf(load, load.Min());
            load[rank] += cost(piece);
            if (rank == ranks.Rank)
                mine.Add(piece);
        }
        return mine;
    }

    private static void Find(
        Func<IBackend> open, ProbeData data, ProbeSettings settings, IEnumerable<Piece> pieces, Dictionary<Piece, Outcome> found, CancellationToken cancellation)
    {
        Probe? probe = null;
        try
        {
            foreach (var piece in pieces)
            {
                probe ??= new Probe(open(), data, settings);
                var shuffled = piece.Work == Work.Shuffled ? Controls.Shuffle(data.Labels, piece.Seed) : null;
                found[piece] = piece.Work == Work.Code
                    ? new(piece, null, OnlineCode.Run(probe, piece.Kind, piece.Seed, data, cancellation: cancellation))
                    : new(piece, probe.Run(piece.Kind, piece.Balanced, piece.Seed, shuffled, cancellation), null);
            }
        }
        finally
        {
            probe?.Dispose();
        }
    }

    private static Dictionary<Piece, Outcome> Gather(IEnumerable<Outcome> mine, ICollective ranks) =>
        ranks.AllGatherTexts(JsonSerializer.Serialize(mine, Json.Line), "probes")
            .SelectMany(text => JsonSerializer.Deserialize<List<Outcome>>(text, Json.Line)!).ToDictionary(outcome => outcome.Piece);

    private static List<ProbeSummary> Summaries(Dictionary<Piece, Outcome> found, Work work, ProbeSettings settings, IReadOnlyList<ProbeKind> kinds)
    {
        var summaries = new List<ProbeSummary>();
        foreach (var kind in kinds)
            foreach (bool balanced in new[] { false, true })
            {
                var scores = Scores(work);
                double mean = scores.Average(s => s.MacroF1);
                double? shuffled = work == Work.Probe && settings.Controls ? Scores(Work.Shuffled).Average(s => s.MacroF1) : null;
                summaries.Add(new(kind, balanced, mean, scores.Max(s => s.MacroF1), shuffled, mean - shuffled, scores));

                List<ProbeScore> Scores(Work of) => [.. Seeds(settings).Select(seed => found[new(of, kind, balanced, seed)].Score!)];
            }
        return summaries;
    }
}
