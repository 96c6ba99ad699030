using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Bench;

/// <summary>
/// Multiplications and additions that a training step cannot do without: those of every convolution and every linear layer, forward, for the gradient of its
/// weights and for that of its input, which the first convolution of a stream does not need. Everything else in a step moves memory, and is not counted.
/// </summary>
public static class StepArithmetic
{
    private const int ForwardAndBackward = 3, WithoutInputGradient = 2;

    /// <summary>Of a whole step of multitask training without auxiliary heads.</summary>
    public static double Flops(Workload workload)
    {
        var (network, size) = (workload.Network, workload.Size);
        int joint = Trunk.WidthOf(network);
        double branches = network.Factors.Sum(factor =>
        {
            int classes = factor.Key == Trainer.Data.Factor.Speaker ? size.Speakers : size.Emotions;
            return 2.0 * factor.Value.Embedding * (joint + classes);
        });
        return (double)size.Clips * size.Frames * Stream(ConvStack.FaceRows, network.FaceChannels, size.Pixels, size.Pixels)
            + size.Clips * Stream(ConvStack.VoiceRows, network.VoiceChannels, size.Mels, size.MelSteps)
            + ForwardAndBackward * size.Clips * branches;
    }

    /// <summary>
    /// What the processor really does of them: Winograd's convolutions multiply less often. Their transforms are not counted.
    /// </summary>
    public static double FlopsDone(Workload workload, CpuBackend backend, DType act)
    {
        double saved = 0;
        foreach (var layer in StepLayers.Convolutions(workload.Preset, workload.Clips).Where(layer => !layer.Stem))
        {
            double direct = (double)layer.Geometry.Output.Count * layer.Geometry.R * layer.Geometry.S * layer.Geometry.C;
            saved += 2 * backend.Conv2dMultiplications(layer.Geometry, act).Sum(done => direct - done);
        }
        return Flops(workload) - saved;
    }

    /// <summary>Of one image of one channel through a stack of convolutions, forward and backward.</summary>
    public static double Stream(IReadOnlyList<ConvRow> rows, IReadOnlyList<int> channels, int height, int width)
    {
        double flops = 0;
        for (int i = 0, inputs = 1; i < rows.Count; inputs = channels[i++])
        {
            var (conv, pool) = rows[i];
            var (r, s) = (conv.R == 0 ? height : conv.R, conv.S == 0 ? width : conv.S);
            height = Conv2dGeometry.Extent(height, r, conv.StrideH, conv.PadH);
            width = Conv2dGeometry.Extent(width, s, conv.StrideW, conv.PadW);
            flops += (i == 0 ? WithoutInputGradient : ForwardAndBackward) * 2.0 * height * width * channels[i] * r * s * inputs;
            if (pool is { } window)
            {
                height = Conv2dGeometry.Extent(height, window.R, window.StrideH, window.PadH);
                width = Conv2dGeometry.Extent(width, window.S, window.StrideW, window.PadW);
            }
        }
        return flops;
    }
}
