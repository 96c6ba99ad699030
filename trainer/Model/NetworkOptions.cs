namespace Avedis.Trainer.Model;

/// <summary>Which tasks a network is trained for.</summary>
public enum NetworkTasks
{
    /// <summary>Both embeddings: multitask learning.</summary>
    Both,

    /// <summary>Single-task: emotion only.</summary>
    Emotion,

    /// <summary>Single-task: speaker only.</summary>
    Speaker,
}

/// <summary>
/// Sizes of the two-stream network. What follows from the data (image size, steps, numbers of emotions and speakers) is not here: it
/// comes from the features and the manifest.
/// </summary>
public sealed record NetworkOptions
{
    /// <summary>Output channels of face.conv1 to face.conv6.</summary>
    public IReadOnlyList<int> FaceChannels { get; init; } = [96, 256, 256, 256, 256, 512];

    /// <summary>Output channels of voice.conv1 to voice.conv6.</summary>
    public IReadOnlyList<int> VoiceChannels { get; init; } = [96, 256, 384, 256, 256, 512];

    /// <summary>Width of the emotion embedding; 2048 in the paper.</summary>
    public int EmotionEmbedding { get; init; } = 2048;

    /// <summary>Width of the speaker embedding; 2048, 256 or 64 in the paper.</summary>
    public int SpeakerEmbedding { get; init; } = 64;

    public NetworkTasks Tasks { get; init; } = NetworkTasks.Both;

    /// <summary>
    /// Adds the auxiliary heads: speaker read from the emotion embedding, emotion read from the speaker embedding, each behind a gradient reversal.
    /// </summary>
    public bool Auxiliary { get; init; }

    /// <summary>The paper's sizes.</summary>
    public static NetworkOptions Paper { get; } = new();

    /// <summary>A quarter of the channels: trains in minutes on two cores.</summary>
    public static NetworkOptions Demo { get; } = new()
    {
        FaceChannels = [24, 64, 64, 64, 64, 128],
        VoiceChannels = [24, 64, 96, 64, 64, 128],
        EmotionEmbedding = 256,
        SpeakerEmbedding = 64,
    };
}
