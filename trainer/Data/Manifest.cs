using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Avedis.Bindings;
using Avedis.Trainer.Media;
using CsvHelper;

namespace Avedis.Trainer.Data;

/// <summary>The parts of a data set. Unheard clips come from people who are in no other part, and have no speaker class.</summary>
public enum Split
{
    Train,
    Validation,
    Test,
    Unheard,
}

/// <summary>
/// One row of a manifest. <see cref="Id"/> is the path under the data root with forward slashes, with "#t=start,end" behind it where the clip is a part of
/// the file, <see cref="Emotion"/> the class that the label maps to, <see cref="Split"/> null where the manifest leaves the choice to us,
/// <see cref="Factors"/> the further columns.
/// </summary>
public sealed record ManifestRow(int Line, string Id, ClipSource Source, string Speaker, string Emotion, Split? Split, IReadOnlyList<string> Factors);

/// <summary>
/// A table (<see cref="TextTable"/>) with a header line and the columns path, speaker, emotion, and any others, which are kept as factors,
/// but for these:
/// <code>
/// split         train, validation, test or unheard
/// audio         file of the sound, where it is not in path; it is cut to the clip, whatever start and end say
/// start, end    seconds of path between which the clip lies; empty for all of it
/// region        left or right half of the picture; empty for all of it
/// fps           pictures per second, where path is a folder of them; empty for 25
/// </code>
/// Path is a media file or a folder of pictures. Paths are relative to the data root and must stay under it (<see cref="DataRoot"/>).
/// Columns without a name and rows without a field are what spreadsheets and data frames leave about: they do not count, and nan and the
/// like are empty fields. Every fault of the table ends in one line with exit code 3 that names the line.
/// </summary>
public sealed class Manifest
{
    private static readonly string[] Needed = ["path", "speaker", "emotion"];
    private static readonly string[] Known = [.. Needed, "split", "audio", "start", "end", "region", "fps"];

    // as data frames and spreadsheets write a cell without a value; NA, Nan and Null are names of people
    private static readonly HashSet<string> Nothing = new(["nan", "NaN", "None", "null", "NULL", "<NA>", "N/A", "n/a", "#N/A", "NaT"],
        StringComparer.Ordinal);

    private readonly string file;
    private readonly DataRoot root;
    private readonly DataOptions options;
    private readonly Dictionary<string, string> labels;

    private Manifest(string file, DataRoot root, DataOptions options)
    {
        this.file = file;
        this.root = root;
        this.options = options;
        labels = options.KnownLabels();
    }

    /// <summary>Names of the further columns, in the order of the table.</summary>
    public IReadOnlyList<string> FactorNames { get; private set; } = [];

    /// <summary>Rows in the order of the table, without those whose label maps to "drop".</summary>
    public IReadOnlyList<ManifestRow> Rows { get; private set; } = [];

    /// <summary>Rows whose label maps to "drop".</summary>
    public int Dropped { get; private set; }

    /// <summary>SHA-256 of the file's bytes, in hexadecimal.</summary>
    public string Sha256 { get; private set; } = "";

    /// <summary>Reads a manifest.</summary>
    /// <param name="file">The table.</param>
    /// <param name="rootFolder">Where its paths start; null for the folder of the table.</param>
    /// <param name="options">The label map.</param>
    public static Manifest Read(string file, string? rootFolder, DataOptions options)
    {
        byte[] bytes;
        try
        {
            bytes = RegularFiles.ReadAllBytes(file, Array.MaxLength);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadInput, $"cannot read the manifest {file}: {failure.Message}", failure);
        }
        rootFolder ??= Path.GetDirectoryName(Path.GetFullPath(file))!;
        if (!Directory.Exists(rootFolder))
            throw new UserException(ExitCode.BadInput, $"the data root {rootFolder} is no folder; name the folder that the manifest's paths start from with --root");
        var manifest = new Manifest(file, new DataRoot(rootFolder), options) { Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes)) };
        manifest.Parse(manifest.Decode(bytes));
        return manifest;
    }

    private string Decode(byte[] bytes)
    {
        try
        {
            return TextTable.Decode(bytes);
        }
        catch (DecoderFallbackException)
        {
            int at = 0;
            while (Rune.DecodeFromUtf8(bytes.AsSpan(at), out _, out int used) == System.Buffers.OperationStatus.Done)
                at += used;
            throw Fault(1 + bytes.AsSpan(0, at).Count((byte)'\n'), "has bytes that are not UTF-8; save the file as UTF-8");
        }
    }

    private void Parse(string text)
    {
        var rows = new List<ManifestRow>();
        var seen = new Dictionary<(string, double, double?), int>();
        using var csv = TextTable.Open(text, Known, CsvMalformedDataHandling.Throw);
        try
        {
            csv.ReadHeader();
            if (csv.Headers.Count == 0)
                throw new UserException(ExitCode.BadInput, $"{file} is empty; it needs a header line with the columns {string.Join(", ", Needed)}");
            string[] header = [.. csv.Headers.Select(name => TextTable.Composed(name.Trim()))];
            var columns = ReadHeader(header);
            int width = 1 + Array.FindLastIndex(header, name => name.Length > 0);
            while (csv.Read())
            {
                int line = (int)csv.LineNumber, fields = csv.FieldCount;
                while (fields > 0 && csv.GetString(fields - 1).Trim().Length == 0)
                    fields--;
                if (fields == 0)
                    continue;
                if (fields > header.Length || csv.FieldCount < width)
                    throw Fault(line, $"has {csv.FieldCount} fields where the header has {width}; a field with a "
                        + $"{Named(csv.Separator)} in it goes in quotation marks");
                if (ReadRow(csv, line, columns, seen) is { } row)
                    rows.Add(row);
                else
                    Dropped++;
            }
        }
        catch (CsvFormatException failure)
        {
            throw Fault((int)failure.LineNumber,
                "has a quotation mark out of place; write the whole field in quotation marks, close them, and double each one inside");
        }
        if (rows.Count == 0)
            throw new UserException(ExitCode.BadInput,
                $"{file} has no clips{(Dropped > 0 ? $": the labels of all {Dropped} rows map to \"{DataOptions.Drop}\"" : " below its header line")}");
        Rows = rows;
    }

    private static string Named(char separator) => separator switch
    {
        ',' => "comma", ';' => "semicolon", '\t' => "tab", _ => $"{separator}",
    };

    private Dictionary<string, int> ReadHeader(string[] header)
    {
        var columns = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        for (int i = 0; i < header.Length; i++)
            if (!IsIndex(header[i]) && !columns.TryAdd(header[i], i))
                throw Fault(1, $"names the column \"{Printable.Name(header[i])}\" twice");
        foreach (string name in Needed)
            if (!columns.ContainsKey(name))
                throw Fault(1, $"has no column \"{name}\"; its columns are {Printable.Name(string.Join(", ", header))}");
        FactorNames = [.. columns.Keys.Where(name => !Known.Contains(name, StringComparer.OrdinalIgnoreCase))];
        return columns;
    }

    // row numbers of a data frame, which pandas calls so when it reads them back, or what a spreadsheet has to the right of the table
    private static bool IsIndex(string name) => name.Length == 0 || name.StartsWith("Unnamed: ", StringComparison.Ordinal);

    private ManifestRow? ReadRow(CsvReader csv, int line, Dictionary<string, int> columns, Dictionary<(string, double, double?), int> seen)
    {
        var texts = new string?[csv.FieldCount];
        string Raw(string name) => columns.TryGetValue(name, out int column) ? csv.GetString(column) : "";
        string Text(string name) => columns.TryGetValue(name, out int column) ? texts[column] ??= TextTable.Composed(Raw(name).Trim()) : "";
        string Field(string name) => Text(name) is var text && Nothing.Contains(text) ? "" : text;
        string label = Text("emotion"); // a label may be called None
        foreach (string name in Needed)
            if (Field(name).Length == 0 && !(name == "emotion" && labels.ContainsKey(label)))
                throw Fault(line, $"has no {name}");
        foreach (string name in Known)
            if (Field(name).AsSpan().ContainsAny('\r', '\n'))
                throw Fault(line, $"has a line break in its {name}; is a quotation mark missing?");
        var (id, source) = ReadSource(Raw, Field, csv.Separator, line);
        if (source.Start > 0 || source.End is not null)
            id += string.Create(CultureInfo.InvariantCulture, $"#t={source.Start},{source.End}");
        var clip = (source.Picture, source.Start, source.End);
        if (!seen.TryAdd(clip, line))
            throw Fault(line, $"names the same clip as line {seen[clip]}: {Printable.Name(Field("path"))}; remove one of the two");
        if (!labels.TryGetValue(label, out string? emotion) && !labels.TryGetValue(Whole(label), out emotion))
            throw Fault(line, $"has the unknown emotion \"{Printable.Name(label)}\"{Nearest(label)}; correct it, or map it with --set "
                + $"{Printable.Word($"data.labels.{Printable.Name(label)}=CLASS")}, CLASS being one of "
                + $"{string.Join(", ", options.Emotions)}, {DataOptions.Drop}");
        if (emotion == DataOptions.Drop)
            return null;
        Split? split = columns.ContainsKey("split") ? ParseSplit(Field("split"), line) : null;
        return new ManifestRow(line, id, source, Whole(Field("speaker")), emotion, split, [.. FactorNames.Select(Field)]);
    }

    // a data frame with a gap in a column of whole numbers writes all of them with a fraction
    private static string Whole(string text)
        => text.Length > 2 && text.EndsWith(".0", StringComparison.Ordinal) && text[..^2].All(char.IsAsciiDigit) ? text[..^2] : text;

    private (string Id, ClipSource Source) ReadSource(Func<string, string> raw, Func<string, string> field, char separator, int line)
    {
        double? start = Number("start"), end = Number("end"), fps = Number("fps");
        if (end <= (start ?? 0))
            throw Fault(line, $"ends at {end} s, before it starts");
        if (fps == 0)
            throw Fault(line, "has the fps 0");
        var (id, picture) = Under("path");
        string? sound = field("audio").Length > 0 ? Under("audio").Full : null;
        return (id, new ClipSource(picture, sound, start ?? 0, end, field("region").ToLowerInvariant() switch
        {
            "" => PictureRegion.Whole,
            "left" => PictureRegion.Left,
            "right" => PictureRegion.Right,
            _ => throw Fault(line, $"has the region \"{Printable.Name(field("region"))}\"; it has to be left, right or empty"),
        }, fps ?? PictureFolder.UsualFps));

        (string Name, string Full) Under(string column) => root.Find(raw(column))
            ?? throw Fault(line, $"names \"{Printable.Name(field(column))}\", which leads out of the data root {root.Folder}; "
            + "write the path from that folder on, such as anna/0001.mp4, or name another folder with --root");

        double? Number(string column) => field(column) is not { Length: > 0 } text ? null
            : double.TryParse(separator == ',' ? text : text.Replace(',', '.'), NumberStyles.Float, CultureInfo.InvariantCulture,
                out double value) && value is >= 0 and < 1e6
                ? value : throw Fault(line, $"has the {column} \"{Printable.Name(text)}\"; it has to be a number, such as 12.5, or empty");
    }

    private Split ParseSplit(string text, int line) => text.ToLowerInvariant() switch
    {
        "train" or "training" => Split.Train,
        "validation" or "valid" or "val" or "dev" => Split.Validation,
        "test" => Split.Test,
        "unheard" => Split.Unheard,
        _ => throw Fault(line, $"has the split \"{Printable.Name(text)}\"; it has to be train, validation, test or unheard (without a split column, splits are made)"),
    };

    private string Nearest(string label) => labels.Keys.Order(StringComparer.Ordinal)
        .MinBy(known => Spelling.EditDistance(known, label)) is { } known
        ? $" (nearest known: \"{known}\")" : "";

    private UserException Fault(int line, string what) => new(ExitCode.BadInput, $"{file} line {line} {what}");
}
