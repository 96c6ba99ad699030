using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

/// <summary>The stem from the Gram matrix of its windows: z is never stored, the state is that matrix.</summary>
public sealed partial class CpuBackend
{
    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) =>
        new(CpuNative.StemStateBytes(Native(geometry)), 0, 0);

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Enter();
        CpuNative.Check(CpuNative.StemForward(
            y.Address, argmax.Address, mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address, state!.Address,
            x.Address, weight.Address, gamma.Address, beta.Address,
            Type(x), Native(geometry), Pool(settings), settings.Epsilon, settings.Momentum, settings.Relu ? 1 : 0));
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Enter();
        CpuNative.Check(CpuNative.StemInference(
            y.Address, x.Address, weight.Address, gamma.Address, beta.Address, runningMean.Address, runningVariance.Address,
            Type(x), Native(geometry), Pool(settings), settings.Epsilon, settings.Relu ? 1 : 0));
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Enter();
        CpuNative.Check(CpuNative.StemBackward(
            dWeight.Address, dGamma.Address, dBeta.Address, dY.Address, y.Address, argmax.Address, x.Address,
            weight.Address, gamma.Address, inverseStd.Address, state!.Address,
            Type(x), Native(geometry), Pool(settings), settings.Relu ? 1 : 0));
    }
}
