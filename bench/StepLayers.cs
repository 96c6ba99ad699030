using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;

namespace Avedis.Bench;

/// <summary>A convolution of the network, batch norm and ReLU behind it, and pooling where there is any.</summary>
/// <param name="Name">face.conv1 to voice.conv6.</param>
/// <param name="Stem">Whether it is the first of its stream, which is one operation with what follows and whose input takes no gradient.</param>
public sealed record ConvolutionLayer(string Name, bool Stem, Conv2dGeometry Geometry, Pool2dGeometry? Pool)
{
    /// <summary>What the layer gives to the next.</summary>
    public Shape Output => Pool?.Output ?? Geometry.Output;
}

/// <summary>A linear layer: x [Rows, Inputs] to y [Rows, Outputs].</summary>
public sealed record LinearLayer(string Name, int Rows, int Inputs, int Outputs);

/// <summary>The layers of a preset's network by their shapes in a training step.</summary>
public static class StepLayers
{
    public static IReadOnlyList<ConvolutionLayer> Convolutions(string preset, int batch)
    {
        var (features, network) = (Config.FromPreset(preset).Features, Config.FromPreset(preset).Network);
        return
        [
            .. Stack("face", ConvStack.FaceRows, network.FaceChannels, new Shape(batch * features.FaceFrames, features.FaceSize, features.FaceSize, 1)),
            .. Stack("voice", ConvStack.VoiceRows, network.VoiceChannels, new Shape(batch, features.MelBins, features.MelFrames, 1)),
        ];
    }

    /// <summary>Embeddings, heads and auxiliary heads.</summary>
    public static IReadOnlyList<LinearLayer> Linears(string preset, int batch)
    {
        var workload = new Workload(preset, batch);
        var (network, size) = (workload.Network, workload.Size);
        int Classes(string factor) => factor == Factor.Speaker ? size.Speakers : size.Emotions;
        return
        [
            .. network.Built.SelectMany(name =>
            {
                var factor = network.Factors[name];
                return new LinearLayer[]
                {
                    new($"{name}.embedding", batch, Trunk.WidthOf(network), factor.Embedding),
                    new($"{name}.head", batch, factor.Embedding, Classes(name)),
                }.Concat(factor.Forget.Keys.Select(other => new LinearLayer($"{name}.auxiliary.{other}", batch, factor.Embedding, Classes(other))));
            }),
        ];
    }

    private static IEnumerable<ConvolutionLayer> Stack(string name, IReadOnlyList<ConvRow> rows, IReadOnlyList<int> channels, Shape x)
    {
        for (int i = 0; i < rows.Count; i++)
        {
            var w = rows[i].Conv;
            var g = new Conv2dGeometry(
                x[0], x[1], x[2], x[3], channels[i], w.R == 0 ? x[1] : w.R, w.S == 0 ? x[2] : w.S, w.StrideH, w.StrideW, w.PadH, w.PadW);
            Pool2dGeometry? pool = rows[i].Pool is { } p ? new(g.N, g.P, g.Q, g.K, p.R, p.S, p.StrideH, p.StrideW, p.PadH, p.PadW) : null;
            var layer = new ConvolutionLayer($"{name}.conv{i + 1}", i == 0, g, pool);
            yield return layer;
            x = layer.Output;
        }
    }
}
