namespace Avedis.Engine;

/// <summary>
/// The stem from the Gram matrix of its windows (kernels/stem.cu), where the image has one channel, the window is small and positions are
/// not few; otherwise, the convolution and the batch norm one after the other, over a stored convolution output.
/// </summary>
public sealed partial class CudaBackend
{
    private const int StemThreads = 256, StemMostTaps = 64, StemChannels = 32, StemPositions = 256, StemGroup = 7;
    private const int StemWarps = StemThreads / 32, StemPairSums = StemGroup * StemGroup + StemGroup;

    /// <summary>
    /// With so few positions the convolution's output may be almost constant in a channel, and its variance smaller than the rounding
    /// errors of the Gram matrix.
    /// </summary>
    private const int StemFewPositions = 64;

    /// <summary>Floats of a strip: more would leave room for one block on a multiprocessor of some GPUs.</summary>
    private const int StemMostStrip = 12 << 10;

    /// <summary>Blocks that share the sums of a pass: some more than a GPU runs at once. Not the device's number, so that sums do not depend on it.</summary>
    private const int StemBlocks = 512;

    private readonly Dictionary<(Conv2dGeometry, BatchNormSettings), StemPlan?> stemPlans = [];

    /// <summary>The kernels' Geometry.</summary>
    private readonly record struct StemGeometry(
        int N, int H, int W, int K, int R, int S, int StrideH, int StrideW, int PadH, int PadW, int P, int Q,
        int PoolR, int PoolS, int PoolStrideH, int PoolStrideW, int PoolPadH, int PoolPadW, int PooledP, int PooledQ, int Relu,
        int TileRows, int TileColumns, int Pitch, int GramRows, int GramColumns, int GramPitch);

    [Kernels("stem_gram_f32", "stem_gram_tf32", "stem_gram_bf16")]
    private readonly record struct StemGramArguments(nint Partial, nint State, nint X, StemGeometry Geometry);

    [Kernels("stem_merge")]
    private readonly record struct StemMergeArguments(nint State, nint Partial, int Taps, int Blocks);

    [Kernels("stem_statistics_f32", "stem_statistics_tf32", "stem_statistics_bf16")]
    private readonly record struct StemStatisticsArguments(
        nint Mean, nint InverseStd, nint RunningMean, nint RunningVariance, nint State, nint Weight, StemGeometry Geometry, float Epsilon, float Momentum);

    [Kernels("stem_forward_f32", "stem_forward_tf32", "stem_forward_bf16")]
    private readonly record struct StemForwardArguments(
        nint Y, nint Argmax, nint X, nint Weight, nint Gamma, nint Beta, nint Mean, nint Deviation, StemGeometry Geometry, float Epsilon, int IsVariance);

    [Kernels("stem_backward_f32", "stem_backward_tf32", "stem_backward_bf16")]
    private readonly record struct StemBackwardArguments(
        nint Partial, nint DY, nint Y, nint Argmax, nint X, nint State, StemGeometry Geometry);

    [Kernels("stem_finish_f32", "stem_finish_tf32", "stem_finish_bf16")]
    private readonly record struct StemFinishArguments(
        nint DWeight, nint DGamma, nint DBeta, nint Partial, nint State, nint Weight, nint Gamma, nint InverseStd, StemGeometry Geometry, int Blocks);

    /// <summary>How the kernels are launched for one geometry.</summary>
    private sealed record StemPlan(StemGeometry Geometry, long Tiles, int TileStrip)
    {
        public int Taps => Geometry.R * Geometry.S;

        /// <summary>Pairs of groups of taps, whose products a warp of the Gram kernel holds.</summary>
        public int Pairs
        {
            get
            {
                int groups = (Taps + StemGroup - 1) / StemGroup;
                return groups * (groups + 1) / 2;
            }
        }

        /// <summary>Gram matrix, sums and shift, in double precision.</summary>
        public long StateBytes => (Taps * Taps + Taps + 1) * sizeof(double);

        public Grid GramGrid
        {
            get
            {
                int pairBlocks = Blocks(Pairs, StemWarps);
                long tiles = (long)Geometry.N * Blocks(Geometry.P, Geometry.GramRows) * Blocks(Geometry.Q, Geometry.GramColumns);
                return new(Math.Min(tiles, StemBlocks / pairBlocks), pairBlocks);
            }
        }

        public int GramShared => StripFloats(Geometry.GramRows, Geometry.GramColumns, Geometry.GramPitch) * sizeof(float);

        public long GramBytes => GramGrid.X * Pairs * StemPairSums * sizeof(float);

        /// <summary>Weights of 32 channels, the activations of a tile with room between positions, and the strip.</summary>
        public int ForwardShared(bool matrix) =>
            (StemMostTaps * StemChannels + TilePositions * (StemChannels + (matrix ? 8 : 1)) + TileStrip) * sizeof(float);

        public Grid BackwardGrid
        {
            get
            {
                int chunks = Blocks(Geometry.K, StemChannels);
                return new(Math.Clamp(StemBlocks / chunks, 1, Tiles), chunks);
            }
        }

        /// <summary>The gradients of a tile in 32 channels, each with its place, and the strip.</summary>
        public int BackwardShared => Geometry.TileRows * Geometry.TileColumns * StemChannels * 2 * sizeof(float) + TileStrip * sizeof(float);

        public long BackwardBytes => BackwardGrid.X * Geometry.K * (Taps + 1) * sizeof(float);

        private int TilePositions => PoolExtent(Geometry.TileRows, Geometry.PoolStrideH, Geometry.PoolR) *
            PoolExtent(Geometry.TileColumns, Geometry.PoolStrideW, Geometry.PoolS);

        private int StripFloats(int rows, int columns, int pitch) =>
            (PoolExtent(rows, Geometry.StrideH, Geometry.R) - 1) * pitch + PoolExtent(columns, Geometry.StrideW, Geometry.S);

        /// <summary>
        /// Null where the kernels do not apply: several channels, a large window, few positions, strides that leave no tile that fits.
        /// </summary>
        public static StemPlan? Of(in Conv2dGeometry g, in Pool2dGeometry pool, bool relu)
        {
            if (g.C != 1 || g.R * g.S > StemMostTaps || (long)g.N * g.P * g.Q <= StemFewPositions)
                return null;
            // the fewest tiles; among those, the smallest strip
            (long Tiles, int Floats, int Rows, int Columns, int Pitch) best = (long.MaxValue, 0, 0, 0, 0);
            for (int rows = 1; rows <= pool.P && PoolExtent(rows, pool.StrideH, pool.R) <= StemPositions; rows++)
                for (int columns = 1; columns <= pool.Q; columns++)
                {
                    int positionRows = PoolExtent(rows, pool.StrideH, pool.R), positionColumns = PoolExtent(columns, pool.StrideW, pool.S);
                    if (positionRows * positionColumns > StemPositions)
                        break;
                    int pitch = Pitch(PoolExtent(positionColumns, g.StrideW, g.S), g, pool);
                    long floats = (long)PoolExtent(positionRows, g.StrideH, g.R) * pitch;
                    long tiles = (long)g.N * Blocks(pool.P, rows) * Blocks(pool.Q, columns);
                    if (floats <= StemMostStrip && (tiles < best.Tiles || tiles == best.Tiles && floats < best.Floats))
                        best = (tiles, (int)floats, rows, columns, pitch);
                }
            if (best.Rows == 0 || best.Tiles > int.MaxValue)
                return null;
            int gramColumns = Even(g.Q, StemPositions), gramRows = Even(g.P, Math.Max(1, 2 * StemPositions / gramColumns));
            while (StripSize(g, gramRows, gramColumns) > StemMostStrip)
                (gramRows, gramColumns) = gramRows > 1 ? (gramRows / 2, gramColumns) : (1, gramColumns / 2);
            return new(
                new(g.N, g.H, g.W, g.K, g.R, g.S, g.StrideH, g.StrideW, g.PadH, g.PadW, g.P, g.Q,
                    pool.R, pool.S, pool.StrideH, pool.StrideW, pool.PadH, pool.PadW, pool.P, pool.Q, relu ? 1 : 0,
                    best.Rows, best.Columns, best.Pitch, gramRows, gramColumns, PoolExtent(gramColumns, g.StrideW, g.S)),
                best.Tiles, best.Floats);
        }

        /// <summary>Elements under so many windows.</summary>
        private static int PoolExtent(int outputs, int stride, int window) => (outputs - 1) * stride + window;

        private static long StripSize(in Conv2dGeometry g, int rows, int columns) =>
            (long)PoolExtent(rows, g.StrideH, g.R) * PoolExtent(columns, g.StrideW, g.S);

        private static int Blocks(int count, int size) => (count + size - 1) / size;

        /// <summary>The largest part, at most so large, of a count cut into equal parts.</summary>
        private static int Even(int count, int most) => Blocks(count, Blocks(count, most));

        /// <summary>
        /// Floats from one row of a strip to the next: the fewest for which the windows of the positions that one pooled output may come from start in
        /// different banks of shared memory, if there are any.
        /// </summary>
        private static int Pitch(int columns, in Conv2dGeometry g, in Pool2dGeometry pool)
        {
            const int Banks = 32;
            for (int pitch = columns; pool.R * pool.S <= Banks && pitch < columns + Banks; pitch++)
            {
                uint taken = 0;
                for (int position = 0; position < pool.R * pool.S; position++)
                    taken |= 1u << ((position / pool.S * g.StrideH * pitch + position % pool.S * g.StrideW) % Banks);
                if (System.Numerics.BitOperations.PopCount(taken) == pool.R * pool.S)
                    return pitch;
            }
            return columns;
        }
    }

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act)
    {
        if (PlanStem(geometry, settings) is { } plan)
            return new(plan.StateBytes, plan.GramBytes, plan.BackwardBytes);
        long output = geometry.Output.Count * act.Bytes();
        return new(output, 0, output, Conv2dWorkspace(geometry, act));
    }

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        if (PlanStem(geometry, settings) is { } plan)
        {
            string form = StemForm(x);
            Launch($"stem_gram_{form}", plan.GramGrid, StemThreads,
                new StemGramArguments(scratch!.Address, state!.Address, x.Address, plan.Geometry), plan.GramShared);
            Launch("stem_merge", Strided(plan.Pairs * StemPairSums, StemThreads), StemThreads,
                new StemMergeArguments(state.Address, scratch.Address, plan.Taps, (int)plan.GramGrid.X));
            Launch($"stem_statistics_{form}", new(geometry.K), StemMostTaps, new StemStatisticsArguments(
                mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address, state.Address, weight.Address, plan.Geometry,
                settings.Epsilon, settings.Momentum));
            Launch($"stem_forward_{form}", new(plan.Tiles), StemThreads, new StemForwardArguments(
                y.Address, argmax.Address, x.Address, weight.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address, plan.Geometry,
                settings.Epsilon, IsVariance: 0), plan.ForwardShared(form != "f32"));
            return;
        }
        var z = StemOutput(geometry, x.Type, state!.Address);
        Conv2dForward(z, null, x, weight, geometry);
        BatchNormForward(y, argmax, mean, inverseStd, runningMean, runningVariance, z, null, gamma, beta, settings);
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        if (PlanStem(geometry, settings) is { } plan)
        {
            string form = StemForm(x);
            Launch($"stem_forward_{form}", new(plan.Tiles), StemThreads, new StemForwardArguments(
                y.Address, 0, x.Address, weight.Address, gamma.Address, beta.Address, runningMean.Address, runningVariance.Address, plan.Geometry,
                settings.Epsilon, IsVariance: 1), plan.ForwardShared(form != "f32"));
            return;
        }
        var z = StemOutput(geometry, x.Type, scratch!.Address);
        Conv2dForward(z, null, x, weight, geometry);
        BatchNormInference(y, z, gamma, beta, runningMean, runningVariance, settings);
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        if (PlanStem(geometry, settings) is { } plan)
        {
            string form = StemForm(x);
            Launch($"stem_backward_{form}", plan.BackwardGrid, StemThreads, new StemBackwardArguments(
                scratch!.Address, dY.Address, y.Address, argmax.Address, x.Address, state!.Address, plan.Geometry), plan.BackwardShared);
            Launch($"stem_finish_{form}", new(geometry.K), StemThreads, new StemFinishArguments(
                dWeight.Address, dGamma.Address, dBeta.Address, scratch.Address, state.Address, weight.Address, gamma.Address, inverseStd.Address,
                plan.Geometry, (int)plan.BackwardGrid.X));
            return;
        }
        Tensor z = StemOutput(geometry, x.Type, state!.Address), dZ = StemOutput(geometry, x.Type, scratch!.Address);
        BatchNormBackward(dZ, dGamma, dBeta, dY, argmax, z, gamma, beta, mean, inverseStd, settings);
        Conv2dBackwardWeight(dWeight, dZ, x, geometry);
    }

    private StemPlan? PlanStem(in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        if (!stemPlans.TryGetValue((geometry, settings), out var plan))
            stemPlans.Add((geometry, settings), plan = StemPlan.Of(geometry, settings.Pool!.Value, settings.Relu));
        return plan;
    }

    /// <summary>The suffix of a kernel's name that says how it rounds and multiplies.</summary>
    private string StemForm(Tensor x) => tf32 && x.Type == DType.F32 ? "tf32" : Suffix(x);

    private static Tensor StemOutput(in Conv2dGeometry geometry, DType act, nint address) => new("convolution output", geometry.Output, act, address);
}
