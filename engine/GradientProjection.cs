namespace Avedis.Engine;

/// <summary>
/// Projects the gradients of one parameter group, tensor by tensor (Zhang, Lemoine and Mitchell 2018): what lies along the gradient of an adversary's loss
/// is taken away, so that no step of the group helps the adversary, and alpha times that gradient besides, so that it is hindered. The adversary's gradient
/// is summed in the group first; <see cref="TakeAdversary"/> puts it aside, and what is summed from then on is what <see cref="Apply"/> projects. alpha
/// lives on the device, so that a schedule moves it without a new plan.
/// </summary>
public sealed class GradientProjection
{
    private readonly Device device;
    private readonly ParameterGroup group;
    private readonly Tensor adversary, offsets, alpha;
    private bool offsetsSent;

    /// <param name="group">Sealed.</param>
    public GradientProjection(Device device, ParameterGroup group)
    {
        (this.device, this.group) = (device, group);
        adversary = device.Transient($"{group.Name}.adversary", group.Gradients.Shape, DType.F32);
        offsets = device.Persistent($"{group.Name}.offsets", new Shape(group.Offsets.Length), DType.I32);
        alpha = device.Persistent($"{group.Name}.alpha", new Shape(1), DType.F32);
    }

    /// <summary>Sets alpha for the steps to come; call before the first.</summary>
    public void SetAlpha(float value)
    {
        // not in the constructor: a tensor has no address before the plan
        if (!offsetsSent)
            device.Ops.Upload<int>(offsets, group.Offsets);
        offsetsSent = true;
        device.Ops.Upload(alpha, [value]);
    }

    /// <summary>What the group's gradients hold is the adversary's; they are 0 behind it.</summary>
    public void TakeAdversary()
    {
        device.Reduction?.Finish(group);
        device.Ops.Copy(adversary, group.Gradients);
        device.Ops.Zero(group.Gradients);
    }

    /// <summary>Projects the group's gradients.</summary>
    public void Apply()
    {
        // not linear: of the sums over all ranks
        device.Reduction?.Finish(group);
        device.Ops.GradientProjection(group.Gradients, adversary, offsets, alpha);
    }
}
