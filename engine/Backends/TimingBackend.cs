namespace Avedis.Engine;

/// <summary>One call of an operation within a step: what, where in the network, how long, how much.</summary>
/// <param name="Op">The operation's noun and pass: conv2d forward, batch_norm backward, ...</param>
/// <param name="Tensor">The tensor that it wrote first.</param>
/// <param name="Seconds">Time on the device.</param>
/// <param name="Flops">Multiplications and additions; 0 where memory traffic is what counts.</param>
/// <param name="Bytes">Of all tensors that it takes, each counted once.</param>
/// <param name="Launches">What it launched on the device; see <see cref="IBackend.TakeLaunches"/>.</param>
public readonly record struct OpCall(string Op, Tensor Tensor, double Seconds, double Flops, long Bytes, IReadOnlyList<string> Launches);

/// <summary>
/// Another backend with a stop watch: passes every operation on between two marks, and afterwards tells how long each took. So operations are timed at
/// the network's shapes, in the network's order, with the caches in the state that a step leaves them in, and without waiting between them. Nothing is
/// replayed, because a replay has no single operations.
/// </summary>
public sealed class TimingBackend(IBackend inner) : IBackend
{
    private readonly List<(OpCall Call, long From, long To)> calls = [];

    /// <summary>Every operation since the last time, in order; waits for all of them.</summary>
    public IReadOnlyList<OpCall> TakeCalls()
    {
        OpCall[] timed = [.. calls.Select(c => c.Call with { Seconds = inner.Microseconds(c.From, c.To) / 1e6 })];
        calls.Clear();
        return timed;
    }

    public string Description => inner.Description;

    public bool HasFastBf16 => inner.HasFastBf16;

    public nint Allocate(long bytes) => inner.Allocate(bytes);

    public void Free(nint address) => inner.Free(address);

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => inner.Conv2dWorkspace(geometry, act);

    public void SetWorkspace(nint address, long bytes) => inner.SetWorkspace(address, bytes);

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
        where T : unmanaged
    {
        long start = inner.Mark();
        inner.Upload(destination, source);
        Note("upload", start, 0, destination);
    }

    public void Download<T>(Span<T> destination, Tensor source)
        where T : unmanaged
    {
        long start = inner.Mark();
        inner.Download(destination, source);
        Note("download", start, 0, source);
    }

    public void Synchronize() => inner.Synchronize();

    public long FreeMemory => inner.FreeMemory;

    public void Replay(string name, Action work) => work();

    public long Mark() => inner.Mark();

    public double Microseconds(long from, long to) => inner.Microseconds(from, to);

    public IReadOnlyList<string> TakeLaunches() => inner.TakeLaunches();

    public void Zero(Tensor x)
    {
        long start = inner.Mark();
        inner.Zero(x);
        Note("zero", start, 0, x);
    }

    public void Copy(Tensor y, Tensor x)
    {
        long start = inner.Mark();
        inner.Copy(y, x);
        Note("copy", start, 0, y, x);
    }

    public void Add(Tensor y, Tensor x)
    {
        long start = inner.Mark();
        inner.Add(y, x);
        Note("add", start, 0, y, x);
    }

    public void Normalise(Tensor y, Tensor x, float scale, float shift)
    {
        long start = inner.Mark();
        inner.Normalise(y, x, scale, shift);
        Note("normalise", start, 0, y, x);
    }

    public void ReluForward(Tensor y, Tensor x)
    {
        long start = inner.Mark();
        inner.ReluForward(y, x);
        Note("relu forward", start, 0, y, x);
    }

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y)
    {
        long start = inner.Mark();
        inner.ReluBackward(dX, dY, y);
        Note("relu backward", start, 0, dX, dY, y);
    }

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda)
    {
        long start = inner.Mark();
        inner.GradientReversalBackward(dX, dY, lambda);
        Note("gradient_reversal backward", start, 0, dX, dY);
    }

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda)
    {
        long start = inner.Mark();
        inner.GradientReversalAdd(dX, dY, lambda);
        Note("gradient_reversal add", start, 0, dX, dY);
    }

    public void ConcatForward(Tensor y, Tensor a, Tensor b)
    {
        long start = inner.Mark();
        inner.ConcatForward(y, a, b);
        Note("concat forward", start, 0, y, a, b);
    }

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY)
    {
        long start = inner.Mark();
        inner.ConcatBackward(dA, dB, dY);
        Note("concat backward", start, 0, dA, dB, dY);
    }

    public void CountNonFinite(Tensor count, Tensor x)
    {
        long start = inner.Mark();
        inner.CountNonFinite(count, x);
        Note("count_non_finite", start, 0, count, x);
    }

    public void Conv2dForward(Tensor y, Tensor x, Tensor weight, in Conv2dGeometry geometry)
    {
        long start = inner.Mark();
        inner.Conv2dForward(y, x, weight, geometry);
        Note("conv2d forward", start, Flops(geometry), y, x, weight);
    }

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry)
    {
        long start = inner.Mark();
        inner.Conv2dBackwardData(dX, dY, weight, geometry);
        Note("conv2d backward data", start, Flops(geometry), dX, dY, weight);
    }

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry)
    {
        long start = inner.Mark();
        inner.Conv2dBackwardWeight(dWeight, dY, x, geometry);
        Note("conv2d backward weight", start, Flops(geometry), dWeight, dY, x);
    }

    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Tensor gamma, Tensor beta, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.BatchNormForward(y, argmax, mean, inverseStd, runningMean, runningVariance, x, gamma, beta, settings);
        Note("batch_norm forward", start, 0, y, argmax, x);
    }

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.BatchNormInference(y, x, gamma, beta, runningMean, runningVariance, settings);
        Note("batch_norm inference", start, 0, y, x);
    }

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.BatchNormBackward(dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd, settings);
        Note("batch_norm backward", start, 0, dX, dY, argmax, x);
    }

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) =>
        inner.StemMemory(geometry, settings, act);

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.StemForward(
            y, argmax, mean, inverseStd, runningMean, runningVariance, state, scratch, x, weight, gamma, beta, geometry, settings);
        Note("stem forward", start, Flops(geometry), y, argmax, x, weight);
    }

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.StemInference(y, scratch, x, weight, gamma, beta, runningMean, runningVariance, geometry, settings);
        Note("stem inference", start, Flops(geometry), y, x, weight);
    }

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings)
    {
        long start = inner.Mark();
        inner.StemBackward(
            dWeight, dGamma, dBeta, scratch, dY, y, argmax, x, weight, gamma, beta, mean, inverseStd, state, geometry, settings);
        Note("stem backward", start, Flops(geometry), dWeight, dY, y, argmax, x, weight);
    }

    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry)
    {
        long start = inner.Mark();
        inner.MaxPoolForward(y, argmax, x, geometry);
        Note("max_pool forward", start, 0, y, argmax, x);
    }

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry)
    {
        long start = inner.Mark();
        inner.MaxPoolBackward(dX, dY, argmax, geometry);
        Note("max_pool backward", start, 0, dX, dY, argmax);
    }

    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths)
    {
        long start = inner.Mark();
        inner.MaskedMeanForward(y, x, lengths);
        Note("masked_mean forward", start, 0, y, x);
    }

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths)
    {
        long start = inner.Mark();
        inner.MaskedMeanBackward(dX, dY, lengths);
        Note("masked_mean backward", start, 0, dX, dY);
    }

    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias)
    {
        long start = inner.Mark();
        inner.LinearForward(y, x, weight, bias);
        Note("linear forward", start, 2.0 * y.Count * x.Shape[1], y, x, weight);
    }

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight)
    {
        long start = inner.Mark();
        inner.LinearBackwardData(dX, dY, weight);
        Note("linear backward data", start, 2.0 * dX.Count * dY.Shape[1], dX, dY, weight);
    }

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x)
    {
        long start = inner.Mark();
        inner.LinearBackwardWeight(dWeight, dBias, dY, x);
        Note("linear backward weight", start, 2.0 * dWeight.Count * dY.Shape[0], dWeight, dY, x);
    }

    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale)
    {
        long start = inner.Mark();
        inner.SoftmaxCrossEntropy(loss, probabilities, dLogits, logits, labels, weights, scale);
        Note("softmax_cross_entropy", start, 0, loss, probabilities, dLogits, logits);
    }

    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale)
    {
        long start = inner.Mark();
        inner.UniformConfusion(loss, kl, dLogits, logits, weights, scale);
        Note("uniform_confusion", start, 0, loss, kl, dLogits, logits);
    }

    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry)
    {
        long start = inner.Mark();
        inner.LogMel(y, samples, basis, filters, geometry);
        long frames = y.Count / filters.Shape[0];
        Note("log_mel", start, 2.0 * frames * (basis.Count + filters.Count), y, samples, basis, filters);
    }

    public void Adam(
        Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon)
    {
        long start = inner.Mark();
        inner.Adam(parameters, gradients, m, v, schedule, beta1, beta2, epsilon);
        // all four are read and written
        Note("adam", start, 0, parameters, gradients, m, v, parameters, gradients, m, v);
    }

    public void Dispose() => inner.Dispose();

    // each of the three passes multiplies every output element with every weight behind it
    private static double Flops(in Conv2dGeometry g) => 2.0 * g.Output.Count * g.R * g.S * g.C;

    private void Note(string op, long start, double flops, params ReadOnlySpan<Tensor?> tensors)
    {
        long end = inner.Mark(), bytes = 0;
        foreach (var tensor in tensors)
            bytes += tensor?.Bytes ?? 0;
        calls.Add((new OpCall(op, tensors[0]!, 0, flops, bytes, inner.TakeLaunches()), start, end));
    }
}
