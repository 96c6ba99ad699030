namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int ConcatThreads = 256;

    [Kernels("concat_forward_f32")]
    private readonly record struct ConcatForwardArguments(nint Y, nint A, nint B, int AWidth, int BWidth);

    [Kernels("concat_backward_f32")]
    private readonly record struct ConcatBackwardArguments(nint DA, nint DB, nint DY, int AWidth, int BWidth);

    public void ConcatForward(Tensor y, Tensor a, Tensor b) =>
        Launch("concat_forward_f32", new Grid(y.Shape[0]), ConcatThreads,
            new ConcatForwardArguments(y.Address, a.Address, b.Address, a.Shape[1], b.Shape[1]));

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY) =>
        Launch("concat_backward_f32", new Grid(dY.Shape[0]), ConcatThreads,
            new ConcatBackwardArguments(dA.Address, dB.Address, dY.Address, dA.Shape[1], dB.Shape[1]));
}
