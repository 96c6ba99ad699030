using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using CsvHelper;

namespace Avedis.Trainer.Data;

/// <summary>
/// What to prepare, into which folder, by how many workers (one decoding ffmpeg each); log-mels on the processor (cpu) or on the GPU
/// (cuda), which agree to some 1e-6 and not in every bit.
/// </summary>
public sealed record PrepareJob(string Manifest, string? Root, string Folder, FeatureOptions Features, DataOptions Data, int Jobs, string Device = "cpu");

/// <summary>A clip that cannot be used, as a row of rejected.csv.</summary>
public sealed record Rejection(string Id, string Reason, string Detail);

/// <summary>What came out: the index, the rejected clips, and how much had been there before.</summary>
public sealed record PrepareResult(DatasetIndex Index, IReadOnlyList<Rejection> Rejections, int Reused, int DroppedRows, IReadOnlyList<string> RareSpeakers);

/// <summary>
/// Turns a manifest into a prepared folder: shard-*.bin, dataset.json (written last) and rejected.csv. Clips decoded by an earlier call with
/// the same options are kept as long as their files have the same size and time of change; whatever stops it, all finished clips are there.
/// </summary>
public sealed class Preparer
{
    public const string RejectedFileName = "rejected.csv";

    private const long ShardLimit = 1L << 30;
    private const int DiskFull = 28; // ENOSPC, which .NET passes on as it is

    private delegate int MelsOf(ReadOnlySpan<float> samples, Span<float> output);

    private readonly PrepareJob job;
    private readonly FfmpegTool tool;
    private readonly string definition;
    private readonly long shardLimit;
    private readonly Lock gate = new();
    private readonly List<string> shardNames = [];
    private readonly Dictionary<string, (int Shard, ShardEntry Entry)> stored = new(StringComparer.Ordinal);
    private readonly List<Rejection> rejections = [];
    private Shard? current;

    /// <param name="job">What to do.</param>
    /// <param name="tool">The decoder.</param>
    /// <param name="shardLimit">Size in bytes at which the next shard is begun.</param>
    public Preparer(PrepareJob job, FfmpegTool tool, long shardLimit = ShardLimit)
    {
        job.Features.Validate();
        job.Data.Validate();
        if (job.Jobs < 1)
            throw new UserException(ExitCode.Usage, $"--jobs is {job.Jobs}; it has to be at least 1");
        (this.job, this.tool, this.shardLimit) = (job, tool, shardLimit);
        definition = DefinitionOf(job.Features, job.Device);
    }

    /// <summary>
    /// Hash of everything that decides the stored numbers: the feature options, the log-mel definition and where it is computed, and the way clips are
    /// decoded.
    /// </summary>
    public static string DefinitionOf(FeatureOptions features, string device = "cpu")
    {
        string words = $"clip 1\n{LogMelOn(device, features)}\n{JsonSerializer.Serialize(features, Json.Line)}";
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
        try
        {
            Directory.CreateDirectory(job.Folder);
            using var folderLock = LockFolder();
            OpenShards();
            var pending = rows.Where(row => !IsStored(row)).ToArray();
            int reused = rows.Length - pending.Length;
            Decode(pending, reused, report, stop);
            current?.Flush();
            var index = Compose(manifest, rows, splits);
            WriteRejections();
            WriteWhole(DatasetIndex.FileName, stream => JsonSerializer.Serialize(stream, index, DatasetIndex.Json));
            return new PrepareResult(index, rejections, reused, manifest.Dropped, rare);
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

    private string Explain(Exception failure)
    {
        if (failure.HResult != DiskFull)
            return $"cannot write to {job.Folder}: {failure.Message}";
        return $"the disk of {job.Folder} is full; {stored.Count} finished clips are kept. A clip takes {Shard.PayloadBytes(job.Features) / 1024.0:N0} KiB: "
            + "make room and run the same command again, it goes on from there";
    }

    private FileStream LockFolder()
    {
        string path = Path.Combine(job.Folder, ".lock");
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException failure) when (File.Exists(path) && failure.HResult != DiskFull)
        {
            throw new UserException(ExitCode.DiskOrIo, $"another avedis prepare is at work in {job.Folder}; wait for it, or name another --out", failure);
        }
    }

    /// <summary>Lists the clips of earlier calls. A clip stored twice counts where it was stored last. The last shard stays open to be continued.</summary>
    private void OpenShards()
    {
        foreach (string unfinished in Directory.GetFiles(job.Folder, "*.tmp"))
            File.Delete(unfinished);
        string[] paths = [.. Directory.GetFiles(job.Folder, "shard-*.bin").Order(StringComparer.Ordinal)];
        foreach (string path in paths)
        {
            current?.Dispose();
            // earlier shards were flushed to the disk when they were full; only the last can have suffered from a loss of power
            current = Shard.Append(path, job.Features, definition, verify: path == paths[^1], out var entries);
            foreach (var entry in entries)
                stored[entry.Clip.Id] = (shardNames.Count, entry);
            shardNames.Add(Path.GetFileName(path));
        }
    }

    private static string LogMelOn(string device, FeatureOptions features)
    {
        string words = new LogMel(features).Definition;
        return device == "cpu" ? words : $"{words} on {device}, {DeviceLogMel.Arithmetic}";
    }

    private bool IsStored(ManifestRow row)
    {
        var file = new FileInfo(row.FullPath);
        return file.Exists && stored.TryGetValue(row.Id, out var place)
            && place.Entry.Clip.Size == file.Length && place.Entry.Clip.Modified == file.LastWriteTimeUtc.Ticks;
    }

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
                var decoder = new ClipDecoder(tool, job.Features);
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
            var before = new FileInfo(row.FullPath);
            (long size, long modified) = before.Exists ? (before.Length, before.LastWriteTimeUtc.Ticks) : (0, 0);
            decoder.Decode(row.FullPath, stop);
            int valid = melsOf(decoder.Samples, mels);
            if (valid == 0)
                throw new MediaException("too short", "not one analysis window of sound");
            Store(new ShardClip(row.Id, size, modified, decoder.FaceCount, valid), decoder.Faces, mels);
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
                string name = $"shard-{shardNames.Count:D5}.bin";
                current = Shard.Create(Path.Combine(job.Folder, name), job.Features, definition);
                shardNames.Add(name);
            }
            long offset = current.Append(clip, faces, mels);
            stored[clip.Id] = (shardNames.Count - 1, new ShardEntry(clip, offset));
        }
    }

    /// <summary>Joins the manifest with what was decoded. Speakers get numbers by name; whom we cannot learn cannot be asked for either.</summary>
    private DatasetIndex Compose(Manifest manifest, ManifestRow[] rows, Split[] splits)
    {
        var refused = rejections.Select(rejection => rejection.Id).ToHashSet(StringComparer.Ordinal);
        var speakers = rows.Where((row, i) => splits[i] == Split.Train && !refused.Contains(row.Id))
            .Select(row => row.Speaker).Distinct().Order(StringComparer.Ordinal).ToArray();
        var numbers = speakers.Select((name, number) => (name, number)).ToDictionary(pair => pair.name, pair => pair.number, StringComparer.Ordinal);
        var emotions = job.Data.Emotions.ToList();
        var clips = new List<ClipInfo>();
        foreach (var (row, split) in rows.Zip(splits).Where(pair => !refused.Contains(pair.First.Id)))
        {
            bool known = numbers.TryGetValue(row.Speaker, out int speaker);
            if (known == (split == Split.Unheard))
            {
                rejections.Add(known ? new Rejection(row.Id, "not unheard", $"speaker {row.Speaker} has training clips")
                    : new Rejection(row.Id, "speaker without training clip", $"speaker {row.Speaker} cannot be recognised; use the split unheard"));
                continue;
            }
            var (shard, entry) = stored[row.Id];
            clips.Add(new ClipInfo(row.Id, known ? speaker : -1, emotions.IndexOf(row.Emotion), split, entry.Clip.Faces, entry.Clip.Mels, row.Factors, shard, entry.Offset));
        }
        if (clips.Count == 0)
        {
            WriteRejections();
            throw new UserException(ExitCode.BadInput, $"none of the {rows.Length} clips can be used ({Reasons(rejections)}); see {Path.Combine(job.Folder, RejectedFileName)}");
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

    private void WriteRejections()
    {
        rejections.Sort((a, b) => string.CompareOrdinal(a.Id, b.Id));
        WriteWhole(RejectedFileName, stream =>
        {
            using var table = CsvWriter.Create(stream, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
            table.WriteRecord(["path", "reason", "detail"]);
            foreach (var rejection in rejections)
                table.WriteRecord([rejection.Id, rejection.Reason, rejection.Detail]);
        });
    }

    /// <summary>Replaces a file of the folder as a whole: whoever looks sees the old one or the new one.</summary>
    private void WriteWhole(string name, Action<Stream> write)
    {
        string path = Path.Combine(job.Folder, name), unfinished = path + ".tmp";
        using (var stream = new FileStream(unfinished, FileMode.Create, FileAccess.Write))
        {
            write(stream);
            stream.Flush(flushToDisk: true);
        }
        File.Move(unfinished, path, overwrite: true);
    }
}
