using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>What one factor gets: an embedding, a head, a place in the loss, and the factors that its embedding is to forget.</summary>
public sealed record FactorOptions
{
    /// <summary>Width of the embedding.</summary>
    public int Embedding { get; init; } = 256;

    /// <summary>Units of a layer in front of the embedding; 0 for an embedding that is one layer above the trunk, as in the paper.</summary>
    public int Hidden { get; init; }

    /// <summary>Weight of its cross-entropy, w_prim of equation (1).</summary>
    public float Weight { get; init; } = 0.5f;

    public ClassWeights ClassWeights { get; init; } = ClassWeights.None;

    /// <summary>
    /// Factors that this embedding is to forget, each with the weight of its auxiliary head: w_aux of equation (2), which the paper names, as here, after the
    /// embedding. 0 for no head.
    /// </summary>
    public IReadOnlyDictionary<string, float> Forget { get; init; } = new Dictionary<string, float>();
}

/// <summary>Auxiliary heads: classifiers that try to read from an embedding what it is to forget.</summary>
public sealed record AuxiliaryOptions
{
    /// <summary>Units of a hidden layer; 0 for a linear head, as in the paper.</summary>
    public int Hidden { get; init; }

    /// <summary>Batch norm without scale and shift in front, so that an embedding cannot escape by its size.</summary>
    public bool Normalise { get; init; }

    /// <summary>Standard deviation of the Gaussian noise behind that batch norm: keeps a head from being too sure.</summary>
    public float Noise { get; init; }

    /// <summary>Heads for each factor to forget; their mean loss counts.</summary>
    public int Heads { get; init; } = 1;

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
    /// The factors by their names in the manifest. The paper's embeddings: emotion 2048, speaker 2048, 256 or 64, each to forget the other with weight 0.3.
    /// </summary>
    public IReadOnlyDictionary<string, FactorOptions> Factors { get; init; } = Two(2048, 64);

    /// <summary>Factors to build; empty for all of <see cref="Factors"/>, one for single-task learning.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

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
