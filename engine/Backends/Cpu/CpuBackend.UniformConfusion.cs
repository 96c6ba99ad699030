using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale)
    {
        Enter();
        CpuNative.Check(CpuNative.UniformConfusion(
            loss.Address, kl.Address, dLogits.Address, logits.Address, weights.Address, scale, logits.Shape[0], logits.Shape[1]));
    }
}
