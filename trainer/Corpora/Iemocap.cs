using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// IEMOCAP: five sessions of a woman and a man. Sound is cut into utterances (Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav), the video is
/// one file for each dialogue (Session1/dialog/avi) with one actor in each half of the picture, labels and times are in Session1/dialog/EmoEvaluation.
/// The letter of the dialogue is the actor who wears markers; the speaker is the letter of the last field. Which half shows whom is not documented: the
/// actor with markers is taken to be in the left one, and an option turns it round.
/// </summary>
public sealed partial class Iemocap : ICorpus
{
    private static readonly Dictionary<string, string> Emotions = new()
    {
        ["neu"] = "neutral", ["hap"] = "happiness", ["exc"] = "happiness", ["sad"] = "sadness", ["ang"] = "anger",
        ["sur"] = "other", ["fea"] = "other", ["dis"] = "other", ["oth"] = "other",
    };

    public string Name => "iemocap";

    public string Marks => "files such as Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav and Session1/dialog/EmoEvaluation/Ses01F_impro01.txt";

    public bool HasSplits => false;

    public bool Cropped => false;

    public IReadOnlyList<string> Factors { get; } = ["scenario", "session"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        string[] files = [.. folder.Files()];
        var videos = ByStem(files, MediaFiles.IsVideo, DialogueName());
        var sounds = ByStem(files, MediaFiles.IsSound, UtteranceName());
        var labels = new Dictionary<string, Match>(StringComparer.Ordinal);
        foreach (string file in files.Where(file => Path.GetFileName(Path.GetDirectoryName(file)) == "EmoEvaluation" && DialogueName().IsMatch(Path.GetFileNameWithoutExtension(file))))
            foreach (Match line in LabelLine().Matches(Encoding.Latin1.GetString(folder.Read(file))))
                labels.TryAdd(line.Groups["name"].Value, line);

        foreach (string name in sounds.Keys.Union(labels.Keys).Order(StringComparer.Ordinal))
        {
            string dialogue = name[..name.LastIndexOf('_')];
            if (!sounds.TryGetValue(name, out string? sound))
                findings.Reject(name, Findings.NoSound, "it has a label, but no file in sentences/wav");
            else if (!labels.TryGetValue(name, out var line))
                findings.Reject(sound, Findings.NoLabel, "no file in dialog/EmoEvaluation names it");
            else if (line.Groups["label"].Value is var label && label == "xxx")
                findings.Reject(sound, Findings.NoAgreement, "listeners did not agree (xxx)");
            else if ((label == "fru" ? options.Frustration : Emotions.GetValueOrDefault(label)) is not { } emotion)
                findings.Reject(sound, Findings.NoLabel, $"has the unknown label {label}");
            else if (!videos.TryGetValue(dialogue, out string? video))
                findings.Reject(sound, Findings.NoVideo, $"there is no {dialogue}.avi, or in another container, in dialog/avi");
            else
            {
                char speaker = name[dialogue.Length + 1];
                bool left = speaker == dialogue["Ses01".Length] ^ options.SwapHalves;
                findings.Add(new CorpusClip(name, video, $"{name[.."Ses01".Length]}_{speaker}", label, emotion)
                {
                    Audio = sound,
                    Span = (double.Parse(line.Groups["start"].Value, CultureInfo.InvariantCulture), double.Parse(line.Groups["end"].Value, CultureInfo.InvariantCulture)),
                    Region = left ? "left" : "right",
                    Gender = speaker == 'F' ? "female" : "male",
                    Factors = [dialogue.Contains("script", StringComparison.Ordinal) ? "scripted" : "improvised", name[.."Ses01".Length]],
                });
            }
        }
    }

    /// <summary>Files of a kind by their stem; copies further down the order do not count.</summary>
    private static Dictionary<string, string> ByStem(IEnumerable<string> files, Func<string, bool> kind, Regex name) => files
        .Where(file => kind(file) && name.IsMatch(Path.GetFileNameWithoutExtension(file)))
        .GroupBy(file => Path.GetFileNameWithoutExtension(file)).ToDictionary(group => group.Key, group => group.First());

    [GeneratedRegex(@"^Ses0[1-5][FM]_(?:impro|script)\w+$")]
    private static partial Regex DialogueName();

    [GeneratedRegex(@"^Ses0[1-5][FM]_(?:impro|script)\w+_[FM]\w\d\d$")]
    private static partial Regex UtteranceName();

    [GeneratedRegex(@"^\[(?<start>\d+\.\d+) - (?<end>\d+\.\d+)\]\t(?<name>Ses0[1-5][FM]_(?:impro|script)\w+_[FM]\w\d\d)\t(?<label>\w+)\t", RegexOptions.Multiline)]
    private static partial Regex LabelLine();
}
