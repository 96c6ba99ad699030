using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using CsvHelper;

namespace Avedis.Trainer.Data;

/// <summary>
/// What to prepare, into which folder, by how many workers (one decoding ffmpeg each); log-mels on the processor (cpu) or on the GPU
/// (cuda), which agree to some 1e-6 and not in every bit.
/// </summary>
/// <param name="Part">Only this share of the clips, for several processes at once in one folder; null for all, and for the index.</param>
public sealed record PrepareJob(
    string Manifest, string? Root, string Folder, FeatureOptions Features, DataOptions Data, int Jobs, string Device = "cpu", PreparePart? Part = null);

/// <summary>A share of the clips, by their names: part <paramref name="Number"/> of <paramref name="Of"/>, from 1.</summary>
public sealed record PreparePart(int Number, int Of)
{
    public override string ToString() => $"{Number}of{Of}";

    public bool Has(string id) => StableHash.Of(id) % (ulong)Of == (ulong)(Number - 1);

    /// <summary>Reads "2/4".</summary>
    /// <exception cref="UserException">Exit code 2.</exception>
    public static PreparePart Parse(string text) =>
        text.Split('/') is [var a, var b] && int.TryParse(a, out int number) && int.TryParse(b, out int of) && number >= 1 && number <= of && of <= 999
            ? new(number, of)
            : throw new UserException(ExitCode.Usage, $"--part is \"{Printable.Name(text)}\"; it has to be such as 2/4: the second of four parts");
}

/// <summary>A clip that cannot be used, as a row of rejected.csv.</summary>
public sealed record Rejection(string Id, string Reason, string Detail)
{
    /// <summary>Writes the table, by name.</summary>
    public static void Write(string path, IEnumerable<Rejection> rejections) => WholeFile.Write(path, stream =>
    {
        using var table = CsvWriter.Create(stream, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
        table.WriteRecord(["path", "reason", "detail"]);
        foreach (var rejection in rejections.OrderBy(rejection => rejection.Id, StringComparer.Ordinal))
            table.WriteRecord([Printable.Whole(rejection.Id), rejection.Reason, Printable.Whole(rejection.Detail)]);
    });
}

/// <summary>What came out: the index (null after a part), the rejected clips, and how much had been there before.</summary>
/// <param name="Stored">Clips of the manifest, or of the part, that are in the folder now.</param>
/// <param name="FacesFound">Share of the pictures in which a face was found; null where none was looked for.</param>
/// <param name="Quiet">Clips kept that are almost all silence, but not all.</param>
/// <param name="Silent">Clips kept in which nothing is heard.</param>
public sealed record PrepareResult(
    DatasetIndex? Index, IReadOnlyList<Rejection> Rejections, int Stored, int Reused, int DroppedRows,
    IReadOnlyList<string> RareSpeakers, double? FacesFound, IReadOnlyList<string> Quiet, int Silent);

/// <summary>
/// Turns a manifest into a prepared folder: shard-*.bin, dataset.json (written last) and rejected.csv. Clips decoded by an earlier call with
/// the same options are kept as long as their files have the same size and time of change; whatever stops it, all finished clips are there. Several
/// processes, on one machine or on several with one disk, may each decode a part; a last call without one joins them.
/// </summary>
public sealed class Preparer
{
    public const string RejectedFileName = "rejected.csv";

    /// <summary>Clips that are heard for less than this share of their sound are named in the report.</summary>
    public const double QuietShare = 0.1;

    private const long ShardLimit = 1L << 30;
    private const int DiskFull = 28; // ENOSPC, which .NET passes on as it is
    private const string Silent = "silent", NothingHeard = "nothing is heard in it; features.silence says what becomes of such clips";

    private delegate int MelsOf(ReadOnlySpan<float> samples, Span<float> output);

    private readonly PrepareJob job;
    private readonly FfmpegTool tool;
    private readonly string definition;
    private readonly long shardLimit;
    private readonly Regex ownShards; // names of those that this call writes
    private readonly Lock gate = new();
    private readonly List<string> shardNames = [];
    private readonly Dictionary<string, (int Shard, ShardEntry Entry)> stored = new(StringComparer.Ordinal);
    private readonly List<Rejection> rejections = [];
    private HashSet<string> varied = []; // clips that have copies
    private Shard? current;
    private int currentNumber;

    /// <param name="job">What to do.</param>
    /// <param name="tool">The decoder.</param>
    /// <param name="shardLimit">Size in bytes at which the next shard is begun.</param>
    /// <param name="rejected">Clips that the parts of this job have just tried in vain: they are not tried again.</param>
    public Preparer(PrepareJob job, FfmpegTool tool, long shardLimit = ShardLimit, IReadOnlyList<Rejection>? rejected = null)
    {
        job.Features.Validate();
        job.Data.Validate();
        if (job.Jobs < 1)
            throw new UserException(ExitCode.Usage, $"--jobs is {job.Jobs}; it has to be at least 1");
        (this.job, this.tool, this.shardLimit) = (job, tool, shardLimit);
        rejections.AddRange(rejected ?? []);
        ownShards = new Regex($"^shard-{(job.Part is null ? "" : $"{job.Part}-")}[0-9]{{5}}\\.bin$", RegexOptions.CultureInvariant);
        definition = DefinitionOf(job.Features, job.Device);
    }

    /// <summary>
    /// Hash of everything that decides the stored numbers: the feature options, the log-mel definition and where it is computed, and the way clips are
    /// decoded.
    /// </summary>
    public static string DefinitionOf(FeatureOptions features, string device = "cpu")
    {
        var options = JsonSerializer.SerializeToNode(features, Json.Line)!.AsObject();
        if (features.Crop == CropMode.Given)
            options.Remove("crop"); // as it was before there was a choice
        options.Remove("silence"); // changes no number
        string words = $"clip 2\n{LogMelOn(device, features)}\n{options.ToJsonString(Json.Line)}";
        return Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(words)));
    }

    /// <summary>Does the work.</summary>
    /// <param name="report">Called after every clip, from any thread, with clips done, clips in all, and clips that needed no decoding.</param>
    /// <param name="stop">Stops the workers; what is finished is kept.</param>
    /// <exception cref="OperationCanceledException">Stopped before the end.</exception>
    /// <exception cref="UserException">Bad manifest or no usable clip (3), disk (8); the folder's earlier index, if any, stays as it was.</exception>
    public PrepareResult Run(Action<int, int, int>? report = null, CancellationToken stop = default)
    {
        var manifest = Manifest.Read(job.Manifest, job.Root, job.Data);
        var rare = Splitter.RareSpeakers(manifest.Rows, job.Data.DropSpeakerPercentile);
        var rows = manifest.Rows.Where(row => !rare.Contains(row.Speaker)).ToArray();
        var splits = Splitter.Assign(rows, job.Data);
        varied = rows.Zip(splits).Where(pair => pair.Second == Split.Train).Select(pair => pair.First.Id).ToHashSet(StringComparer.Ordinal);
        try
        {
            using var made = new MadeFolder(job.Folder);
            using var folderLock = LockFolder();
            using var partLock = job.Part is null ? null : Hold($".lock-{job.Part}", FileAccess.ReadWrite, FileShare.None);
            OpenShards();
            var own = job.Part is { } part ? [.. rows.Where(row => part.Has(row.Id))] : rows;
            var tried = Refused();
            var pending = own.Where(row => !tried.Contains(row.Id) && !IsStored(row)).ToArray();
            int reused = own.Length - pending.Length;
            rejections.AddRange(own.Except(pending).Where(row => !tried.Contains(row.Id) && IsRefused(stored[row.Id].Entry.Clip.Silent))
                .Select(row => new Rejection(row.Id, Silent, NothingHeard)));
            Decode(pending, reused, report, stop);
            current?.Flush();
            DatasetIndex? index = null;
            if (job.Part is null)
            {
                index = Compose(manifest, rows, splits);
                Rejection.Write(In(RejectedFileName), rejections);
                WholeFile.Write(In(DatasetIndex.FileName), stream => JsonSerializer.Serialize(stream, index, DatasetIndex.Json));
            }
            var refused = Refused();
            var kept = own.Where(row => stored.ContainsKey(row.Id) && !refused.Contains(row.Id)).Select(row => stored[row.Id].Entry.Clip).ToList();
            return new PrepareResult(index, rejections, kept.Count, reused, manifest.Dropped, rare, FacesFound(kept),
                [.. kept.Where(clip => clip.Heard < QuietShare && !clip.Silent).Select(clip => clip.Id)], kept.Count(clip => clip.Silent));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, Explain(failure), failure);
        }
        finally
        {
            current?.Dispose();
            current = null;
        }
    }

    private static double? FacesFound(IEnumerable<ShardClip> clips)
    {
        var searched = clips.Where(clip => clip.Found is not null).ToList();
        return searched.Count == 0 ? null : (double)searched.Sum(clip => clip.Found!.Value) / searched.Sum(clip => clip.Faces);
    }

    private bool IsRefused(bool silent) => silent && job.Features.Silence == SilenceMode.Reject;

    private HashSet<string> Refused() => rejections.Select(rejection => rejection.Id).ToHashSet(StringComparer.Ordinal);

    private string In(string name) => Path.Combine(job.Folder, name);

    private string Explain(Exception failure)
    {
        if (failure.HResult != DiskFull)
            return $"cannot write to {job.Folder}: {failure.Message}";
        return $"the disk of {job.Folder} is full; {stored.Count} finished clips are kept. A clip takes {Shard.PayloadBytes(job.Features) / 1024.0:N0} KiB: "
            + "make room and run the same command again, it goes on from there";
    }

    /// <summary>A part shares the folder with other parts; whoever writes the index has it alone.</summary>
    private FileStream LockFolder() => job.Part is null ? Hold(".lock", FileAccess.ReadWrite, FileShare.None) : Hold(".lock", FileAccess.Read, FileShare.Read);

    private FileStream Hold(string name, FileAccess access, FileShare share)
    {
        string path = In(name);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, access, share, 1, share == FileShare.None ? FileOptions.DeleteOnClose : FileOptions.None);
        }
        catch (IOException failure) when (File.Exists(path) && failure.HResult != DiskFull)
        {
            throw new UserException(
                ExitCode.DiskOrIo, $"another avedis prepare is at work in {job.Folder}; wait for it, name another --out, or let each do a part with --part", failure);
        }
    }

    /// <summary>
    /// Lists the clips of earlier calls: a part its share of them, whoever stored it, but for the other parts of the same number, which hold none of it. A clip stored
    /// twice counts where it was stored last. The last of one's own stays open to be continued.
    /// </summary>
    private void OpenShards()
    {
        foreach (string unfinished in Directory.GetFiles(job.Folder, "*.tmp").Where(path => job.Part is null || ownShards.IsMatch(Path.GetFileNameWithoutExtension(path))))
            File.Delete(unfinished);
        string[] paths = [.. Directory.GetFiles(job.Folder, "shard-*.bin").Where(path => job.Part is null || IsOwn(path) || !SeriesOf(path).EndsWith($"of{job.Part.Of}-", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        for (int i = 0; i < paths.Length; i++)
        {
            // earlier shards of a series were flushed to the disk when they were full; only the last can have suffered from a loss of power
            bool last = i + 1 == paths.Length || SeriesOf(paths[i + 1]) != SeriesOf(paths[i]);
            shardNames.Add(Path.GetFileName(paths[i]));
            if (job.Part is { } part && !IsOwn(paths[i]))
            {
                foreach (var entry in Shard.List(paths[i], job.Features, definition)
                    .Where(entry => part.Has(VariantOptions.ClipOf(entry.Clip.Id))))
                    stored[entry.Clip.Id] = (i, entry);
                continue;
            }
            var shard = Shard.Append(paths[i], job.Features, definition, verify: last, out var entries);
            foreach (var entry in entries)
                stored[entry.Clip.Id] = (i, entry);
            if (last && IsOwn(paths[i]))
                (current, currentNumber) = (shard, i);
            else
                shard.Dispose();
        }
    }

    private bool IsOwn(string path) => ownShards.IsMatch(Path.GetFileName(path));

    // what stands in front of the number
    private static string SeriesOf(string path) => Path.GetFileName(path)[..^"00000.bin".Length];

    private static string LogMelOn(string device, FeatureOptions features)
    {
        string words = new LogMel(features).Definition;
        return device == "cpu" ? words : $"{words} on {device}, {DeviceLogMel.Arithmetic}";
    }

    private bool IsStored(ManifestRow row) => CopiesOf(row).Prepend(row.Id).All(id => IsStored(id, row.Source.State()));

    private bool IsStored(string id, (long Size, long Modified) state)
    {
        lock (gate)
            return stored.TryGetValue(id, out var place) && (place.Entry.Clip.Size, place.Entry.Clip.Modified) == state;
    }

    /// <summary>Names of a clip's copies with another sound: of training clips, and of no others.</summary>
    private IEnumerable<string> CopiesOf(ManifestRow row) =>
        varied.Contains(row.Id) ? Enumerable.Range(1, job.Data.Variants.Copies).Select(copy => job.Data.Variants.NameOf(row.Id, copy)) : [];

    /// <summary>Runs the workers over the pending clips. The first failure that is not the clip's own stops all and is thrown.</summary>
    private void Decode(ManifestRow[] pending, int reused, Action<int, int, int>? report, CancellationToken stop)
    {
        using var halt = CancellationTokenSource.CreateLinkedTokenSource(stop);
        using var backend = job.Device == "cpu" ? null : BackendFactory.Create(job.Device, threads: 0);
        using var device = backend is null ? null : new DeviceLogMel(backend, job.Features);
        int next = -1, done = reused, total = reused + pending.Length;
        var workers = Enumerable.Range(0, Math.Min(job.Jobs, pending.Length)).Select(_ => Task.Factory.StartNew(() =>
        {
            try
            {
                using var decoder = new ClipDecoder(tool, job.Features);
                MelsOf melsOf = device is null ? new LogMel(job.Features).Compute : device.Compute;
                var mels = new float[job.Features.MelCount];
                for (int i; (i = Interlocked.Increment(ref next)) < pending.Length;)
                {
                    DecodeOne(pending[i], decoder, melsOf, mels, halt.Token);
                    report?.Invoke(Interlocked.Increment(ref done), total, reused);
                }
            }
            catch
            {
                halt.Cancel();
                throw;
            }
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
        try
        {
            Task.WaitAll(workers, CancellationToken.None);
        }
        catch (AggregateException failures)
        {
            current?.Flush();
            var all = failures.Flatten().InnerExceptions;
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(all.FirstOrDefault(failure => failure is not OperationCanceledException) ?? all[0]);
        }
    }

    private void DecodeOne(ManifestRow row, ClipDecoder decoder, MelsOf melsOf, float[] mels, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        try
        {
            var (size, modified) = row.Source.State();
            decoder.Decode(row.Source, stop);
            int valid = melsOf(decoder.Samples, mels);
            if (valid == 0)
                throw new MediaException("too short", "not one analysis window of sound");
            if (IsRefused(decoder.Silent))
                throw new MediaException(Silent, NothingHeard);
            double heard = Math.Round(SoundLevel.Of(decoder.Samples, job.Features.SampleRate).HeardShare, 3);
            var clip = new ShardClip(row.Id, size, modified, decoder.FaceCount, valid, decoder.Found, heard, decoder.Silent);
            if (!IsStored(row.Id, (size, modified)))
                Store(clip, decoder.Faces, mels);
            foreach (var (copy, name) in CopiesOf(row).Index())
            {
                stop.ThrowIfCancellationRequested();
                if (IsStored(name, (size, modified)))
                    continue;
                int frames = melsOf(SoundVariant.Make(decoder.Samples, job.Features.SampleRate, job.Data.Variants, row.Id, copy + 1), mels);
                // a clip of hardly a window, made faster, may have none
                Store(clip with { Id = name, Mels = frames > 0 ? frames : melsOf(decoder.Samples, mels) }, decoder.Faces, mels);
            }
        }
        catch (MediaException failure)
        {
            // a signal from the terminal also reaches ffmpeg, whose end then says nothing about the clip
            stop.ThrowIfCancellationRequested();
            lock (gate)
                rejections.Add(new Rejection(row.Id, failure.Reason, failure.Detail));
        }
    }

    private void Store(ShardClip clip, ReadOnlySpan<byte> faces, float[] mels)
    {
        lock (gate)
        {
            if (current is not null && current.End >= shardLimit)
            {
                current.Flush();
                current.Dispose();
                current = null;
            }
            if (current is null)
            {
                string name = $"shard-{(job.Part is null ? "" : $"{job.Part}-")}{shardNames.Count(IsOwn):D5}.bin";
                current = Shard.Create(In(name), job.Features, definition);
                currentNumber = shardNames.Count;
                shardNames.Add(name);
            }
            long offset = current.Append(clip, faces, mels);
            stored[clip.Id] = (currentNumber, new ShardEntry(clip, offset));
        }
    }

    /// <summary>Joins the manifest with what was decoded. Speakers get numbers by name; whom we cannot learn cannot be asked for either.</summary>
    private DatasetIndex Compose(Manifest manifest, ManifestRow[] rows, Split[] splits)
    {
        var refused = Refused();
        var speakers = rows.Where((row, i) => splits[i] == Split.Train && !refused.Contains(row.Id))
            .Select(row => row.Speaker).Distinct().Order(StringComparer.Ordinal).ToArray();
        var numbers = speakers.Select((name, number) => (name, number)).ToDictionary(pair => pair.name, pair => pair.number, StringComparer.Ordinal);
        var emotions = job.Data.Emotions.ToList();
        var clips = new List<ClipInfo>();
        foreach (var (row, split) in rows.Zip(splits).Where(pair => !refused.Contains(pair.First.Id)))
        {
            bool known = numbers.TryGetValue(row.Speaker, out int speaker);
            if (known && split == Split.Unheard)
            {
                rejections.Add(new Rejection(row.Id, "not unheard", $"speaker {row.Speaker} has training clips"));
                continue;
            }
            foreach (string id in CopiesOf(row).Prepend(row.Id))
            {
                var (shard, entry) = stored[id];
                clips.Add(new ClipInfo(id, known ? speaker : -1, emotions.IndexOf(row.Emotion), split,
                    entry.Clip.Faces, entry.Clip.Mels, row.Factors, shard, entry.Offset));
            }
        }
        if (clips.Count == 0)
        {
            Rejection.Write(In(RejectedFileName), rejections);
            throw new UserException(ExitCode.BadInput, $"none of the {rows.Length} clips can be used ({Reasons(rejections)}); see {In(RejectedFileName)}");
        }
        return new DatasetIndex
        {
            Format = DatasetIndex.CurrentFormat,
            Definition = definition,
            Features = job.Features,
            Data = job.Data,
            LogMel = LogMelOn(job.Device, job.Features),
            ManifestSha256 = manifest.Sha256,
            Emotions = job.Data.Emotions,
            Speakers = speakers,
            Factors = manifest.FactorNames,
            Counts = Enum.GetValues<Split>().ToDictionary(split => split, split => clips.Count(clip => clip.Split == split)),
            Rejected = rejections.CountBy(rejection => rejection.Reason).OrderBy(pair => pair.Key, StringComparer.Ordinal).ToDictionary(),
            Shards = shardNames,
            Clips = clips,
        };
    }

    /// <summary>"3 no sound, 1 truncated".</summary>
    public static string Reasons(IEnumerable<Rejection> rejections) => string.Join(", ", rejections.CountBy(rejection => rejection.Reason)
        .OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Value} {pair.Key}"));
}
