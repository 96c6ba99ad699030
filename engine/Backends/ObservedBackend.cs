namespace Avedis.Engine;

/// <summary>
/// Another backend behind a single door: every operation passes through <see cref="Run"/> with its name and its tensors, so that whoever plans, times or
/// watches a step says once what it does, not for each operation.
/// </summary>
public abstract class ObservedBackend(IBackend inner) : IBackend
{
    /// <param name="Name">The operation's noun and pass: conv2d forward, batch_norm backward, ...</param>
    /// <param name="Flops">Multiplications and additions; 0 where memory traffic is what counts.</param>
    /// <param name="Workspace">Bytes of workspace that it may use.</param>
    protected readonly record struct Operation(string Name, double Flops = 0, long Workspace = 0);

    protected IBackend Inner { get; } = inner;

    /// <param name="call">Lets the other backend do it.</param>
    /// <param name="tensors">All that it reads or writes, the first that it writes in front; twice where it both reads and writes all of it.</param>
    protected abstract void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors);

    public string Description => Inner.Description;

    public PrecisionRates Rates() => Inner.Rates();

    public virtual nint Allocate(long bytes, long margin = 0) => Inner.Allocate(bytes, margin);

    public virtual long Margin(long largestUpload) => Inner.Margin(largestUpload);

    public virtual void Free(nint address) => Inner.Free(address);

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => Inner.Conv2dWorkspace(geometry, act);

    public int Conv2dMomentRows(in Conv2dGeometry geometry, DType act) => Inner.Conv2dMomentRows(geometry, act);

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) => Inner.StemMemory(geometry, settings, act);

    public virtual void SetWorkspace(nint address, long bytes, long side = 0) => Inner.SetWorkspace(address, bytes, side);

    public abstract void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged;

    public abstract void Download<T>(Span<T> destination, Tensor source) where T : unmanaged;

    public virtual void Synchronize() => Inner.Synchronize();

    public bool HostMemory => Inner.HostMemory;

    public virtual void AllReduce(Tensor x, ICollective collective) => Inner.AllReduce(x, collective);

    public virtual void AwaitReductions() => Inner.AwaitReductions();

    public virtual long FreeMemory => Inner.FreeMemory;

    public virtual void Replay(string name, Action work) => Inner.Replay(name, work);

    public virtual void SideBySide(Action first, Action second) => Inner.SideBySide(first, second);

    public virtual long Mark() => Inner.Mark();

    public virtual double Microseconds(long from, long to) => Inner.Microseconds(from, to);

    public virtual void ForgetMarks() => Inner.ForgetMarks();

    public virtual void Hold() => Inner.Hold();

    public virtual void Release() => Inner.Release();

    public virtual IReadOnlyList<string> TakeLaunches() => Inner.TakeLaunches();

    public void Zero(Tensor x) => Run(new("zero"), () => Inner.Zero(x), x);

    public void Copy(Tensor y, Tensor x) => Run(new("copy"), () => Inner.Copy(y, x), y, x);

    public void Add(Tensor y, Tensor x) => Run(new("add"), () => Inner.Add(y, x), y, x, y);

    public void Normalise(Tensor y, Tensor x, float scale, float shift) => Run(new("normalise"), () => Inner.Normalise(y, x, scale, shift), y, x);

    public void AugmentFaces(Tensor y, Tensor x, Tensor plans, float scale, float shift) =>
        Run(new("augment faces"), () => Inner.AugmentFaces(y, x, plans, scale, shift), y, x, plans);

    public void AugmentMels(Tensor y, Tensor x, Tensor plans) => Run(new("augment mels"), () => Inner.AugmentMels(y, x, plans), y, x, plans);

    public void ReluForward(Tensor y, Tensor x) => Run(new("relu forward"), () => Inner.ReluForward(y, x), y, x);

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y) => Run(new("relu backward"), () => Inner.ReluBackward(dX, dY, y), dX, dY, y);

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda) =>
        Run(new("gradient_reversal backward"), () => Inner.GradientReversalBackward(dX, dY, lambda), dX, dY, lambda);

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda) =>
        Run(new("gradient_reversal add"), () => Inner.GradientReversalAdd(dX, dY, lambda), dX, dY, lambda, dX);

    public void ConcatForward(Tensor y, Tensor a, Tensor b) => Run(new("concat forward"), () => Inner.ConcatForward(y, a, b), y, a, b);

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY) => Run(new("concat backward"), () => Inner.ConcatBackward(dA, dB, dY), dA, dB, dY);

    public void CountNonFinite(Tensor count, Tensor x) => Run(new("count_non_finite"), () => Inner.CountNonFinite(count, x), count, x);

    public long Conv2dPreparedCount(in Conv2dGeometry geometry, DType act) => Inner.Conv2dPreparedCount(geometry, act);

    public void Conv2dPrepare(IReadOnlyList<Conv2dWeights> weights, bool backward) => Run(
        new("conv2d prepare"), () => Inner.Conv2dPrepare(weights, backward),
        [.. weights.Select(each => each.Prepared), .. weights.Select(each => each.Weight)]);

    public void Conv2dForward(Tensor y, Tensor? moments, Tensor x, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        var g = geometry;
        Run(
            Convolution("conv2d forward", g, x.Type), () => Inner.Conv2dForward(y, moments, x, weight, g, prepared),
            y, moments, x, weight, prepared);
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry, Tensor? prepared = null)
    {
        var g = geometry;
        Run(
            Convolution("conv2d backward data", g, dY.Type), () => Inner.Conv2dBackwardData(dX, dY, weight, g, prepared),
            dX, dY, weight, prepared);
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        var g = geometry;
        Run(Convolution("conv2d backward weight", g, x.Type), () => Inner.Conv2dBackwardWeight(dWeight, dY, x, g), dWeight, dY, x);
    }

    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Moments? moments, Tensor gamma, Tensor beta, in BatchNormSettings settings)
    {
        var s = settings;
        Run(
            new("batch_norm forward"),
            () => Inner.BatchNormForward(y, argmax, mean, inverseStd, runningMean, runningVariance, x, moments, gamma, beta, s),
            y, argmax, mean, inverseStd, runningMean, runningVariance, x, moments?.Parts, gamma, beta);
    }

    public void BatchNormMoments(Tensor moments, Tensor x, Moments? parts) =>
        Run(new("batch_norm moments"), () => Inner.BatchNormMoments(moments, x, parts), moments, x, parts?.Parts);

    public void BatchNormApply(Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        var s = settings;
        Run(
            new("batch_norm apply"), () => Inner.BatchNormApply(y, x, gamma, beta, mean, inverseStd, s),
            y, x, gamma, beta, mean, inverseStd);
    }

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings)
    {
        var s = settings;
        Run(
            new("batch_norm inference"),
            () => Inner.BatchNormInference(y, x, gamma, beta, runningMean, runningVariance, s), y, x, gamma, beta, runningMean, runningVariance);
    }

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        var s = settings;
        Run(
            new("batch_norm backward"),
            () => Inner.BatchNormBackward(dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, s),
            dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd);
    }

    public void BatchNormBackwardMeans(
        Tensor means, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings, long count)
    {
        var s = settings;
        Run(
            new("batch_norm backward means"),
            () => Inner.BatchNormBackwardMeans(means, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, s, count),
            means, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd);
    }

    public void BatchNormBackwardData(
        Tensor dX, Tensor dY, Tensor? argmax, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor means, in BatchNormSettings settings)
    {
        var s = settings;
        Run(
            new("batch_norm backward data"),
            () => Inner.BatchNormBackwardData(dX, dY, argmax, x, gamma, beta, mean, inverseStd, means, s),
            dX, dY, argmax, x, gamma, beta, mean, inverseStd, means);
    }

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        var (g, s) = (geometry, settings);
        Run(
            Stem("stem forward", g, s, x.Type),
            () => Inner.StemForward(y, argmax, mean, inverseStd, runningMean, runningVariance, state, scratch, x, weight, gamma, beta, g, s),
            y, argmax, mean, inverseStd, runningMean, runningVariance, state, scratch, x, weight, gamma, beta);
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        var (g, s) = (geometry, settings);
        Run(
            Stem("stem inference", g, s, x.Type),
            () => Inner.StemInference(y, scratch, x, weight, gamma, beta, runningMean, runningVariance, g, s),
            y, scratch, x, weight, gamma, beta, runningMean, runningVariance);
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        var (g, s) = (geometry, settings);
        Run(
            Stem("stem backward", g, s, x.Type),
            () => Inner.StemBackward(dWeight, dGamma, dBeta, scratch, dY, y, argmax, x, weight, gamma, beta, mean, inverseStd, state, g, s),
            dWeight, dGamma, dBeta, scratch, dY, y, argmax, x, weight, gamma, beta, mean, inverseStd, state);
    }

    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry)
    {
        var g = geometry;
        Run(new("max_pool forward"), () => Inner.MaxPoolForward(y, argmax, x, g), y, argmax, x);
    }

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry)
    {
        var g = geometry;
        Run(new("max_pool backward"), () => Inner.MaxPoolBackward(dX, dY, argmax, g), dX, dY, argmax);
    }

    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths) =>
        Run(new("masked_mean forward"), () => Inner.MaskedMeanForward(y, x, lengths), y, x, lengths);

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths) =>
        Run(new("masked_mean backward"), () => Inner.MaskedMeanBackward(dX, dY, lengths), dX, dY, lengths);

    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias) =>
        Run(new("linear forward", 2.0 * y.Count * x.Shape[1]), () => Inner.LinearForward(y, x, weight, bias), y, x, weight, bias);

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight) =>
        Run(new("linear backward data", 2.0 * dX.Count * dY.Shape[1]), () => Inner.LinearBackwardData(dX, dY, weight), dX, dY, weight);

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x) => Run(
        new("linear backward weight", 2.0 * dWeight.Count * dY.Shape[0]), () => Inner.LinearBackwardWeight(dWeight, dBias, dY, x), dWeight, dBias, dY, x);

    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale) => Run(
        new("softmax_cross_entropy"),
        () => Inner.SoftmaxCrossEntropy(loss, probabilities, dLogits, logits, labels, weights, scale),
        loss, probabilities, dLogits, logits, labels, weights);

    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale) => Run(
        new("uniform_confusion"), () => Inner.UniformConfusion(loss, kl, dLogits, logits, weights, scale), loss, kl, dLogits, logits, weights);

    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry)
    {
        var g = geometry;
        long frames = y.Count / filters.Shape[0];
        Run(new("log_mel", 2.0 * frames * ((basis.Count / 2) + filters.Count)), () => Inner.LogMel(y, samples, basis, filters, g), y, samples, basis, filters);
    }

    public void GradientProjection(Tensor primary, Tensor adversary, Tensor offsets, Tensor alpha) => Run(
        new("gradient_projection"), () => Inner.GradientProjection(primary, adversary, offsets, alpha), primary, adversary, offsets, alpha, primary);

    public void Adam(Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon) => Run(
        new("adam"),
        () => Inner.Adam(parameters, gradients, m, v, schedule, beta1, beta2, epsilon),
        parameters, gradients, m, v, schedule, parameters, gradients, m, v);

    public void Dispose()
    {
        Inner.Dispose();
        GC.SuppressFinalize(this);
    }

    private Operation Convolution(string name, in Conv2dGeometry geometry, DType act) =>
        new(name, Flops(geometry), Inner.Conv2dWorkspace(geometry, act));

    private Operation Stem(string name, in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) =>
        new(name, Flops(geometry), Inner.StemMemory(geometry, settings, act).Workspace);

    // each of the three passes multiplies every output element with every weight behind it
    private static double Flops(in Conv2dGeometry g) => 2.0 * g.Output.Count * g.R * g.S * g.C;
}
