using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Corpora;

/// <summary>What an import came to: the usable clips in the order of the manifest, the others with their reasons, and the account of both.</summary>
public sealed record ImportResult(IReadOnlyList<CorpusClip> Clips, IReadOnlyList<Rejection> Rejections, Audit Audit);

/// <summary>
/// Looks through a published corpus. The corpus names its clips; what is the same for all corpora happens here: files that cannot be opened,
/// labels to be dropped, splits, the account.
/// </summary>
public sealed class CorpusImport
{
    /// <summary>Picture and sound of one clip may differ by this much, in seconds; more is a wrong pair or a file cut short.</summary>
    public const double LengthTolerance = 1;

    private const double LongestSentence = 30; // seconds
    private const float Quiet = 1e-3f; // of full scale

    private readonly ICorpus corpus;
    private readonly CorpusFolder folder;
    private readonly ImportOptions options;

    public CorpusImport(ICorpus corpus, CorpusFolder folder, ImportOptions options)
    {
        if (options.Unheard < 0)
            throw new UserException(ExitCode.Usage, $"--unheard is {options.Unheard}; it has to be 0 or a number of speakers");
        if (options.Unheard > 0 && corpus.HasSplits)
            throw new UserException(ExitCode.Usage, $"{corpus.Name} comes with its splits; leave out --unheard");
        (this.corpus, this.folder, this.options) = (corpus, folder, options);
    }

    /// <summary>The corpora that can be imported.</summary>
    public static IReadOnlyList<ICorpus> All { get; } = [new VoxCeleb(), new CremaD(), new Ravdess(), new MspImprov(), new Iemocap(), new Meld()];

    /// <summary>Does the work. With <paramref name="tool"/> the headers of every media file are read too.</summary>
    /// <param name="report">Called after every clip whose headers were read, from any thread, with clips done and clips in all.</param>
    public ImportResult Run(FfmpegTool? tool = null, Action<int, int>? report = null, CancellationToken stop = default)
    {
        var findings = new Findings();
        corpus.Collect(folder, options, findings);
        int found = findings.Clips.Count + findings.Rejections.Count;
        if (found == 0)
            throw new UserException(ExitCode.BadInput,
                $"{folder.FullPath} holds nothing of {corpus.Name}: looked in it and below for {corpus.Marks}; name the folder that the corpus was unpacked into");
        foreach (string note in folder.Notes)
            findings.Note(note);

        CorpusClip[] clips = [.. findings.Clips];
        var faults = clips.Select(FileFault).ToArray();
        if (tool is not null)
            ReadHeaders(clips, faults, tool, report, stop);
        // a copy in another part would be a test clip seen in training
        var first = new Dictionary<string, CorpusClip>(StringComparer.Ordinal);
        foreach (var (i, clip) in clips.Index())
            if (tool is null && clip.KnownBad.Length > 0)
                faults[i] ??= new Rejection(clip.Own, Findings.KnownBad,
                    $"{clip.KnownBad} in the release; with --check-media it is taken if its file is better");
            else if (faults[i] is null && !first.TryAdd(clip.Name, clip))
                faults[i] = new Rejection(clip.Own, Findings.Copy, $"the same clip as {first[clip.Name].Own}");
        var usable = clips.Where((_, i) => faults[i] is null).OrderBy(clip => clip.Own, StringComparer.Ordinal).ToArray();
        var kept = WithSplits([.. usable.Where(clip => clip.Emotion != DataOptions.Drop)]);
        var dropped = usable.Where(clip => clip.Emotion == DataOptions.Drop).ToArray();
        var rejections = findings.Rejections.Concat(faults.OfType<Rejection>()).OrderBy(rejection => rejection.Id, StringComparer.Ordinal).ToArray();
        return new ImportResult(kept, rejections, Audit.Of(corpus, folder, options, kept, dropped, rejections, findings.Notes));
    }

    private Rejection? FileFault(CorpusClip clip)
    {
        // the manifest is a table of lines whose fields are trimmed
        foreach (string field in (IEnumerable<string>)[clip.Path, clip.Audio, clip.Speaker, .. clip.Factors])
            if (field.Any(char.IsControl) || field != field.Trim())
                return new Rejection(Printable.Name(clip.Own), Findings.BadName, $"control characters, or spaces at the ends of \"{Printable.Name(field)}\"");
        return folder.FaultOf(clip.Path) ?? (clip.Audio.Length > 0 ? folder.FaultOf(clip.Audio) : null);
    }

    private void ReadHeaders(CorpusClip[] clips, Rejection?[] faults, FfmpegTool tool, Action<int, int>? report, CancellationToken stop)
    {
        int done = 0;
        Parallel.For(0, clips.Length, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = stop },
            i =>
        {
            faults[i] ??= MediaFault(clips[i], tool, stop);
            if (faults[i] is { Reason: Findings.NoSound } && clips[i] is { Audio.Length: 0, Beside.Length: > 0 })
            {
                clips[i] = clips[i] with { Audio = clips[i].Beside };
                faults[i] = FileFault(clips[i]) ?? MediaFault(clips[i], tool, stop);
            }
            report?.Invoke(Interlocked.Increment(ref done), clips.Length);
        });
    }

    private Rejection? MediaFault(CorpusClip clip, FfmpegTool tool, CancellationToken stop)
    {
        string at = clip.Path;
        try
        {
            string picturePath = Path.Combine(folder.FullPath, clip.Path);
            if (Directory.Exists(picturePath))
                return null; // frames, which were counted when they were found
            var picture = MediaInfo.Probe(tool, picturePath, stop);
            if (!picture.HasVideo)
                return new Rejection(at, Findings.NoVideo, "the file has no picture stream");
            double seconds = picture.Seconds;
            if (clip.Span is { } span)
            {
                if (span.End > seconds + LengthTolerance)
                    return new Rejection(clip.Own, Findings.LengthMismatch, $"ends at {span.End:F2} s of a video of {seconds:F2} s");
                seconds = span.End - span.Start;
            }
            var sound = picture;
            if (clip.Audio.Length > 0)
            {
                at = clip.Audio;
                sound = MediaInfo.Probe(tool, Path.Combine(folder.FullPath, clip.Audio), stop);
            }
            if (!sound.HasAudio)
                return new Rejection(at, Findings.NoSound, "the file has no sound stream");
            return (clip.Audio.Length > 0 ? LengthFault(clip, seconds, sound.Seconds) : null) ?? (clip.KnownBad.Length > 0
                ? OldFault(clip, seconds, tool, stop) : null);
        }
        catch (MediaException failure)
        {
            stop.ThrowIfCancellationRequested(); // a signal from the terminal also reaches ffprobe
            return new Rejection(at, failure.Reason, failure.Detail);
        }
    }

    /// <summary>The faults of releases do not show in headers: silence, and one file with all emotions in it.</summary>
    private Rejection? OldFault(CorpusClip clip, double seconds, FfmpegTool tool, CancellationToken stop)
    {
        using var decoder = new ClipDecoder(tool, new FeatureOptions());
        string? sound = clip.Audio.Length > 0 ? Path.Combine(folder.FullPath, clip.Audio) : null;
        decoder.Decode(new ClipSource(Path.Combine(folder.FullPath, clip.Path), sound), stop);
        float peak = 0;
        foreach (float sample in decoder.Samples)
            peak = Math.Max(peak, Math.Abs(sample));
        return seconds <= LongestSentence && peak >= Quiet ? null : new Rejection(clip.Own, Findings.KnownBad,
            $"{clip.KnownBad} in the release, and still here");
    }

    /// <summary>Says that picture and sound of a clip do not belong together, if their lengths in seconds tell so.</summary>
    public static Rejection? LengthFault(CorpusClip clip, double picture, double sound) => Math.Abs(picture - sound) <= LengthTolerance
        ? null : new Rejection(clip.Own, Findings.LengthMismatch, $"picture {picture:F2} s, sound {sound:F2} s");

    /// <summary>
    /// With --unheard: some speakers, drawn by the seed, are kept out of training; the clips of the others are divided 8 to 1 to 1. Else a corpus
    /// without splits stays without them, and "avedis prepare" makes them.
    /// </summary>
    private CorpusClip[] WithSplits(CorpusClip[] clips)
    {
        if (options.Unheard == 0)
            return clips;
        string[] speakers = [.. clips.Select(clip => clip.Speaker).Distinct().Order(StringComparer.Ordinal)];
        if (options.Unheard >= speakers.Length)
            throw new UserException(ExitCode.Usage, $"--unheard is {options.Unheard}, but there are {speakers.Length} speakers, of whom one at least has to be heard");
        new Engine.Philox(options.Seed, Engine.StableHash.Of("import.unheard")).Shuffle<string>(speakers);
        var unheard = speakers.Take(options.Unheard).ToHashSet(StringComparer.Ordinal);
        var splits = Divide([.. clips.Where(clip => !unheard.Contains(clip.Speaker))], new DataOptions { SplitSeed = options.Seed });
        return [.. clips.Select(clip => clip with { Split = splits.TryGetValue(clip.Name, out var split) ? split : Split.Unheard })];
    }

    /// <summary>Divides clips by the fractions, each speaker's and in there each emotion's as evenly as whole clips allow.</summary>
    public static IReadOnlyDictionary<string, Split> Divide(IReadOnlyList<CorpusClip> clips, DataOptions fractions)
    {
        if (clips.Count == 0)
            return new Dictionary<string, Split>();
        var rows = clips.Select(clip => new ManifestRow(0, clip.Name, new ClipSource(clip.Path), clip.Speaker, clip.Emotion, null, [])).ToArray();
        return rows.Zip(Splitter.Assign(rows, fractions)).ToDictionary(pair => pair.First.Id, pair => pair.Second, StringComparer.Ordinal);
    }
}
