using System.Text;
using System.Text.RegularExpressions;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// MSP-IMPROV: session1..6/S01..20 + target emotion/CONDITION/MSP-IMPROV-S01A-F01-P-FM01.avi and .wav. S01A is the sentence with the emotion that was
/// aimed at; the speaker is F01, gender and number of the pair, of which there are six. Labels are what listeners heard: Evaluation.txt, which older
/// copies spell Evalution.txt and which writes UTD- where the files say MSP-.
/// </summary>
public sealed partial class MspImprov : ICorpus
{
    private static readonly Dictionary<string, string> Emotions = new()
    {
        ["N"] = "neutral", ["H"] = "happiness", ["S"] = "sadness", ["A"] = "anger", ["O"] = "other",
    };

    public string Name => "msp-improv";

    public string Marks => "files such as session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi";

    public bool HasSplits => false;

    public bool Cropped => false;

    public IReadOnlyList<string> Factors { get; } = ["sentence", "target", "condition"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        string[] files = [.. folder.Files()];
        var media = files.Where(file => (MediaFiles.IsVideo(file) || MediaFiles.IsSound(file))
            && Path.GetFileName(file).StartsWith("MSP-IMPROV-", StringComparison.OrdinalIgnoreCase)).ToArray();
        if (media.Length == 0)
            return;
        string[] tables = [.. files.Where(file => Path.GetFileName(file).ToLowerInvariant() is "evaluation.txt" or "evalution.txt")
            .OrderBy(file => Path.GetFileName(file).Length == "evalution.txt".Length)];
        if (tables.Length == 0)
            throw new UserException(ExitCode.BadInput, $"{folder.FullPath} has no Evaluation.txt (or Evalution.txt), which holds the labels; copy it there");
        if (tables.Length > 1)
            findings.Note($"labels are read from {tables[0]}, not from {string.Join(", ", tables[1..])}");
        var labels = Labels(Encoding.Latin1.GetString(folder.Read(tables[0])));
        foreach (var turn in media.GroupBy(file => Path.GetFileNameWithoutExtension(file)))
        {
            string[] sounds = [.. turn.Where(MediaFiles.IsSound).OrderByDescending(Path.GetExtension)],
                videos = [.. turn.Where(MediaFiles.IsVideo)];
            var parts = TurnName().Match(turn.Key);
            string any = turn.First();
            if (!parts.Success)
                findings.Reject(any, Findings.BadName, "is not such as MSP-IMPROV-S01A-F01-P-FM01");
            else if (videos.Length == 0)
                findings.Reject(any, Findings.NoVideo, "the turn has sound, but no video");
            else if (!labels.TryGetValue(parts.Groups["turn"].Value, out string? label))
                findings.Reject(any, Findings.NoLabel, $"{tables[0]} does not name it");
            else if (label == "X")
                findings.Reject(any, Findings.NoAgreement, "listeners did not agree (X)");
            else if (!Emotions.TryGetValue(label, out string? emotion))
                findings.Reject(any, Findings.NoLabel, $"{tables[0]} has the unknown label {label}");
            else
                foreach (string video in videos)
                    findings.Add(new CorpusClip(turn.Key, video, parts.Groups["speaker"].Value, label, emotion)
                    {
                        Audio = sounds.FirstOrDefault(""),
                        Gender = parts.Groups["speaker"].Value[0] == 'F' ? "female" : "male",
                        Factors = [parts.Groups["sentence"].Value, parts.Groups["target"].Value, parts.Groups["condition"].Value],
                    });
        }
    }

    /// <summary>"UTD-IMPROV-S01A-F01-R-FM01.avi; A; A:1.0; ..." to turn and label; the lines of single listeners in between have another form.</summary>
    private static Dictionary<string, string> Labels(string text)
    {
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (Match line in LabelLine().Matches(text))
            labels.TryAdd(line.Groups[1].Value, line.Groups[2].Value);
        return labels;
    }

    [GeneratedRegex(@"^MSP-IMPROV-(?<turn>(?<sentence>S\d\d)(?<target>[AHSN])-(?<speaker>[FM]0[1-6])-(?<condition>[PRST])-[FM]{2}\d\d)$")]
    private static partial Regex TurnName();

    [GeneratedRegex(@"^(?:UTD|MSP)-IMPROV-([A-Z0-9-]+)\.(?:avi|wav)\s*;\s*([A-Z])\s*;", RegexOptions.Multiline)]
    private static partial Regex LabelLine();
}
