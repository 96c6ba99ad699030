using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>
/// Convolution, then the fused batch norm, over a stored convolution output z: the state. Its gradient takes z's place. The scratches are the
/// convolution's workspace.
/// </summary>
public sealed unsafe partial class CpuBackend
{
    private const long StemAlignment = 64;

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act)
    {
        long output = geometry.Output.Count * act.Bytes(), workspace = Convolution(geometry, act).WorkspaceBytes;
        return new((output + StemAlignment - 1) / StemAlignment * StemAlignment, workspace, workspace);
    }

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        nint z = state!.Address;
        CpuNative.Check(CpuNative.Conv2dForward(Convolution(geometry, x.Type), z, x.Address, weight.Address, scratch?.Address ?? 0));
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormForward(
            y.Address, argmax.Address, mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address,
            z, gamma.Address, beta.Address, Type(x), Rows(geometry), geometry.K, &pool, settings.Epsilon, settings.Momentum, settings.Relu ? 1 : 0));
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        nint z = scratch!.Address, workspace = z + (nint)StemMemory(geometry, settings, x.Type).State;
        CpuNative.Check(CpuNative.Conv2dForward(Convolution(geometry, x.Type), z, x.Address, weight.Address, workspace));
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormInference(
            y.Address, z, gamma.Address, beta.Address, runningMean.Address, runningVariance.Address,
            Type(x), Rows(geometry), geometry.K, &pool, settings.Epsilon, settings.Relu ? 1 : 0));
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        nint z = state!.Address, dZ = z;
        CpuConv2d conv = Convolution(geometry, x.Type);
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormBackward(
            dZ, dGamma.Address, dBeta.Address, dY.Address, argmax.Address, z, gamma.Address, beta.Address, mean.Address, inverseStd.Address,
            Type(x), Rows(geometry), geometry.K, &pool, settings.Relu ? 1 : 0));
        CpuNative.Check(CpuNative.Conv2dBackwardWeight(conv, dWeight.Address, dZ, x.Address, scratch?.Address ?? 0));
    }

    private static long Rows(in Conv2dGeometry geometry) => geometry.Output.Count / geometry.K;
}
