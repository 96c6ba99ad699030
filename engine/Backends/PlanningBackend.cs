namespace Avedis.Engine;

/// <summary>
/// Computes nothing and notes which operation, in order, uses which tensor: so the memory plan follows from the step itself and cannot
/// disagree with it.
/// </summary>
internal sealed class PlanningBackend(IBackend target) : IBackend
{
    private readonly List<Dictionary<Tensor, MemoryPlan.Lifetime>> steps = [];
    private int tick;

    public IReadOnlyList<Dictionary<Tensor, MemoryPlan.Lifetime>> Steps => steps;

    public long WorkspaceBytes { get; private set; }

    public string Description => target.Description;

    public bool HasFastBf16 => target.HasFastBf16;

    public void BeginStep()
    {
        steps.Add([]);
        tick = 0;
    }

    private void Use(params ReadOnlySpan<Tensor?> tensors)
    {
        foreach (var tensor in tensors)
        {
            if (tensor is null)
                continue;
            int first = steps[^1].TryGetValue(tensor.Root, out var life) ? life.First : tick;
            steps[^1][tensor.Root] = new(first, tick);
        }
        tick++;
    }

    private void UseConv2d(in Conv2dGeometry geometry, Tensor a, Tensor b, Tensor act)
    {
        WorkspaceBytes = Math.Max(WorkspaceBytes, target.Conv2dWorkspace(geometry, act.Type));
        Use(a, b, act);
    }

    private void UseStem(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act, params ReadOnlySpan<Tensor?> tensors)
    {
        WorkspaceBytes = Math.Max(WorkspaceBytes, target.StemMemory(geometry, settings, act).Workspace);
        Use(tensors);
    }

    public nint Allocate(long bytes) => throw new InvalidOperationException("a step allocates nothing");

    public void Free(nint address) => throw new InvalidOperationException("a step frees nothing");

    public long Conv2dWorkspace(in Conv2dGeometry geometry, DType act) => target.Conv2dWorkspace(geometry, act);

    public void SetWorkspace(nint address, long bytes) => throw new InvalidOperationException("the plan sets the workspace");

    public void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged => Use(destination);

    public void Download<T>(Span<T> destination, Tensor source) where T : unmanaged => Use(source);

    public void Synchronize() { }

    public long FreeMemory => target.FreeMemory;

    public void Replay(string name, Action work) => work();

    public long Mark() => 0;

    public double Microseconds(long from, long to) => 0;

    public IReadOnlyList<string> TakeLaunches() => [];

    public void Zero(Tensor x) => Use(x);

    public void Copy(Tensor y, Tensor x) => Use(y, x);

    public void Add(Tensor y, Tensor x) => Use(y, x);

    public void Normalise(Tensor y, Tensor x, float scale, float shift) => Use(y, x);

    public void ReluForward(Tensor y, Tensor x) => Use(y, x);

    public void ReluBackward(Tensor dX, Tensor dY, Tensor y) => Use(dX, dY, y);

    public void GradientReversalBackward(Tensor dX, Tensor dY, Tensor lambda) => Use(dX, dY, lambda);

    public void GradientReversalAdd(Tensor dX, Tensor dY, Tensor lambda) => Use(dX, dY, lambda);

    public void ConcatForward(Tensor y, Tensor a, Tensor b) => Use(y, a, b);

    public void ConcatBackward(Tensor dA, Tensor dB, Tensor dY) => Use(dA, dB, dY);

    public void CountNonFinite(Tensor count, Tensor x) => Use(count, x);

    public void Conv2dForward(Tensor y, Tensor x, Tensor weight, in Conv2dGeometry geometry) => UseConv2d(geometry, y, weight, x);

    public void Conv2dBackwardData(Tensor dX, Tensor dY, Tensor weight, in Conv2dGeometry geometry) => UseConv2d(geometry, dX, weight, dY);

    public void Conv2dBackwardWeight(Tensor dWeight, Tensor dY, Tensor x, in Conv2dGeometry geometry) => UseConv2d(geometry, dWeight, x, dY);

    public void BatchNormForward(
        Tensor y, Tensor? argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance,
        Tensor x, Tensor gamma, Tensor beta, in BatchNormSettings settings) =>
        Use(y, argmax, mean, inverseStd, runningMean, runningVariance, x, gamma, beta);

    public void BatchNormInference(
        Tensor y, Tensor x, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance, in BatchNormSettings settings) =>
        Use(y, x, gamma, beta, runningMean, runningVariance);

    public void BatchNormBackward(
        Tensor dX, Tensor dGamma, Tensor dBeta, Tensor dY, Tensor? argmax, Tensor x,
        Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, in BatchNormSettings settings) =>
        Use(dX, dGamma, dBeta, dY, argmax, x, gamma, beta, mean, inverseStd);

    public StemMemory StemMemory(in Conv2dGeometry geometry, in BatchNormSettings settings, DType act) =>
        target.StemMemory(geometry, settings, act);

    public void StemForward(
        Tensor y, Tensor argmax, Tensor mean, Tensor inverseStd, Tensor runningMean, Tensor runningVariance, Tensor? state, Tensor? scratch,
        Tensor x, Tensor weight, Tensor gamma, Tensor beta, in Conv2dGeometry geometry, in BatchNormSettings settings) =>
        UseStem(geometry, settings, x.Type, y, argmax, mean, inverseStd, runningMean, runningVariance, state, scratch, x, weight, gamma, beta);

    public void StemInference(
        Tensor y, Tensor? scratch, Tensor x, Tensor weight, Tensor gamma, Tensor beta, Tensor runningMean, Tensor runningVariance,
        in Conv2dGeometry geometry, in BatchNormSettings settings) =>
        UseStem(geometry, settings, x.Type, y, scratch, x, weight, gamma, beta, runningMean, runningVariance);

    public void StemBackward(
        Tensor dWeight, Tensor dGamma, Tensor dBeta, Tensor? scratch, Tensor dY, Tensor y, Tensor argmax, Tensor x,
        Tensor weight, Tensor gamma, Tensor beta, Tensor mean, Tensor inverseStd, Tensor? state,
        in Conv2dGeometry geometry, in BatchNormSettings settings) =>
        UseStem(
            geometry, settings, x.Type, dWeight, dGamma, dBeta, scratch, dY, y, argmax, x, weight, gamma, beta, mean, inverseStd, state);

    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry) => Use(y, argmax, x);

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry) => Use(dX, dY, argmax);

    public void MaskedMeanForward(Tensor y, Tensor x, Tensor lengths) => Use(y, x, lengths);

    public void MaskedMeanBackward(Tensor dX, Tensor dY, Tensor lengths) => Use(dX, dY, lengths);

    public void LinearForward(Tensor y, Tensor x, Tensor weight, Tensor bias) => Use(y, x, weight, bias);

    public void LinearBackwardData(Tensor dX, Tensor dY, Tensor weight) => Use(dX, dY, weight);

    public void LinearBackwardWeight(Tensor dWeight, Tensor dBias, Tensor dY, Tensor x) => Use(dWeight, dBias, dY, x);

    public void SoftmaxCrossEntropy(
        Tensor loss, Tensor probabilities, Tensor dLogits, Tensor logits, Tensor labels, Tensor weights, float scale) =>
        Use(loss, probabilities, dLogits, logits, labels, weights);

    public void UniformConfusion(Tensor loss, Tensor kl, Tensor dLogits, Tensor logits, Tensor weights, float scale) =>
        Use(loss, kl, dLogits, logits, weights);

    public void LogMel(Tensor y, Tensor samples, Tensor basis, Tensor filters, in LogMelGeometry geometry) => Use(y, samples, basis, filters);

    public void Adam(Tensor parameters, Tensor gradients, Tensor m, Tensor v, Tensor schedule, float beta1, float beta2, float epsilon) =>
        Use(parameters, gradients, m, v, schedule);

    public void Dispose() { }
}
