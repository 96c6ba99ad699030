using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;

namespace Avedis.Bench;

/// <summary>A preset's network and clips, some of their sizes changed.</summary>
/// <param name="Clips">Of a batch.</param>
/// <param name="Frames">Face frames of a clip; null for the preset's, as are the others.</param>
/// <param name="MelSteps">Of a clip.</param>
/// <param name="Embedding">Width of both embeddings.</param>
public sealed record Workload(string Preset, int Clips, int? Frames = null, int? MelSteps = null, int? Speakers = null, int? Embedding = null)
{
    private const int Emotions = 5, PaperSpeakers = 1251, DemoSpeakers = 24;

    public NetworkOptions Network
    {
        get
        {
            var network = Config.FromPreset(Preset).Network;
            return Embedding is not { } width
                ? network
                : network with { Factors = network.Factors.ToDictionary(factor => factor.Key, factor => factor.Value with { Embedding = width }) };
        }
    }

    /// <summary>Of a batch, with as many speakers as the corpora of this size have.</summary>
    public GoldenBatchSize Size
    {
        get
        {
            var features = Config.FromPreset(Preset).Features;
            return new(
                Clips, Frames ?? features.FaceFrames, features.FaceSize, features.MelBins, MelSteps ?? features.MelFrames,
                Speakers ?? (Preset == "paper" ? PaperSpeakers : DemoSpeakers), Emotions);
        }
    }

    public NetworkShape Shape(DType act)
    {
        var size = Size;
        return new NetworkShape(
            size.Clips, size.Frames, size.Pixels, size.Mels, size.MelSteps,
            [Factor.Numbered(Factor.Emotion, size.Emotions), Factor.Numbered(Factor.Speaker, size.Speakers)], act);
    }
}
