namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int LinearSumThreads = 256, LinearBiasThreads = 128, LinearWeightThreads = 256, LinearWeightTile = 64;

    /// <summary>Batches of at most so many rows take the tile that is narrow in rows.</summary>
    private const int LinearFewRows = 32;

    /// <summary>Blocks that a product is cut into where its depth allows it: two for each multiprocessor of a large GPU. Not asked of the device,
    /// because the slices decide the order of the sums.</summary>
    private const int LinearBlocks = 256;

    /// <summary>A slice is at least so deep, and a multiple of the depths of both tiles.</summary>
    private const int LinearLeastDepth = 64, LinearDepthStep = 32;

    [Kernels("linear_forward_few_f32", "linear_forward_few_bf16", "linear_forward_many_f32", "linear_forward_many_bf16")]
    private readonly record struct LinearForwardArguments(
        nint Y, nint Parts, nint X, nint Weight, nint Bias, int Rows, int Columns, int Depth, int SliceDepth);

    [Kernels(
        "linear_backward_data_few_f32", "linear_backward_data_few_bf16", "linear_backward_data_many_f32", "linear_backward_data_many_bf16")]
    private readonly record struct LinearBackwardDataArguments(
        nint DX, nint Parts, nint DY, nint Weight, int Rows, int Columns, int Depth, int SliceDepth);

    [Kernels("linear_sum_f32", "linear_sum_bf16")]
    private readonly record struct LinearSumArguments(nint Y, nint Parts, nint Bias, long Count, int Columns, int Slices);

    [Kernels("linear_backward_weight_f32", "linear_backward_weight_bf16")]
    private readonly record struct LinearBackwardWeightArguments(nint DWeight, nint DY, nint X, int Rows, int Inputs, int Outputs);

    [Kernels("linear_backward_bias_f32", "linear_backward_bias_bf16")]
    private readonly record struct LinearBackwardBiasArguments(nint DBias, nint DY, int Rows, int Outputs);

    /// <summary>How a product of a batch is cut: its tile's name, threads and blocks, and the depth of a slice.</summary>
    private readonly record struct LinearCut(string Tile, int Threads, Grid Grid, int SliceDepth)
    {
        public int Slices => Grid.Z;

        /// <summary>A pure function of the shape.</summary>
        public static LinearCut Of(int rows, int columns, int depth)
        {
            bool few = rows <= LinearFewRows;
            int tileRows = few ? 16 : 64, tileColumns = few ? 128 : 64;
            int across = Parts(columns, tileColumns), down = Parts(rows, tileRows);
            long mostSlices = Math.Min(Parts(depth, LinearLeastDepth), CudaLane.ScratchBytes / ((long)rows * columns * sizeof(float)));
            int slices = (int)Math.Clamp(LinearBlocks / ((long)across * down), 1, Math.Max(mostSlices, 1));
            int sliceDepth = Parts(Parts(depth, slices), LinearDepthStep) * LinearDepthStep;
            return new(few ? "few" : "many", tileRows * tileColumns / 16, new Grid(across, down, Parts(depth, sliceDepth)), sliceDepth);
        }

        private static int Parts(int whole, int part) => (whole + part - 1) / part;
    }

    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias)
    {
        int rows = x.Shape[0], inputs = x.Shape[1], outputs = y.Shape[1];
        var cut = LinearCut.Of(rows, outputs, inputs);
        Launch($"linear_forward_{cut.Tile}_{Suffix(y)}", cut.Grid, cut.Threads, new LinearForwardArguments(
            y.Address, LinearParts(cut), x.Address, weight.Address, bias.Address, rows, outputs, inputs, cut.SliceDepth));
        LinearSum(y, cut, bias.Address);
    }

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight)
    {
        int rows = dY.Shape[0], inputs = dX.Shape[1], outputs = dY.Shape[1];
        var cut = LinearCut.Of(rows, inputs, outputs);
        Launch($"linear_backward_data_{cut.Tile}_{Suffix(dX)}", cut.Grid, cut.Threads, new LinearBackwardDataArguments(
            dX.Address, LinearParts(cut), dY.Address, weight.Address, rows, inputs, outputs, cut.SliceDepth));
        LinearSum(dX, cut, bias: 0);
    }

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x)
    {
        int rows = dY.Shape[0], inputs = x.Shape[1], outputs = dY.Shape[1];
        var tiles = new Grid((inputs + LinearWeightTile - 1) / LinearWeightTile, (outputs + LinearWeightTile - 1) / LinearWeightTile);
        Launch($"linear_backward_weight_{Suffix(dY)}", tiles, LinearWeightThreads,
            new LinearBackwardWeightArguments(dWeight.Address, dY.Address, x.Address, rows, inputs, outputs));
        Launch($"linear_backward_bias_{Suffix(dY)}", new Grid((outputs + LinearBiasThreads - 1) / LinearBiasThreads), LinearBiasThreads,
            new LinearBackwardBiasArguments(dBias.Address, dY.Address, rows, outputs));
    }

    /// <summary>Where the slices leave their parts; null if one slice writes the result itself.</summary>
    private nint LinearParts(in LinearCut cut) => cut.Slices > 1 ? lane.Scratch : 0;

    private void LinearSum(Tensor y, in LinearCut cut, nint bias)
    {
        if (cut.Slices > 1)
            Launch($"linear_sum_{Suffix(y)}", new Grid((y.Count + LinearSumThreads - 1) / LinearSumThreads), LinearSumThreads,
                new LinearSumArguments(y.Address, lane.Scratch, bias, y.Count, y.Shape[1], cut.Slices));
    }
}
