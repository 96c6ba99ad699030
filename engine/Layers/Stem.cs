namespace Avedis.Engine;

/// <summary>
/// The first block of a stream in one operation: convolution of a data image, which takes no gradient, batch norm, ReLU if asked, max pooling. Whether
/// the convolution's output, the largest tensor of a network, is stored at all is the backend's choice. Parameters and state are those of a
/// <see cref="Conv2d"/> and a <see cref="BatchNorm"/> with their names and initial values.
/// </summary>
public sealed class Stem : Layer
{
    // of the U8 tensors that stand for the backend's bytes; the arena's alignment
    private const int RowBytes = 256;

    private readonly Conv2dGeometry geometry;
    private readonly BatchNormSettings settings;
    private readonly Parameter weight, gamma, beta;
    private readonly Tensor mean, inverseStd, argmax;
    private readonly Tensor? state, forwardScratch, inferenceScratch, backwardScratch;

    /// <param name="name">Of the convolution: name.weight [K,R,S,C].</param>
    /// <param name="norm">Of the batch norm: norm.weight (gamma), norm.bias (beta), norm.running_mean, norm.running_var [K].</param>
    /// <param name="pool">Its input is the convolution's output.</param>
    /// <exception cref="ArgumentException">The pooling takes another shape, or its window has more elements than a byte can tell apart.</exception>
    public Stem(
        Device device, ParameterGroup group, string name, string norm, Conv2dGeometry geometry, DType act, bool relu, Pool2dGeometry pool,
        float epsilon = BatchNorm.DefaultEpsilon, float momentum = 0.1f)
        : base(device, name)
    {
        if (pool.Input != geometry.Output)
            throw new ArgumentException($"{name}: pooling expects {pool.Input}, the convolution gives {geometry.Output}");
        this.geometry = geometry;
        settings = new(epsilon, momentum, relu, pool.Checked(name));
        var channels = new Shape(geometry.K);
        weight = Own(Conv2d.Weight(group, name, geometry));
        (gamma, beta) = BatchNorm.ScaleAndShift(group, norm, channels);
        Own(gamma);
        Own(beta);
        Statistics = new RunningStatistics(device, norm, channels);
        mean = device.Transient($"{norm}.mean", channels, DType.F32);
        inverseStd = device.Transient($"{norm}.inverseStd", channels, DType.F32);
        argmax = device.Transient($"{norm}.argmax", pool.Output, DType.U8);
        var memory = device.Ops.StemMemory(geometry, settings, act);
        state = Bytes(device, "state", memory.State);
        forwardScratch = Bytes(device, "forwardScratch", memory.ForwardScratch);
        inferenceScratch = Bytes(device, "inferenceScratch", memory.State + memory.ForwardScratch);
        backwardScratch = Bytes(device, "backwardScratch", memory.BackwardScratch);
        (InputShape, InputType) = (geometry.Input, act);
        Output = device.Transient($"{norm}.output", pool.Output, act);
    }

    public RunningStatistics Statistics { get; }

    protected override void Compute(Tensor x, Phase phase)
    {
        if (phase != Phase.Evaluation)
            Ops.StemForward(
                Output, argmax, mean, inverseStd, Statistics.Mean, Statistics.Variance, state, forwardScratch,
                x, weight.Value, gamma.Value, beta.Value, geometry, BatchNorm.Settings(settings, phase));
        else
            Ops.StemInference(
                Output, inferenceScratch, x, weight.Value, gamma.Value, beta.Value, Statistics.Mean, Statistics.Variance, geometry, settings);
    }

    // the input is the data, which takes no gradient
    protected override void ComputeGradients(Tensor dY, Gradients gradients)
    {
        if (gradients.HasFlag(Gradients.Parameters))
            Ops.StemBackward(
                weight.Gradient, gamma.Gradient, beta.Gradient, backwardScratch, dY, Output, argmax, Input,
                weight.Value, gamma.Value, beta.Value, mean, inverseStd, state, geometry, settings);
    }

    private Tensor? Bytes(Device device, string role, long bytes) =>
        bytes == 0 ? null : device.Transient($"{Name}.{role}", new Shape(checked((int)((bytes + RowBytes - 1) / RowBytes)), RowBytes), DType.U8);
}
