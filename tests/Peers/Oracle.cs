using Avedis.Engine;
using TorchSharp;
using static TorchSharp.torch.nn;

namespace Avedis.Peers;

/// <summary>libtorch in float64, for the engine's layouts: images lie as N, H, W, C and are seen as N, C, H, W, weights K, R, S, C as K, C, R, S.</summary>
internal static class Oracle
{
    /// <summary>A leaf of the graph, whose gradient is wanted.</summary>
    public static torch.Tensor Leaf(double[] values, Shape shape) => Constant(values, shape).requires_grad_();

    public static torch.Tensor Constant(double[] values, Shape shape) =>
        torch.tensor(values, Array.ConvertAll(shape.ToArray(), extent => (long)extent), torch.float64);

    public static double[] Values(torch.Tensor tensor) => tensor.detach().to(torch.float64).contiguous().data<double>().ToArray();

    public static double[] Gradient(torch.Tensor leaf) => Values(leaf.grad!);

    /// <summary>What a gradient dY of y leaves in the leaves.</summary>
    public static void Backward(torch.Tensor y, double[] dY, Shape shape) => (y * Constant(dY, shape)).sum().backward();

    public static torch.Tensor ChannelsFirst(torch.Tensor x) => x.permute(0, 3, 1, 2);

    public static torch.Tensor ChannelsLast(torch.Tensor x) => x.permute(0, 2, 3, 1);

    public static torch.Tensor Convolution(torch.Tensor x, torch.Tensor weight, Conv2dGeometry g) =>
        ChannelsLast(functional.conv2d(ChannelsFirst(x), ChannelsFirst(weight), strides: [g.StrideH, g.StrideW], padding: [g.PadH, g.PadW]));

    /// <summary>Running statistics move in place if training.</summary>
    public static torch.Tensor BatchNorm(
        torch.Tensor x, torch.Tensor gamma, torch.Tensor beta, torch.Tensor runningMean, torch.Tensor runningVariance, BatchNormSettings settings, bool training)
    {
        var y = functional.batch_norm(ChannelsFirst(x), runningMean, runningVariance, gamma, beta, training, settings.Momentum, settings.Epsilon);
        return ChannelsLast(settings.Relu ? functional.relu(y) : y);
    }

    /// <summary>
    /// y and the place of each winner in its window, as the engine counts. libtorch's pooling takes padding up to half a window; so it is laid around x here, as
    /// minus infinity, which never wins.
    /// </summary>
    public static (torch.Tensor Y, int[] Argmax) MaxPool(torch.Tensor x, Pool2dGeometry g)
    {
        var padded = functional.pad(ChannelsFirst(x), [g.PadW, g.PadW, g.PadH, g.PadH], value: double.NegativeInfinity);
        var (y, indices) = functional.max_pool2d_with_indices(padded, [g.R, g.S], [g.StrideH, g.StrideW]);
        long[] positions = ChannelsLast(indices).contiguous().data<long>().ToArray();
        int width = g.W + 2 * g.PadW;
        var argmax = new int[positions.Length];
        for (int i = 0; i < argmax.Length; i++)
        {
            (int p, int q) = (i / (g.C * g.Q) % g.P, i / g.C % g.Q);
            (int row, int column) = Math.DivRem((int)positions[i], width);
            argmax[i] = (row - p * g.StrideH) * g.S + column - q * g.StrideW;
        }
        return (ChannelsLast(y), argmax);
    }
}
