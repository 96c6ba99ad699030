namespace Avedis.Engine;

// Which kernel of kernels/conv2d.cu runs when, in the precision f32, tf32 or bf16 (Conv2dPlan chooses, from the geometry alone):
//
//   pass                        kernel                                           tile
//   forward, gradient of x      conv2d_gather_<precision>_128x<w>[_general]      w = 128, 96, 64 or 32 columns (K or C): the least padding, a wider one
//                                                                                if in doubt; 24, 32 -> 32, 48, 64 -> 64, 96 -> 96, 256 -> 128
//   gradient of the weights     conv2d_weight_<precision>_<w>x<w>[_general]      w = 64 where K or R * S * C is no more than that, else 128
//
//
// On a Hopper, unless AVEDIS_HOPPER is off (HopperKernels.cs), BF16 with C and K in multiples of 8, of kernels/conv2d_hopper.cu, a block a
// multiprocessor:
//   forward, gradient of x      conv2d_hopper_gather_bf16_<h>x<w>                128 x 256 or 192, 256 x 128, 96 or 64: what fetches least; K (forward) or C
//                                                                                (gradient of x) at least 64
//   gradient of the weights     conv2d_hopper_weight_bf16_128x<w>                w = 256 or 128; K and R * S * C at least 64
//
//   _general   C (forward), K (gradient of x), either (weights) is no multiple of 16 bytes: 4 F32, 8 BF16
//   slices     a gather of few tiles (up to 132) is cut to fill 264 blocks, a weight pass to fill 528, into slices of eight steps at least; partial sums
//              in the workspace, behind the prepared weights, then reduce_slices_...
//   a forward pass without slices leaves moments for the batch norm behind it, a part for each tile of positions
//   in front of a gather: conv2d_prepare_<forward|backward>_<precision> or conv2d_hopper_prepare_bf16, once for each class of the stride that has taps
public sealed partial class CudaBackend
{
    private const int TransposedTile = 32, PrepareThreads = 256, ReduceThreads = 256, ReducedByBlock = 32;

    // Conv2dGatherPlan and the kernels agree on this
    private const int Stages = 4;

    // of kernels/conv2d_hopper.cu
    private const int HopperThreads = 384, HopperWeightRows = 128, HopperMostStages = 8, HopperSharedForStages = 200 << 10, HopperAlignment = 1024,
        HopperStep = Conv2dPlan.HopperStepBytes / sizeof(ushort);

    [Kernels(
        "conv2d_gather_f32_128x128", "conv2d_gather_f32_128x96", "conv2d_gather_f32_128x64", "conv2d_gather_f32_128x32",
        "conv2d_gather_f32_128x128_general", "conv2d_gather_f32_128x96_general", "conv2d_gather_f32_128x64_general", "conv2d_gather_f32_128x32_general",
        "conv2d_gather_tf32_128x128", "conv2d_gather_tf32_128x96", "conv2d_gather_tf32_128x64", "conv2d_gather_tf32_128x32",
        "conv2d_gather_tf32_128x128_general", "conv2d_gather_tf32_128x96_general", "conv2d_gather_tf32_128x64_general", "conv2d_gather_tf32_128x32_general",
        "conv2d_gather_bf16_128x128", "conv2d_gather_bf16_128x96", "conv2d_gather_bf16_128x64", "conv2d_gather_bf16_128x32",
        "conv2d_gather_bf16_128x128_general", "conv2d_gather_bf16_128x96_general", "conv2d_gather_bf16_128x64_general", "conv2d_gather_bf16_128x32_general",
        "conv2d_hopper_gather_bf16_128x256", "conv2d_hopper_gather_bf16_128x192", "conv2d_hopper_gather_bf16_256x128", "conv2d_hopper_gather_bf16_256x96",
        "conv2d_hopper_gather_bf16_256x64")]
    private readonly record struct Conv2dGatherArguments(
        nint Y, nint Partial, nint Moments, nint X, nint Weights, Conv2dGather Positions, int Columns, int ColumnTiles, int Slices, long Results);

    [Kernels(
        "conv2d_weight_f32_128x128", "conv2d_weight_f32_64x64", "conv2d_weight_f32_128x128_general", "conv2d_weight_f32_64x64_general",
        "conv2d_weight_tf32_128x128", "conv2d_weight_tf32_64x64", "conv2d_weight_tf32_128x128_general", "conv2d_weight_tf32_64x64_general",
        "conv2d_weight_bf16_128x128", "conv2d_weight_bf16_64x64", "conv2d_weight_bf16_128x128_general", "conv2d_weight_bf16_64x64_general",
        "conv2d_hopper_weight_bf16_128x256", "conv2d_hopper_weight_bf16_128x128")]
    private readonly record struct Conv2dWeightArguments(nint DWeight, nint Partial, nint DY, nint X, Conv2dWeightPass Pass, int Slices);

    [Kernels("conv2d_prepare_forward_f32", "conv2d_prepare_forward_tf32", "conv2d_prepare_forward_bf16")]
    private readonly record struct Conv2dPrepareForwardArguments(nint Prepared, nint Weight, int Rows, int Depth, int Pitch);

    [Kernels("conv2d_prepare_backward_f32", "conv2d_prepare_backward_tf32", "conv2d_prepare_backward_bf16")]
    private readonly record struct Conv2dPrepareBackwardArguments(
        nint Prepared, nint Weight, int K, int C, int R, int S, int FirstR, int FirstS, int StrideH, int StrideW, int Rows, int Columns, int Pitch);

    [Kernels("conv2d_hopper_prepare_bf16")]
    private readonly record struct Conv2dHopperPrepareArguments(nint Prepared, nint Weight, Conv2dHopperWeights Weights);

    [Kernels("reduce_slices_add_f32", "reduce_slices_f32", "reduce_slices_bf16")]
    private readonly record struct ReduceSlicesArguments(nint Y, nint Partial, long Count, int Slices);

    private readonly Dictionary<(Conv2dGeometry Geometry, DType Act), Conv2dPlan> conv2dPlans = [];
    private Conv2dTuning? tuning;

    /// <summary>Cuts that were measured: those committed for this architecture, or others to try.</summary>
    internal Conv2dTuning Tuning
    {
        get => tuning ??= Conv2dTuning.Of(context.ComputeCapability).For(Hopper);
        set
        {
            tuning = value;
            conv2dPlans.Clear();
        }
    }

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => Conv2dPlanOf(geometry, act).WorkspaceBytes;

    public int Conv2dMomentRows(in Conv2dGeometry geometry, DType act) => Conv2dPlanOf(geometry, act).MomentRows;

    public void Conv2dForward(Tensor y, Tensor? moments, Tensor x, Tensor weight, in Conv2dGeometry geometry)
    {
        var plan = Conv2dPlanOf(geometry, x.Type);
        RequireWorkspace(plan);
        var (g, each) = (plan.Geometry, plan.Forward.Classes[0]);
        if (plan.Forward.Hopper)
            PrepareHopper(weight, plan.Forward, each, new(
                each.Taps, each.Channels, 0, each.Depth, g.S * g.C, g.C, 1, g.K, each.Depth, each.Pitch / HopperStep, default, default));
        else
            Launch($"conv2d_prepare_forward_{Precision(x.Type)}", new((each.Pitch + PrepareThreads - 1) / PrepareThreads, Math.Min(g.K, 65535)), PrepareThreads,
                new Conv2dPrepareForwardArguments(workspace, weight.Address, g.K, each.Depth, each.Pitch));
        Gather(y, moments, x, plan.Forward);
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry)
    {
        var plan = Conv2dPlanOf(geometry, dY.Type);
        RequireWorkspace(plan);
        var (g, pass) = (plan.Geometry, plan.BackwardData);
        for (int i = 0; i < pass.Classes.Length; i++)
        {
            var (each, taps) = (pass.Classes[i], pass.Taps[i]);
            if (each.Depth == 0)
                continue;
            if (pass.Hopper)
                PrepareHopper(weight, pass, each, new(
                    each.Taps, each.Channels,
                    ((taps.FirstR + (taps.Rows - 1) * g.StrideH) * g.S + taps.FirstS + (taps.Columns - 1) * g.StrideW) * g.C,
                    1, -g.StrideH * g.S * g.C, -g.StrideW * g.C, g.R * g.S * g.C, g.C, each.Depth, each.Pitch / HopperStep, default, default));
            else
                Launch($"conv2d_prepare_backward_{Precision(dY.Type)}",
                    new((g.K + TransposedTile - 1) / TransposedTile, (g.C + TransposedTile - 1) / TransposedTile, taps.Rows * taps.Columns), PrepareThreads,
                    new Conv2dPrepareBackwardArguments(
                        workspace + (nint)(each.Weights * dY.Type.Bytes()), weight.Address, g.K, g.C, g.R, g.S, taps.FirstR, taps.FirstS,
                        g.StrideH, g.StrideW, taps.Rows, taps.Columns, each.Pitch));
        }
        Gather(dX, null, dY, pass);
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        var plan = Conv2dPlanOf(geometry, x.Type);
        RequireWorkspace(plan);
        int tile = plan.WeightTile;
        var arguments = new Conv2dWeightArguments(dWeight.Address, workspace, dY.Address, x.Address, plan.Weight, plan.WeightSlices);
        var grid = new Grid(plan.WeightTiles, plan.WeightSlices);
        if (plan.WeightHopper)
            Launch($"conv2d_hopper_weight_bf16_128x{tile}", grid, HopperThreads, arguments, HopperSharedBytes(HopperWeightRows, tile));
        else
            Launch($"conv2d_weight_{Precision(x.Type)}_{tile}x{tile}{(plan.WeightGeneral ? "_general" : "")}", grid, Conv2dThreads(x.Type, tile, tile), arguments,
                Conv2dSharedBytes(tile, tile));
        if (plan.WeightSlices > 1)
            ReduceSlices("reduce_slices_add_f32", dWeight, workspace, plan.WeightSlices);
    }

    /// <summary>y = or += (by the kernel's name) the sum of so many FP32 results [slices, elements of y], in order.</summary>
    private void ReduceSlices(string kernel, Tensor y, nint partial, int slices) =>
        Launch(kernel, new((y.Count + ReducedByBlock - 1) / ReducedByBlock), ReduceThreads, new ReduceSlicesArguments(y.Address, partial, y.Count, slices));

    private void Gather(Tensor y, Tensor? moments, Tensor x, Conv2dGatherPlan pass)
    {
        nint partial = workspace + (nint)Conv2dPlan.PreparedBytes(pass, x.Type);
        foreach (var each in pass.Classes)
        {
            var arguments = new Conv2dGatherArguments(
                y.Address, partial, moments?.Address ?? 0, x.Address, workspace, each, pass.Columns, pass.ColumnTiles, pass.Slices, pass.Results);
            if (pass.Hopper)
                Launch($"conv2d_hopper_gather_bf16_{pass.TileRows}x{pass.TileColumns}", new(Math.Min(pass.Tiles(each), context.Multiprocessors), pass.Slices), HopperThreads,
                    arguments, HopperSharedBytes(pass.TileRows, pass.TileColumns));
            else
                Launch($"conv2d_gather_{Precision(x.Type)}_{pass.TileRows}x{pass.TileColumns}{(pass.General ? "_general" : "")}", new(pass.Tiles(each), pass.Slices),
                    Conv2dThreads(x.Type, pass.TileRows, pass.TileColumns), arguments, Conv2dSharedBytes(pass.TileRows, pass.TileColumns));
        }
        if (pass.Slices > 1)
            ReduceSlices($"reduce_slices_{Suffix(y)}", y, partial, pass.Slices);
    }

    private void PrepareHopper(Tensor weight, Conv2dGatherPlan pass, in Conv2dGather each, Conv2dHopperWeights weights)
    {
        int lines = pass.ColumnTiles * pass.TileColumns;
        long chunks = (long)lines * each.Pitch / Conv2dPlan.HopperVector;
        Launch("conv2d_hopper_prepare_bf16", Strided(chunks, PrepareThreads), PrepareThreads, new Conv2dHopperPrepareArguments(
            workspace + (nint)(each.Weights * sizeof(ushort)), weight.Address,
            weights with { Lines = FastDivisor.Of(lines), Tile = FastDivisor.Of(pass.TileColumns) }));
    }

    internal static int HopperSharedBytes(int rows, int columns)
    {
        int stage = (rows + columns) * Conv2dPlan.HopperStepBytes;
        return Math.Min(HopperMostStages, HopperSharedForStages / stage) * stage + HopperAlignment;
    }

    internal static int Conv2dSharedBytes(int rows, int columns) => Stages * (rows + columns) * Conv2dPlan.StepBytes;

    /// <summary>Four warps on the matrix units, else 64 sums a thread.</summary>
    private int Conv2dThreads(DType act, int rows, int columns) => act == DType.BF16 || tf32 ? 128 : rows * columns / 64;

    private string Precision(DType act) => act == DType.BF16 ? "bf16" : tf32 ? "tf32" : "f32";

    /// <exception cref="InvalidOperationException">The table of this architecture has an impossible cut.</exception>
    internal Conv2dPlan Conv2dPlanOf(in Conv2dGeometry geometry, DType act)
    {
        if (conv2dPlans.TryGetValue((geometry, act), out var plan))
            return plan;
        string precision = act == DType.BF16 ? "bf16" : tf32 ? "tf32" : "fp32";
        try
        {
            plan = new Conv2dPlan(geometry, act, Hopper, Tuning[geometry, precision]);
        }
        catch (ArgumentException impossible)
        {
            throw new InvalidOperationException($"{Conv2dTuning.FileName(Tuning.Architecture)}, {precision}, {geometry}: {impossible.Message}", impossible);
        }
        conv2dPlans.Add((geometry, act), plan);
        return plan;
    }

    private void RequireWorkspace(Conv2dPlan plan)
    {
        if (workspaceBytes < plan.WorkspaceBytes)
            throw new InvalidOperationException($"this convolution needs {plan.WorkspaceBytes} bytes of workspace, SetWorkspace gave {workspaceBytes}");
    }
}
