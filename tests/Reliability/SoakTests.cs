using System.Diagnostics;
using System.Globalization;
using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A long training: memory, handles and threads stay what they were, with a validation and checkpoints after every epoch.</summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class SoakTests
{
    private sealed record Reading(double Seconds, long ResidentKibibytes, int Handles, int Threads);

    private static Reading Read(Process process, double seconds)
    {
        string proc = $"/proc/{process.Id}";
        string resident = File.ReadLines($"{proc}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
        return new(
            seconds, long.Parse(resident.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture),
            Directory.GetFileSystemEntries($"{proc}/fd").Length, Directory.GetDirectories($"{proc}/task").Length);
    }

    [Test]
    public void A_long_training()
    {
        int steps = Soak.Count(1_000, 100_000);
        string folder = Directory.CreateTempSubdirectory("avedis-soak").FullName;
        try
        {
            string run = Path.Combine(folder, "run");
            var text = new StringBuilder();
            var readings = new List<Reading>();
            using (var process = TinyCorpus.Start(
                text, "dotnet",
                [
                    TinyCorpus.ProgramPath, "train", TinyCorpus.Prepared, "--run", run, "--device", "cpu", .. TinyCorpus.SmallNetwork, "--batch-size", "1", "--epochs", "1000000",
                    "--strategy", "gr", "--set", "training.decay=1", "--set", "training.selection.probeEvery=0",
                    "--set", string.Create(CultureInfo.InvariantCulture, $"training.maxSteps={steps}"),
                ]))
            {
                var clock = Stopwatch.StartNew();
                while (!process.WaitForExit(TimeSpan.FromSeconds(Soak.IsLong ? 5 : 0.25)))
                    try
                    {
                        readings.Add(Read(process, clock.Elapsed.TotalSeconds));
                    }
                    catch (Exception error) when (error is IOException or InvalidOperationException)
                    {
                        // it ended meanwhile
                    }
                process.WaitForExit(); // for the last of its output too
                Assert.That(process.ExitCode, Is.EqualTo(ExitCode.Ok), text.ToString());
            }
            // start-up and the first epochs apart: quarters of what is left
            var settled = readings.Skip(readings.Count / 4).ToList();
            var (early, late) = (settled.Take(settled.Count / 3).ToList(), settled.TakeLast(settled.Count / 3).ToList());
            double growth = late.Average(r => r.ResidentKibibytes) / early.Average(r => r.ResidentKibibytes) - 1;
            var rates = MetricsLog.Read(Path.Combine(run, "metrics.jsonl")).Where(m => m.Split == "validation").Select(m => m.ClipsPerSecond!.Value).ToList();
            var (firstRates, lastRates) = (rates.Skip(rates.Count / 4).Take(rates.Count / 4).ToList(), rates.TakeLast(rates.Count / 4).ToList());
            Soak.Say($"{steps:N0} steps in {readings[^1].Seconds:N0} s: resident memory {late.Average(r => r.ResidentKibibytes) / 1024:F1} MiB, {growth:+0.0 %;-0.0 %} against the second quarter; handles {early.Min(r => r.Handles)} then {late.Min(r => r.Handles)}; threads {early.Min(r => r.Threads)} then {late.Min(r => r.Threads)}; median speed {Median(lastRates) / Median(firstRates) - 1:+0.0 %;-0.0 %}");
            Assert.Multiple(() =>
            {
                // a short run is still growing into what the runtime keeps
                Assert.That(growth, Is.LessThan(Soak.IsLong ? 0.01 : 0.2));
                // at rest: a reading may fall into a save
                Assert.That(late.Min(r => r.Handles), Is.LessThanOrEqualTo(early.Min(r => r.Handles) + (Soak.IsLong ? 2 : 8)), "handles");
                Assert.That(late.Min(r => r.Threads), Is.LessThanOrEqualTo(early.Min(r => r.Threads) + 1), "threads");
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
