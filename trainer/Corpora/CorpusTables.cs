using System.Globalization;
using System.Text;
using Avedis.Trainer.Data;
using CsvHelper;

namespace Avedis.Trainer.Corpora;

/// <summary>The tables that come with corpora, and the manifest that an import writes.</summary>
public static class CorpusTables
{
    /// <summary>
    /// Reads a table with a header line, of which <paramref name="needed"/> names the columns that matter; their fields in that order.
    /// Bytes that are no UTF-8 are letters of Windows code page 1252.
    /// </summary>
    public static IReadOnlyList<string[]> Read(string name, byte[] bytes, params string[] needed)
    {
        var rows = new List<string[]>();
        try
        {
            using var csv = TextTable.Open(Text(bytes), needed, CsvMalformedDataHandling.Recover);
            csv.ReadHeader();
            int[] columns = [.. needed.Select(column => csv.Headers.ToList().FindIndex(header => header.Trim()
                .Equals(column, StringComparison.OrdinalIgnoreCase)))];
            if (Array.IndexOf(columns, -1) is >= 0 and var missing)
                throw new UserException(ExitCode.BadInput,
                    $"{name} has no column \"{needed[missing]}\"; its columns are {Printable.Name(string.Join(", ", csv.Headers))}: take the table as published");
            while (csv.Read())
                if (csv.FieldCount > columns.Max())
                    rows.Add([.. columns.Select(column => csv.GetString(column).Trim())]);
        }
        catch (CsvFormatException failure)
        {
            throw new UserException(ExitCode.BadInput, $"{name} line {failure.LineNumber} has a quotation mark out of place: take the table as published", failure);
        }
        return rows;
    }

    private static string Text(byte[] bytes)
    {
        try
        {
            return TextTable.Decode(bytes);
        }
        catch (DecoderFallbackException)
        {
            return CodePagesEncodingProvider.Instance.GetEncoding(1252)!.GetString(bytes);
        }
    }

    /// <summary>Writes the manifest. A column that no clip uses is left out.</summary>
    public static void WriteManifest(string file, ICorpus corpus, IReadOnlyList<CorpusClip> clips)
    {
        (string Name, Func<CorpusClip, string> Of)[] all =
        [
            ("path", clip => clip.Path), ("audio", clip => clip.Audio),
            ("start", clip => Seconds(clip.Span?.Start)), ("end", clip => Seconds(clip.Span?.End)), ("region", clip => clip.Region),
            ("speaker", clip => clip.Speaker), ("emotion", clip => clip.Emotion), ("split", clip => clip.Split?.ToString().ToLowerInvariant() ?? ""),
            ("original", clip => clip.Original), ("gender", clip => clip.Gender), ("corpus", _ => corpus.Name),
            .. corpus.Factors.Select((name, i) => (name, (Func<CorpusClip, string>)(clip => clip.Factors[i]))),
        ];
        var used = all.Where(column => clips.Any(clip => column.Of(clip).Length > 0)).ToArray();
        WholeFile.Write(file, stream =>
        {
            using var table = CsvWriter.Create(stream, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
            table.WriteRecord([.. used.Select(column => column.Name)]);
            foreach (var clip in clips)
                table.WriteRecord([.. used.Select(column => column.Of(clip))]);
        });
    }

    private static string Seconds(double? time) => time?.ToString("0.####", CultureInfo.InvariantCulture) ?? "";
}
