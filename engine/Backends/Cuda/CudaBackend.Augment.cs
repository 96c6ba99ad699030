namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int AugmentThreads = 256;

    [Kernels("augment_faces_f32", "augment_faces_bf16")]
    private readonly record struct AugmentFacesArguments(nint Y, nint X, nint Plans, int Frames, FastDivisor Side, float Scale, float Shift);

    [Kernels("augment_mels_f32", "augment_mels_bf16")]
    private readonly record struct AugmentMelsArguments(nint Y, nint X, nint Plans, int Bins, int Steps);

    public void AugmentFaces(Tensor y, Tensor x, Tensor plans, float scale, float shift)
    {
        int pictures = x.Shape[0];
        Launch($"augment_faces_{Suffix(y)}", new Grid(pictures), AugmentThreads,
            new AugmentFacesArguments(y.Address, x.Address, plans.Address, pictures / plans.Shape[0], FastDivisor.Of(x.Shape[1]), scale, shift));
    }

    public void AugmentMels(Tensor y, Tensor x, Tensor plans)
    {
        int bins = x.Shape[1];
        Launch($"augment_mels_{Suffix(y)}", new Grid((long)x.Shape[0] * bins), AugmentThreads,
            new AugmentMelsArguments(y.Address, x.Address, plans.Address, bins, x.Shape[2]));
    }
}
