using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// RAVDESS: Actor_NN/MM-VC-EM-IN-ST-RP-AC.mp4 (or another container), seven pairs of digits. Modality 01 is picture and sound; 02 (picture)
/// and 03 (sound) are the same performances again, and would put one performance into training and test. 24 actors, odd numbers male;
/// Actor_18 did not sing.
/// </summary>
public sealed class Ravdess : ICorpus
{
    private static readonly string[] Labels = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"];

    /// <summary>The highest number of each field; the lowest is 01.</summary>
    private static readonly int[] Highest = [3, 2, 8, 2, 2, 2, 24];

    public string Name => "ravdess";

    public string Marks => "files such as Actor_01/01-01-05-01-02-01-01.mp4";

    public bool HasSplits => false;

    public bool Cropped => false;

    public IReadOnlyList<string> Factors { get; } = ["channel", "intensity", "sentence"];

    public void Collect(CorpusFolder folder, ImportOptions options, Findings findings)
    {
        string[] files = [.. folder.Files().Where(file => MediaFiles.IsVideo(file) || MediaFiles.IsSound(file))];
        var whole = files.Select(Path.GetFileNameWithoutExtension).Where(stem => stem!.StartsWith("01-", StringComparison.Ordinal)).ToHashSet(StringComparer.Ordinal);
        foreach (string file in files)
        {
            string stem = Path.GetFileNameWithoutExtension(file);
            if (Fields(stem) is not { } fields)
                findings.Reject(file, Findings.BadName, "is not seven pairs of digits within their ranges, such as 01-01-05-01-02-01-01");
            else if (fields[0] != 1)
            {
                bool picture = fields[0] == 2;
                if (whole.Contains($"01{stem[2..]}"))
                    findings.Reject(file, Findings.DuplicateModality, $"the {(picture ? "picture" : "sound")} of 01{stem[2..]} alone");
                else
                    findings.Reject(file, picture ? Findings.NoSound : Findings.NoVideo, $"modality {stem[..2]}, and there is no 01{stem[2..]} with both streams");
            }
            else
            {
                string label = Labels[fields[2] - 1];
                findings.Add(new CorpusClip(stem, file, $"Actor_{fields[6]:00}", label, label switch
                {
                    "neutral" => "neutral", "calm" => options.Calm, "happy" => "happiness", "sad" => "sadness", "angry" => "anger", _ => "other",
                })
                {
                    Gender = fields[6] % 2 == 1 ? "male" : "female",
                    Factors = [fields[1] == 1 ? "speech" : "song", fields[3] == 1 ? "normal" : "strong", fields[4] == 1 ? "kids" : "dogs"],
                });
            }
        }
    }

    private static int[]? Fields(string stem)
    {
        string[] parts = stem.Split('-');
        if (parts.Length != Highest.Length || parts.Any(part => part.Length != 2 || !part.All(char.IsAsciiDigit)))
            return null;
        int[] fields = [.. parts.Select(int.Parse)];
        bool inRange = fields.Zip(Highest).All(pair => pair.First >= 1 && pair.First <= pair.Second);
        return inRange && !(fields[2] == 1 && fields[3] == 2) ? fields : null; // neutral was not spoken strongly
    }
}
