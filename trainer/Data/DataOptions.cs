using Avedis.Trainer.Features;

namespace Avedis.Trainer.Data;

/// <summary>
/// How manifest rows become classes and splits, and which of them are stored more than once. None of it touches what is stored of a clip
/// itself, so a change
/// costs no decoding but for new copies.
/// </summary>
public sealed record DataOptions
{
    /// <summary>What a label maps to when its clips are to be left out.</summary>
    public const string Drop = "drop";

    /// <summary>Emotion classes, in the order of the network's outputs.</summary>
    public IReadOnlyList<string> Emotions { get; init; } = ["neutral", "happiness", "sadness", "anger", "other"];

    /// <summary>
    /// Manifest label, in any letter case, to emotion class or "drop". The default takes the eight classes of EmoVoxCeleb and the names and
    /// codes that common corpora use for them; settings add to it. Those of its entries whose class is not in <see cref="Emotions"/> do not
    /// count.
    /// </summary>
    public IReadOnlyDictionary<string, string> Labels { get; init; } = DefaultLabels();

    /// <summary>Speakers whose number of clips lies under this percentile (of clips per speaker) are left out; 0 keeps everyone.</summary>
    public double DropSpeakerPercentile { get; init; } = 5;

    /// <summary>
    /// Share of each speaker's clips used for validation, when the manifest has no split column, or with <see cref="Resplit"/>.
    /// </summary>
    public double ValidationFraction { get; init; } = 0.1;

    /// <inheritdoc cref="ValidationFraction"/>
    public double TestFraction { get; init; } = 0.1;

    /// <summary>Divides the clips by the fractions even where the manifest has a split column.</summary>
    public bool Resplit { get; init; }

    /// <summary>Seed of the split.</summary>
    public ulong SplitSeed { get; init; } = 1;

    /// <summary>Copies of training clips with another sound.</summary>
    public VariantOptions Variants { get; init; } = new();

    /// <summary>Throws one line with exit code 2 for values that contradict each other.</summary>
    public void Validate()
    {
        if (Emotions.Count < 2 || Emotions.Distinct(StringComparer.Ordinal).Count() != Emotions.Count)
            throw new UserException(ExitCode.Usage, "data.emotions has to name at least two different classes");
        var usual = DefaultLabels();
        foreach (var (label, emotion) in Labels)
            if (!IsClass(emotion) && usual.GetValueOrDefault(label) != emotion)
                throw new UserException(ExitCode.Usage,
                    $"data.labels maps \"{label}\" to \"{emotion}\", which is neither \"{Drop}\" nor in data.emotions ({string.Join(", ", Emotions)})");
        if (DropSpeakerPercentile is not (>= 0 and < 100))
            throw new UserException(ExitCode.Usage, $"data.dropSpeakerPercentile is {DropSpeakerPercentile}; it has to be at least 0 and below 100");
        if (ValidationFraction is not (>= 0 and < 1) || TestFraction is not (>= 0 and < 1) || ValidationFraction + TestFraction >= 1)
            throw new UserException(ExitCode.Usage,
                $"data.validationFraction {ValidationFraction} and data.testFraction {TestFraction} have to leave clips for training");
        Variants.Validate();
    }

    /// <summary>The labels that have a class, or are to be left out.</summary>
    public Dictionary<string, string> KnownLabels()
    {
        var known = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (label, emotion) in Labels.Where(pair => IsClass(pair.Value)))
            known[label] = emotion;
        return known;
    }

    private bool IsClass(string emotion) => emotion == Drop || Emotions.Contains(emotion);

    private static Dictionary<string, string> DefaultLabels()
    {
        var labels = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        Add("neutral", "neutral", "neu", "calm");
        Add("happiness", "happiness", "happy", "hap", "joy", "excited", "exc");
        Add("sadness", "sadness", "sad");
        Add("anger", "anger", "angry", "ang");
        Add("other", "other", "oth", "disgust", "dis", "fear", "fearful", "fea", "contempt", "surprise", "surprised", "sur");
        return labels;

        void Add(string emotion, params string[] names)
        {
            foreach (string name in names)
                labels.Add(name, emotion);
        }
    }
}
