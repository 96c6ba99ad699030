using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>Clips of one label, and the class that it became.</summary>
public sealed record LabelCount(string Original, string Emotion, int Clips);

/// <summary>Clips and people of one part.</summary>
public sealed record SplitCount(int Clips, int Speakers);

/// <summary>
/// The account of an import: found = usable + dropped + rejected. Overlap counts the speakers that two parts share, and names the pair
/// "train/test"; training, validation and test share speakers on purpose, unheard shares none.
/// </summary>
public sealed record Audit
{
    public required string Corpus { get; init; }

    public required string Folder { get; init; }

    public required ImportOptions Options { get; init; }

    public required int Found { get; init; }

    public required int Usable { get; init; }

    /// <summary>Clips whose label maps to "drop".</summary>
    public required int Dropped { get; init; }

    /// <summary>Reason to clips.</summary>
    public required IReadOnlyDictionary<string, int> Rejected { get; init; }

    public required int Speakers { get; init; }

    public required IReadOnlyList<LabelCount> Labels { get; init; }

    /// <summary>Class to usable clips.</summary>
    public required IReadOnlyDictionary<string, int> Emotions { get; init; }

    /// <summary>Gender to usable clips; "unknown" where the corpus does not say.</summary>
    public required IReadOnlyDictionary<string, int> Genders { get; init; }

    public required IReadOnlyDictionary<string, SplitCount> Splits { get; init; }

    public required IReadOnlyDictionary<string, int> Overlap { get; init; }

    public required IReadOnlyList<string> Notes { get; init; }

    public static Audit Of(ICorpus corpus, CorpusFolder folder, ImportOptions options, IReadOnlyList<CorpusClip> clips, IReadOnlyList<CorpusClip> dropped,
        IReadOnlyList<Rejection> rejections, IReadOnlyList<string> notes)
    {
        var parts = clips.Where(clip => clip.Split is not null).GroupBy(clip => clip.Split!.Value).OrderBy(part => part.Key)
            .Select(part => (Name: part.Key.ToString().ToLowerInvariant(), Clips: part.Count(), Speakers: part.Select(clip => clip.Speaker).ToHashSet(StringComparer.Ordinal)))
            .ToArray();
        return new Audit
        {
            Corpus = corpus.Name,
            Folder = folder.FullPath,
            Options = options,
            Found = clips.Count + dropped.Count + rejections.Count,
            Usable = clips.Count,
            Dropped = dropped.Count,
            Rejected = Counts(rejections.Select(rejection => rejection.Reason)),
            Speakers = clips.Select(clip => clip.Speaker).Distinct().Count(),
            Labels = [.. clips.Concat(dropped).CountBy(clip => (clip.Original, clip.Emotion)).OrderBy(pair => pair.Key.Original, StringComparer.Ordinal)
                .Select(pair => new LabelCount(pair.Key.Original, pair.Key.Emotion, pair.Value))],
            Emotions = new DataOptions().Emotions.ToDictionary(name => name, name => clips.Count(clip => clip.Emotion == name)),
            Genders = Counts(clips.Select(clip => clip.Gender.Length > 0 ? clip.Gender : "unknown")),
            Splits = parts.ToDictionary(part => part.Name, part => new SplitCount(part.Clips, part.Speakers.Count)),
            Overlap = (from a in parts.Index() from b in parts.Skip(a.Index + 1) select (a.Item, b))
                .ToDictionary(pair => $"{pair.Item.Name}/{pair.b.Name}", pair => pair.Item.Speakers.Intersect(pair.b.Speakers).Count()),
            Notes = notes,
        };
    }

    /// <summary>The account as an aligned table, a line each.</summary>
    public IEnumerable<string> Table()
    {
        List<(string What, int Count)> rows = [("clips found", Found), ("usable", Usable), ("dropped by label", Dropped)];
        rows.AddRange(Rejected.Select(pair => ($"rejected: {pair.Key}", pair.Value)));
        rows.Add(("speakers", Speakers));
        rows.AddRange(Labels.Select(label => ($"label {Printable.Name(label.Original)} -> {label.Emotion}", label.Clips)));
        rows.AddRange(Emotions.Select(pair => ($"emotion {pair.Key}", pair.Value)));
        rows.AddRange(Genders.Select(pair => ($"gender {pair.Key}", pair.Value)));
        foreach (var (name, part) in Splits)
        {
            rows.Add(($"split {name}", part.Clips));
            rows.Add(($"speakers of {name}", part.Speakers));
        }
        rows.AddRange(Overlap.Select(pair => ($"speakers shared by {pair.Key}", pair.Value)));
        int width = rows.Max(row => row.What.Length), digits = rows.Max(row => $"{row.Count:N0}".Length);
        return [$"{Corpus} in {Folder}", .. rows.Select(row => $"  {row.What.PadRight(width)}  {$"{row.Count:N0}".PadLeft(digits)}"), .. Notes.Select(note => $"  note: {note}")];
    }

    private static Dictionary<string, int> Counts(IEnumerable<string> names)
        => names.CountBy(name => name).OrderBy(pair => pair.Key, StringComparer.Ordinal).ToDictionary();
}
