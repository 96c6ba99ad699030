using System.Text;
using ADRaffy.ENSNormalize;
using CsvHelper;

namespace Avedis.Trainer.Data;

/// <summary>
/// Tables of text as spreadsheets and data frames write them: UTF-8 or UTF-16, fields between commas, semicolons, tabs or bars.
/// </summary>
internal static class TextTable
{
    private const string Separators = ",;\t|";

    /// <summary>The text of a file: UTF-16 where the first bytes say so, else UTF-8; without the mark of either.</summary>
    /// <exception cref="DecoderFallbackException">Bytes that are no UTF-8; the index counts from the start of the file.</exception>
    public static string Decode(byte[] bytes)
    {
        var utf8 = new UTF8Encoding(false, throwOnInvalidBytes: true);
        if (bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble))
            return utf8.GetString(bytes.AsSpan(Encoding.UTF8.Preamble.Length));
        // a table starts with a letter or a quotation mark, of which UTF-16 makes two bytes
        return bytes switch
        {
            [0xFF, 0xFE, ..] => Encoding.Unicode.GetString(bytes.AsSpan(2)),
            [0xFE, 0xFF, ..] => Encoding.BigEndianUnicode.GetString(bytes.AsSpan(2)),
            [not 0, 0, ..] => Encoding.Unicode.GetString(bytes),
            [0, not 0, ..] => Encoding.BigEndianUnicode.GetString(bytes),
            _ => utf8.GetString(bytes),
        };
    }

    /// <summary>
    /// The form of Unicode that most systems write; macOS takes letters and their accents apart. .NET's own Normalize needs ICU, which the
    /// program does without.
    /// </summary>
    public static string Composed(string text) => text.AsSpan().ContainsAnyExceptInRange('\0', '\u02FF') ? ENSNormalize.NF.NFC(text) : text;

    /// <summary>
    /// A reader before the header line. The separator is the one between the names of columns, or what Excel's line "sep=;" says.
    /// </summary>
    /// <param name="malformed">What a quotation mark out of place does.</param>
    public static CsvReader Open(string text, IReadOnlyCollection<string> columns, CsvMalformedDataHandling malformed)
        => CsvReader.FromText(text, new CsvReaderOptions
    {
        Separator = Separator(text, columns),
        TrackLineNumbers = true,
        TrimWhitespace = true,
        MalformedData = malformed,
    });

    private static char? Separator(string text, IReadOnlyCollection<string> columns)
    {
        var start = text.AsSpan().TrimStart("\r\n");
        int end = start.IndexOfAny('\r', '\n');
        string header = (end < 0 ? start : start[..end]).ToString();
        if (header.StartsWith("sep=", StringComparison.OrdinalIgnoreCase))
            return null; // the reader takes it from there
        int Found(char separator) => header.Split(separator).Count(name => columns.Contains(name.Trim().Trim('"').Trim(),
            StringComparer.OrdinalIgnoreCase));
        char most = Separators.MaxBy(Found);
        return Found(most) > 0 ? most : null;
    }
}
