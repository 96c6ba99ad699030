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

    private const string Damaged = "missing or damaged";

    /// <summary>The folders as they are published, and as those call them who hand the corpus on.</summary>
    private static readonly (Split Split, string Table, string[] Folders)[] Parts =
    [
        (Split.Train, "train_sent_emo.csv", ["train_splits", "train"]),
        (Split.Validation, "dev_sent_emo.csv", ["dev_splits_complete", "dev_splits", "dev", "val", "validation"]),
        (Split.Test, "test_sent_emo.csv", ["output_repeated_splits_test", "test_splits", "test"]),
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
        var files = folder.Files();
        foreach (var part in Parts)
        {
            var videos = new Dictionary<(int, int), List<string>>();
            foreach (string file in files.Where(file => MediaFiles.IsVideo(file) && PartOf(file) == part.Split))
            {
                var parts = ClipName().Match(Path.GetFileNameWithoutExtension(file));
                if (!parts.Success)
                {
                    findings.Reject(file, Findings.BadName, "is not such as dia0_utt0.mp4; names with something in front are other cuts of the same clips");
                    continue;
                }
                var key = Key(parts.Groups[1].Value, parts.Groups[2].Value);
                if (!videos.TryGetValue(key, out var copies))
                    videos[key] = copies = [];
                copies.Add(file);
            }
            if (files.FirstOrDefault(file => Path.GetFileName(file).Equals(part.Table, StringComparison.OrdinalIgnoreCase)) is { } path)
                Join(part.Split, path, CorpusTables.Read(path, folder.Read(path), "Dialogue_ID", "Utterance_ID", "Speaker", "Emotion",
                    "Sentiment"), videos, findings);
            else if (videos.Count > 0)
                findings.Note($"{part.Table} was not found: its clips have no labels");
            foreach (string file in videos.Values.SelectMany(copies => copies))
                findings.Reject(file, Findings.NoLabel, $"{part.Table} does not name it");
        }
    }

    /// <summary>The part whose folder a file lies in: the nearest of those above it that have a part's name.</summary>
    private static Split? PartOf(string file)
    {
        foreach (string name in file.Split('/').SkipLast(1).Reverse())
            foreach (var part in Parts)
                if (part.Folders.Contains(name, StringComparer.OrdinalIgnoreCase))
                    return part.Split;
        return null;
    }

    /// <summary>Gives clips their rows; those that are left in <paramref name="videos"/> have none.</summary>
    private static void Join(Split split, string table, IReadOnlyList<string[]> rows, Dictionary<(int, int), List<string>> videos,
        Findings findings)
    {
        foreach (string[] row in rows)
        {
            var key = Key(row[0], row[1]);
            string name = $"{split} dia{row[0]}_utt{row[1]}".ToLowerInvariant(), label = row[3].ToLowerInvariant();
            bool known = KnownBad.Contains((split, key.Dialogue, key.Utterance));
            if (!videos.Remove(key, out var copies))
                findings.Reject(name, known ? Findings.KnownBad : Findings.NoVideo,
                    known ? Damaged : $"{table} names it, but there is no such clip, or the table names it twice");
            else if (row[2].Length == 0 || !Emotions.TryGetValue(label, out string? emotion))
                findings.Reject(copies[0], Findings.NoLabel, $"speaker \"{Printable.Name(row[2])}\", emotion \"{Printable.Name(row[3])}\"");
            else
                foreach (string video in copies)
                    findings.Add(new CorpusClip(name, video, row[2], label, emotion) { Split = split, Factors = [row[4].ToLowerInvariant()],
                        KnownBad = known ? Damaged : "" });
        }
    }

    /// <summary>-1 stands for what is no number, and names no clip.</summary>
    private static (int Dialogue, int Utterance) Key(string dialogue, string utterance) => (Number(dialogue), Number(utterance));

    private static int Number(string text) => int.TryParse(text, out int number) ? number : -1;

    [GeneratedRegex(@"^dia(\d+)_utt(\d+)$")]
    private static partial Regex ClipName();
}
