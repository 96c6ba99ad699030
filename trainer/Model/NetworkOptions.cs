using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>
/// Settings of one factor: its embedding, its head, its weight in the loss, and the factors that its embedding must forget.
/// </summary>
public sealed record FactorOptions
{
    /// <summary>Width of the embedding.</summary>
    public int Embedding { get; init; } = 256;

    /// <summary>Units of a hidden layer between the trunk and the embedding. 0: none, as in the paper.</summary>
    public int Hidden { get; init; }

    /// <summary>Weight of the factor's cross-entropy in the loss (w_prim in equation 1 of the paper).</summary>
    public float Weight { get; init; } = 0.5f;

    /// <summary>How the classes of the factor are weighted in its loss.</summary>
    public ClassWeights ClassWeights { get; init; } = ClassWeights.None;

    /// <summary>
    /// Factors that this embedding must forget, each with the weight of its auxiliary head (w_aux in equation 2 of the paper). 0: no such
    /// head.
    /// </summary>
    public IReadOnlyDictionary<string, float> Forget { get; init; } = new Dictionary<string, float>();
}

/// <summary>Auxiliary heads: classifiers that try to read from an embedding the factor that it must forget.</summary>
public sealed record AuxiliaryOptions
{
    /// <summary>Units of the head's hidden layer. 0: a linear head, as in the paper.</summary>
    public int Hidden { get; init; }

    /// <summary>Puts a batch norm without scale and shift in front of the head, so that an embedding cannot escape by shrinking.</summary>
    public bool Normalise { get; init; }

    /// <summary>Standard deviation of Gaussian noise added after that batch norm. It keeps a head from becoming overconfident.</summary>
    public float Noise { get; init; }

    /// <summary>Number of heads for each factor to forget. Their mean loss counts.</summary>
    public int Heads { get; init; } = 1;

    /// <summary>How the classes are weighted in the heads' losses.</summary>
    public ClassWeights ClassWeights { get; init; } = ClassWeights.None;
}

/// <summary>
/// Sizes of the two-stream network. What follows from the data (image size, steps, numbers of classes) is not here: it comes from the features and the
/// manifest.
/// </summary>
public sealed record NetworkOptions
{
    /// <summary>Output channels of face.conv1 to face.conv6.</summary>
    public IReadOnlyList<int> FaceChannels { get; init; } = [96, 256, 256, 256, 256, 512];

    /// <summary>Output channels of voice.conv1 to voice.conv6.</summary>
    public IReadOnlyList<int> VoiceChannels { get; init; } = [96, 256, 384, 256, 256, 512];

    /// <summary>
    /// The factors, by their column names in the manifest. In the paper: emotion with an embedding of 2048, speaker with 2048, 256 or 64,
    /// each forgetting the other with weight 0.3.
    /// </summary>
    public IReadOnlyDictionary<string, FactorOptions> Factors { get; init; } = Two(2048, 64);

    /// <summary>Factors to build. Empty: all of <see cref="Factors"/>. One name: single-task learning.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>The auxiliary heads.</summary>
    public AuxiliaryOptions Auxiliary { get; init; } = new();

    /// <summary>The paper's sizes.</summary>
    public static NetworkOptions Paper { get; } = new();

    /// <summary>A quarter of the channels: trains in minutes on two cores.</summary>
    public static NetworkOptions Demo { get; } = new()
    {
        FaceChannels = [24, 64, 64, 64, 64, 128],
        VoiceChannels = [24, 64, 96, 64, 64, 128],
        Factors = Two(256, 64, ClassWeights.Sqrt),
    };

    /// <summary>An eighth of the channels: trains in a minute or two on two cores.</summary>
    public static NetworkOptions Grid { get; } = new()
    {
        FaceChannels = [12, 32, 32, 32, 32, 64],
        VoiceChannels = [12, 32, 48, 32, 32, 64],
        Factors = Two(128, 64),
    };

    /// <summary>Names of the factors to build, in the order of <see cref="Factors"/>.</summary>
    public IReadOnlyList<string> Built => [.. Factors.Keys.Where(name => Tasks.Count == 0 || Tasks.Contains(name))];

    /// <summary>Of a dataset's factors those that the network recognises or forgets, in the dataset's order.</summary>
    public IReadOnlyList<Factor> Of(IEnumerable<Factor> factors)
    {
        var named = Built.SelectMany(name => Factors[name].Forget.Where(forget => forget.Value > 0).Select(forget => forget.Key).Append(name)).ToHashSet();
        return [.. factors.Where(factor => named.Contains(factor.Name))];
    }

    /// <exception cref="UserException">Exit code 2.</exception>
    public void Validate()
    {
        foreach (string task in Tasks.Where(task => !Factors.ContainsKey(task)))
            throw new UserException(ExitCode.Usage, $"network.tasks names '{task}', which network.factors does not have: it has {string.Join(", ", Factors.Keys)}");
        if (Factors.Count == 0)
            throw new UserException(ExitCode.Usage, "network.factors is empty: a network needs a factor to recognise");
        foreach (var (name, factor) in Factors)
        {
            // it becomes a part of parameters' and files' names
            TrainingOptions.Require(
                name.Length > 0 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-') && name is not ("face" or "voice" or TwoStreamNetwork.TrunkName),
                "network.factors", $"'{name}'", "letters, digits, _ and -, and not face, voice or trunk: rename the column of the manifest");
            TrainingOptions.Require(factor.Hidden is >= 0 and <= 65536, $"network.factors.{name}.hidden", factor.Hidden, "0 to 65536");
            TrainingOptions.Require(factor.Embedding is >= 1 and <= 65536, $"network.factors.{name}.embedding", factor.Embedding, "1 to 65536");
            TrainingOptions.Require(factor.Weight >= 0 && float.IsFinite(factor.Weight), $"network.factors.{name}.weight", factor.Weight, "0 or more");
            foreach (var (other, weight) in factor.Forget)
            {
                TrainingOptions.Require(weight >= 0 && float.IsFinite(weight), $"network.factors.{name}.forget.{other}", weight, "0 or more");
                if (other == name && weight > 0)
                    throw new UserException(ExitCode.Usage, $"network.factors.{name}.forget names {name} itself: an embedding cannot forget what it is for");
            }
        }
        TrainingOptions.Require(Built.Any(name => Factors[name].Weight > 0), "network.factors.*.weight", 0, "not all 0");
        TrainingOptions.Require(Auxiliary.Hidden is >= 0 and <= 65536, "network.auxiliary.hidden", Auxiliary.Hidden, "0 (linear) to 65536");
        TrainingOptions.Require(Auxiliary.Heads is >= 1 and <= 16, "network.auxiliary.heads", Auxiliary.Heads, "1 to 16");
        TrainingOptions.Require(Auxiliary.Noise >= 0 && float.IsFinite(Auxiliary.Noise), "network.auxiliary.noise", Auxiliary.Noise, "0 or more");
        TrainingOptions.Require(Auxiliary.Noise == 0 || Auxiliary.Normalise, "network.auxiliary.noise", Auxiliary.Noise, "0 without network.auxiliary.normalise: noise has the scale of what is normalised");
    }

    private static Dictionary<string, FactorOptions> Two(int emotion, int speaker, ClassWeights emotionWeights = ClassWeights.None) => new()
    {
        [Factor.Emotion] = new() { Embedding = emotion, ClassWeights = emotionWeights, Forget = new Dictionary<string, float> { [Factor.Speaker] = 0.3f } },
        [Factor.Speaker] = new() { Embedding = speaker, Forget = new Dictionary<string, float> { [Factor.Emotion] = 0.3f } },
    };
}
