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
            x.Address, moments?.Parts.Address ?? 0, moments?.Rows ?? 0, moments?.Count ?? x.Count / gamma.Count, gamma.Address, beta.Address, Type(x), x.Count / gamma.Count, (int)gamma.Count,
            argmax is null ? null : &pool, settings.Epsilon, settings.Momentum, settings.Relu ? 1 : 0));
    }

    public void BatchNormMoments(Tensor moments, Tensor x, Moments? parts)
    {
        Enter();
        int c = x.Shape[3];
        CpuNative.Check(CpuNative.BatchNormMoments(moments.Address, x.Address, Type(x), x.Count / c, c)); // a convolution leaves no parts here
    }

    public void BatchNormApply(Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        Enter();
        CpuNative.Check(CpuNative.BatchNormApply(
            y.Address, x.Address, gamma.Address, beta.Address, mean.Address, inverseStd.Address, Type(x), x.Count / gamma.Count,
            (int)gamma.Count, settings.Relu ? 1 : 0));
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

    public void BatchNormBackwardMeans(
        Tensor means, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings, long count)
    {
        Enter();
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormBackwardMeans(
            means.Address, dGamma.Address, dBeta.Address, dY.Address, argmax?.Address ?? 0, x.Address,
            gamma.Address, beta.Address, mean.Address, inverseStd.Address, Type(x), x.Count / gamma.Count, count, (int)gamma.Count,
            argmax is null ? null : &pool, settings.Relu ? 1 : 0));
    }

    public void BatchNormBackwardData(
        Tensor dX, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor means, in BatchNormSettings settings)
    {
        Enter();
        CpuPool2dGeometry pool = Pool(settings);
        CpuNative.Check(CpuNative.BatchNormBackwardData(
            dX.Address, dY.Address, argmax?.Address ?? 0, x.Address,
            gamma.Address, beta.Address, mean.Address, inverseStd.Address, means.Address, Type(x), x.Count / gamma.Count, (int)gamma.Count,
            argmax is null ? null : &pool, settings.Relu ? 1 : 0));
    }

    private static CpuPool2dGeometry Pool(in BatchNormSettings settings) => settings.Pool is { } pool ? Native(pool) : default;
}
