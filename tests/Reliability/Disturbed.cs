using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Avedis.Engine;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>How a process ended.</summary>
internal sealed record Ended(int Code, string Text)
{
    public const int Killed = 128 + 9;
}

/// <summary>
/// Trainings of a tiny network, each a process of its own that may be killed or given a faulty disk, and what they must leave: every name stands for a
/// checkpoint that verifies, and whoever resumes ends with the weights, moments and metrics of a run that nobody disturbed.
/// </summary>
internal sealed class Disturbed : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("avedis-disturbed").FullName;
    private readonly Lazy<string> reference;

    public Disturbed(params string[] more)
    {
        More = more;
        reference = new(() =>
        {
            Assert.That(Train("reference").Code, Is.EqualTo(ExitCode.Ok));
            return Outcome("reference");
        });
    }

    /// <summary>Faults that a process preloads; see tests/native/faults.cpp.</summary>
    public static string Faults => Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "native", "libavedis_faults.so"));

    /// <summary>Hash of what an undisturbed run leaves.</summary>
    public string Reference => reference.Value;

    private string[] More { get; }

    /// <summary>Of each training.</summary>
    public int Epochs { get; init; } = 2;

    public string PathOf(string run) => Path.Combine(folder, run);

    public string CheckpointsOf(string run) => Path.Combine(PathOf(run), "checkpoints");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    public ProcessStartInfo Command(string run, bool resume, params string[] more)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])
            [
                TinyCorpus.ProgramPath, "train", TinyCorpus.Prepared, "--run", PathOf(run),
                .. More.Contains("--device") ? Array.Empty<string>() : ["--device", "cpu", "--set", "training.precision=fp32"],
                .. TinyCorpus.SmallNetwork, "--epochs", $"{Epochs}", .. resume ? ["--resume"] : Array.Empty<string>(), .. More, .. more,
            ])
            start.ArgumentList.Add(argument);
        return start;
    }

    public Ended Train(string run, bool resume = false, params string[] more) => Finish(Process.Start(Command(run, resume, more))!);

    /// <summary>Trains with the call of that number, of those that change files under the run's checkpoints, failing as the kind says.</summary>
    public Ended TrainWith(string kind, int call, string run, bool forever = false, string? log = null, params string[] more)
    {
        var start = Command(run, resume: false, more);
        start.Environment["LD_PRELOAD"] = Faults;
        start.Environment["AVEDIS_FAULT_PATH"] = CheckpointsOf(run);
        start.Environment["AVEDIS_FAULT_KIND"] = kind;
        start.Environment["AVEDIS_FAULT_CALL"] = call.ToString(CultureInfo.InvariantCulture);
        if (forever)
            start.Environment["AVEDIS_FAULT_FOREVER"] = "1";
        if (log is not null)
            start.Environment["AVEDIS_FAULT_LOG"] = log;
        return Finish(Process.Start(start)!);
    }

    public static Ended Finish(Process process)
    {
        using (process)
        {
            var error = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return new(process.ExitCode, output + error.Result);
        }
    }

    /// <summary>What is wrong with what a disturbed run left, or did when it was resumed; null if nothing is.</summary>
    public string? Fault(string run)
    {
        if (Unreadable(run) is { } unreadable)
            return unreadable;
        var resumed = Train(run, resume: true);
        return resumed.Code != ExitCode.Ok ? $"resumed, it ends with {resumed.Code}: {resumed.Text}"
            : Unreadable(run) ?? (Outcome(run) != Reference ? "resumed, it ends with other weights, moments or metrics" : null);
    }

    /// <summary>A checkpoint with a name that does not verify; null if there is none.</summary>
    public string? Unreadable(string run)
    {
        foreach (string checkpoint in Checkpoint.All(CheckpointsOf(run)))
            try
            {
                Checkpoint.Verify(checkpoint);
            }
            catch (InvalidDataException error)
            {
                return error.Message;
            }
        return Checkpoint.Latest(CheckpointsOf(run)) is { } latest && !Directory.Exists(latest) ? $"LATEST names {latest}, which is not there" : null;
    }

    /// <summary>Hash of the last weights and moments.</summary>
    public string Weights(string run)
    {
        string latest = Checkpoint.Latest(CheckpointsOf(run))!;
        return Convert.ToHexStringLower(SHA256.HashData([.. new[] { "model.safetensors", "optim.safetensors" }.SelectMany(file => File.ReadAllBytes(Path.Combine(latest, file)))]));
    }

    /// <summary>Hash of weights, moments and metrics; times and memory are not among them.</summary>
    public string Outcome(string run)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(Checkpoint.Latest(CheckpointsOf(run))!) + Weights(run)));
        foreach (string line in File.ReadLines(Path.Combine(PathOf(run), "metrics.jsonl")))
        {
            var record = JsonNode.Parse(line)!.AsObject();
            foreach (string clock in new[] { "time", "clipsPerSecond", "waitShare", "peakRssBytes" })
                record.Remove(clock);
            hash.AppendData(Encoding.UTF8.GetBytes(record.ToJsonString()));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public void Forget(string run) => Directory.Delete(PathOf(run), recursive: true);
}
