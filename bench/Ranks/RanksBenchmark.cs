using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Bench.Ranks;

/// <summary>A sum over all ranks by itself: median seconds.</summary>
public sealed record SumTime(long Bytes, double Seconds);

/// <summary>A training step on so many ranks of one machine.</summary>
/// <param name="Clips">Of the whole batch.</param>
/// <param name="BytesPerStep">Gradients that a rank has summed.</param>
/// <param name="SumSeconds">Of the collective calls on gradients, a step.</param>
/// <param name="WaitSeconds">Of these what the backward pass did not hide.</param>
public sealed record RanksPoint(
    int Ranks, int Clips, double SecondsPerStep, long BytesPerStep, int Buckets, double SumSeconds, double WaitSeconds, SumTime[] Sums);

/// <summary>The contents of ranks.json.</summary>
/// <param name="Alone">Steps of one rank on the clips that one of several ranks has: what each would take without the others.</param>
public sealed record RanksResult(string Machine, string Revision, string Preset, string Precision, int BucketBytes, RanksPoint[] Points, RanksPoint[] Alone);

/// <summary>
/// What ranks say to each other and what it costs: a training step on 1 to 4 processes of this machine, one thread each, on the same whole batch. Every point is
/// an mpirun of its own, which starts "bench ranks-serve".
/// </summary>
public static class RanksBenchmark
{
    private const int Steps = 30, WarmUp = 5, SumTimes = 25, MostRanks = 4;

    /// <summary>Clips of the whole batch: as many for each rank, of one to four.</summary>
    private const int Clips = 24;

    private static readonly int[] sumFloats = [1 << 8, 1 << 12, 1 << 16, 1 << 20];

    public static Command Command()
    {
        var (preset, precision, bucket) = Settings();
        var result = new Option<string?>("--out") { Description = "Folder for ranks.json and ranks.md, for example bench/results/my-machine." };
        var command = new Command("ranks", "Bytes, time and overlap of a training step's communication on 1 to 4 processes of this machine (mpirun), and what the scaling model makes of it.") { preset, precision, bucket, result };
        command.SetAction(parsed =>
        {
            var log = parsed.InvocationConfiguration.Error;
            string name = parsed.GetRequiredValue(preset), type = parsed.GetRequiredValue(precision);
            int bytes = parsed.GetRequiredValue(bucket);
            RanksPoint Of(int ranks, int clips) => Measure(ranks, clips, name, type, bytes, log);
            RanksPoint[] alone = [.. Enumerable.Range(2, MostRanks - 1).Select(ranks => Of(1, Clips / ranks))];
            RanksPoint[] points = [.. Enumerable.Range(1, MostRanks).Select(ranks => Of(ranks, Clips))];
            var measured = new RanksResult(Machine.Describe(), Machine.Revision, name, type, bytes, points, alone);
            string table = RanksTable.Markdown(measured);
            parsed.InvocationConfiguration.Output.Write(table);
            if (parsed.GetValue(result) is { } folder)
            {
                Directory.CreateDirectory(folder);
                File.WriteAllText(Path.Combine(folder, "ranks.json"), JsonSerializer.Serialize(measured, BenchJson.Options));
                File.WriteAllText(Path.Combine(folder, "ranks.md"), table);
            }
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>One of the processes; rank 0 prints a <see cref="RanksPoint"/>.</summary>
    public static Command Serve()
    {
        var (preset, precision, bucket) = Settings();
        var clips = new Option<int>("--clips") { Required = true };
        var command = new Command("ranks-serve", "One rank of bench ranks, started by mpirun.") { preset, precision, bucket, clips };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            using var ranks = new Mpi(missing => throw new InvalidOperationException(missing), () => { });
            var point = Serve(ranks, parsed.GetRequiredValue(preset), parsed.GetRequiredValue(precision), parsed.GetRequiredValue(bucket), parsed.GetRequiredValue(clips));
            if (ranks.Rank == 0)
                parsed.InvocationConfiguration.Output.WriteLine(JsonSerializer.Serialize(point, BenchJson.Options).ReplaceLineEndings(" "));
        });
        return command;
    }

    private static (Option<string> Preset, Option<string> Precision, Option<int> Bucket) Settings() =>
    (
        Commands.Choice("--preset", "Size of the network and of its clips.", "demo", "demo", "paper"),
        Commands.Choice("--precision", "Number format of activations.", "fp32", "fp32", "bf16"),
        Commands.Positive("--bucket-bytes", "training.ranks.bucketBytes.", 1 << 20)
    );

    private static RanksPoint Measure(int ranks, int clips, string preset, string precision, int bucketBytes, TextWriter log)
    {
        var (program, arguments) = StepBenchmark.Self(
            "ranks-serve", "--preset", preset, "--precision", precision, "--bucket-bytes", Number(bucketBytes), "--clips", Number(clips));
        string text = "";
        var ended = ChildProgram.Run(
            "mpirun", ["--allow-run-as-root", "--oversubscribe", "-n", Number(ranks), program, .. arguments], TimeSpan.FromMinutes(10), readOutput: output => text = new StreamReader(output).ReadToEnd());
        if (!ended.Succeeded)
            throw new UserException(ExitCode.DeviceUnavailable, $"mpirun of {ranks} ranks failed: {ended.FirstError}");
        var point = JsonSerializer.Deserialize<RanksPoint>(text[text.IndexOf('{')..], BenchJson.Options)!;
        log.WriteLine($"{ranks} ranks, {clips} clips: {point.SecondsPerStep * 1e3:F1} ms per step, sums {point.SumSeconds * 1e3:F2} ms, waited {point.WaitSeconds * 1e3:F2} ms");
        return point;
    }

    private static RanksPoint Serve(Mpi ranks, string preset, string precision, int bucketBytes, int clips)
    {
        var training = TrainingOptions.Paper with { Strategy = "baseline", Ranks = new() { BucketBytes = bucketBytes } };
        var backend = AvedisEngine.Open("cpu", threads: 1, precision);
        var work = new Workload(preset, clips / ranks.Size);
        var act = new PrecisionChoice(AvedisEngine.Activations(precision), null).Act;
        using var runtime = new Runtime(backend, work.Network, work.Shape(act), training, collective: ranks);
        runtime.Network.Initialise(training.Seed);
        var batch = AvedisEngine.GoldenBatch(ranks.Rank, work.Size);
        var seconds = new List<double>();
        (long Bytes, double Busy, double Wait) before = default;
        for (int step = 0; step < WarmUp + Steps; step++)
        {
            if (step == WarmUp && runtime.Reduction is { } warm)
                before = (warm.Bytes, warm.BusySeconds, warm.WaitSeconds);
            long start = Stopwatch.GetTimestamp();
            runtime.Load(batch);
            runtime.Prepare(step, progress: 1, _ => double.NaN);
            runtime.Advance(training.LearningRate, training.AuxiliaryLearningRate);
            runtime.TrainStep();
            runtime.ReadLosses();
            if (step >= WarmUp)
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        var reduction = runtime.Reduction;
        return new(
            ranks.Size, clips, Median(seconds), ((reduction?.Bytes ?? 0) - before.Bytes) / Steps, reduction?.Buckets ?? 0, ((reduction?.BusySeconds ?? 0) - before.Busy) / Steps,
            ((reduction?.WaitSeconds ?? 0) - before.Wait) / Steps, [.. sumFloats.Select(count => Sum(ranks, count))]);
    }

    private static SumTime Sum(Mpi ranks, int count)
    {
        var values = new float[count];
        var seconds = new List<double>();
        for (int i = 0; i < SumTimes; i++)
        {
            ranks.AllGather([0], "together");
            long start = Stopwatch.GetTimestamp();
            ranks.AllReduce(values, "sum");
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new((long)count * sizeof(float), Median(seconds));
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
