namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int LossThreads = 128;

    [Kernels("softmax_cross_entropy_f32")]
    private readonly record struct SoftmaxCrossEntropyArguments(
        nint Loss, nint Probabilities, nint DLogits, nint Logits, nint Labels, nint Weights, float Scale, int Classes);

    public void SoftmaxCrossEntropy(Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale) =>
        Launch("softmax_cross_entropy_f32", new Grid(logits.Shape[0]), LossThreads, new SoftmaxCrossEntropyArguments(
            loss.Address, probabilities.Address, dLogits.Address, logits.Address, labels.Address, weights.Address, scale, logits.Shape[1]));
}
