using Avedis.Bench;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Avedis.Bench.Peers.TorchSharp;

/// <summary>Sizes, as bench/peers/pytorch/network.py has them.</summary>
internal sealed record Preset(
    int[] FaceChannels, int[] VoiceChannels, int Pixels, int Frames, int MelSteps, int EmotionWidth, int SpeakerWidth, int Speakers, int Emotions = 5, int Mels = 40)
{
    public static Preset Named(string name) => name == "paper"
        ? new([96, 256, 256, 256, 256, 512], [96, 256, 384, 256, 256, 512], 224, 50, 1200, 2048, 64, 1251)
        : new([24, 64, 64, 64, 64, 128], [24, 64, 96, 64, 64, 128], 64, 8, 300, 256, 64, 24);

    public GoldenBatchSize Batch(int clips) => new(clips, Frames, Pixels, Mels, MelSteps, Speakers, Emotions);
}

/// <summary>How convolutions and what stands between them run.</summary>
/// <param name="ChannelsLast">Whether their tensors lie in memory as N, H, W, C: libtorch sees it by the strides of inputs and weights and
/// keeps to it.</param>
/// <param name="Type">Of activations, and of the weights as convolutions take them. The weights that learn, what batch norms learn and
/// keep, and all behind the means over time are float32 in any case.</param>
internal sealed record TrunkForm(bool ChannelsLast, ScalarType Type);

/// <summary>The two-stream network without auxiliary heads, with golden weights: bench/peers/pytorch/network.py in TorchSharp's words.</summary>
internal sealed class TwoStreamNetwork
{
    private readonly torch.Device device;
    private readonly TrunkForm form;
    private readonly Stream face, voice;
    private readonly Linear emotionEmbedding, emotionHead, speakerEmbedding, speakerHead;
    private readonly List<Parameter> parameters = [];

    public TwoStreamNetwork(Preset preset, torch.Device device, TrunkForm form)
    {
        (this.device, this.form) = (device, form);
        int pixels = Extent(Extent(preset.Pixels, 7, 2), 3, 2);
        pixels = Extent(Extent(Extent(pixels, 5, 2, 1), 3, 2, 1), 3, 2);
        int rows = Extent(Extent(Extent(preset.Mels, 5, 2, 1), 3, 2), 3, 2);
        face = new Stream(
            this, "face", preset.FaceChannels,
            [(7, 7, 2, 2, 0), (5, 5, 2, 2, 1), (3, 3, 1, 1, 1), (3, 3, 1, 1, 1), (3, 3, 1, 1, 1), (pixels, pixels, 1, 1, 0)],
            new() { [1] = (3, 3, 2, 2, 0), [2] = (3, 3, 2, 2, 1), [5] = (3, 3, 2, 2, 0) });
        voice = new Stream(
            this, "voice", preset.VoiceChannels,
            [(5, 7, 1, 1, 2), (5, 5, 2, 1, 1), (3, 3, 1, 1, 1), (3, 3, 1, 1, 1), (3, 3, 1, 1, 1), (rows, 1, 1, 1, 0)],
            new() { [1] = (1, 3, 1, 2, 0), [2] = (3, 3, 2, 1, 0), [5] = (3, 3, 2, 2, 0) });
        int joint = preset.FaceChannels[^1] + preset.VoiceChannels[^1];
        emotionEmbedding = Golden("emotion.embedding", nn.Linear(joint, preset.EmotionWidth), joint);
        emotionHead = Golden("emotion.head", nn.Linear(preset.EmotionWidth, preset.Emotions), preset.EmotionWidth);
        speakerEmbedding = Golden("speaker.embedding", nn.Linear(joint, preset.SpeakerWidth), joint);
        speakerHead = Golden("speaker.head", nn.Linear(preset.SpeakerWidth, preset.Speakers), preset.SpeakerWidth);
    }

    public IReadOnlyList<Parameter> Parameters => parameters;

    /// <summary>Valid output steps of the voice stream for so many mel steps.</summary>
    public static int VoiceSteps(int steps) => Extent(Extent(Extent(Extent(Extent(steps, 7, 1, 2), 3, 2), 5, 1, 1), 3, 1), 3, 2);

    /// <summary>Weighted sum of the mean cross-entropies. Faces: bytes [N, F, S, S]; mels: [N, M, T].</summary>
    public Tensor Loss(Tensor faces, Tensor mels, Tensor frameCounts, Tensor stepCounts, Tensor emotions, Tensor speakers)
    {
        var pixels = faces.to(float32) * (2f / 255) - 1;
        long clips = faces.shape[0], frames = faces.shape[1];
        var faceSteps = face.Forward(Image(pixels.flatten(0, 1))).flatten(1).to(float32).view(clips, frames, -1);
        var voiceSteps = voice.Forward(Image(mels)).squeeze(2).transpose(1, 2).to(float32);
        var joint = cat([MaskedMean(faceSteps, frameCounts), MaskedMean(voiceSteps, stepCounts)], 1);
        var emotion = emotionHead.forward(nn.functional.relu(emotionEmbedding.forward(joint)));
        var speaker = speakerHead.forward(nn.functional.relu(speakerEmbedding.forward(joint)));
        return 0.5f * (nn.functional.cross_entropy(emotion, emotions) + nn.functional.cross_entropy(speaker, speakers));
    }

    // x [N, H, W] as [N, 1, H, W]; with one channel both orders are the same bytes, and the strides say which one is meant
    private Tensor Image(Tensor x) => (form.ChannelsLast ? x.unsqueeze(3).permute(0, 3, 1, 2) : x.unsqueeze(1)).to(form.Type);

    // x [N, T, C] over the first lengths[n] steps
    private Tensor MaskedMean(Tensor x, Tensor lengths)
    {
        var valid = (arange(x.shape[1], device: device).unsqueeze(0) < lengths.unsqueeze(1)).to(x.dtype);
        return (x * valid.unsqueeze(2)).sum(1) / lengths.unsqueeze(1).to(x.dtype);
    }

    private static int Extent(int size, int window, int stride, int pad = 0) => (size + 2 * pad - window) / stride + 1;

    /// <summary>The module on the device with its golden weights, kept among those that learn.</summary>
    /// <param name="inputs">Weights behind one output.</param>
    private TModule Golden<TModule>(string name, TModule module, int inputs)
        where TModule : nn.Module
    {
        using (no_grad())
            foreach (var (own, parameter) in module.named_parameters())
                parameter.copy_(tensor(GoldenFormula.Parameter($"{name}.{own}", parameter.numel(), inputs), parameter.shape));
        module.to(device);
        parameters.AddRange(module.parameters());
        return module;
    }

    /// <summary>Six convolutions, each with batch norm and ReLU, with max pooling where given.</summary>
    private sealed class Stream
    {
        private readonly TrunkForm form;
        private readonly List<(Parameter Weight, long[] Strides, long[] Padding, BatchNorm2d Norm)> blocks = [];
        private readonly Dictionary<int, (int R, int S, int StrideH, int StrideW, int Pad)> pools;

        public Stream(
            TwoStreamNetwork network, string name, int[] channels, (int R, int S, int StrideH, int StrideW, int Pad)[] windows,
            Dictionary<int, (int R, int S, int StrideH, int StrideW, int Pad)> pools)
        {
            (this.pools, form) = (pools, network.form);
            for (int i = 0, inputs = 1; i < channels.Length; inputs = channels[i++])
            {
                var (r, s, strideH, strideW, pad) = windows[i];
                var conv = nn.Conv2d(inputs, channels[i], (r, s), stride: (strideH, strideW), padding: (pad, pad), bias: false);
                if (form.ChannelsLast)
                    conv.weight = new Parameter(ChannelsLast(conv.weight!.detach()));
                blocks.Add((
                    network.Golden($"{name}.conv{i + 1}", conv, inputs * r * s).weight!, [strideH, strideW], [pad, pad],
                    network.Golden($"{name}.bn{i + 1}", nn.BatchNorm2d(channels[i], eps: 1e-5, momentum: 0.1), channels[i])));
            }
        }

        public Tensor Forward(Tensor x)
        {
            for (int i = 0; i < blocks.Count; i++)
            {
                // what the backward pass needs its graph holds: our own handles are given up at once, as Python gives up a name
                var (weight, strides, padding, norm) = blocks[i];
                using var image = x;
                using var convolved = nn.functional.conv2d(image, weight.to(form.Type), strides: strides, padding: padding);
                x = norm.forward(convolved).relu_(); // in place: no backward pass needs what the batch norm gave
                if (!pools.TryGetValue(i + 1, out var pool))
                    continue;
                using var active = x;
                x = nn.functional.max_pool2d(active, [pool.R, pool.S], [pool.StrideH, pool.StrideW], [pool.Pad, pool.Pad]);
            }
            return x;
        }

        // of x [K, C, R, S]: the same numbers in memory as K, R, S, C. A view makes the strides those of that order where C is 1, too
        private static Tensor ChannelsLast(Tensor x) =>
            x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], x.shape[2], x.shape[3], x.shape[1]).permute(0, 3, 1, 2);
    }
}
