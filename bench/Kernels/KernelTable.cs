using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;

namespace Avedis.Bench.Kernels;

/// <summary>A library at the same operation.</summary>
/// <param name="Algorithm">In its own words.</param>
/// <param name="Microseconds">Median; null if it did not take part.</param>
/// <param name="Failure">Why not: it refuses, or computes something else.</param>
public sealed record PeerRow(string Library, string Version, string? Algorithm = null, double? Microseconds = null, string? Failure = null);

/// <summary>One operation at one layer.</summary>
/// <param name="Microseconds">Median, caches cold; null if the result was wrong.</param>
/// <param name="FloorMicroseconds">What its products or its bytes take at best; null of an unknown GPU.</param>
/// <param name="Launches">Kernels with their settings.</param>
/// <param name="Failure">What was wrong with the result.</param>
public sealed record KernelRow(
    string Preset, string Precision, int Batch, string Layer, string Operation, string Shape, PeerRow[] Peers, double? Microseconds = null,
    double? FloorMicroseconds = null, string? Launches = null, string? Failure = null)
{
    /// <summary>Rows of the same work; a new one takes the place of the old.</summary>
    public (string, string, int, string, string) Work => (Preset, Precision, Batch, Layer, Operation);

    public double? PercentOfFloor => 100 * FloorMicroseconds / Microseconds;
}

/// <summary>The contents of kernels.json.</summary>
/// <param name="LeftOut">A line for each library that was not there.</param>
/// <param name="Rounds">Fewest runs that the medians are taken of.</param>
public sealed record KernelFile(string Device, string Machine, string Revision, string Date, int Rounds, string[] LeftOut, KernelRow[] Rows);

/// <summary>Writes kernels.json and the same as a table, kernels.md.</summary>
public static class KernelTable
{
    /// <summary>Writes both files; what an earlier run on this device and machine measured and this one did not stays.</summary>
    /// <exception cref="UserException">The folder holds another machine's results, or cannot be written.</exception>
    public static void Write(string folder, KernelFile results)
    {
        string path = Path.Combine(folder, "kernels.json");
        try
        {
            Directory.CreateDirectory(folder);
            if (File.Exists(path))
                results = Merge(JsonSerializer.Deserialize<KernelFile>(File.ReadAllText(path), BenchJson.Options)!, results, path);
            WholeFile.Write(path, JsonSerializer.Serialize(results, BenchJson.Indented) + "\n");
            WholeFile.Write(Path.Combine(folder, "kernels.md"), Markdown(results));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results in {folder} cannot be read or written: {failure.Message}", failure);
        }
    }

    public static string Markdown(KernelFile results)
    {
        var text = new StringBuilder();
        text.AppendLine("# Operations of a training step").AppendLine();
        text.AppendLine("Each operation by itself: its result checked, then timed by the device's events with cold caches, taking turns with the libraries; median.").AppendLine();
        text.Append($"{results.Device}: {results.Machine}. Avedis {results.Revision}, {results.Date}, ");
        text.AppendLine($"{results.Rounds} runs or more.").AppendLine();
        if (IsEmulated(results.Device))
            text.AppendLine("**No GPU took part: the kernels ran on the processor. No time below says anything about a GPU.**").AppendLine();
        foreach (string line in results.LeftOut)
            text.AppendLine($"- {line}");
        if (results.LeftOut.Length > 0)
            text.AppendLine();
        return text.Append(Rows(results.Rows)).ToString();
    }

    /// <summary>A table for each setting.</summary>
    public static string Rows(IReadOnlyList<KernelRow> rows)
    {
        var text = new StringBuilder();
        foreach (var setting in rows.GroupBy(row => (row.Preset, row.Precision, row.Batch)))
        {
            text.AppendLine(Text($"{setting.Key.Preset}, {setting.Key.Precision}, {setting.Key.Batch} clips:")).AppendLine();
            text.AppendLine("| operation | layer | shape | us | of floor | library | us | Avedis: speed | algorithm |");
            text.AppendLine("|---|---|---|--:|--:|---|--:|--:|---|");
            foreach (var row in setting)
            {
                string head = Text($"| {row.Operation} | {row.Layer} | {row.Shape} | {row.Microseconds:F1} | {Percent(row.PercentOfFloor)} |");
                if (row.Failure is not null)
                    text.AppendLine($"{head} | | | **wrong: {row.Failure}** |");
                else if (row.Peers.Length == 0)
                    text.AppendLine($"{head} | | | |");
                foreach (var peer in row.Failure is null ? row.Peers : [])
                    text.AppendLine(Text($"{head} {peer.Library} | {peer.Microseconds:F1} | {peer.Microseconds / row.Microseconds:F2} | {peer.Failure ?? peer.Algorithm} |"));
            }
            double ours = setting.Sum(row => row.Microseconds ?? 0);
            var met = setting.Where(row => row.Microseconds is not null && row.Peers.Any(peer => peer.Microseconds is not null)).ToList();
            text.AppendLine().AppendLine(Text($"Sum {ours:F1} us."));
            if (met.Count > 0)
                text.AppendLine(Text(
                    $"Where a library took part: ours {met.Sum(row => row.Microseconds!.Value):F1} us, theirs {met.Sum(row => row.Peers.Min(peer => peer.Microseconds)!.Value):F1} us."));
            text.AppendLine();
        }
        return text.ToString();
    }

    private static KernelFile Merge(KernelFile old, KernelFile added, string path)
    {
        if ((old.Device, old.Machine) != (added.Device, added.Machine))
            throw new UserException(
                ExitCode.Usage, $"{path} holds results of another machine ({old.Device}, {old.Machine}): choose another folder with --out");
        var measured = added.Rows.Select(row => row.Work).ToHashSet();
        return added with { Rows = [.. old.Rows.Where(row => !measured.Contains(row.Work)), .. added.Rows] };
    }

    private static bool IsEmulated(string device) => device.Contains("emulated", StringComparison.OrdinalIgnoreCase);

    private static string Percent(double? percent) => percent is { } value ? Text($"{value:F0} %") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
