using System.Diagnostics;
using System.Globalization;
using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A long training: memory, handles and threads stay what they were, with a validation and checkpoints after every epoch.</summary>
[NonParallelizable]
[Category(Soak.Category)]
[Category(Tier.Long)]
public sealed class SoakTests
{
    /// <summary>Readings from one fresh process to the next.</summary>
    private const int ReadingsBetween = 2;

    /// <summary>Seconds before and behind a fresh process whose epochs are compared with it.</summary>
    private const double Near = 4;

    private sealed record Reading(double Seconds, long ResidentKibibytes, int Handles, int Threads);

    /// <summary>A fresh process that trained the same in between: when, in seconds since 1970, and the median speed of the second half of its epochs.</summary>
    private sealed record Fresh(double From, double To, double ClipsPerSecond);

    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = Directory.CreateTempSubdirectory("avedis-soak").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(folder, recursive: true);

    /// <summary>Null if the process has ended meanwhile.</summary>
    private static Reading? Read(Process process, double seconds)
    {
        string proc = $"/proc/{process.Id}";
        try
        {
            string resident = File.ReadLines($"{proc}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
            return new(
                seconds, long.Parse(resident.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture),
                Directory.GetFileSystemEntries($"{proc}/fd").Length, Directory.GetDirectories($"{proc}/task").Length);
        }
        catch (Exception error) when (error is IOException or InvalidOperationException)
        {
            return null;
        }
    }

    private string PathOf(string run) => Path.Combine(folder, run);

    private Process Start(string run, int steps, StringBuilder text) => TinyCorpus.Start(
        text, "dotnet",
        [
            TinyCorpus.ProgramPath, "train", TinyCorpus.Prepared, "--run", PathOf(run), "--device", "cpu", .. TinyCorpus.SmallNetwork, "--batch-size", "1", "--epochs", "1000000",
            "--strategy", "gr", "--set", "training.decay=1", "--set", "training.selection.probeEvery=0",
            "--set", string.Create(CultureInfo.InvariantCulture, $"training.maxSteps={steps}"),
        ]);

    private static void Finish(Process process, StringBuilder text)
    {
        process.WaitForExit(); // for the last of its output too
        Assert.That(process.ExitCode, Is.EqualTo(ExitCode.Ok), text.ToString());
    }

    private List<MetricsRecord> Epochs(string run) => [.. MetricsLog.Read(Path.Combine(PathOf(run), "metrics.jsonl")).Where(m => m.Split == "validation")];

    /// <summary>What the machine gives in these seconds to a process that has just begun; the long one stands still meanwhile.</summary>
    private Fresh TrainAfresh(int number)
    {
        const int Steps = 1600;
        string run = $"fresh-{number}";
        double from = Now;
        var text = new StringBuilder();
        using (var process = Start(run, Steps, text))
            Finish(process, text);
        double to = Now;
        double[] speeds = [.. Epochs(run).Select(m => m.ClipsPerSecond!.Value)];
        Directory.Delete(PathOf(run), recursive: true);
        return new(from, to, TrainingBenchmark.Median(speeds[(speeds.Length / 2)..]));
    }

    private static double Now => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    [Test]
    public void A_long_training()
    {
        int steps = Soak.Count(1_000, 100_000);
        var text = new StringBuilder();
        var readings = new List<Reading>();
        var fresh = new List<Fresh>();
        using (var process = Start("run", steps, text))
        {
            var clock = Stopwatch.StartNew();
            while (!process.WaitForExit(TimeSpan.FromSeconds(Soak.IsLong ? 5 : 0.25)))
            {
                if (Read(process, clock.Elapsed.TotalSeconds) is not { } reading)
                    continue;
                readings.Add(reading);
                if (!Soak.IsLong || readings.Count % ReadingsBetween != 0)
                    continue;
                clock.Stop();
                TinyCorpus.Signal(process.Id, "STOP");
                fresh.Add(TrainAfresh(fresh.Count));
                TinyCorpus.Signal(process.Id, "CONT");
                clock.Start();
            }
            Finish(process, text);
        }
        // start-up and the first epochs apart: quarters of what is left
        var settled = readings.Skip(readings.Count / 4).ToList();
        var (early, late) = (settled.Take(settled.Count / 3).ToList(), settled.TakeLast(settled.Count / 3).ToList());
        double growth = late.Average(r => r.ResidentKibibytes) / early.Average(r => r.ResidentKibibytes) - 1;
        var epochs = Epochs("run");
        double[] clips = [.. epochs.Select(m => m.ClipsPerSecond!.Value)], whole = [.. epochs.Zip(epochs.Skip(1), (from, to) => 1 / (to.Time - from.Time))];
        Soak.Say($"{steps:N0} steps in {readings[^1].Seconds:N0} s: resident memory {late.Average(r => r.ResidentKibibytes) / 1024:F1} MiB, {growth:+0.0 %;-0.0 %} against the second quarter; handles {early.Min(r => r.Handles)} then {late.Min(r => r.Handles)}; threads {early.Min(r => r.Threads)} then {late.Min(r => r.Threads)}; median speed of steps {Drift(clips):+0.0 %;-0.0 %}, of epochs with validation and checkpoint {Drift(whole):+0.0 %;-0.0 %}");
        if (Soak.IsLong)
        {
            double[] against = [.. fresh.Select(f => Against(f, epochs))];
            Soak.Say($"against {fresh.Count} fresh processes, each in the same seconds, its speed went {Drift(against):+0.0 %;-0.0 %}: {string.Join(", ", against.Zip(fresh, (ratio, f) => string.Create(CultureInfo.InvariantCulture, $"{ratio:F3} of {f.ClipsPerSecond:F0}")))} clips/s");
        }
        Assert.Multiple(() =>
        {
            // a short run is still growing into what the runtime keeps
            Assert.That(growth, Is.LessThan(Soak.IsLong ? 0.01 : 0.2));
            // at rest: a reading may fall into a save
            Assert.That(late.Min(r => r.Handles), Is.LessThanOrEqualTo(early.Min(r => r.Handles) + (Soak.IsLong ? 2 : 8)), "handles");
            Assert.That(late.Min(r => r.Threads), Is.LessThanOrEqualTo(early.Min(r => r.Threads) + 1), "threads");
        });
    }

    /// <summary>Speed of the epochs around a fresh process, as a multiple of its own.</summary>
    private static double Against(Fresh fresh, List<MetricsRecord> epochs)
    {
        var before = epochs.Where(m => m.Time > fresh.From - Near && m.Time < fresh.From);
        var behind = epochs.Where(m => m.Time > fresh.To && m.Time < fresh.To + Near).Skip(1); // the first stood still meanwhile
        return TrainingBenchmark.Median(before.Concat(behind).Select(m => m.ClipsPerSecond!.Value)) / fresh.ClipsPerSecond;
    }

    /// <summary>Of the last quarter against the second.</summary>
    private static double Drift(double[] speeds) =>
        TrainingBenchmark.Median(speeds[(speeds.Length * 3 / 4)..]) / TrainingBenchmark.Median(speeds[(speeds.Length / 4)..(speeds.Length / 2)]) - 1;
}
