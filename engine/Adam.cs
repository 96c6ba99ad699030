namespace Avedis.Engine;

/// <summary>Constants of Adam; the defaults are the paper's (Kingma and Ba 2015) and PyTorch's.</summary>
public readonly record struct AdamOptions(float Beta1, float Beta2, float Epsilon)
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
    private const int Corrections = 3; // rate, 1 - beta1^t, 1 - beta2^t

    private readonly Device device;
    private readonly AdamOptions options;
    private readonly Tensor schedule;
    private readonly float[] hostSchedule;

    /// <param name="updates">Updates between one Advance and the next, where a group moves several times per batch.</param>
    public Adam(Device device, ParameterGroup group, AdamOptions options, int updates = 1)
    {
        this.device = device;
        this.options = options;
        Group = group;
        FirstMoment = device.Persistent($"{group.Name}.exp_avg", group.Values.Shape, DType.F32);
        SecondMoment = device.Persistent($"{group.Name}.exp_avg_sq", group.Values.Shape, DType.F32);
        schedule = device.Persistent($"{group.Name}.schedule", new Shape(updates, Corrections), DType.F32);
        hostSchedule = new float[updates * Corrections];
    }

    public ParameterGroup Group { get; }

    /// <summary>Running mean of the gradient, laid out as the group's values.</summary>
    public Tensor FirstMoment { get; }

    /// <summary>Running mean of the squared gradient.</summary>
    public Tensor SecondMoment { get; }

    /// <summary>Updates made so far; set when a checkpoint is loaded.</summary>
    public long Step { get; set; }

    public void Advance(double rate)
    {
        for (int i = 0; i < hostSchedule.Length; i += Corrections)
        {
            Step++;
            hostSchedule[i] = (float)rate;
            hostSchedule[i + 1] = (float)(1 - Math.Pow(options.Beta1, Step));
            hostSchedule[i + 2] = (float)(1 - Math.Pow(options.Beta2, Step));
        }
        device.Ops.Upload<float>(schedule, hostSchedule);
    }

    /// <summary>Moves the parameters by the gradients summed since the last update, over all ranks, and sets those to 0.</summary>
    /// <param name="update">Number of this update since the last Advance.</param>
    public void Apply(int update = 0)
    {
        device.Reduction?.Finish(Group);
        device.Ops.Adam(
            Group.Values, Group.Gradients, FirstMoment, SecondMoment,
            schedule.Part($"{schedule.Name}.{update}", new Shape(Corrections), update * Corrections), options.Beta1, options.Beta2, options.Epsilon);
    }

    /// <summary>Forgets moments and step count, for a group that starts afresh.</summary>
    public void Reset()
    {
        device.Ops.Zero(FirstMoment);
        device.Ops.Zero(SecondMoment);
        Step = 0;
    }
}
