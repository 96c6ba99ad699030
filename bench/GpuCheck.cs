using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench.Kernels;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;

namespace Avedis.Bench;

/// <summary>
/// One part of bench/check-gpu: "passed", "failed", "timeout", "not tried", because its precision hung before or no time was left, or
/// "skipped", which is no fault; the reason is in <paramref name="Note"/>.
/// </summary>
public sealed record CheckPart(string Name, string Result, double Seconds, string Note)
{
    /// <summary>A line of parts.tsv: name, result, seconds, note.</summary>
    public static CheckPart Parse(string line)
    {
        string[] fields = line.Split('\t');
        return new CheckPart(fields[0], fields[1], double.Parse(fields[2], CultureInfo.InvariantCulture), fields.Length > 3 ? fields[3] : "");
    }
}

/// <summary>The tests of one part, counted from their log.</summary>
/// <param name="Failures">Those that failed and those that hung.</param>
/// <param name="NotTried">Tests behind one that hung, in its fixture.</param>
/// <param name="UnderWay">A test that began and of which nothing more is known: it was running when the part was ended.</param>
public sealed record TestPart(string Name, int Passed, int Skipped, int NotTried, TestFailure[] Failures, string? UnderWay)
{
    /// <summary>Reads a log of <see cref="TestEvent"/>s. Its last line may be cut off: whoever wrote it was killed.</summary>
    /// <exception cref="JsonException">Another line is damaged.</exception>
    public static TestPart[] Read(IReadOnlyList<string> log)
    {
        var parts = new List<TestPart>();
        for (int i = 0; i < log.Count; i++)
        {
            TestEvent line;
            try
            {
                line = JsonSerializer.Deserialize<TestEvent>(log[i], BenchJson.Options)!;
            }
            catch (JsonException) when (i == log.Count - 1)
            {
                break;
            }
            if (line.Kind == "part" || parts.Count == 0)
                parts.Add(new(line.Kind == "part" ? line.Name : "tests", 0, 0, 0, [], null));
            if (line.Kind != "part")
                parts[^1] = parts[^1].With(line);
        }
        return [.. parts];
    }

    private TestPart With(TestEvent line) =>
        line.Kind == "started"
            ? this with { UnderWay = line.Name }
            : (this with { UnderWay = UnderWay == line.Name ? null : UnderWay }).Ended(line);

    private TestPart Ended(TestEvent line) => line.Outcome switch
    {
        "Passed" => this with { Passed = Passed + 1 },
        "Skipped" => this with { Skipped = Skipped + 1 },
        TestEvent.NotTried => this with { NotTried = NotTried + 1 },
        _ => this with { Failures = [.. Failures, new(line.Name, line.Text ?? "")] },
    };
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
    string Device, bool Emulated, string Machine, string Revision, string Date, CheckPart[] Parts, TestPart[] Tests,
    SanitizerReport[] Sanitizers, TrainingScore[] Training, ResultRow[] Steps, BenchReport[] Operations, KernelRow[] Kernels)
{
    private const int FailuresShown = 20, FailuresInBrief = 8;

    /// <summary>Where only the end of what a command prints comes back, <see cref="Brief"/> has to fit into it.</summary>
    public const int BriefCharacters = 9500;

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
                TestPart.Read(Lines(Path.Combine(folder, "tests.jsonl"))),
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
            WholeFile.Write(Path.Combine(folder, "check-gpu.json"), JsonSerializer.Serialize(this, BenchJson.Indented) + "\n");
            WholeFile.Write(Path.Combine(folder, "check-gpu.md"), Markdown());
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
        AppendParts(text, Parts, int.MaxValue);
        foreach (var part in Tests)
        {
            text.AppendLine().AppendLine(
                Text($"{part.Name}: {part.Passed} passed, {part.Failures.Length} failed, {part.Skipped} skipped, ") +
                Text($"{part.NotTried} not tried."));
            if (part.UnderWay is not null)
                text.AppendLine($"- {part.UnderWay}: was running when the part was ended");
            foreach (var failure in part.Failures.Take(FailuresShown))
                text.AppendLine($"- {failure.Name}: {failure.Message.Split('\n')[0]}");
            if (part.Failures.Length > FailuresShown)
                text.AppendLine(Text($"- and {part.Failures.Length - FailuresShown} more, see tests.jsonl"));
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

    /// <summary>The same for the end of the output, at most <see cref="BriefCharacters"/>: the headline, what failed, and last the table of
    /// parts.</summary>
    public string Brief()
    {
        string head = Head();
        foreach (int note in (int[])[200, 80, 30])
            if (WithTable(head, Parts, note) is { Length: <= BriefCharacters } text)
                return text;
        CheckPart[] left = [.. Parts.Where(part => part.Result != "passed")];
        string shorter = head + Text($"{Parts.Length - left.Length} parts passed and are not in this table: see check-gpu.md.\n\n");
        while (left.Length > 0 && WithTable(shorter, left, 30).Length > BriefCharacters)
            left = left[..^1];
        return WithTable(shorter, left, 30);
    }

    private static string WithTable(string head, CheckPart[] parts, int noteCharacters)
    {
        var text = new StringBuilder(head);
        AppendParts(text, parts, noteCharacters);
        return text.ToString();
    }

    private string Head()
    {
        var text = new StringBuilder();
        text.AppendLine(Cut(Emulated ? "Rehearsal under the emulated driver: no GPU took part." : $"{Device}.", 200));
        text.AppendLine("All of it: check-gpu.md, and the logs in results.tar.gz.");
        foreach (var setting in Steps.GroupBy(row => row.Setting))
            if (setting.FirstOrDefault(row => row.Engine == "avedis") is { } ours)
            {
                var best = setting.Where(row => row.Engine != ours.Engine).MaxBy(row => row.ClipsPerSecond);
                text.AppendLine(Text($"step {ours.Preset} {ours.Precision}, {ours.Batch} clips: {ours.ClipsPerSecond:G4} clips/s") +
                    (best is null
                        ? ", no peer"
                        : Text($"; {best.Engine} {best.ClipsPerSecond:G4}: {ResultTable.Speed(ours, best):F2} times as fast")));
            }
        var wrong = Tests.SelectMany(part => part.Failures.Select(failure => $"{failure.Name}: {failure.Message.Split('\n')[0]}")
            .Concat(part.UnderWay is null ? [] : [$"{part.UnderWay}: was running when {part.Name} was ended"])).ToList();
        foreach (string line in wrong.Take(FailuresInBrief))
            text.AppendLine(Cut(line, 300));
        if (wrong.Count > FailuresInBrief)
            text.AppendLine(Text($"and {wrong.Count - FailuresInBrief} more tests that failed or hung"));
        return text.AppendLine().ToString();
    }

    private static void AppendParts(StringBuilder text, CheckPart[] parts, int noteCharacters)
    {
        text.AppendLine("| part | result | seconds | note |").AppendLine("|---|---|--:|---|");
        foreach (var part in parts)
            text.AppendLine(Text($"| {part.Name} | {part.Result} | {part.Seconds:F0} | {Cut(part.Note, noteCharacters)} |"));
    }

    private static string Cut(string text, int characters) => text.Length <= characters ? text : text[..(characters - 3)] + "...";

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
