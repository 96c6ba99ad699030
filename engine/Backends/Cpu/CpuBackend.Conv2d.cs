using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed partial class CpuBackend
{
    private readonly Dictionary<(Conv2dGeometry Geometry, DType Act), CpuConv2d> convolutions = [];

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => Convolution(geometry, act).WorkspaceBytes;

    /// <summary>
    /// Multiplications that a convolution does: forward, for the gradient of x, for that of the weights. Those of transformed numbers
    /// count, the transforms do not.
    /// </summary>
    public IReadOnlyList<long> Conv2dMultiplications(in Conv2dGeometry geometry, DType act) => Convolution(geometry, act).Multiplications();

    // a batch norm's own pass costs less here than moments in oneDNN's convolutions, which have no place for them
    public int Conv2dMomentRows(in Conv2dGeometry geometry, DType act) => 0;

    // oneDNN takes the weights as they are, and reorders them for the instruction set itself
    public long Conv2dPreparedCount(in Conv2dGeometry geometry, DType act) => 0;

    public void Conv2dPrepare(IReadOnlyList<Conv2dWeights> weights, bool backward)
    {
    }

    public void Conv2dForward(Tensor y, Tensor? moments, Tensor x, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        CpuConv2d conv = Convolution(geometry, x.Type);
        CpuNative.Check(CpuNative.Conv2dForward(conv, y.Address, x.Address, weight.Address, Workspace(conv)));
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        CpuConv2d conv = Convolution(geometry, dY.Type);
        CpuNative.Check(CpuNative.Conv2dBackwardData(conv, dX.Address, dY.Address, weight.Address, Workspace(conv)));
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        CpuConv2d conv = Convolution(geometry, x.Type);
        CpuNative.Check(CpuNative.Conv2dBackwardWeight(conv, dWeight.Address, dY.Address, x.Address, Workspace(conv)));
    }

    private CpuConv2d Convolution(in Conv2dGeometry g, DType act)
    {
        Enter();
        if (!convolutions.TryGetValue((g, act), out CpuConv2d? conv))
        {
            conv = CpuConv2d.Create(
                Native(g), act == DType.BF16 ? CpuType.BF16 : CpuType.F32,
                algorithm == ConvolutionAlgorithm.Direct ? CpuConv2dAlgorithm.Direct : CpuConv2dAlgorithm.Auto);
            convolutions.Add((g, act), conv);
        }
        return conv;
    }

    private static CpuConv2dGeometry Native(in Conv2dGeometry g) =>
        new(g.N, g.H, g.W, g.C, g.K, g.R, g.S, g.StrideH, g.StrideW, g.PadH, g.PadW);

    private nint Workspace(CpuConv2d conv)
    {
        if (workspaceBytes < conv.WorkspaceBytes)
            throw new InvalidOperationException(
                $"this convolution needs {conv.WorkspaceBytes} bytes of workspace, SetWorkspace gave {workspaceBytes}");
        return workspace;
    }
}
