using System.Text.RegularExpressions;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// CREMA-D: VideoFlash/ACTOR_SENTENCE_EMOTION_LEVEL.flv with sound in it, or what the videos were converted to, and the same names in
/// AudioWAV and AudioMP3. 91 actors, 7,442 clips; only the sentence IEO was spoken at three levels. Ages and sexes are in
/// VideoDemographics.csv.
/// </summary>
public sealed partial class CremaD : ICorpus
{
    /// <summary>Bad in the release itself.</summary>
    private static readonly Dictionary<string, string> KnownBad = new()
    {
        ["1064_IEO_DIS_MD"] = "a minute long, with all emotions in it",
        ["1064_TIE_SAD_XX"] = "has no duration",
        ["1076_MTI_NEU_XX"] = "nearly empty",
        ["1076_MTI_SAD_XX"] = "silent",
    };

    private static readonly Dictionary<string, string> Emotions = new()
    {
        ["NEU"] = "neutral", ["HAP"] = "happiness", ["SAD"] = "sadness", ["ANG"] = "anger", ["DIS"] = "other", ["FEA"] = "other",
    };

    public string Name => "crema-d";

    public string Marks => "files such as VideoFlash/1001_DFA_ANG_XX.flv, or .mp4";

    public bool HasSplits => false;

    public bool Cropped => false;

    public IReadOnlyList<string> Factors { get; } = ["sentence", "intensity"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        string[] files = [.. folder.Files()];
        bool IsTable(string file) => Path.GetFileName(file).Equals("VideoDemographics.csv", StringComparison.OrdinalIgnoreCase);
        var sexes = files.FirstOrDefault(IsTable) is { } table
            ? CorpusTables.Read(table, folder.Read(table), "ActorID", "Sex").GroupBy(row => row[0])
                .ToDictionary(row => row.Key, row => row.First()[1].ToLowerInvariant())
            : [];
        // wav before mp3
        string[] sounds = [.. files.Where(MediaFiles.IsSound).OrderByDescending(Path.GetExtension)];
        var soundOf = sounds.ToLookup(file => Path.GetFileNameWithoutExtension(file));
        var videos = files.Where(MediaFiles.IsVideo).ToArray();
        var stems = videos.Select(file => Path.GetFileNameWithoutExtension(file)).ToHashSet(StringComparer.Ordinal);
        foreach (string file in videos)
        {
            string stem = Path.GetFileNameWithoutExtension(file);
            var parts = ClipName().Match(stem);
            if (!parts.Success)
                findings.Reject(file, Findings.BadName, "is not ACTOR_SENTENCE_EMOTION_LEVEL, such as 1001_DFA_ANG_XX");
            else
            {
                string actor = parts.Groups[1].Value, label = parts.Groups[3].Value, level = parts.Groups[4].Value;
                findings.Add(new CorpusClip(stem, file, actor, label, Emotions[label])
                {
                    Beside = soundOf[stem].FirstOrDefault(""),
                    KnownBad = KnownBad.GetValueOrDefault(stem, ""),
                    Gender = sexes.GetValueOrDefault(actor, ""),
                    Factors = [parts.Groups[2].Value, level switch { "LO" => "low", "MD" => "medium", "HI" => "high", _ => "unspecified" }],
                });
            }
        }
        // who fetched the sound alone sees why there are no clips, once for each clip
        foreach (string file in sounds)
            if (ClipName().IsMatch(Path.GetFileNameWithoutExtension(file)) && stems.Add(Path.GetFileNameWithoutExtension(file)))
                findings.Reject(file, Findings.NoVideo, "the clip has sound, but no video");
    }

    [GeneratedRegex(@"^(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(XX|LO|MD|HI)$")]
    private static partial Regex ClipName();
}
