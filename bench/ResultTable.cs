using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>One engine in one setting.</summary>
/// <param name="Layout">Memory order of the activations.</param>
/// <param name="SecondsPerStep">Median over all steps of the rounds that were kept.</param>
/// <param name="PeakBytes">Largest resident set of the engine's process; on a GPU what its tensors take there.</param>
/// <param name="Losses">Of the first steps: the fingerprint.</param>
public sealed record ResultRow(
    string Engine, string Version, string Preset, string Precision, string Layout, int Batch, int Threads,
    double ClipsPerSecond, double SecondsPerStep, long PeakBytes, double[] Losses,
    int Steps, int RoundsKept, int RoundsDiscarded, string Date, string? Note = null)
{
    /// <summary>Rows with the same setting can be compared with each other.</summary>
    public (string Preset, string Precision, int Batch) Setting => (Preset, Precision, Batch);
}

/// <summary>The contents of step.json.</summary>
public sealed record ResultFile(string Device, string Machine, string Revision, double ForeignLimit, ResultRow[] Rows);

/// <summary>Writes step.json and the same as a table, step.md.</summary>
public static class ResultTable
{
    /// <summary>
    /// Writes both files. Settings that an earlier run on this device and machine left in step.json stay; those measured anew are replaced as a whole,
    /// because rows of different runs did not take turns.
    /// </summary>
    /// <exception cref="UserException">The folder holds another machine's results, or cannot be written.</exception>
    public static void Write(string folder, ResultFile results)
    {
        try
        {
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, "step.json");
            if (File.Exists(path))
                results = Merge(JsonSerializer.Deserialize<ResultFile>(File.ReadAllText(path), BenchJson.Options)!, results, path);
            File.WriteAllText(path, JsonSerializer.Serialize(results, BenchJson.Indented) + "\n");
            File.WriteAllText(Path.Combine(folder, "step.md"), Markdown(results));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results cannot be written to {folder}: {failure.Message}", failure);
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

    /// <summary>A table for people; "against PyTorch" is the ratio of clips per second to PyTorch's best row of the same setting.</summary>
    public static string Markdown(ResultFile results)
    {
        var text = new StringBuilder();
        text.AppendLine("# Training step").AppendLine();
        text.AppendLine(
            "One step: bytes to -1..1, forward, loss, backward, Adam. Same weights, same clips, same precision; engines take turns within a run; median.");
        text.AppendLine().AppendLine($"{results.Device}: {results.Machine}. Avedis {results.Revision}.").AppendLine();
        text.Append(Rows(results.Rows));
        foreach (var row in results.Rows.Where(row => row.Note is not null))
            text.AppendLine().AppendLine($"{row.Preset} {row.Precision}, {row.Engine} {row.Layout}: {row.Note}.");
        var rounds = results.Rows.GroupBy(row => row.Setting).Select(setting => (setting.Max(r => r.RoundsKept), setting.Max(r => r.RoundsDiscarded))).ToList();
        text.AppendLine().AppendLine(Text(
            $"Rounds in which other programs used more than {results.ForeignLimit:P0} of the processors do not count: {rounds.Sum(r => r.Item2)} of {rounds.Sum(r => r.Item1 + r.Item2)}."));
        return text.ToString();
    }

    /// <summary>The table alone.</summary>
    public static string Rows(IEnumerable<ResultRow> rows)
    {
        var text = new StringBuilder();
        text.AppendLine("| preset | precision | clips | engine | clips/s | s per step | peak memory, MiB | against PyTorch | steps |");
        text.AppendLine("|---|---|--:|---|--:|--:|--:|--:|--:|");
        foreach (var setting in rows.GroupBy(row => row.Setting))
        {
            double best = setting.Where(row => row.Engine == "pytorch").Select(row => row.ClipsPerSecond).DefaultIfEmpty(double.NaN).Max();
            foreach (var row in setting)
            {
                string ratio = double.IsNaN(best) ? "" : Text($"{row.ClipsPerSecond / best:F2}");
                text.AppendLine(Text(
                    $"| {row.Preset} | {row.Precision} | {row.Batch} | {row.Engine} {row.Layout} | {row.ClipsPerSecond:G4} | {row.SecondsPerStep:G4} ") +
                    Text($"| {row.PeakBytes / 1048576.0:F0} | {ratio} | {row.Steps} |"));
            }
        }
        return text.ToString();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
