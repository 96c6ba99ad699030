using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale)
    {
        Enter();
        CpuNative.Check(CpuNative.SoftmaxCrossEntropy(
            loss.Address, probabilities.Address, dLogits.Address, logits.Address, labels.Address, weights.Address, scale,
            logits.Shape[0], logits.Shape[1]));
    }
}
