using System.Runtime.CompilerServices;

namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int PrepareThreads = 256;

    [Kernels("conv2d_prepare_f32", "conv2d_prepare_tf32", "conv2d_prepare_bf16")]
    private readonly record struct Conv2dPrepareArguments(Conv2dPreparations Preparations);

    // of the forward pass, then of the gradient of x
    public long Conv2dPreparedCount(in Conv2dGeometry geometry, DType act)
    {
        var plan = Conv2dPlanOf(geometry, act);
        return (Conv2dPlan.PreparedBytes(plan.Forward, act) + Conv2dPlan.PreparedBytes(plan.BackwardData, act)) / act.Bytes();
    }

    public void Conv2dPrepare(IReadOnlyList<Conv2dWeights> weights, bool backward)
    {
        foreach (var sameType in weights.GroupBy(each => each.Prepared.Type))
        {
            var act = sameType.Key;
            Prepare(act, sameType.SelectMany(each =>
            {
                var plan = Conv2dPlanOf(each.Geometry, act);
                var forward = Forward(plan, each.Weight, each.Prepared.Address);
                nint behind = each.Prepared.Address + (nint)Conv2dPlan.PreparedBytes(plan.Forward, act);
                return backward ? forward.Concat(BackwardData(plan, each.Weight, act, behind)) : forward;
            }));
        }
    }

    private void Prepare(DType act, IEnumerable<Conv2dPreparation> preparations)
    {
        foreach (var some in preparations.Chunk(Conv2dPreparations.Most))
        {
            var arguments = new Conv2dPreparations();
            long most = 0;
            for (int i = 0; i < some.Length; i++)
            {
                arguments[i] = some[i];
                most = Math.Max(most, some[i].Runs(act));
            }
            Launch(
                $"conv2d_prepare_{Precision(act)}", Strided(most, PrepareThreads) with { Y = some.Length }, PrepareThreads,
                new Conv2dPrepareArguments(arguments));
        }
    }

    private static IEnumerable<Conv2dPreparation> Forward(Conv2dPlan plan, Tensor weight, nint prepared)
    {
        var (g, pass) = (plan.Geometry, plan.Forward);
        var all = pass.Classes[0];
        return [Preparation(pass, all, prepared, weight) with { Column = all.Depth, TapRow = g.S * g.C, TapColumn = g.C, Channel = 1 }];
    }

    /// <summary>One for each class of the stride that has taps.</summary>
    private static IEnumerable<Conv2dPreparation> BackwardData(Conv2dPlan plan, Tensor weight, DType act, nint prepared)
    {
        var (g, pass) = (plan.Geometry, plan.BackwardData);
        return pass.Classes.Zip(pass.Taps).Where(pair => pair.First.Depth > 0).Select(pair =>
        {
            var (each, taps) = pair;
            return Preparation(pass, each, prepared + (nint)(each.Weights * act.Bytes()), weight) with
            {
                Base = ((taps.FirstR + (taps.Rows - 1) * g.StrideH) * g.S + taps.FirstS + (taps.Columns - 1) * g.StrideW) * g.C,
                Column = 1,
                TapRow = -g.StrideH * g.S * g.C,
                TapColumn = -g.StrideW * g.C,
                Channel = g.R * g.S * g.C,
            };
        });
    }

    private static Conv2dPreparation Preparation(Conv2dGatherPlan pass, in Conv2dGather each, nint prepared, Tensor weight) => new()
    {
        Prepared = prepared,
        Weight = weight.Address,
        Taps = each.Taps,
        Channels = each.Channels,
        Lines = FastDivisor.Of(pass.Hopper ? pass.ColumnTiles * pass.TileColumns : pass.Columns),
        Tile = FastDivisor.Of(pass.TileColumns),
        Columns = pass.Columns,
        Depth = each.Depth,
        Pitch = each.Pitch,
        Hopper = pass.Hopper ? 1 : 0,
    };
}

/// <summary>
/// Conv2dPreparation of kernels/conv2d_prepare.cu, field by field: the weights of one class of a gather, where they come from and where
/// they go.
/// </summary>
internal readonly record struct Conv2dPreparation(
    nint Prepared, nint Weight,
    FastDivisor Taps, FastDivisor Channels, FastDivisor Lines, FastDivisor Tile,
    int Base, int Column, int TapRow, int TapColumn, int Channel,
    int Columns, int Depth, int Pitch, int Hopper)
{
    /// <summary>16 bytes of a row, what a thread writes at a time.</summary>
    public long Runs(DType act) => (long)Lines.Divisor * Pitch * act.Bytes() / Conv2dPlan.CopyBytes;
}

/// <summary>As many as the arguments of a launch have room for; Conv2dPreparations of kernels/conv2d_prepare.cu.</summary>
[InlineArray(Most)]
internal struct Conv2dPreparations
{
    public const int Most = 32;

    private Conv2dPreparation first;
}
