namespace Avedis.Trainer.Corpora;

/// <summary>How the logits of a clip's frames become one label.</summary>
public enum DominantEmotion
{
    /// <summary>The class with the largest logit of any frame, as in the release's own analysis.</summary>
    MaxLogit,

    /// <summary>The class with the largest mean logit.</summary>
    MeanLogit,

    /// <summary>The class with the largest mean probability.</summary>
    MeanSoftmax,

    /// <summary>The class that is the largest in most frames.</summary>
    Majority,
}

/// <summary>One clip of EmoVoxCeleb as the file names it, with the logits of a face network for each of its frames.</summary>
/// <param name="Name">The sound of the old release of VoxCeleb1: Celebrity_Name/VIDEO_0000001.wav.</param>
/// <param name="Set">1 train, 2 unheardVal, 3 heardVal.</param>
/// <param name="Logits">[8, frames].</param>
public sealed record EmoVoxClip(string Name, string Video, int Track, int Set, float[] Logits)
{
    /// <summary>The label by a rule; of two that are equal the first. Null without frames, or where a logit is no number.</summary>
    public string? Label(DominantEmotion rule)
    {
        int frames = Logits.Length / EmoVoxLabels.Classes.Count;
        if (frames == 0 || !Logits.All(float.IsFinite))
            return null;
        var scores = new double[EmoVoxLabels.Classes.Count];
        Array.Fill(scores, rule == DominantEmotion.MaxLogit ? double.NegativeInfinity : 0);
        var frame = new double[scores.Length];
        for (int f = 0; f < frames; f++)
        {
            for (int c = 0; c < frame.Length; c++)
                frame[c] = Logits[(c * frames) + f];
            double largest = frame.Max(), sum = frame.Sum(logit => Math.Exp(logit - largest));
            int winner = Array.IndexOf(frame, largest);
            for (int c = 0; c < scores.Length; c++)
                scores[c] = rule switch
                {
                    DominantEmotion.MaxLogit => Math.Max(scores[c], frame[c]),
                    DominantEmotion.MeanLogit => scores[c] + frame[c],
                    DominantEmotion.MeanSoftmax => scores[c] + (Math.Exp(frame[c] - largest) / sum),
                    _ => scores[c] + (c == winner ? 1 : 0),
                };
        }
        return EmoVoxLabels.Classes[Array.IndexOf(scores, scores.Max())];
    }
}

/// <summary>
/// EmoVoxCeleb's labels, senet50-ferplus-logits.mat: images.name, images.video, images.track and images.set for each clip, and wavLogits with one matrix of
/// frames x 8 for each. The lists of frames in images (five million names) are passed over.
/// </summary>
public static class EmoVoxLabels
{
    public const string FileName = "senet50-ferplus-logits.mat";

    /// <summary>Classes in the order of the logits.</summary>
    public static IReadOnlyList<string> Classes { get; } = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"];

    /// <summary>Rules by their names on the command line.</summary>
    public static IReadOnlyDictionary<string, DominantEmotion> Rules { get; } = new Dictionary<string, DominantEmotion>
    {
        ["max-logit"] = DominantEmotion.MaxLogit, ["mean-logit"] = DominantEmotion.MeanLogit, ["mean-softmax"] = DominantEmotion.MeanSoftmax, ["majority"] = DominantEmotion.Majority,
    };

    private static readonly string[] Fields = ["images", "images.name", "images.video", "images.track", "images.set", "wavLogits"];

    private static readonly HashSet<string> Names = [.. Fields, "imdb", .. Fields.Select(field => "imdb." + field)];

    public static IReadOnlyList<EmoVoxClip> Read(string file)
    {
        // the release holds the fields of one structure as variables; a copy that was saved again may hold the structure
        var variables = MatFile.Read(file, Names);
        var top = variables.TryGetValue("imdb", out var imdb) ? imdb.Fields : variables;
        MatValue Get(IReadOnlyDictionary<string, MatValue> fields, string name) => fields.TryGetValue(name, out var value) ? value
            : throw new UserException(ExitCode.BadInput, $"{file} has no {name}; take the release's {FileName}, which holds images and wavLogits");
        var images = Get(top, "images").Fields;
        var (names, videos, tracks, sets, logits) = (Get(images, "name").Cells, Get(images, "video").Cells, Get(images, "track").Numbers, Get(images, "set").Numbers, Get(top, "wavLogits").Cells);
        if (names.Count == 0 || videos.Count != names.Count || tracks.Length != names.Count || sets.Length != names.Count || logits.Count != names.Count)
            throw new UserException(ExitCode.BadInput,
                $"{file} has {names.Count} names, {videos.Count} videos, {tracks.Length} tracks, {sets.Length} sets and {logits.Count} matrices of logits; they have to be as many");
        var odd = logits.Index().FirstOrDefault(matrix => matrix.Item.Numbers.Length > 0 && matrix.Item.Columns != Classes.Count, (-1, null!));
        if (odd.Index >= 0)
            throw new UserException(ExitCode.BadInput, $"{file}: the logits of {Printable.Name(names[odd.Index].Text)} have {odd.Item.Columns} columns, not {Classes.Count}");
        return [.. names.Select((name, i) => new EmoVoxClip(name.Text, videos[i].Text, (int)tracks[i], (int)sets[i], logits[i].Numbers))];
    }
}
