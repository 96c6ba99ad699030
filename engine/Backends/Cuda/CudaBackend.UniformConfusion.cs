namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    [Kernels("uniform_confusion_f32")]
    private readonly record struct UniformConfusionArguments(
        nint Loss, nint Kl, nint DLogits, nint Logits, nint Weights, float Scale, int Classes);

    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale) =>
        Launch("uniform_confusion_f32", new Grid(logits.Shape[0]), LossThreads, new UniformConfusionArguments(
            loss.Address, kl.Address, dLogits.Address, logits.Address, weights.Address, scale, logits.Shape[1]));
}
