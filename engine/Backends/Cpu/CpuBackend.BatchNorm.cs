using Avedis.Bindings.Cpu;

namespace Avedis.Engine;

public sealed unsafe partial class CpuBackend
{
    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Moments? moments, Tensor gamma, Tensor beta, in BatchNormSettings settings)
    {
        Enter();
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormForward(
            y.Address, argmax?.Address ?? 0, mean.Address, inverseStd.Address, runningMean.Address, runningVariance.Address,
            x.Address, gamma.Address, beta.Address, Type(x), x.Count / gamma.Count, (int)gamma.Count,
            argmax is null ? null : &pool, settings.Epsilon, settings.Momentum, settings.Relu ? 1 : 0));
    }

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings)
    {
        Enter();
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormInference(
            y.Address, x.Address, gamma.Address, beta.Address, runningMean.Address, runningVariance.Address,
            Type(x), x.Count / gamma.Count, (int)gamma.Count, settings.Pool is null ? null : &pool, settings.Epsilon,
            settings.Relu ? 1 : 0));
    }

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        Enter();
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormBackward(
            dX.Address, dGamma.Address, dBeta.Address, dY.Address, argmax?.Address ?? 0, x.Address,
            gamma.Address, beta.Address, mean.Address, inverseStd.Address, Type(x), x.Count / gamma.Count, (int)gamma.Count,
            argmax is null ? null : &pool, settings.Relu ? 1 : 0));
    }

    private static CpuPool2dGeometry Pool(in BatchNormSettings settings) => settings.Pool is { } pool ? Native(pool) : default;
}
