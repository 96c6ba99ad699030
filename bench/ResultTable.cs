using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;

namespace Avedis.Bench;

/// <summary>One engine in one setting.</summary>
/// <param name="Engine">avedis, or a peer and its mode: pytorch-eager-nchw, torchsharp-channels-last, ...</param>
/// <param name="SecondsPerStep">Median over all steps of the rounds that were kept.</param>
/// <param name="PeakBytes">Largest resident set of the engine's process; on a GPU what its tensors take there.</param>
/// <param name="Losses">Of the first steps: the fingerprint.</param>
/// <param name="PercentOfFloor">Time that the step's arithmetic takes at the device's peak rate, in percent of the step's time; see bench/NOTES.md.</param>
/// <param name="PercentOfDone">The same of the multiplications that the engine really does, where they are fewer.</param>
/// <param name="PeakGflops">That rate, 10^9 multiplications and additions a second in this precision; null, as the percentage, where it is not known.</param>
/// <param name="IsaCap">Widest instruction set that the engines were allowed; null without a cap.</param>
/// <param name="SecondsAsItComes">Per step of a peer without any settings of its environment, median of a few steps in the trial that
/// chose the settings in <paramref name="Note"/>; null where nothing was tried.</param>
public sealed record ResultRow(
    string Engine, string Version, string Preset, string Precision, int Batch, int Threads,
    double ClipsPerSecond, double SecondsPerStep, long PeakBytes, double[] Losses, int Steps, int RoundsKept, int RoundsDiscarded, string Date,
    double? PercentOfFloor = null, double? PeakGflops = null, string? IsaCap = null, string? Note = null,
    double? SecondsAsItComes = null, double? PercentOfDone = null)
{
    /// <summary>Rows with the same setting took turns in one run.</summary>
    public (string Preset, string Precision, int Batch, string? IsaCap) Setting => (Preset, Precision, Batch, IsaCap);

    /// <summary>Rows with the same work did it in any precision.</summary>
    public (string Preset, int Batch, string? IsaCap) Work => (Preset, Batch, IsaCap);
}

/// <summary>The contents of step.json.</summary>
public sealed record ResultFile(string Device, string Machine, string Revision, double ForeignLimit, ResultRow[] Rows)
{
    /// <summary>Reads step.json, also one of before engines were named after their modes: there the mode of a "pytorch" is its "layout",
    /// and a "torchsharp" is eager-nchw.</summary>
    /// <exception cref="JsonException"/>
    public static ResultFile Parse(string json)
    {
        var file = JsonNode.Parse(json) ?? throw new JsonException("empty");
        foreach (var row in file["rows"]?.AsArray() ?? [])
            if ((string?)row?["engine"] == "pytorch" && (string?)row["layout"] is { } layout)
                row["engine"] = layout == "nchw" ? "pytorch-eager-nchw" : $"pytorch-{layout}";
            else if ((string?)row?["engine"] == "torchsharp")
                row["engine"] = "torchsharp-eager-nchw";
        return file.Deserialize<ResultFile>(BenchJson.Options)!;
    }
}

/// <summary>Writes step.json and the same as a table, step.md.</summary>
public static class ResultTable
{
    private const string Avedis = "avedis";

    /// <summary>
    /// Writes both files. Settings that an earlier run on this device and machine left in step.json stay; those measured anew are replaced as a whole,
    /// because rows of different runs did not take turns.
    /// </summary>
    /// <exception cref="UserException">The folder holds another machine's results, or cannot be written.</exception>
    public static void Write(string folder, ResultFile results) => OnDisk(folder, () =>
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, "step.json");
        if (File.Exists(path))
            results = Merge(ResultFile.Parse(File.ReadAllText(path)), results, path);
        WriteBoth(folder, results);
    });

    /// <summary>Reads step.json and writes both files anew.</summary>
    /// <returns>The table.</returns>
    /// <exception cref="UserException">There is no such file, or it is damaged or cannot be written.</exception>
    public static string Rewrite(string folder)
    {
        string table = "";
        OnDisk(folder, () => table = WriteBoth(folder, ResultFile.Parse(File.ReadAllText(Path.Combine(folder, "step.json")))));
        return table;
    }

    private static string WriteBoth(string folder, ResultFile results)
    {
        string table = Markdown(results);
        WholeFile.Write(Path.Combine(folder, "step.json"), JsonSerializer.Serialize(results, BenchJson.Indented) + "\n");
        WholeFile.Write(Path.Combine(folder, "step.md"), table);
        return table;
    }

    private static void OnDisk(string folder, Action work)
    {
        try
        {
            work();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results in {folder} cannot be read or written: {failure.Message}", failure);
        }
    }

    public static ResultFile Merge(ResultFile old, ResultFile added, string path)
    {
        if ((old.Device, old.Machine) != (added.Device, added.Machine))
            throw new UserException(
                ExitCode.Usage, $"{path} holds results of another machine ({old.Device}, {old.Machine}): choose another folder with --out");
        var measured = added.Rows.Select(row => row.Setting).ToHashSet();
        return added with { Rows = [.. old.Rows.Where(row => !measured.Contains(row.Setting)), .. added.Rows] };
    }

    /// <summary>The tables for people, and what they are about.</summary>
    public static string Markdown(ResultFile results)
    {
        var text = new StringBuilder();
        text.AppendLine("# Training step").AppendLine();
        text.AppendLine(
            "One step: bytes to -1..1, forward, loss, backward, Adam. Same weights, same clips; engines of one precision take turns within a run; median.");
        text.AppendLine().AppendLine($"{results.Device}: {results.Machine}. Avedis {results.Revision}.").AppendLine();
        text.Append(Tables(results.Rows));
        string[] about =
        [
            .. results.Rows.Where(row => row.Engine != Avedis).Select(row => $"{row.Engine}: version {row.Version}").Distinct(),
            .. results.Rows.Where(row => row.Note is not null).Select(row => $"{row.Preset} {row.Precision}{(row.IsaCap is { } cap ? $" {cap}" : "")}, {row.Engine}: {row.Note}"),
        ];
        if (about.Length > 0)
            text.AppendLine();
        foreach (string line in about)
            text.AppendLine($"- {line}");
        if (results.Rows.Any(row => row.SecondsAsItComes is not null))
            text.AppendLine().AppendLine(
                "As it comes: a peer's seconds per step without the settings listed here, of the few steps that chose them.");
        if (results.Rows.Any(row => row.PeakGflops is not null))
            text.AppendLine().AppendLine(
                "The floor is the step's arithmetic by direct sums at the device's peak rate " +
                $"({string.Join(", ", Peaks(results.Rows))}); " +
                "of work done: the same of the multiplications that Avedis really does. bench/NOTES.md says how both are counted.");
        var rounds = results.Rows.GroupBy(row => row.Setting).Select(setting => (setting.Max(r => r.RoundsKept), setting.Max(r => r.RoundsDiscarded))).ToList();
        text.AppendLine().AppendLine(Text(
            $"Rounds in which other programs used more than {results.ForeignLimit:P0} of the processors do not count: {rounds.Sum(r => r.Item2)} of {rounds.Sum(r => r.Item1 + r.Item2)}."));
        return text.ToString();
    }

    /// <summary>
    /// Every row, with how many times as fast as it Avedis is and which part of its memory Avedis takes; then, for each row of Avedis, the same against the best
    /// peers; and the speed against every peer that did the same work, in whatever precision.
    /// </summary>
    public static string Tables(IReadOnlyList<ResultRow> rows)
    {
        var text = new StringBuilder();
        text.AppendLine(
            "| preset | precision | clips | instructions | engine | clips/s | s per step | as it comes, s | of floor | of work done " +
            "| peak memory, MiB | Avedis: speed | Avedis: memory | steps |");
        text.AppendLine("|---|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var setting in rows.GroupBy(row => row.Setting))
        {
            var ours = setting.FirstOrDefault(row => row.Engine == Avedis);
            foreach (var row in setting)
                text.AppendLine(
                    Text($"{Head(row)} {row.Engine} | {row.ClipsPerSecond:G4} | {row.SecondsPerStep:G4} | {row.SecondsAsItComes:G4} ") +
                    Text($"| {Percent(row.PercentOfFloor)} | {Percent(row.PercentOfDone)} ") +
                    Text($"| {row.PeakBytes / 1048576.0:F0} | {Times(Speed(ours, row))} | {Times(Memory(ours, row))} | {row.Steps} |"));
        }
        var own = rows.Where(row => row.Engine == Avedis).Where(row => Peers(row, rows).Any()).ToList();
        if (own.Count == 0)
            return text.ToString();
        text.AppendLine().AppendLine("| preset | precision | clips | instructions | best peer of this precision | speed | best peer of any precision | speed | leanest peer of this precision | memory |");
        text.AppendLine("|---|---|--:|---|---|--:|---|--:|---|--:|");
        foreach (var row in own)
        {
            var any = Peers(row, rows).MaxBy(peer => peer.ClipsPerSecond);
            var same = Peers(row, rows).Where(peer => peer.Precision == row.Precision).MaxBy(peer => peer.ClipsPerSecond);
            var lean = Peers(row, rows).Where(peer => peer.Precision == row.Precision).MinBy(peer => peer.PeakBytes);
            text.AppendLine(
                Text($"{Head(row)} {same?.Engine} | {Times(Speed(row, same))} | {any!.Engine} {any.Precision} | {Times(Speed(row, any))} ") +
                Text($"| {lean?.Engine} | {Times(Memory(row, lean))} |"));
        }
        var peers = rows.Where(row => row.Engine != Avedis).Select(row => (row.Engine, row.Precision)).Distinct().ToList();
        text.AppendLine().AppendLine($"| Avedis, as many times as fast as | {string.Join(" | ", peers.Select(peer => $"{peer.Engine} {peer.Precision}"))} |");
        text.AppendLine($"|---|{string.Concat(Enumerable.Repeat("--:|", peers.Count))}");
        foreach (var row in own)
            text.AppendLine(
                $"| {row.Preset} {row.Precision}{(row.IsaCap is { } cap ? $", {cap} at most" : "")}, {row.Batch} clips | " +
                string.Join(" | ", peers.Select(peer => Times(Speed(row, Peers(row, rows).FirstOrDefault(other => (other.Engine, other.Precision) == peer))))) + " |");
        return text.ToString();
    }

    /// <summary>How many times as many clips a second as the peer; null if either is missing.</summary>
    public static double? Speed(ResultRow? ours, ResultRow? peer) => ours?.ClipsPerSecond / peer?.ClipsPerSecond;

    /// <summary>Which part of the peer's peak memory; null if either is missing.</summary>
    public static double? Memory(ResultRow? ours, ResultRow? peer) => (double?)ours?.PeakBytes / peer?.PeakBytes;

    private static IEnumerable<ResultRow> Peers(ResultRow ours, IEnumerable<ResultRow> rows) => rows.Where(row => row.Engine != Avedis && row.Work == ours.Work);

    private static IEnumerable<string> Peaks(IEnumerable<ResultRow> rows) => rows
        .Where(row => row.Engine == Avedis && row.PeakGflops is not null)
        .GroupBy(row => (row.Precision, row.IsaCap))
        .Select(group => Text($"{group.Key.Precision}{(group.Key.IsaCap is { } cap ? $" by {cap}" : "")} {group.Last().PeakGflops:F0} GFLOP/s"));

    private static string Head(ResultRow row) => Text($"| {row.Preset} | {row.Precision} | {row.Batch} | {(row.IsaCap is { } cap ? $"{cap} at most" : "all")} |");

    private static string Times(double? ratio) => Text($"{ratio:F2}");

    private static string Percent(double? percent) => percent is { } value ? Text($"{value:F1} %") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
