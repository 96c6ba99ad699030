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
/// A CSV table (UTF-8, comma, header) with the columns path, speaker, emotion, and any others, which are kept as factors, but for these:
/// <code>
/// split         train, validation, test or unheard
/// audio         file of the sound, where it is not in path; it is cut to the clip, whatever start and end say
/// start, end    seconds of path between which the clip lies; empty for all of it
/// region        left or right half of the picture; empty for all of it
/// fps           pictures per second, where path is a folder of them; empty for 25
/// </code>
/// Path is a media file or a folder of pictures. Paths are relative to the data root and must stay under it. Every fault of the table ends in one line with
/// exit code 3 that names the line.
/// </summary>
public sealed class Manifest
{
    private static readonly string[] Needed = ["path", "speaker", "emotion"];
    private static readonly string[] Known = [.. Needed, "split", "audio", "start", "end", "region", "fps"];

    private readonly string file;
    private readonly DataRoot root;
    private readonly DataOptions options;
    private readonly Dictionary<string, string> labels;

    private Manifest(string file, DataRoot root, DataOptions options)
    {
        this.file = file;
        this.root = root;
        this.options = options;
        labels = new Dictionary<string, string>(options.Labels, StringComparer.OrdinalIgnoreCase);
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
        var start = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? bytes.AsSpan(Encoding.UTF8.Preamble.Length) : bytes;
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(start);
        }
        catch (DecoderFallbackException)
        {
            int at = 0;
            while (Rune.DecodeFromUtf8(start[at..], out _, out int used) == System.Buffers.OperationStatus.Done)
                at += used;
            throw Fault(1 + start[..at].Count((byte)'\n'), "has bytes that are not UTF-8; save the file as UTF-8");
        }
    }

    private void Parse(string text)
    {
        var rows = new List<ManifestRow>();
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        using var csv = CsvReader.FromText(text, new CsvReaderOptions
        {
            TrackLineNumbers = true,
            TrimWhitespace = true,
            AllowLineBreaksInQuotes = false, // else one forgotten quotation mark swallows the rest of the table
            MalformedData = CsvMalformedDataHandling.Throw,
        });
        try
        {
            csv.ReadHeader();
            if (csv.Headers.Count == 0)
                throw new UserException(ExitCode.BadInput, $"{file} is empty; it needs a header line with the columns {string.Join(", ", Needed)}");
            var columns = ReadHeader(csv.Headers);
            while (csv.Read())
            {
                int line = (int)csv.LineNumber;
                if (csv.FieldCount != csv.Headers.Count)
                    throw Fault(line, $"has {csv.FieldCount} fields where the header has {csv.Headers.Count}; a field with a comma in it goes in quotation marks");
                if (ReadRow(csv, line, columns, seen) is { } row)
                    rows.Add(row);
                else
                    Dropped++;
            }
        }
        catch (CsvFormatException failure)
        {
            throw Fault((int)failure.LineNumber,
                "has a quotation mark out of place; write the whole field in quotation marks, close them on the same line, and double each one inside");
        }
        if (rows.Count == 0)
            throw new UserException(ExitCode.BadInput,
                $"{file} has no clips{(Dropped > 0 ? $": the labels of all {Dropped} rows map to \"{DataOptions.Drop}\"" : " below its header line")}");
        Rows = rows;
    }

    private Dictionary<string, int> ReadHeader(IReadOnlyList<string> header)
    {
        var columns = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        for (int i = 0; i < header.Count; i++)
            if (!columns.TryAdd(header[i], i))
                throw Fault(1, $"names the column \"{Printable.Name(header[i])}\" twice");
        foreach (string name in Needed)
            if (!columns.ContainsKey(name))
                throw Fault(1, $"has no column \"{name}\"; its columns are {Printable.Name(string.Join(", ", header))}");
        FactorNames = [.. header.Where(name => !Known.Contains(name, StringComparer.OrdinalIgnoreCase))];
        return columns;
    }

    private ManifestRow? ReadRow(CsvReader csv, int line, Dictionary<string, int> columns, Dictionary<string, int> seen)
    {
        string Field(string name) => columns.TryGetValue(name, out int column) ? csv.GetString(column) : "";
        foreach (string name in Needed)
            if (Field(name).Length == 0)
                throw Fault(line, $"has no {name}");
        var source = ReadSource(Field, line);
        string id = Path.GetRelativePath(root.Folder, source.Picture).Replace(Path.DirectorySeparatorChar, '/');
        if (source.Start > 0 || source.End is not null)
            id += string.Create(CultureInfo.InvariantCulture, $"#t={source.Start},{source.End}");
        if (!seen.TryAdd(id, line))
            throw Fault(line, $"names the same clip as line {seen[id]}: {Printable.Name(Field("path"))}; remove one of the two");
        string label = Field("emotion");
        if (!labels.TryGetValue(label, out string? emotion))
            throw Fault(line, $"has the unknown emotion \"{Printable.Name(label)}\" (nearest known: \"{Nearest(label)}\"); correct it, or map it with "
                + $"--set data.labels.{Printable.Name(label)}=CLASS, CLASS being one of {string.Join(", ", options.Emotions)}, {DataOptions.Drop}");
        if (emotion == DataOptions.Drop)
            return null;
        Split? split = columns.ContainsKey("split") ? ParseSplit(Field("split"), line) : null;
        return new ManifestRow(line, id, source, Field("speaker"), emotion, split, [.. FactorNames.Select(Field)]);
    }

    private ClipSource ReadSource(Func<string, string> field, int line)
    {
        double? start = Number("start"), end = Number("end"), fps = Number("fps");
        if (end <= (start ?? 0))
            throw Fault(line, $"ends at {end} s, before it starts");
        if (fps == 0)
            throw Fault(line, "has the fps 0");
        return new ClipSource(Under(field("path")), field("audio").Length > 0 ? Under(field("audio")) : null, start ?? 0, end, field("region").ToLowerInvariant() switch
        {
            "" => PictureRegion.Whole,
            "left" => PictureRegion.Left,
            "right" => PictureRegion.Right,
            _ => throw Fault(line, $"has the region \"{Printable.Name(field("region"))}\"; it has to be left, right or empty"),
        }, fps ?? PictureFolder.UsualFps);

        string Under(string path) => root.Resolve(path) ?? throw Fault(
            line, $"names \"{Printable.Name(path)}\", which leads out of the data root {root.Folder}; move the clip there, or name another folder with --root");

        double? Number(string column) => field(column) switch
        {
            "" => null,
            var text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && value is >= 0 and < 1e6 => value,
            var text => throw Fault(line, $"has the {column} \"{Printable.Name(text)}\"; it has to be a number, such as 12.5, or empty"),
        };
    }

    private Split ParseSplit(string text, int line) => text.ToLowerInvariant() switch
    {
        "train" or "training" => Split.Train,
        "validation" or "valid" or "val" or "dev" => Split.Validation,
        "test" => Split.Test,
        "unheard" => Split.Unheard,
        _ => throw Fault(line, $"has the split \"{Printable.Name(text)}\"; it has to be train, validation, test or unheard (without a split column, splits are made)"),
    };

    private string Nearest(string label) => labels.Keys.Order(StringComparer.Ordinal).MinBy(known => Config.EditDistance(known, label))!;

    private UserException Fault(int line, string what) => new(ExitCode.BadInput, $"{file} line {line} {what}");
}
