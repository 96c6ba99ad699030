using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>
/// Convolution, then the fused batch norm, over a stored convolution output z: the state. The gradient of z takes its place, since the batch norm's
/// backward pass reads each element of z for the last time when it writes that element's gradient.
/// </summary>
public sealed unsafe partial class CpuBackend
{
    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) =>
        new(geometry.Output.Count * act.Bytes(), 0, 0, Conv2dWorkspace(geometry, act));

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        nint z = StemConvolution(state!, x, weight, geometry);
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormForward(
            y.Address, argmax.Address, mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address,
            z, gamma.Address, beta.Address, Type(x), Rows(geometry), geometry.K, &pool, settings.Epsilon, settings.Momentum, settings.Relu ? 1 : 0));
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        nint z = StemConvolution(scratch!, x, weight, geometry);
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
        CpuConv2d conv = Convolution(geometry, x.Type);
        nint z = state!.Address, dZ = z;
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormBackward(
            dZ, dGamma.Address, dBeta.Address, dY.Address, argmax.Address, z, gamma.Address, beta.Address, mean.Address, inverseStd.Address,
            Type(x), Rows(geometry), geometry.K, &pool, settings.Relu ? 1 : 0));
        CpuNative.Check(CpuNative.Conv2dBackwardWeight(conv, dWeight.Address, dZ, x.Address, Workspace(conv)));
    }

    private nint StemConvolution(Tensor z, Tensor x, Tensor weight, in Conv2dGeometry geometry)
    {
        CpuConv2d conv = Convolution(geometry, x.Type);
        CpuNative.Check(CpuNative.Conv2dForward(conv, z.Address, x.Address, weight.Address, Workspace(conv)));
        return z.Address;
    }

    private static long Rows(in Conv2dGeometry geometry) => geometry.Output.Count / geometry.K;
}
