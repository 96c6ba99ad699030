namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    [Kernels("relu_forward_f32", "relu_forward_bf16")]
    private readonly record struct ReluForwardArguments(nint Y, nint X, long Count);

    [Kernels("relu_backward_f32", "relu_backward_bf16")]
    private readonly record struct ReluBackwardArguments(nint DX, nint DY, nint Y, long Count);

    public void ReluForward(Tensor y, Tensor x) =>
        Launch($"relu_forward_{Suffix(y)}", Elementwise(y), ElementwiseThreads, new ReluForwardArguments(y.Address, x.Address, y.Count));

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y) =>
        Launch($"relu_backward_{Suffix(dX)}", Elementwise(dX), ElementwiseThreads,
            new ReluBackwardArguments(dX.Address, dY.Address, y.Address, dX.Count));
}
