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
//   in front of a gather: conv2d_prepare_<precision>, unless the weights have been prepared before (CudaBackend.Conv2dPrepare.cs)
public sealed partial class CudaBackend
{
    private const int ReduceThreads = 256, ReducedByBlock = 32;

    // Conv2dGatherPlan and the kernels agree on this
    private const int Stages = 4;

    // of kernels/conv2d_hopper.cu
    private const int HopperThreads = 384, HopperWeightRows = 128, HopperMostStages = 8, HopperSharedForStages = 200 << 10,
        HopperAlignment = 1024;

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

    public void Conv2dForward(Tensor y, Tensor? moments, Tensor x, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        var plan = Conv2dPlanOf(geometry, x.Type);
        RequireWorkspace(plan);
        if (prepared is null)
            Prepare(x.Type, Forward(plan, weight, lane.Workspace));
        Gather(y, moments, x, plan.Forward, prepared?.Address ?? 0);
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        var plan = Conv2dPlanOf(geometry, dY.Type);
        RequireWorkspace(plan);
        if (prepared is null)
            Prepare(dY.Type, BackwardData(plan, weight, dY.Type, lane.Workspace));
        nint behind = (nint)Conv2dPlan.PreparedBytes(plan.Forward, dY.Type);
        Gather(dX, null, dY, plan.BackwardData, prepared is null ? 0 : prepared.Address + behind);
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        var plan = Conv2dPlanOf(geometry, x.Type);
        RequireWorkspace(plan);
        int tile = plan.WeightTile;
        var arguments = new Conv2dWeightArguments(dWeight.Address, lane.Workspace, dY.Address, x.Address, plan.Weight, plan.WeightSlices);
        var grid = new Grid(plan.WeightTiles, plan.WeightSlices);
        if (plan.WeightHopper)
            Launch($"conv2d_hopper_weight_bf16_128x{tile}", grid, HopperThreads, arguments, HopperSharedBytes(HopperWeightRows, tile));
        else
            Launch($"conv2d_weight_{Precision(x.Type)}_{tile}x{tile}{(plan.WeightGeneral ? "_general" : "")}", grid, Conv2dThreads(x.Type, tile, tile), arguments,
                Conv2dSharedBytes(tile, tile));
        if (plan.WeightSlices > 1)
            ReduceSlices("reduce_slices_add_f32", dWeight, lane.Workspace, plan.WeightSlices);
    }

    /// <summary>y = or += (by the kernel's name) the sum of so many FP32 results [slices, elements of y], in order.</summary>
    private void ReduceSlices(string kernel, Tensor y, nint partial, int slices) =>
        Launch(kernel, new((y.Count + ReducedByBlock - 1) / ReducedByBlock), ReduceThreads, new ReduceSlicesArguments(y.Address, partial, y.Count, slices));

    /// <param name="prepared">Address of the weights as the pass wants them; 0 where they are at the start of the workspace.</param>
    private void Gather(Tensor y, Tensor? moments, Tensor x, Conv2dGatherPlan pass, nint prepared)
    {
        nint weights = prepared == 0 ? lane.Workspace : prepared, partial = lane.Workspace + (nint)Conv2dPlan.PreparedBytes(pass, x.Type);
        foreach (var each in pass.Classes)
        {
            var arguments = new Conv2dGatherArguments(
                y.Address, partial, moments?.Address ?? 0, x.Address, weights, each,
                pass.Columns, pass.ColumnTiles, pass.Slices, pass.Results);
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
        if (lane.WorkspaceBytes < plan.WorkspaceBytes)
            throw new InvalidOperationException(
                $"this convolution needs {plan.WorkspaceBytes} bytes of workspace, SetWorkspace gave {lane.WorkspaceBytes}");
    }
}
