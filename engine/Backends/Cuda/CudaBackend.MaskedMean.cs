namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int MaskedMeanForwardThreads = 256, MaskedMeanBackwardThreads = 128;

    /// <summary>Bytes of one step that a block of the forward pass takes.</summary>
    private const int MaskedMeanLine = 128;

    [Kernels("masked_mean_forward_f32", "masked_mean_forward_bf16")]
    private readonly record struct MaskedMeanForwardArguments(nint Y, nint X, nint Lengths, int Steps, int Channels);

    [Kernels("masked_mean_backward_f32", "masked_mean_backward_bf16")]
    private readonly record struct MaskedMeanBackwardArguments(nint DX, nint DY, nint Lengths, int Steps, int Channels);

    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths)
    {
        int clips = x.Shape[0], steps = x.Shape[1], channels = x.Shape[2];
        long lines = (channels * (long)x.Type.Bytes() + MaskedMeanLine - 1) / MaskedMeanLine;
        Launch($"masked_mean_forward_{Suffix(x)}", new Grid(lines, clips), MaskedMeanForwardThreads,
            new MaskedMeanForwardArguments(y.Address, x.Address, lengths.Address, steps, channels));
    }

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths)
    {
        int clips = dX.Shape[0], steps = dX.Shape[1], channels = dX.Shape[2];
        Launch($"masked_mean_backward_{Suffix(dX)}", new Grid((long)clips * steps), MaskedMeanBackwardThreads,
            new MaskedMeanBackwardArguments(dX.Address, dY.Address, lengths.Address, steps, channels));
    }
}
