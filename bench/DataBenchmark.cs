using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;

namespace Avedis.Bench;

/// <summary>One way of moving or decoding the same clips.</summary>
/// <param name="Threads">That did it.</param>
/// <param name="ClipsPerSecond">Median over the rounds, as are the others.</param>
/// <param name="GigabytesPerSecond">Of features; 0 for decoding.</param>
/// <param name="PerCore">The same per second of processor time.</param>
/// <param name="Share">Of the clips per second of the limit that is named first in its table.</param>
/// <param name="AllocatedPerBatch">Managed bytes.</param>
public sealed record DataRow(string What, int Threads, double ClipsPerSecond, double GigabytesPerSecond, double PerCore, double Share, double AllocatedPerBatch);

/// <summary>The contents of data.json.</summary>
public sealed record DataResult(string Machine, string Revision, int Rounds, int Discarded, DataRow[] Loader, DataRow[] Prepare);

/// <summary>
/// How fast clips of the paper preset come from the page cache into batches, beside reading the same bytes without looking at them and copying them; and how fast
/// avedis prepare is beside ffmpeg decoding the same clips for nobody. All take turns in one run; rounds in which others used the processors do not count.
/// </summary>
public sealed class DataBenchmark(int rounds, double foreignLimit, TextWriter log)
{
    private const int Clips = 96, Passes = 5, BatchSize = 16, Films = 8, AttemptsPerRound = 5;

    private readonly FeatureOptions features = FeatureOptions.Paper;
    private readonly string folder = Directory.CreateTempSubdirectory("avedis-bench-").FullName;
    private int discarded;

    /// <exception cref="UserException">Exit code 5: no ffmpeg. 8: no room. 1: the machine is too busy.</exception>
    public DataResult Run()
    {
        try
        {
            var (loader, prepare) = (Loader(), Prepare());
            return new(Machine.Describe(), Machine.Revision, rounds, discarded, loader, prepare);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private DataRow[] Loader()
    {
        log.WriteLine($"loader: {Clips} clips of {Bytes / 1048576.0:F1} MiB");
        string path = Path.Combine(folder, "shard-00000.bin");
        WritePrepared(path);
        using var data = PreparedDataset.Open(folder);
        using var file = File.OpenHandle(path);
        byte[] whole = new byte[Clips * Bytes], target = GC.AllocateUninitializedArray<byte>(BatchSize * Bytes);
        var ways = new List<(string What, int Threads, Func<double> Turn)>
        {
            ("page cache, read into one buffer", 1, () =>
            {
                long length = RandomAccess.GetLength(file);
                for (int pass = 0; pass < Passes; pass++)
                    for (long at = 0; at < length;)
                        at += RandomAccess.Read(file, target.AsSpan(0, (int)Math.Min(target.Length, length - at)), at);
                return 0;
            }),
            ("memory, copied into one buffer", 1, () =>
            {
                for (int pass = 0; pass < Passes; pass++)
                    for (int at = 0; at < whole.Length; at += target.Length)
                        whole.AsSpan(at, Math.Min(target.Length, whole.Length - at)).CopyTo(target);
                return 0;
            }),
        };
        for (int workers = 1; workers <= Environment.ProcessorCount; workers *= 2)
        {
            int count = workers;
            ways.Add(("loader: read, checked, labelled", workers, () => Load(data, count)));
        }
        return Measure(ways, Clips * Passes, Bytes);
    }

    /// <summary>Some passes over all clips.</summary>
    /// <returns>Bytes allocated in the median batch: a new order of the clips is one small object an epoch.</returns>
    private static double Load(PreparedDataset data, int workers)
    {
        using var loader = BatchLoader.ForTraining(data, BatchSize, seed: 1, workers: workers);
        var allocated = new double[Clips / BatchSize * Passes];
        for (int i = 0; i < allocated.Length; i++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            loader.TryNext(out var batch);
            loader.Return(batch!);
            allocated[i] = GC.GetTotalAllocatedBytes(precise: true) - before;
        }
        return Median(allocated);
    }

    private DataRow[] Prepare()
    {
        var tool = FfmpegTool.Find();
        int jobs = Environment.ProcessorCount;
        log.WriteLine($"prepare: {Films} films of 12 s, 224 px, H.264, by {jobs} processes at once");
        string films = Path.Combine(folder, "films");
        Directory.CreateDirectory(films);
        for (int i = 0; i < Films; i++)
        {
            // a picture that moves everywhere with some grain, at the bit rate of a web video
            var made = tool.RunFfmpeg(
            [
                "-f", "lavfi", "-i", $"mandelbrot=size=224x224:rate=25:start_scale={1.0 / (i + 1):F3}:end_scale=0.02,noise=alls=6:allf=t", "-f", "lavfi", "-i", "anoisesrc=sample_rate=16000:amplitude=0.1",
                "-t", "12", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-c:a", "aac", Path.Combine(films, $"{i}.mp4"),
            ], TimeSpan.FromMinutes(2));
            if (!made.Succeeded)
                throw new UserException(ExitCode.InternalError, $"ffmpeg cannot make a film: {made.FirstError}");
        }
        string manifest = Path.Combine(films, "manifest.csv");
        File.WriteAllText(manifest, "path,speaker,emotion,split\n" + string.Concat(Enumerable.Range(0, Films).Select(i => $"{i}.mp4,ann,neutral,train\n")));
        int number = 0;
        return Measure(
        [
            ("ffmpeg: decoded and thrown away", jobs, () =>
            {
                Enumerable.Range(0, Films).AsParallel().WithDegreeOfParallelism(jobs).ForAll(i => tool.RunFfmpeg(
                    ["-threads", "1", "-i", Path.Combine(films, $"{i}.mp4"), "-f", "null", "-"], TimeSpan.FromMinutes(2)));
                return 0;
            }),
            ("avedis prepare: faces, log-mels, shard, index", jobs, () =>
            {
                string target = Path.Combine(folder, $"prepared{number++}");
                new Preparer(new PrepareJob(manifest, null, target, features, new DataOptions(), jobs), tool).Run();
                Directory.Delete(target, recursive: true);
                return 0;
            }),
        ], Films, 0);
    }

    /// <summary>All ways take turns until each has as many undisturbed rounds as are asked for.</summary>
    private DataRow[] Measure(IReadOnlyList<(string What, int Threads, Func<double> Turn)> ways, int clips, long bytes)
    {
        var seconds = ways.Select(_ => new List<(double Wall, double Processor, double Allocated)>()).ToList();
        foreach (var (_, _, turn) in ways)
            turn(); // warm: page cache, compiled code
        for (int round = 0, attempt = 0; round < rounds; attempt++)
        {
            if (attempt == rounds * AttemptsPerRound)
                throw new UserException(ExitCode.InternalError, $"other programs used more than {foreignLimit:P0} of the processors in most rounds: try again on a quiet machine, or with a higher --foreign-limit");
            double busy = ProcessorLoad.BusySeconds(), own = OwnSeconds(), before = Stopwatch.GetTimestamp();
            var turns = new List<(double Wall, double Processor, double Allocated)>();
            foreach (var (_, _, turn) in ways)
            {
                double processor = OwnSeconds();
                var clock = Stopwatch.StartNew();
                double allocated = turn();
                turns.Add((clock.Elapsed.TotalSeconds, OwnSeconds() - processor, allocated));
            }
            double passed = (Stopwatch.GetTimestamp() - before) / Stopwatch.Frequency;
            if (ProcessorLoad.BusySeconds() - busy - (OwnSeconds() - own) > foreignLimit * passed * Environment.ProcessorCount)
            {
                discarded++;
                continue;
            }
            foreach (var (list, turn) in seconds.Zip(turns))
                list.Add(turn);
            round++;
        }
        double limit = clips / Median(seconds[0].Select(turn => turn.Wall));
        return [.. ways.Zip(seconds, (way, turns) =>
        {
            double wall = Median(turns.Select(turn => turn.Wall)), processor = Median(turns.Select(turn => turn.Processor));
            return new DataRow(way.What, way.Threads, clips / wall, clips * bytes / wall / 1e9, clips * bytes / processor / 1e9, clips / wall / limit, Median(turns.Select(turn => turn.Allocated)));
        })];
    }

    private int Bytes => features.FaceBytes + (features.MelCount * sizeof(float));

    private static double Median(IEnumerable<double> values) => values.Order().ElementAt(values.Count() / 2);

    /// <summary>Processor seconds of this process and of its children that have ended, from /proc/self/stat.</summary>
    private static double OwnSeconds()
    {
        string stat = File.ReadAllText("/proc/self/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        // utime, stime, cutime, cstime are fields 14 to 17 of proc(5), in ticks of 10 ms; the first two here are state and parent
        return fields[11..15].Sum(field => long.Parse(field, CultureInfo.InvariantCulture)) / 100.0;
    }

    private void WritePrepared(string path)
    {
        string definition = Preparer.DefinitionOf(features);
        var clips = new List<ClipInfo>();
        var random = new Random(1);
        var (faces, mels) = (new byte[features.FaceBytes], new float[features.MelCount]);
        random.NextBytes(faces);
        for (int i = 0; i < mels.Length; i++)
            mels[i] = random.NextSingle();
        using (var shard = Shard.Create(path, features, definition))
            for (int i = 0; i < Clips; i++)
                clips.Add(new ClipInfo(
                    $"{i}", 0, 0, Split.Train, features.FaceFrames, features.MelFrames, [], 0, shard.Append(new ShardClip($"{i}", 0, 0, features.FaceFrames, features.MelFrames), faces, mels)));
        var index = new DatasetIndex
        {
            Format = DatasetIndex.CurrentFormat, Definition = definition, Features = features, Data = new DataOptions(), LogMel = "", ManifestSha256 = "",
            Emotions = new DataOptions().Emotions, Speakers = ["ann"], Factors = [], Counts = new Dictionary<Split, int>(), Rejected = new Dictionary<string, int>(),
            Shards = [Path.GetFileName(path)], Clips = clips,
        };
        File.WriteAllText(Path.Combine(folder, DatasetIndex.FileName), JsonSerializer.Serialize(index, Json.Indented));
    }

    /// <summary>Both tables for people.</summary>
    public static string Markdown(DataResult result)
    {
        var text = new StringBuilder();
        text.AppendLine("# Data").AppendLine();
        text.AppendLine("Clips of the paper preset: 50 faces of 224 px and 40 x 1200 log-mels, 2.7 MB. All ways take turns in one run; medians.").AppendLine();
        text.AppendLine($"{result.Machine}. Avedis {result.Revision}.").AppendLine();
        text.AppendLine("| from the page cache | threads | clips/s | GB/s | GB per second of processor | of the first | bytes allocated in the median batch |");
        text.AppendLine("|---|--:|--:|--:|--:|--:|--:|");
        foreach (var row in result.Loader)
            text.AppendLine(Text($"| {row.What} | {row.Threads} | {row.ClipsPerSecond:N0} | {row.GigabytesPerSecond:F2} | {row.PerCore:F2} | {row.Share:P0} | {row.AllocatedPerBatch:F0} |"));
        text.AppendLine().AppendLine("| 12 s of 224 px H.264 and AAC | processes | clips/s | of the first |");
        text.AppendLine("|---|--:|--:|--:|");
        foreach (var row in result.Prepare)
            text.AppendLine(Text($"| {row.What} | {row.Threads} | {row.ClipsPerSecond:F2} | {row.Share:P0} |"));
        text.AppendLine().AppendLine(Text($"Medians of {result.Rounds} rounds; {result.Discarded} more were discarded because other programs used the processors."));
        return text.ToString();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
