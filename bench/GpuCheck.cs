using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench.Kernels;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>One part of bench/check-gpu: "passed", "failed", "timeout", or "skipped" with the reason in <paramref name="Note"/>.</summary>
public sealed record CheckPart(string Name, string Result, double Seconds, string Note)
{
    /// <summary>A line of parts.tsv: name, result, seconds, note.</summary>
    public static CheckPart Parse(string line)
    {
        string[] fields = line.Split('\t');
        return new CheckPart(fields[0], fields[1], double.Parse(fields[2], CultureInfo.InvariantCulture), fields.Length > 3 ? fields[3] : "");
    }
}

/// <summary>What one tool of compute-sanitizer found.</summary>
/// <param name="Errors">null if it did not come to its summary.</param>
public sealed record SanitizerReport(string Tool, int? Errors);

/// <summary>A training run on the demo's data, in a run folder's own words.</summary>
/// <param name="Seconds">Training from start to end, evaluation not included; null where it was not timed here.</param>
public sealed record TrainingScore(
    string Device, string Precision, double? Seconds, double? ClipsPerSecond, double? EmotionMacroF1, double? EmotionAccuracy, double? SpeakerAccuracy);

/// <summary>
/// All that a run of bench/check-gpu found, gathered from the files that its parts left in one folder. Any file may be missing: parts can be left out,
/// and a failing part does not stop the others.
/// </summary>
/// <param name="Device">The GPU as the CUDA backend describes it.</param>
/// <param name="Emulated">The kernels ran on the processor, under the emulated driver: a rehearsal, no figure of a GPU.</param>
public sealed partial record GpuCheck(
    string Device, bool Emulated, string Machine, string Revision, string Date, CheckPart[] Parts, TestReport? Tests, SanitizerReport[] Sanitizers,
    TrainingScore[] Training, ResultRow[] Steps, BenchReport[] Operations, KernelRow[] Kernels)
{
    private const int FailuresShown = 20;

    /// <summary>Whether everything that ran passed, and something ran.</summary>
    public bool Passed => Parts.Any(part => part.Result == "passed") && Parts.All(part => part.Result is "passed" or "skipped");

    /// <exception cref="UserException">The folder is not one of check-gpu, or a file in it is damaged.</exception>
    public static GpuCheck Read(string folder)
    {
        string parts = Path.Combine(folder, "parts.tsv");
        if (!File.Exists(parts))
            throw new UserException(ExitCode.BadInput, $"{parts} does not exist: {folder} was not written by check-gpu");
        try
        {
            CheckPart[] list = [.. File.ReadLines(parts).Where(line => line.Length > 0).Select(CheckPart.Parse)];
            string device = DeviceOf(Lines(Path.Combine(folder, "doctor.txt")));
            return new GpuCheck(
                device, device.Contains("emulated", StringComparison.OrdinalIgnoreCase), Avedis.Trainer.Benchmark.Machine.Describe(), Avedis.Trainer.Benchmark.Machine.Revision,
                DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), list,
                Load<TestReport>(Path.Combine(folder, "tests.json")),
                [.. Files(folder, "sanitizer-*.log").Select(ReadSanitizer)],
                ReadTraining(folder, list),
                string.Concat(Lines(Path.Combine(folder, "step.json"))) is { Length: > 0 } steps ? ResultFile.Parse(steps).Rows : [],
                [.. Files(folder, "bench-*.json").Select(path => Load<BenchReport>(path)!)],
                Load<KernelFile>(Path.Combine(folder, "kernels.json"))?.Rows ?? []);
        }
        catch (Exception failure) when (failure is JsonException or FormatException or IndexOutOfRangeException)
        {
            throw new UserException(ExitCode.BadInput, $"{folder} holds a damaged file: {failure.Message}", failure);
        }
    }

    /// <summary>What "avedis doctor" says of cuda; "unknown" if it says nothing or that it is missing.</summary>
    public static string DeviceOf(IEnumerable<string> doctor)
    {
        string? line = doctor.FirstOrDefault(line => line.StartsWith("cuda ", StringComparison.Ordinal));
        string device = line?["cuda ".Length..].Trim() ?? "";
        return device.Length == 0 || device.StartsWith("MISSING", StringComparison.Ordinal) ? "unknown" : device;
    }

    /// <summary>Errors that a log of compute-sanitizer counts, over all processes; racecheck calls them hazards.</summary>
    public static int? SanitizerErrors(string log)
    {
        var counts = SanitizerSummary().Matches(log);
        return counts.Count == 0 ? null : counts.Sum(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
    }

    /// <summary>Writes check-gpu.json and check-gpu.md.</summary>
    /// <exception cref="UserException">The folder cannot be written.</exception>
    public void Write(string folder)
    {
        try
        {
            File.WriteAllText(Path.Combine(folder, "check-gpu.json"), JsonSerializer.Serialize(this, BenchJson.Indented) + "\n");
            File.WriteAllText(Path.Combine(folder, "check-gpu.md"), Markdown());
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results cannot be written to {folder}: {failure.Message}", failure);
        }
    }

    public string Markdown()
    {
        var text = new StringBuilder();
        text.AppendLine(Emulated ? "# Rehearsal of check-gpu under the emulated driver" : "# Check of the CUDA backend").AppendLine();
        text.AppendLine($"{Device}. {Machine}. Avedis {Revision}, {Date}.").AppendLine();
        if (Emulated)
            text.AppendLine("**No GPU took part: the kernels ran on the processor. No time below says anything about a GPU.**").AppendLine();
        text.AppendLine("| part | result | seconds | note |").AppendLine("|---|---|--:|---|");
        foreach (var part in Parts)
            text.AppendLine(Text($"| {part.Name} | {part.Result} | {part.Seconds:F0} | {part.Note} |"));
        if (Tests is not null)
        {
            text.AppendLine().AppendLine(Text($"Tests on the GPU: {Tests.Passed} passed, {Tests.Failed} failed, {Tests.Skipped} skipped, {Tests.Seconds:F0} s."));
            foreach (var failure in Tests.Failures.Take(FailuresShown))
                text.AppendLine($"- {failure.Name}: {failure.Message.Split('\n')[0]}");
            if (Tests.Failures.Length > FailuresShown)
                text.AppendLine(Text($"- and {Tests.Failures.Length - FailuresShown} more, see tests.json"));
        }
        if (Sanitizers.Length > 0)
        {
            text.AppendLine().AppendLine("| compute-sanitizer | errors |").AppendLine("|---|--:|");
            foreach (var sanitizer in Sanitizers)
                text.AppendLine($"| {sanitizer.Tool} | {sanitizer.Errors?.ToString(CultureInfo.InvariantCulture) ?? "not finished"} |");
        }
        if (Training.Length > 0)
        {
            text.AppendLine().AppendLine("| demo trained on | precision | seconds | clips/s | emotion macro-F | emotion accuracy | speaker accuracy |");
            text.AppendLine("|---|---|--:|--:|--:|--:|--:|");
            foreach (var run in Training)
                text.AppendLine(
                    Text($"| {run.Device} | {run.Precision} | {run.Seconds:F1} | {run.ClipsPerSecond:F1} | {run.EmotionMacroF1:F3} ") +
                    Text($"| {run.EmotionAccuracy:F3} | {run.SpeakerAccuracy:F3} |"));
        }
        if (Steps.Length > 0)
            text.AppendLine().AppendLine("One training step, median, reading its loss included.").AppendLine().Append(ResultTable.Tables(Steps));
        foreach (var report in Operations)
            AppendOperations(text, report);
        if (Kernels.Length > 0)
            text.AppendLine().AppendLine("Single operations, checked, with cold caches, beside the libraries that are there; median.").AppendLine().Append(KernelTable.Rows(Kernels));
        return text.ToString();
    }

    /// <summary>Sums per operation over the step: rates of the whole, not means of rates.</summary>
    private static void AppendOperations(StringBuilder text, BenchReport report)
    {
        text.AppendLine().AppendLine(Text($"Operations of a step, {report.Preset}, {report.Precision}, {report.Batch} clips:")).AppendLine();
        text.AppendLine("| operation | us | share | GFLOP/s | GB/s |").AppendLine("|---|--:|--:|--:|--:|");
        foreach (var op in (report.Ops ?? []).GroupBy(row => row.Op).OrderByDescending(op => op.Sum(row => row.Microseconds)))
        {
            double time = op.Sum(row => row.Microseconds);
            double? gflops = op.Any(row => row.Gflops is not null) ? op.Sum(row => (row.Gflops ?? 0) * row.Microseconds) / time : null;
            double gigabytes = op.Sum(row => (row.GigabytesPerSecond ?? 0) * row.Microseconds) / time;
            text.AppendLine(Text($"| {op.Key} | {time:F1} | {op.Sum(row => row.ShareOfStep):P1} | {gflops:F0} | {gigabytes:F1} |"));
        }
    }

    /// <summary>The processor's scores, if the bundle holds them, and those of every run under train/, with the time that its part took.</summary>
    private static TrainingScore[] ReadTraining(string folder, CheckPart[] parts)
    {
        var scores = new List<TrainingScore>();
        if (ReadScore(Path.Combine(folder, "cpu-summary.json"), "cpu", null) is { } cpu)
            scores.Add(cpu);
        foreach (var part in parts.Where(part => part.Name.StartsWith("train ", StringComparison.Ordinal)))
            if (ReadScore(Path.Combine(folder, "train", part.Name["train ".Length..], "summary.json"), "cuda", part) is { } score)
                scores.Add(score);
        return [.. scores];
    }

    private static TrainingScore? ReadScore(string path, string device, CheckPart? part)
    {
        if (!File.Exists(path))
            return null;
        using var json = JsonDocument.Parse(File.ReadAllText(path));
        var root = json.RootElement;
        double? Figure(string name) => root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
        return new TrainingScore(
            device, part?.Name["train ".Length..] ?? root.GetProperty("precision").GetString()!, part?.Seconds, Figure("train_clips_per_second"),
            Figure("emotion_macro_f1"), Figure("emotion_accuracy"), Figure("speaker_accuracy"));
    }

    private static SanitizerReport ReadSanitizer(string path) =>
        new(Path.GetFileNameWithoutExtension(path)["sanitizer-".Length..], SanitizerErrors(File.ReadAllText(path)));

    private static T? Load<T>(string path)
        where T : class => File.Exists(path) ? JsonSerializer.Deserialize<T>(File.ReadAllText(path), BenchJson.Options) : null;

    private static string[] Lines(string path) => File.Exists(path) ? File.ReadAllLines(path) : [];

    private static IEnumerable<string> Files(string folder, string pattern) => Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)")]
    private static partial Regex SanitizerSummary();
}
