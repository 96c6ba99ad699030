using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cpu;

/// <summary>The three passes of one convolution geometry, built once. Made and run with the same number of threads.</summary>
internal sealed class CpuConv2d : SafeHandle
{
    /// <summary>Only for the marshaller; call <see cref="Create"/>.</summary>
    public CpuConv2d()
        : base(0, ownsHandle: true)
    {
    }

    /// <summary>Bytes of scratch that a pass may need, on a 64-byte boundary.</summary>
    public long WorkspaceBytes { get; private set; }

    /// <summary>That the passes do: forward, gradient of x, gradient of the weights.</summary>
    public unsafe long[] Multiplications()
    {
        long[] counts = new long[3];
        fixed (long* first = counts)
            CpuNative.Conv2dMultiplications(this, first);
        return counts;
    }

    public override bool IsInvalid => handle == 0;

    public static CpuConv2d Create(in CpuConv2dGeometry geometry, CpuType type, CpuConv2dAlgorithm algorithm)
    {
        CpuNative.Check(CpuNative.Conv2dCreate(out CpuConv2d conv, out long workspace, in geometry, type, algorithm));
        conv.WorkspaceBytes = workspace;
        return conv;
    }

    protected override bool ReleaseHandle()
    {
        CpuNative.Conv2dDestroy(handle);
        return true;
    }
}
