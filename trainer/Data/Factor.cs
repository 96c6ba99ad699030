namespace Avedis.Trainer.Data;

/// <summary>
/// Something that clips are labelled with: emotion, speaker, or a further column of the manifest (gender, corpus, channel, ...).
/// </summary>
/// <param name="Name">"emotion", "speaker", or the column's name.</param>
/// <param name="Classes">Names of the classes, in the order of a head's outputs.</param>
/// <param name="Counts">Training clips of each class.</param>
public sealed record Factor(string Name, IReadOnlyList<string> Classes, IReadOnlyList<int> Counts)
{
    public const string Emotion = "emotion";
    public const string Speaker = "speaker";

    /// <summary>A factor whose classes are numbers, equally frequent: for random data.</summary>
    public static Factor Numbered(string name, int classes) => new(
        name, [.. Enumerable.Range(0, classes).Select(c => c.ToString(System.Globalization.CultureInfo.InvariantCulture))], [.. Enumerable.Repeat(1, classes)]);

    /// <summary>
    /// Whether scores of this factor are macro-F, as the paper's of emotion: its classes are few and uneven. Speakers are many and counted by accuracy.
    /// </summary>
    public bool ByMacroF => Name != Speaker;

    /// <summary>A weight for each class so that the mean over training clips is 1; empty for all 1. A class without training clips weighs 0.</summary>
    public float[] Weights(ClassWeights how)
    {
        if (how == ClassWeights.None)
            return [];
        double clips = Counts.Sum(), power = how == ClassWeights.Balanced ? 1 : 0.5;
        int observed = Counts.Count(count => count > 0);
        return [.. Counts.Select(count => count == 0 ? 0 : (float)Math.Pow(clips / ((double)observed * count), power))];
    }
}

/// <summary>How a loss treats rare classes.</summary>
public enum ClassWeights
{
    None,

    /// <summary>Each class weighs the inverse of its share.</summary>
    Balanced,

    /// <summary>The square root of the inverse share: between the two.</summary>
    Sqrt,
}
