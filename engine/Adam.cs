namespace Avedis.Engine;

/// <summary>Constants of Adam; the defaults are the paper's (Kingma and Ba 2015) and PyTorch's.</summary>
public readonly record struct AdamOptions(float Beta1 = 0.9f, float Beta2 = 0.999f, float Epsilon = 1e-8f)
{
    public AdamOptions()
        : this(0.9f, 0.999f, 1e-8f)
    {
    }
}

/// <summary>
/// Adam over one parameter group. A step has two halves: <see cref="Advance"/> on the host moves the step count and sends rate and bias
/// corrections to the device; <see cref="Apply"/> is the device's half, the same every time.
/// </summary>
public sealed class Adam
{
    private readonly Device device;
    private readonly AdamOptions options;
    private readonly Tensor schedule;

    public Adam(Device device, ParameterGroup group, AdamOptions options)
    {
        this.device = device;
        this.options = options;
        Group = group;
        FirstMoment = device.Persistent($"{group.Name}.exp_avg", group.Values.Shape, DType.F32);
        SecondMoment = device.Persistent($"{group.Name}.exp_avg_sq", group.Values.Shape, DType.F32);
        schedule = device.Persistent($"{group.Name}.schedule", new Shape(3), DType.F32);
    }

    public ParameterGroup Group { get; }

    /// <summary>Running mean of the gradient, laid out as the group's values.</summary>
    public Tensor FirstMoment { get; }

    /// <summary>Running mean of the squared gradient.</summary>
    public Tensor SecondMoment { get; }

    /// <summary>Steps taken so far; set when a checkpoint is loaded.</summary>
    public long Step { get; set; }

    public void Advance(double rate)
    {
        Step++;
        device.Ops.Upload(schedule,
            [(float)rate, (float)(1 - Math.Pow(options.Beta1, Step)), (float)(1 - Math.Pow(options.Beta2, Step))]);
    }

    /// <summary>Moves the parameters by the gradients summed since the last step and sets those to 0.</summary>
    public void Apply() =>
        device.Ops.Adam(Group.Values, Group.Gradients, FirstMoment, SecondMoment, schedule, options.Beta1, options.Beta2, options.Epsilon);
}
