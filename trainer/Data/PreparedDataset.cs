using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;
using Avedis.Trainer.Features;

namespace Avedis.Trainer.Data;

/// <summary>
/// A clip of a prepared folder. <see cref="Id"/> is its path under the data root; <see cref="Speaker"/> and <see cref="Emotion"/> index
/// <see cref="DatasetIndex.Speakers"/> (-1: has no training clip) and <see cref="DatasetIndex.Emotions"/>; <see cref="Factors"/> go with
/// <see cref="DatasetIndex.Factors"/>; <see cref="Faces"/> and <see cref="Mels"/> are the valid lengths; the payload starts at byte
/// <see cref="Offset"/> of shard number <see cref="Shard"/>.
/// </summary>
public sealed record ClipInfo(string Id, int Speaker, int Emotion, Split Split, int Faces, int Mels, IReadOnlyList<string> Factors, int Shard, long Offset);

/// <summary>The content of dataset.json: what was prepared, how, and where each clip lies. Written last, so a folder that has it is complete.</summary>
public sealed record DatasetIndex
{
    public const string FileName = "dataset.json";
    public const int CurrentFormat = 1;

    public required int Format { get; init; }

    /// <summary>Hash of everything that decides the stored numbers; see <see cref="Preparer.DefinitionOf"/>.</summary>
    public required string Definition { get; init; }

    public required FeatureOptions Features { get; init; }

    public required DataOptions Data { get; init; }

    /// <summary>The log-mel definition in words.</summary>
    public required string LogMel { get; init; }

    /// <summary>SHA-256 of the manifest.</summary>
    public required string ManifestSha256 { get; init; }

    public required IReadOnlyList<string> Emotions { get; init; }

    /// <summary>Speakers with a training clip, in ordinal order.</summary>
    public required IReadOnlyList<string> Speakers { get; init; }

    /// <summary>Names of the manifest's further columns.</summary>
    public required IReadOnlyList<string> Factors { get; init; }

    /// <summary>Clips per split.</summary>
    public required IReadOnlyDictionary<Split, int> Counts { get; init; }

    /// <summary>Rejected clips per reason.</summary>
    public required IReadOnlyDictionary<string, int> Rejected { get; init; }

    /// <summary>Shard files, by name in the same folder.</summary>
    public required IReadOnlyList<string> Shards { get; init; }

    /// <summary>Clips in the order of the manifest.</summary>
    public required IReadOnlyList<ClipInfo> Clips { get; init; }

    internal static JsonSerializerOptions Json { get; } = new(Engine.Json.Indented)
    {
        AllowDuplicateProperties = false, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    };
}

/// <summary>A prepared folder, open for reading. Reading clips is thread-safe and allocates nothing.</summary>
public sealed class PreparedDataset : IDisposable
{
    private const long LongestIndex = 1L << 30;

    private readonly List<Shard> shards = [];
    private readonly IReadOnlyList<ClipInfo>[] clips;
    private readonly IReadOnlyList<Dictionary<string, int>> columns; // class of each value, per further column of the manifest

    private PreparedDataset(string folder, DatasetIndex index)
    {
        (Folder, Index, Hash) = (folder, index, HashOf(index));
        clips = [.. Enum.GetValues<Split>().Select(split => (IReadOnlyList<ClipInfo>)[.. index.Clips.Where(clip => clip.Split == split)])];
        var train = Clips(Split.Train);
        IReadOnlyList<string>[] values = [.. index.Factors.Select((_, column) => ValuesOf(train, column))];
        columns = [.. values.Select(classes => classes.Select((name, i) => (name, i)).ToDictionary(c => c.name, c => c.i, StringComparer.Ordinal))];
        (string Name, IReadOnlyList<string> Classes)[] named =
            [(Factor.Emotion, index.Emotions), (Factor.Speaker, index.Speakers), .. index.Factors.Zip(values)];
        Factors = [.. named.Select((factor, number) => new Factor(factor.Name, factor.Classes, CountsOf(train, number, factor.Classes.Count)))];
    }

    public string Folder { get; }

    public DatasetIndex Index { get; }

    public FeatureOptions Features => Index.Features;

    /// <summary>Emotion classes, in the order of the network's outputs.</summary>
    public IReadOnlyList<string> Emotions => Index.Emotions;

    /// <summary>Speakers with a training clip, in the order of the network's outputs.</summary>
    public IReadOnlyList<string> Speakers => Index.Speakers;

    /// <summary>
    /// What clips are labelled with: emotion, speaker, then the further columns of the manifest, whose classes are the values that training clips have.
    /// </summary>
    public IReadOnlyList<Factor> Factors { get; }

    /// <summary>
    /// SHA-256 of the definition, the classes and every clip with its labels, split and lengths, in order, but not of the places in the shards:
    /// the same for the same clips prepared again elsewhere.
    /// </summary>
    public string Hash { get; }

    /// <summary>Clips of one part, in the order of the manifest.</summary>
    public IReadOnlyList<ClipInfo> Clips(Split split) => clips[(int)split];

    /// <summary>Class of a clip in the factor of this number in <see cref="Factors"/>; -1 if it has none of the classes.</summary>
    public int Label(ClipInfo clip, int factor) => factor switch
    {
        0 => clip.Emotion,
        1 => clip.Speaker,
        _ => columns[factor - 2].GetValueOrDefault(clip.Factors[factor - 2], -1),
    };

    /// <summary>Opens a folder that "avedis prepare" has finished, and checks every figure in it against the files before it is used.</summary>
    /// <exception cref="UserException">Exit code 3, with the file and what to do.</exception>
    public static PreparedDataset Open(string folder)
    {
        string path = Path.Combine(folder, DatasetIndex.FileName);
        byte[] bytes;
        try
        {
            bytes = RegularFiles.ReadAllBytes(path, LongestIndex);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            string reason = Directory.Exists(folder) ? $"has no readable {DatasetIndex.FileName}, so preparing it was not finished ({failure.Message})" : "is no folder";
            throw new UserException(ExitCode.BadInput, $"{folder} {reason}; run avedis prepare MANIFEST --out {folder}", failure);
        }
        DatasetIndex? index;
        try
        {
            index = JsonSerializer.Deserialize<DatasetIndex>(bytes, DatasetIndex.Json);
        }
        catch (Exception failure) when (failure is JsonException or NotSupportedException or ArgumentException)
        {
            throw new UserException(ExitCode.BadInput, $"{path} cannot be read: {failure.Message}; run avedis prepare again", failure);
        }
        if (index is null || index.Format != DatasetIndex.CurrentFormat)
            throw new UserException(ExitCode.BadInput, $"{path} has format {index?.Format}, this program reads {DatasetIndex.CurrentFormat}; run avedis prepare again");
        if (index.Clips.Any(clip => clip is null || clip.Factors.Any(value => value is null))
            || index.Emotions.Concat(index.Speakers).Concat(index.Factors).Concat(index.Shards).Any(name => name is null))
            throw new UserException(ExitCode.BadInput, $"{path} has an empty entry in a list; run avedis prepare again");
        return Open(folder, index);
    }

    /// <summary>The same clips in other splits, opened once more: the classes are those that the new training clips have.</summary>
    /// <param name="splitOf">null for a clip that is left out.</param>
    public PreparedDataset Divided(Func<ClipInfo, Split?> splitOf)
    {
        var kept = Index.Clips.Select(clip => (Clip: clip, Split: splitOf(clip))).Where(pair => pair.Split is not null).ToList();
        string[] speakers = [.. kept.Where(pair => pair.Split == Split.Train && pair.Clip.Speaker >= 0)
            .Select(pair => Index.Speakers[pair.Clip.Speaker]).Distinct().Order(StringComparer.Ordinal)];
        var numbers = speakers.Index().ToDictionary(speaker => speaker.Item, speaker => speaker.Index, StringComparer.Ordinal);
        return Open(Folder, Index with
        {
            Speakers = speakers,
            Counts = kept.CountBy(pair => pair.Split!.Value).ToDictionary(),
            Clips = [.. kept.Select(pair => pair.Clip with
            {
                Split = pair.Split!.Value,
                Speaker = pair.Clip.Speaker < 0 ? -1 : numbers.GetValueOrDefault(Index.Speakers[pair.Clip.Speaker], -1),
            })],
        });
    }

    private static PreparedDataset Open(string folder, DatasetIndex index)
    {
        var dataset = new PreparedDataset(folder, index);
        try
        {
            dataset.OpenShards(Path.Combine(folder, DatasetIndex.FileName));
            return dataset;
        }
        catch
        {
            dataset.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Reads one clip: <paramref name="faces"/> [FaceFrames, FaceSize, FaceSize] and <paramref name="mels"/> [MelBins, MelFrames], padding included.
    /// </summary>
    public void Read(ClipInfo clip, Span<byte> faces, Span<float> mels)
    {
        if (faces.Length != Index.Features.FaceBytes || mels.Length != Index.Features.MelCount)
            throw new ArgumentException($"a clip takes {Index.Features.FaceBytes} bytes of faces and {Index.Features.MelCount} mel values, got {faces.Length}, {mels.Length}");
        shards[clip.Shard].Read(clip.Id, clip.Offset, faces, mels);
    }

    public void Dispose()
    {
        foreach (var shard in shards)
            shard.Dispose();
    }

    private static string HashOf(DatasetIndex index)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string name in (IEnumerable<string>)[index.Definition, .. index.Emotions, .. index.Speakers])
            hash.AppendData(Encoding.UTF8.GetBytes(name + "\n"));
        foreach (var clip in index.Clips)
            hash.AppendData(Encoding.UTF8.GetBytes($"{clip.Id}\t{clip.Speaker}\t{clip.Emotion}\t{clip.Split}\t{clip.Faces}\t{clip.Mels}\t{string.Join('\t', clip.Factors)}\n"));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static List<string> ValuesOf(IEnumerable<ClipInfo> train, int column) =>
        [.. train.Select(clip => column < clip.Factors.Count ? clip.Factors[column] : "").Where(value => value.Length > 0).Distinct().Order(StringComparer.Ordinal)];

    private int[] CountsOf(IEnumerable<ClipInfo> train, int factor, int classes)
    {
        var counts = new int[classes];
        foreach (var clip in train)
            if (factor - 2 < clip.Factors.Count && Label(clip, factor) is >= 0 and var label && label < classes)
                counts[label]++;
        return counts;
    }

    private void OpenShards(string path)
    {
        try
        {
            Index.Features.Validate();
        }
        catch (UserException failure)
        {
            throw Fault($"cannot be right: {failure.Message}");
        }
        foreach (string name in Index.Shards)
        {
            if (Path.GetFileName(name) != name || name.Contains('\0'))
                throw Fault($"names the shard \"{Printable.Name(name)}\", which is not a plain file name");
            shards.Add(Shard.OpenRead(Path.Combine(Folder, name), Index.Features, Index.Definition));
        }
        int payload = Shard.PayloadBytes(Index.Features);
        foreach (var clip in Index.Clips)
        {
            bool heard = clip.Split == Split.Train;
            if ((uint)clip.Shard >= (uint)shards.Count || clip.Offset < 0 || clip.Offset > shards[clip.Shard].End - payload)
                throw Fault($"places clip {Printable.Name(clip.Id)} at byte {clip.Offset} of shard {clip.Shard}, where no clip fits");
            if ((uint)clip.Emotion >= (uint)Index.Emotions.Count || clip.Speaker >= Index.Speakers.Count || clip.Speaker < (heard ? 0 : -1)
                || clip.Factors.Count != Index.Factors.Count || !Enum.IsDefined(clip.Split))
                throw Fault($"gives clip {Printable.Name(clip.Id)} a class, split or factor that it does not list");
            if (clip.Faces < 1 || clip.Faces > Index.Features.FaceFrames || clip.Mels < 1 || clip.Mels > Index.Features.MelFrames)
                throw Fault($"gives clip {Printable.Name(clip.Id)} {clip.Faces} pictures and {clip.Mels} mel frames");
        }

        UserException Fault(string what) => new(ExitCode.BadInput, $"{path} {what}; run avedis prepare again");
    }
}
