using Avedis.Engine;

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
    /// <param name="open">Makes a backend; called once for each width of inputs.</param>
    /// <param name="other">Another factor's label as the input, from <see cref="Controls.OneHot"/>; null for none.</param>
    public static LeakProbeResult Run(
        Func<IBackend> open, ProbeData data, ProbeSettings settings, ProbeData? other = null, CancellationToken cancellation = default)
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
        string? otherFactor = data.NotApplicable ?? (settings.Controls ? other is null ? "no other factor was given" : other.NotApplicable : "not asked for");
        foreach (var (part, reason) in new[] { ("chance", data.NotApplicable), ("probes", data.NotApplicable), ("codes", codes), ("otherFactor", otherFactor) })
            if (reason is not null)
                missing.Add(part, reason);
        if (!settings.Controls)
            missing.Add("control", "not asked for");
        if (data.NotApplicable is not null)
            return result;

        result = result with { Chance = Controls.Chance(data) };
        using (var probe = new Probe(open(), data, settings))
            result = result with
            {
                Probes = Summaries(probe, data, settings.Controls, settings.Kinds, cancellation),
                Codes = codes is null
                    ? [.. settings.Kinds.Select(kind => OnlineCode.Run(probe, kind, settings.Seed, data, cancellation: cancellation))]
                    : null,
            };
        if (otherFactor is null)
            using (var probe = new Probe(open(), other!, settings with { Codes = false }))
                result = result with { OtherFactor = Summaries(probe, other!, control: false, [ProbeKind.Linear], cancellation) };
        return result;
    }

    private static List<ProbeSummary> Summaries(Probe probe, ProbeData data, bool control, IReadOnlyList<ProbeKind> kinds, CancellationToken cancellation)
    {
        var summaries = new List<ProbeSummary>();
        ulong[] seeds = [.. Enumerable.Range(0, probe.Settings.Seeds).Select(i => probe.Settings.Seed + (ulong)i)];
        foreach (var kind in kinds)
            foreach (bool balanced in new[] { false, true })
            {
                var scores = seeds.Select(seed => probe.Run(kind, balanced, seed, null, cancellation)).ToList();
                double mean = scores.Average(s => s.MacroF1);
                double? shuffled = control
                    ? seeds.Average(seed => probe.Run(kind, balanced, seed, Controls.Shuffle(data.Labels, seed), cancellation).MacroF1)
                    : null;
                summaries.Add(new(kind, balanced, mean, scores.Max(s => s.MacroF1), shuffled, mean - shuffled, scores));
            }
        return summaries;
    }
}
