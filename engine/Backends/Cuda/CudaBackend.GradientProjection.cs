namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int GradientProjectionThreads = 256;

    /// <summary>Most slices of a segment, and elements of a slice where one segment had them all: large against the sums of the other slices.</summary>
    private const int MostGradientProjectionSlices = 128, GradientProjectionElements = 4096;

    [Kernels("gradient_projection_sums_f32")]
    private readonly record struct GradientProjectionSumsArguments(nint Partial, nint Primary, nint Adversary, nint Offsets);

    [Kernels("gradient_projection_apply_f32")]
    private readonly record struct GradientProjectionApplyArguments(nint Primary, nint Adversary, nint Partial, nint Offsets, nint Alpha);

    public void GradientProjection(Tensor primary, Tensor adversary, Tensor offsets, Tensor alpha)
    {
        int segments = (int)offsets.Count - 1;
        // the lengths of the segments are on the device: each may be all of it
        long slices = Math.Min(primary.Count / GradientProjectionElements, CudaLane.ScratchBytes / (2L * sizeof(double) * segments));
        var grid = new Grid(Math.Clamp(slices, 1, MostGradientProjectionSlices), segments);
        Launch("gradient_projection_sums_f32", grid, GradientProjectionThreads,
            new GradientProjectionSumsArguments(lane.Scratch, primary.Address, adversary.Address, offsets.Address));
        Launch("gradient_projection_apply_f32", grid, GradientProjectionThreads,
            new GradientProjectionApplyArguments(primary.Address, adversary.Address, lane.Scratch, offsets.Address, alpha.Address));
    }
}
