using Avedis.Engine;

namespace Avedis.Tests;

/// <summary>
/// Another backend behind hooks, for tests that let a device fail, lie or be watched: <see cref="Before"/> is called with the name of each
/// operation, in front of it; what else a test changes it overrides.
/// </summary>
internal class WatchedBackend(IBackend inner) : IBackend
{
    /// <summary>Called in front of every operation and transfer, with the method's name.</summary>
    public Action<string> Before { get; init; } = _ => { };

    public string Description => inner.Description;

    public bool HasFastBf16 => inner.HasFastBf16;

    public virtual nint Allocate(long bytes) => inner.Allocate(bytes);

    public void Free(nint address) => inner.Free(address);

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => inner.Conv2dWorkspace(geometry, act);

    public void SetWorkspace(nint address, long bytes) => inner.SetWorkspace(address, bytes);

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged
    {
        Before(nameof(Upload));
        inner.Upload(destination, source);
    }

    public void Download<T>(Span<T> destination, Tensor source) where T : unmanaged
    {
        Before(nameof(Download));
        inner.Download(destination, source);
    }

    public void Synchronize()
    {
        Before(nameof(Synchronize));
        inner.Synchronize();
    }

    public virtual long FreeMemory => inner.FreeMemory;

    public virtual void Replay(string name, Action work)
    {
        Before($"{nameof(Replay)} {name}");
        inner.Replay(name, work);
    }

    public long Mark() => inner.Mark();

    public double Microseconds(long from, long to) => inner.Microseconds(from, to);

    public IReadOnlyList<string> TakeLaunches() => inner.TakeLaunches();

    public void Zero(Tensor x)
    {
        Before(nameof(Zero));
        inner.Zero(x);
    }

    public void Copy(Tensor y, Tensor x)
    {
        Before(nameof(Copy));
        inner.Copy(y, x);
    }

    public void Add(Tensor y, Tensor x)
    {
        Before(nameof(Add));
        inner.Add(y, x);
    }

    public void Normalise(Tensor y, Tensor x, float scale, float shift)
    {
        Before(nameof(Normalise));
        inner.Normalise(y, x, scale, shift);
    }

    public void ReluForward(Tensor y, Tensor x)
    {
        Before(nameof(ReluForward));
        inner.ReluForward(y, x);
    }

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y)
    {
        Before(nameof(ReluBackward));
        inner.ReluBackward(dX, dY, y);
    }

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda)
    {
        Before(nameof(GradientReversalBackward));
        inner.GradientReversalBackward(dX, dY, lambda);
    }

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda)
    {
        Before(nameof(GradientReversalAdd));
        inner.GradientReversalAdd(dX, dY, lambda);
    }

    public void ConcatForward(Tensor y, Tensor a, Tensor b)
    {
        Before(nameof(ConcatForward));
        inner.ConcatForward(y, a, b);
    }

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY)
    {
        Before(nameof(ConcatBackward));
        inner.ConcatBackward(dA, dB, dY);
    }

    public void CountNonFinite(Tensor count, Tensor x)
    {
        Before(nameof(CountNonFinite));
        inner.CountNonFinite(count, x);
    }

    public void Conv2dForward(Tensor y, Tensor x, Tensor weight, in Conv2dGeometry geometry)
    {
        Before(nameof(Conv2dForward));
        inner.Conv2dForward(y, x, weight, geometry);
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry)
    {
        Before(nameof(Conv2dBackwardData));
        inner.Conv2dBackwardData(dX, dY, weight, geometry);
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        Before(nameof(Conv2dBackwardWeight));
        inner.Conv2dBackwardWeight(dWeight, dY, x, geometry);
    }

    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor x, Tensor gamma,
        Tensor beta, in BatchNormSettings settings)
    {
        Before(nameof(BatchNormForward));
        inner.BatchNormForward(y, argmax, mean, inverseStd, runningMean, runningVariance, x, gamma, beta, settings);
    }

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings)
    {
        Before(nameof(BatchNormInference));
        inner.BatchNormInference(y, x, gamma, beta, runningMean, runningVariance, settings);
    }

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean,
        Tensor inverseStd, in BatchNormSettings settings)
    {
        Before(nameof(BatchNormBackward));
        inner.BatchNormBackward(dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, settings);
    }

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) => inner.StemMemory(geometry, settings, act);

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state,
        Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Before(nameof(StemForward));
        inner.StemForward(
            y, argmax, mean, inverseStd, runningMean, runningVariance, state, scratch, x, weight, gamma, beta, geometry, settings);
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Before(nameof(StemInference));
        inner.StemInference(y, scratch, x, weight, gamma, beta, runningMean, runningVariance, geometry, settings);
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x, Tensor weight,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        Before(nameof(StemBackward));
        inner.StemBackward(
            dWeight, dGamma, dBeta, scratch, dY, y, argmax, x, weight, gamma, beta, mean, inverseStd, state, geometry, settings);
    }

    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry)
    {
        Before(nameof(MaxPoolForward));
        inner.MaxPoolForward(y, argmax, x, geometry);
    }

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry)
    {
        Before(nameof(MaxPoolBackward));
        inner.MaxPoolBackward(dX, dY, argmax, geometry);
    }

    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths)
    {
        Before(nameof(MaskedMeanForward));
        inner.MaskedMeanForward(y, x, lengths);
    }

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths)
    {
        Before(nameof(MaskedMeanBackward));
        inner.MaskedMeanBackward(dX, dY, lengths);
    }

    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias)
    {
        Before(nameof(LinearForward));
        inner.LinearForward(y, x, weight, bias);
    }

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight)
    {
        Before(nameof(LinearBackwardData));
        inner.LinearBackwardData(dX, dY, weight);
    }

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x)
    {
        Before(nameof(LinearBackwardWeight));
        inner.LinearBackwardWeight(dWeight, dBias, dY, x);
    }

    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale)
    {
        Before(nameof(SoftmaxCrossEntropy));
        inner.SoftmaxCrossEntropy(loss, probabilities, dLogits, logits, labels, weights, scale);
    }

    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale)
    {
        Before(nameof(UniformConfusion));
        inner.UniformConfusion(loss, kl, dLogits, logits, weights, scale);
    }

    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry)
    {
        Before(nameof(LogMel));
        inner.LogMel(y, samples, basis, filters, geometry);
    }

    public virtual void Adam(
        Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon)
    {
        Before(nameof(Adam));
        inner.Adam(parameters, gradients, m, v, schedule, beta1, beta2, epsilon);
    }

    public void Dispose() => inner.Dispose();
}
