namespace Avedis.Engine;

/// <summary>
/// State of a batch norm that outlives the step: name.running_mean and name.running_var [C] F32. Evaluation divides by the root of the variance, so a network
/// starts with it at 1.
/// </summary>
public sealed class RunningStatistics(Device device, string name, Shape channels)
{
    public string Name { get; } = name;

    public Tensor Mean { get; } = device.Persistent($"{name}.running_mean", channels, DType.F32);

    public Tensor Variance { get; } = device.Persistent($"{name}.running_var", channels, DType.F32);

    /// <summary>Mean 0, variance 1; the device must have been planned.</summary>
    public void Initialise()
    {
        device.Ops.Zero(Mean);
        device.Ops.Upload<float>(Variance, Enumerable.Repeat(1f, (int)Variance.Count).ToArray());
    }
}

/// <summary>
/// Batch normalisation over N, H, W (Ioffe and Szegedy 2015), and in the same pass ReLU and max pooling, so that the large normalised activation is never
/// stored. On a device that normalises over ranks the statistics are those of all ranks' inputs. Parameters: name.weight (gamma) and name.bias (beta) [C]; state: running mean and variance [C].
/// </summary>
public sealed class BatchNorm : Layer
{
    /// <summary>What a variance is raised by before its root is divided by.</summary>
    public const float DefaultEpsilon = 1e-5f;

    private readonly Device device;
    private readonly BatchNormSettings settings;
    private readonly Parameter gamma, beta;
    private readonly Tensor mean, inverseStd;
    private readonly Tensor? argmax, recomputed;
    private readonly Moments? moments;
    private readonly OverRanks? overRanks;

    /// <param name="pool">Max pooling behind ReLU; its input is this layer's input shape.</param>
    /// <param name="moments">Those of the input, if what makes it leaves them in training.</param>
    /// <param name="recompute">Whether there is <see cref="Recompute"/>.</param>
    /// <exception cref="ArgumentException">The pooling takes another shape, or its window has more elements than a byte can tell apart.</exception>
    public BatchNorm(
        Device device, ParameterGroup group, string name, Shape input, DType act, bool relu = false, Pool2dGeometry? pool = null,
        float epsilon = DefaultEpsilon, float momentum = 0.1f, Moments? moments = null, bool recompute = false)
        : base(device, name)
    {
        (this.device, this.moments) = (device, moments);
        if (pool is { } p && p.Input != input)
            throw new ArgumentException($"{name}: pooling expects {p.Input}, batch norm gives {input}");
        settings = new(epsilon, momentum, relu, pool?.Checked(name));
        var channels = new Shape(input[3]);
        (gamma, beta) = ScaleAndShift(group, name, channels);
        Own(gamma);
        Own(beta);
        Statistics = new RunningStatistics(device, name, channels);
        mean = device.Transient($"{name}.mean", channels, DType.F32);
        inverseStd = device.Transient($"{name}.inverseStd", channels, DType.F32);
        var output = pool?.Output ?? input;
        argmax = pool is null ? null : device.Transient($"{name}.argmax", output, DType.U8);
        (InputShape, InputType) = (input, act);
        Output = device.Transient($"{name}.output", output, act);
        recomputed = recompute && pool is null ? device.Transient($"{name}.recomputed", output, act) : null;
        InputGradient = device.Transient($"{name}.inputGradient", input, act);
        if (device.NormalisesOverRanks)
            overRanks = new(device, name, input);
    }

    public RunningStatistics Statistics { get; }

    /// <summary>The parameters of a batch norm: name.weight, at first 1, and name.bias, at first 0.</summary>
    internal static (Parameter Gamma, Parameter Beta) ScaleAndShift(ParameterGroup group, string name, Shape channels) =>
        (group.Constant($"{name}.weight", channels, 1), group.Constant($"{name}.bias", channels, 0));

    /// <summary>With momentum 0 the running statistics stay to the bit.</summary>
    internal static BatchNormSettings Settings(BatchNormSettings settings, Phase phase) =>
        phase == Phase.Repeat ? settings with { Momentum = 0 } : settings;

    protected override void Compute(Tensor x, Phase phase)
    {
        if (phase != Phase.Evaluation)
            Ops.BatchNormForward(
                Output, argmax, mean, inverseStd, Statistics.Mean, Statistics.Variance, x, overRanks?.Moments(x, moments) ?? moments, gamma.Value, beta.Value, Settings(settings, phase));
        else
            Ops.BatchNormInference(Output, x, gamma.Value, beta.Value, Statistics.Mean, Statistics.Variance, settings);
    }

    /// <summary>
    /// The output of the last training Forward in a tensor of its own, so that the first need not be kept for the backward pass of the
    /// layer behind; null where it pools or was not told to.
    /// </summary>
    public Tensor? Recompute()
    {
        if (recomputed is not null)
            Ops.BatchNormApply(recomputed, Input, gamma.Value, beta.Value, mean, inverseStd, settings);
        return recomputed;
    }

    // one pass computes both gradients, so they cannot be had apart
    protected override void ComputeGradients(Tensor dY, Gradients gradients)
    {
        if (gradients != Gradients.Both)
            throw new ArgumentException($"{Name}: a batch norm has no backward pass of {gradients} alone; constants belong to a group without an optimiser");
        if (overRanks is null)
        {
            Ops.BatchNormBackward(
                InputGradient!, gamma.Gradient, beta.Gradient, dY, argmax, Input, gamma.Value, beta.Value, mean, inverseStd, settings);
            return;
        }
        Ops.BatchNormBackwardMeans(
            overRanks.Means, gamma.Gradient, beta.Gradient, dY, argmax, Input, gamma.Value, beta.Value, mean, inverseStd, settings, overRanks.Count);
        device.Sum(overRanks.Means);
        Ops.BatchNormBackwardData(InputGradient!, dY, argmax, Input, gamma.Value, beta.Value, mean, inverseStd, overRanks.Means, settings);
    }

    /// <summary>What the ranks tell each other of their parts of a batch that is normalised as a whole.</summary>
    private sealed class OverRanks
    {
        private readonly Device device;
        private readonly Moments all; // a run for each rank
        private readonly Tensor own;

        public OverRanks(Device device, string name, Shape input)
        {
            this.device = device;
            int ranks = device.Collective.Size, channels = input[3];
            long rows = input.Count / channels;
            all = new(device.Transient($"{name}.moments", new Shape(ranks, 2, channels), DType.F32), rows, ranks * rows);
            own = all.Parts.Part($"{name}.moments.own", new Shape(1, 2, channels), 2L * channels * device.Collective.Rank);
            Means = device.Transient($"{name}.means", new Shape(2, channels), DType.F32);
        }

        /// <summary>Of the gradient and of its product with the normalised input: [2,C] F32.</summary>
        public Tensor Means { get; }

        /// <summary>Rows of all ranks.</summary>
        public long Count => all.Count;

        /// <summary>Those of all ranks' x: each adds its own to zeros, which changes no bit of them.</summary>
        public Moments Moments(Tensor x, Moments? parts)
        {
            device.Ops.Zero(all.Parts);
            device.Ops.BatchNormMoments(own, x, parts);
            device.Sum(all.Parts);
            return all;
        }
    }
}
