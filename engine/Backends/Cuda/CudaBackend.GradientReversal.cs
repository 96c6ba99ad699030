namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    [Kernels("gradient_reversal_backward_f32", "gradient_reversal_backward_bf16", "gradient_reversal_add_f32")]
    private readonly record struct GradientReversalArguments(nint DX, nint DY, nint Lambda, long Count);

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda) =>
        Launch($"gradient_reversal_backward_{Suffix(dX)}", Elementwise(dX), ElementwiseThreads,
            new GradientReversalArguments(dX.Address, dY.Address, lambda.Address, dX.Count));

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda) =>
        Launch("gradient_reversal_add_f32", Elementwise(dX), ElementwiseThreads,
            new GradientReversalArguments(dX.Address, dY.Address, lambda.Address, dX.Count));
}
