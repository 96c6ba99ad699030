using System.Text;
using System.Text.RegularExpressions;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// MELD: train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv, and clips diaD_uttU.mp4 in train_splits, dev_splits_complete and
/// output_repeated_splits_test. Dialogues are numbered anew in each part, so that the part belongs to a clip's name. The splits are the published ones.
/// </summary>
public sealed partial class Meld : ICorpus
{
    /// <summary>Missing or damaged in the release itself.</summary>
    private static readonly HashSet<(Split, int, int)> KnownBad = [(Split.Train, 125, 3), (Split.Validation, 110, 7)];

    private static readonly (Split Split, string Table, string Folder)[] Parts =
    [
        (Split.Train, "train_sent_emo.csv", "train_splits"),
        (Split.Validation, "dev_sent_emo.csv", "dev_splits_complete"),
        (Split.Test, "test_sent_emo.csv", "output_repeated_splits_test"),
    ];

    private static readonly Dictionary<string, string> Emotions = new()
    {
        ["neutral"] = "neutral", ["joy"] = "happiness", ["sadness"] = "sadness", ["anger"] = "anger", ["surprise"] = "other", ["fear"] = "other", ["disgust"] = "other",
    };

    public string Name => "meld";

    public string Marks => "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv, and train_splits/dia0_utt0.mp4";

    public bool HasSplits => true;

    public bool Cropped => false;

    public IReadOnlyList<string> Factors { get; } = ["sentiment"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        string[] files = [.. folder.Files()];
        foreach (var (split, table, clipFolder) in Parts)
        {
            var videos = new Dictionary<(int, int), string>();
            foreach (string file in files.Where(file => file.Split('/').SkipLast(1).Contains(clipFolder) && file.EndsWith(".mp4", StringComparison.OrdinalIgnoreCase)))
            {
                var parts = ClipName().Match(Path.GetFileNameWithoutExtension(file));
                if (!parts.Success)
                    findings.Reject(file, Findings.BadName, "is not such as dia0_utt0.mp4; names with something in front are other cuts of the same clips");
                else if (!videos.TryAdd(Key(parts.Groups[1].Value, parts.Groups[2].Value), file))
                    findings.Reject(file, Findings.Copy, "the same clip of the same part lies in another folder");
            }
            if (files.FirstOrDefault(file => Path.GetFileName(file) == table) is { } path)
                Join(split, path, CorpusTables.Read(path, Decode(folder.Read(path)), ',', "Dialogue_ID", "Utterance_ID", "Speaker", "Emotion", "Sentiment"), videos, findings);
            else if (videos.Count > 0)
                findings.Note($"{table} was not found: its clips have no labels");
            foreach (string file in videos.Values)
                findings.Reject(file, Findings.NoLabel, $"{table} does not name it");
        }
    }

    /// <summary>Gives clips their rows; those that are left in <paramref name="videos"/> have none.</summary>
    private static void Join(Split split, string table, IReadOnlyList<string[]> rows, Dictionary<(int, int), string> videos, Findings findings)
    {
        foreach (string[] row in rows)
        {
            var key = Key(row[0], row[1]);
            string name = $"{split} dia{row[0]}_utt{row[1]}".ToLowerInvariant(), label = row[3].ToLowerInvariant();
            bool there = videos.Remove(key, out string? video);
            if (KnownBad.Contains((split, key.Dialogue, key.Utterance)))
                findings.Reject(video ?? name, Findings.KnownBad, "missing or damaged in the release itself");
            else if (!there)
                findings.Reject(name, Findings.NoVideo, $"{table} names it, but there is no such clip, or the table names it twice");
            else if (row[2].Length == 0 || !Emotions.TryGetValue(label, out string? emotion))
                findings.Reject(video!, Findings.NoLabel, $"speaker \"{Printable.Name(row[2])}\", emotion \"{Printable.Name(row[3])}\"");
            else
                findings.Add(new CorpusClip(name, video!, row[2], label, emotion) { Split = split, Factors = [row[4].ToLowerInvariant()] });
        }
    }

    /// <summary>-1 stands for what is no number, and names no clip.</summary>
    private static (int Dialogue, int Utterance) Key(string dialogue, string utterance) => (Number(dialogue), Number(utterance));

    private static int Number(string text) => int.TryParse(text, out int number) ? number : -1;

    /// <summary>The tables are published with quotation marks and dashes of Windows code page 1252; copies of them in UTF-8 are about too.</summary>
    private static string Decode(byte[] bytes)
    {
        try
        {
            return new UTF8Encoding(true, throwOnInvalidBytes: true).GetString(bytes).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException)
        {
            return CodePagesEncodingProvider.Instance.GetEncoding(1252)!.GetString(bytes);
        }
    }

    [GeneratedRegex(@"^dia(\d+)_utt(\d+)$")]
    private static partial Regex ClipName();
}
