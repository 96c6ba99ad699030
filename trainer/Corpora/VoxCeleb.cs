using System.Text.RegularExpressions;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// VoxCeleb1 with the labels of EmoVoxCeleb. Sound: wav/id10001/VIDEO/00001.wav; faces: Celebrity_Name/1.6/VIDEO/1/*.jpg, the number of the track without
/// its zeros; labels: senet50-ferplus-logits.mat, which names the sound as the first release did, Celebrity_Name/VIDEO_0000001.wav. Who is who stands in
/// vox1_meta.csv, which is separated by tabs.
/// </summary>
public sealed partial class VoxCeleb : ICorpus
{
    private const double VideoRate = 25;

    /// <summary>The published face frames are every sixth picture of the video.</summary>
    private const int PublishedStep = 6;

    public string Name => "voxceleb";

    public string Marks => $"{EmoVoxLabels.FileName}, vox1_meta.csv, wav/id10001/... and Celebrity_Name/1.6/...";

    public bool HasSplits => true;

    public bool Cropped => true;

    public IReadOnlyList<string> Factors { get; } = ["fps", "nationality"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        // five million pictures and 150,000 sounds lie below: only the levels above people are looked through
        var (soundRoots, faceRoots) = (new SortedSet<string>(StringComparer.Ordinal), new SortedSet<string>(StringComparer.Ordinal));
        var tables = new Dictionary<string, string>(StringComparer.Ordinal);
        void Look(string at)
        {
            foreach (string file in folder.FilesIn(at))
                if (file is EmoVoxLabels.FileName or "vox1_meta.csv")
                    tables.TryAdd(file, Join(at, file));
        }
        bool Enter(string path)
        {
            if (PersonId().IsMatch(Path.GetFileName(path)))
                soundRoots.Add(Above(path));
            else if (folder.Resolve($"{path}/1.6") is { } faces && Directory.Exists(faces))
                faceRoots.Add(Above(path));
            else
            {
                Look(path);
                return true;
            }
            return false;
        }
        Look("");
        foreach (string _ in folder.Folders(Enter))
        {
        }
        if (tables.Count == 0 && soundRoots.Count == 0 && faceRoots.Count == 0)
            return;
        string Needed(string file, string what) => tables.TryGetValue(file, out string? path) ? path
            : throw new UserException(ExitCode.BadInput, $"{folder.FullPath} has no {file}, {what}; copy it there");
        string labels = Needed(EmoVoxLabels.FileName, "which holds the labels (EmoVoxCeleb)");
        var people = People(folder, Needed("vox1_meta.csv", "which tells whose id is whose name (VoxCeleb1)"));
        var clips = EmoVoxLabels.Read(folder.Resolve(labels) ?? throw new UserException(ExitCode.BadInput, $"{labels} leads out of {folder.FullPath}; copy the file into it"))
            .Select(clip => Place(clip, options.Dominant, folder, people, [.. soundRoots], [.. faceRoots], findings)).OfType<CorpusClip>().ToArray();
        // half of what the release keeps back of heard speakers decides between epochs, the other half is the test
        var half = new DataOptions { ValidationFraction = 0.5, TestFraction = 0, SplitSeed = options.Seed };
        var validation = CorpusImport.Divide([.. clips.Where(clip => clip.Split == Split.Test).DistinctBy(clip => clip.Name)], half)
            .Where(pair => pair.Value == Split.Validation).Select(pair => pair.Key).ToHashSet(StringComparer.Ordinal);
        foreach (var clip in clips)
            findings.Add(validation.Contains(clip.Name) ? clip with { Split = Split.Validation } : clip);
    }

    /// <summary>Finds picture and sound of a labelled clip; null where something is missing, with the reason told. All heard speakers' held-out clips are Test at first.</summary>
    private static CorpusClip? Place(EmoVoxClip clip, DominantEmotion rule, CorpusFolder folder, Dictionary<string, Person> people, string[] soundRoots, string[] faceRoots, Findings findings)
    {
        CorpusClip? Reject(string reason, string detail)
        {
            findings.Reject(Printable.Name(clip.Name), reason, detail);
            return null;
        }
        var parts = OldName().Match(clip.Name) is { Success: true } old ? old : NewName().Match(clip.Name);
        if (!parts.Success)
            return Reject(Findings.BadName, "is neither Celebrity_Name/VIDEO_0000001.wav nor id10001/VIDEO/00001.wav");
        string who = parts.Groups["who"].Value, video = clip.Video.Length > 0 ? clip.Video : parts.Groups["video"].Value;
        int number = int.Parse(parts.Groups["number"].Value);
        if (!people.TryGetValue(who, out var person))
            return Reject("unknown person", $"vox1_meta.csv has no {who}");
        if (clip.Logits.Length == 0)
            return Reject(Findings.NoFaces, "the labels have no frame of it");
        if (clip.Label(rule) is not { } label)
            return Reject(Findings.NoLabel, "a logit is no number");
        if (clip.Set is < 1 or > 3)
            return Reject("unknown set", $"set {clip.Set}; 1 to 3 are known");
        string soundName = $"{person.Id}/{parts.Groups["video"].Value}/{number:00000}.wav", faceName = $"{person.Name}/1.6/{video}/{clip.Track}";
        if (soundRoots.Select(root => Join(root, soundName)).FirstOrDefault(path => folder.Resolve(path) is { } full && File.Exists(full)) is not { } sound)
            return Reject(Findings.NoSound, $"there is no {soundName} in {(soundRoots.Length > 0 ? string.Join(", ", soundRoots) : "wav")}"
                + (soundRoots.Any(root => OtherSound(folder, Join(root, soundName)))
                    ? ", only in another format; convert it to wav, whose header tells the length" : ""));
        var (faces, frames) = faceRoots.Select(root => Join(root, faceName)).Select(path => (path, Frames(folder, path))).FirstOrDefault(found => found.Item2.Length > 0, ("", []));
        if (frames.Length == 0)
            return Reject(Findings.NoFaces, $"there is no {faceName}/*.jpg{(faceRoots.Length > 0 ? $" in {string.Join(", ", faceRoots)}" : "")}");
        if (folder.FaultOf(sound) is { } fault)
            return Reject(fault.Reason, fault.Detail);
        if (WavHeader.Seconds(folder.Resolve(sound)!) is not { } seconds)
            return Reject("not a wav file", sound);
        double rate = Rate(frames, seconds);
        var placed = new CorpusClip(soundName, faces, person.Id, label, label is "neutral" or "happiness" or "sadness" or "anger" ? label : "other")
        {
            Audio = sound,
            Gender = person.Gender,
            Split = clip.Set switch { 1 => Split.Train, 2 => Split.Unheard, _ => Split.Test },
            Factors = [rate.ToString("0.####"), person.Nationality],
        };
        return CorpusImport.LengthFault(placed, frames.Length / rate, seconds) is { } mismatch ? Reject(mismatch.Reason, mismatch.Detail) : placed;
    }

    private static bool OtherSound(CorpusFolder folder, string wav) => folder.FilesIn(Above(wav))
        .Any(name => MediaFiles.IsSound(name) && Path.GetFileNameWithoutExtension(name) == Path.GetFileNameWithoutExtension(wav));

    /// <summary>Numbers of the pictures in a folder, ascending; their order where the names are no numbers.</summary>
    private static int[] Frames(CorpusFolder folder, string path) => [.. folder.FilesIn(path)
        .Where(name => Path.GetExtension(name).ToLowerInvariant() is ".jpg" or ".jpeg" or ".png")
        .Select((name, i) => int.TryParse(Path.GetFileNameWithoutExtension(name), out int number) ? number : i).Order()];

    /// <summary>
    /// Pictures a second. Names that count the video's pictures tell it; where they count only themselves, the length of the sound says whether these
    /// are all pictures of the video or the published ones.
    /// </summary>
    private static double Rate(int[] frames, double seconds)
    {
        int step = frames.Zip(frames.Skip(1), (a, b) => b - a).Where(gap => gap > 0).DefaultIfEmpty(1).Min();
        if (step == 1 && Math.Abs((frames.Length * PublishedStep / VideoRate) - seconds) < Math.Abs((frames.Length / VideoRate) - seconds))
            step = PublishedStep;
        return VideoRate / step;
    }

    /// <summary>Everyone, by id and by name.</summary>
    private static Dictionary<string, Person> People(CorpusFolder folder, string table)
    {
        var people = new Dictionary<string, Person>(StringComparer.Ordinal);
        foreach (string[] row in CorpusTables.Read(table, folder.Read(table), "VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality"))
            people[row[0]] = people[row[1]] = new Person(row[0], row[1], row[2].ToLowerInvariant() switch { "f" => "female", "m" => "male", _ => "" }, row[3]);
        return people;
    }

    private static string Above(string path) => path.Contains('/') ? path[..path.LastIndexOf('/')] : "";

    private static string Join(string root, string path) => root.Length == 0 ? path : $"{root}/{path}";

    [GeneratedRegex(@"^id1\d{4}$")]
    private static partial Regex PersonId();

    [GeneratedRegex(@"^(?<who>[^/]+)/(?<video>[\w-]+)_(?<number>\d{7})(?:\.\w+)?$")]
    private static partial Regex OldName();

    [GeneratedRegex(@"^(?<who>id1\d{4})/(?<video>[\w-]+)/(?<number>\d{5})(?:\.\w+)?$")]
    private static partial Regex NewName();

    private sealed record Person(string Id, string Name, string Gender, string Nationality);
}
