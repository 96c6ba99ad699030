namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int BatchNormThreads = 256;

    /// <summary>Channels that a block of the merging kernels does.</summary>
    private const int MergeChannels = 8;

    /// <summary>
    /// Most blocks of a pass that leaves partial results: two for each place on a large GPU. The order of the sums follows it, so it is the same
    /// on every GPU. Passes that sum nothing may have more, for an even end.
    /// </summary>
    private const int MostSumBlocks = 1024, MostApplyBlocks = 8192;

    /// <summary>Most parts of a convolution's moments that go to the statistics unmerged: eight for each of the slices that a block of these has.</summary>
    private const int MostMergedParts = 256;

    [Kernels("batch_norm_moments_f32", "batch_norm_moments_bf16")]
    private readonly record struct BatchNormMomentsArguments(nint Partial, nint X, long Rows, long RowsPerBlock, int C);

    [Kernels("batch_norm_merge")]
    private readonly record struct BatchNormMergeArguments(nint Merged, nint Partial, long Rows, long RowsPerPart, int PartsPerGroup, int C);

    [Kernels("batch_norm_statistics")]
    private readonly record struct BatchNormStatisticsArguments(
        nint Mean, nint InverseStd, nint RunningMean, nint RunningVariance, nint Partial, long Rows, long RowsPerBlock, int C, float Epsilon, float Momentum);

    [Kernels("batch_norm_apply_f32", "batch_norm_apply_bf16")]
    private readonly record struct BatchNormApplyArguments(
        nint Y, nint X, nint Gamma, nint Beta, nint Mean, nint Spread, float Epsilon, long Rows, long RowsPerBlock, int C, int Relu);

    [Kernels("batch_norm_apply_pool_f32", "batch_norm_apply_pool_bf16")]
    private readonly record struct BatchNormApplyPoolArguments(
        nint Y, nint Argmax, nint X, nint Gamma, nint Beta, nint Mean, nint Spread, float Epsilon, PoolGeometry Geometry, PixelTiles Tiles, int Relu);

    [Kernels("batch_norm_sums_f32", "batch_norm_sums_bf16")]
    private readonly record struct BatchNormSumsArguments(
        nint Partial, nint DY, nint X, nint Gamma, nint Beta, nint Mean, nint InverseStd, long Rows, long RowsPerBlock, int C, int Relu);

    [Kernels("batch_norm_sums_pool_f32", "batch_norm_sums_pool_bf16")]
    private readonly record struct BatchNormSumsPoolArguments(
        nint Partial, nint DY, nint Argmax, nint X, nint Gamma, nint Beta, nint Mean, nint InverseStd, PoolGeometry Geometry, PixelTiles Tiles, int Relu);

    [Kernels("batch_norm_gradients")]
    private readonly record struct BatchNormGradientsArguments(
        nint DGamma, nint DBeta, nint Means, nint Partial, nint InverseStd, long Rows, int Blocks, int C);

    [Kernels("batch_norm_input_f32", "batch_norm_input_bf16")]
    private readonly record struct BatchNormInputArguments(
        nint DX, nint DY, nint X, nint Gamma, nint Beta, nint Mean, nint InverseStd, nint Means, long Rows, long RowsPerBlock, int C, int Relu);

    [Kernels("batch_norm_input_pool_f32", "batch_norm_input_pool_bf16")]
    private readonly record struct BatchNormInputPoolArguments(
        nint DX, nint DY, nint Argmax, nint X, nint Gamma, nint Beta, nint Mean, nint InverseStd, nint Means, PoolGeometry Geometry, PixelTiles Tiles,
        int Relu);

    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Moments? moments, Tensor gamma, Tensor beta, in BatchNormSettings settings)
    {
        int c = (int)gamma.Count;
        long rows = moments?.Count ?? x.Count / c;
        var (partial, rowsPerBlock) = moments is null ? BlockMoments(x, rows, c) : FewMoments(moments, c);
        Launch("batch_norm_statistics", new Grid(Parts(c, MergeChannels)), BatchNormThreads,
            new BatchNormStatisticsArguments(
                mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address, partial, rows, rowsPerBlock, c,
                settings.Epsilon, settings.Momentum));
        Apply(y, argmax, x, gamma, beta, mean, inverseStd, 0, argmax is null ? null : settings.Pool, settings.Relu);
    }

    public void BatchNormMoments(Tensor moments, Tensor x, Moments? parts)
    {
        int c = x.Shape[3];
        long rows = x.Count / c;
        var (partial, rowsPerBlock) = parts is null ? BlockMoments(x, rows, c) : FewMoments(parts, c);
        Launch("batch_norm_merge", Strided(c, BatchNormThreads), BatchNormThreads,
            new BatchNormMergeArguments(moments.Address, partial, rows, rowsPerBlock, (int)((rows + rowsPerBlock - 1) / rowsPerBlock), c));
    }

    public void BatchNormApply(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings) =>
        Apply(y, null, x, gamma, beta, mean, inverseStd, 0, null, settings.Relu);

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings) =>
        Apply(y, null, x, gamma, beta, runningMean, runningVariance, settings.Epsilon, settings.Pool, settings.Relu);

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        BackwardMeans(lane.Scratch, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, settings, x.Count / gamma.Count);
        BackwardData(dX, dY, argmax, x, gamma, beta, mean, inverseStd, lane.Scratch, settings);
    }

    public void BatchNormBackwardMeans(
        Tensor means, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings, long count) =>
        BackwardMeans(means.Address, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, settings, count);

    public void BatchNormBackwardData(
        Tensor dX, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor means, in BatchNormSettings settings) =>
        BackwardData(dX, dY, argmax, x, gamma, beta, mean, inverseStd, means.Address, settings);

    private void BackwardMeans(
        nint means, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings, long count)
    {
        int c = (int)gamma.Count, relu = settings.Relu ? 1 : 0;
        long rows = x.Count / c;
        nint partial = lane.Scratch + 2 * sizeof(float) * c; // behind the means, which may lie in front
        Grid sums;
        if (argmax is null)
        {
            (long rowsPerBlock, sums) = Rows(rows, c, x.Type, SumBlocks(c));
            Launch($"batch_norm_sums_{Suffix(x)}", sums, BatchNormThreads,
                new BatchNormSumsArguments(
                    partial, dY.Address, x.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address, rows, rowsPerBlock, c, relu));
        }
        else
        {
            var pool = settings.Pool!.Value;
            (var tiles, sums) = Tile(pool, pool.P, pool.Q, x.Type, 2 * MostSumBlocks);
            Launch($"batch_norm_sums_pool_{Suffix(x)}", sums, PoolThreads,
                new BatchNormSumsPoolArguments(
                    partial, dY.Address, argmax.Address, x.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address,
                    Native(pool), tiles, relu));
        }
        Launch("batch_norm_gradients", new Grid(Parts(c, MergeChannels)), BatchNormThreads,
            new BatchNormGradientsArguments(dGamma.Address, dBeta.Address, means, partial, inverseStd.Address, count, (int)sums.X, c));
    }

    private void BackwardData(
        Tensor dX, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, nint means, in BatchNormSettings settings)
    {
        int c = (int)gamma.Count, relu = settings.Relu ? 1 : 0;
        if (argmax is null)
        {
            long rows = x.Count / c;
            var (rowsPerBlock, grid) = Rows(rows, c, x.Type, MostApplyBlocks);
            Launch($"batch_norm_input_{Suffix(x)}", grid, BatchNormThreads,
                new BatchNormInputArguments(
                    dX.Address, dY.Address, x.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address, means, rows, rowsPerBlock, c, relu));
        }
        else
        {
            var pool = settings.Pool!.Value;
            var (tiles, grid) = Tile(pool, pool.H, pool.W, x.Type, MostApplyBlocks);
            Launch($"batch_norm_input_pool_{Suffix(x)}", grid, PoolThreads,
                new BatchNormInputPoolArguments(
                    dX.Address, dY.Address, argmax.Address, x.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address, means,
                    Native(pool), tiles, relu));
        }
    }

    /// <summary>Moments of runs of rows of x, and the rows of a run.</summary>
    private (nint Partial, long RowsPerBlock) BlockMoments(Tensor x, long rows, int c)
    {
        var (rowsPerBlock, grid) = Rows(rows, c, x.Type, SumBlocks(c));
        Launch($"batch_norm_moments_{Suffix(x)}", grid, BatchNormThreads,
            new BatchNormMomentsArguments(lane.Scratch, x.Address, rows, rowsPerBlock, c));
        return (lane.Scratch, rowsPerBlock);
    }

    /// <summary>The same moments, or merged in groups where they are more than the few blocks of the statistics should read.</summary>
    private (nint Partial, long RowsPerBlock) FewMoments(Moments moments, int c)
    {
        int parts = moments.Parts.Shape[0], perGroup = Parts(parts, Math.Min(MostMergedParts, SumBlocks(c))), groups = Parts(parts, perGroup);
        if (perGroup == 1)
            return (moments.Parts.Address, moments.Rows);
        Launch("batch_norm_merge", Strided((long)groups * c, BatchNormThreads), BatchNormThreads,
            new BatchNormMergeArguments(lane.Scratch, moments.Parts.Address, moments.Count, moments.Rows, perGroup, c));
        return (lane.Scratch, moments.Rows * perGroup);
    }

    /// <param name="spread">1 / standard deviation; with an epsilon above 0, the variance.</param>
    private void Apply(
        Tensor y, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor spread, float epsilon, Pool2dGeometry? pool, bool relu)
    {
        if (pool is { } geometry)
        {
            var (tiles, grid) = Tile(geometry, geometry.P, geometry.Q, x.Type, MostApplyBlocks);
            Launch($"batch_norm_apply_pool_{Suffix(x)}", grid, PoolThreads,
                new BatchNormApplyPoolArguments(
                    y.Address, argmax?.Address ?? 0, x.Address, gamma.Address, beta.Address, mean.Address, spread.Address, epsilon,
                    Native(geometry), tiles, relu ? 1 : 0));
        }
        else
        {
            int c = (int)gamma.Count;
            long rows = x.Count / c;
            var (rowsPerBlock, grid) = Rows(rows, c, x.Type, MostApplyBlocks);
            Launch($"batch_norm_apply_{Suffix(x)}", grid, BatchNormThreads,
                new BatchNormApplyArguments(
                    y.Address, x.Address, gamma.Address, beta.Address, mean.Address, spread.Address, epsilon, rows, rowsPerBlock, c, relu ? 1 : 0));
        }
    }

    /// <summary>
    /// Cuts rows of channels into the blocks of kernels/batch_norm.cu: at most so many, and not so small that a thread has fewer than four rows where there
    /// are as many.
    /// </summary>
    private static (long RowsPerBlock, Grid Grid) Rows(long rows, int channels, DType act, int mostBlocks)
    {
        int all = channels / Lanes(channels, act);
        int tiles = Parts(all, BatchNormThreads), atOnce = BatchNormThreads / Parts(all, tiles);
        long most = Math.Max(1, mostBlocks / tiles), perBlock = Math.Max(4L * atOnce, (rows + most - 1) / most);
        return (perBlock, new((rows + perBlock - 1) / perBlock, tiles));
    }

    /// <summary>Blocks whose partial results, two numbers a channel each, fit into the scratch behind as much again.</summary>
    private static int SumBlocks(int channels) => (int)Math.Min(MostSumBlocks, CudaLane.ScratchBytes / (2L * sizeof(float) * channels) - 1);
}
