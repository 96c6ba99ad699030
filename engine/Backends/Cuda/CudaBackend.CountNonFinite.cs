namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    [Kernels("count_non_finite_f32", "count_non_finite_bf16")]
    private readonly record struct CountNonFiniteArguments(nint Count, nint X, long Elements);

    public void CountNonFinite(Tensor count, Tensor x)
    {
        Zero(count);
        Launch($"count_non_finite_{Suffix(x)}", Elementwise(x), ElementwiseThreads, new CountNonFiniteArguments(count.Address, x.Address, x.Count));
    }
}
