namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    [Kernels("adam_f32")]
    private readonly record struct AdamArguments(
        nint Parameters, nint Gradients, nint M, nint V, nint Schedule, float Beta1, float Beta2, float Epsilon, long Count);

    public void Adam(Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon) =>
        Launch("adam_f32", Elementwise(parameters), ElementwiseThreads, new AdamArguments(
            parameters.Address, gradients.Address, m.Address, v.Address, schedule.Address, beta1, beta2, epsilon, parameters.Count));
}
