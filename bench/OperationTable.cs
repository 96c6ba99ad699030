using System.Globalization;
using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Data;

namespace Avedis.Bench;

/// <summary>One operation at one shape, ours and TorchSharp's.</summary>
/// <param name="Preset">Whose network has the shape.</param>
/// <param name="Layer">Where in the network.</param>
/// <param name="OurSeconds">Median of a call.</param>
/// <param name="Way">How TorchSharp is called: its layout, and whether through autograd.</param>
/// <param name="OurBytes">Memory that a call takes beside its inputs, results included; null where the system does not tell.</param>
public sealed record OperationRow(
    string Preset, int Batch, string Operation, string Layer, string Shape, double OurSeconds, double TheirSeconds, string Way,
    long? OurBytes, long? TheirBytes);

/// <summary>Writes what the command operations measured as tables of Markdown.</summary>
public static class OperationTable
{
    /// <summary>Lines of a page between which the tables go.</summary>
    public const string Begin = "<!-- operations: begin -->", End = "<!-- operations: end -->";

    /// <summary>A table for each preset.</summary>
    /// <param name="about">What was measured on what, a line above the tables.</param>
    public static string Markdown(string about, IReadOnlyList<OperationRow> rows)
    {
        var text = new StringBuilder().AppendLine(about);
        foreach (var preset in rows.GroupBy(row => (row.Preset, row.Batch)))
        {
            text.AppendLine().AppendLine(Text($"Preset `{preset.Key.Preset}`, {preset.Key.Batch} clips:")).AppendLine();
            text.AppendLine(
                "| operation | layer | shape | Avedis, ms | TorchSharp, ms | ratio | Avedis, MiB | TorchSharp, MiB | TorchSharp by |");
            text.AppendLine("|---|---|---|--:|--:|--:|--:|--:|---|");
            foreach (var row in preset)
                text.AppendLine(
                    Text($"| {row.Operation} | {row.Layer} | {row.Shape} | {Milliseconds(row.OurSeconds)} ") +
                    Text($"| {Milliseconds(row.TheirSeconds)} ") +
                    Text($"| {row.OurSeconds / row.TheirSeconds:F2} | {MiB(row.OurBytes)} | {MiB(row.TheirBytes)} | {row.Way} |"));
        }
        return text.ToString();
    }

    /// <summary>Writes tables to a file: in place of what stands between the two marks if it has them, else as the whole file.</summary>
    /// <exception cref="UserException">The file cannot be read or written.</exception>
    public static void Write(string file, string tables)
    {
        try
        {
            string page = File.Exists(file) ? File.ReadAllText(file) : "";
            int begin = page.IndexOf(Begin, StringComparison.Ordinal), end = page.IndexOf(End, StringComparison.Ordinal);
            WholeFile.Write(file, begin >= 0 && end > begin ? $"{page[..(begin + Begin.Length)]}\n\n{tables}\n{page[end..]}" : tables);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"{file} cannot be written: {failure.Message}", failure);
        }
    }

    private static string Milliseconds(double seconds) => Text($"{seconds * 1e3:G3}");

    private static string MiB(long? bytes) => bytes is { } known ? known < 1 << 20 ? "< 1" : Text($"{known / 1048576.0:F0}") : "";

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
