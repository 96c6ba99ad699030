namespace Avedis.Engine;

/// <summary>Max pooling on its own; behind a batch norm the fused form of <see cref="BatchNorm"/> saves two passes.</summary>
public sealed class MaxPool : Layer
{
    private readonly Pool2dGeometry geometry;
    private readonly Tensor argmax;

    /// <exception cref="ArgumentException">The window has more elements than a byte can tell apart.</exception>
    public MaxPool(Device device, string name, Pool2dGeometry geometry, DType act)
        : base(device, name)
    {
        this.geometry = geometry.Checked(name);
        (InputShape, InputType) = (geometry.Input, act);
        Output = device.Transient($"{name}.output", geometry.Output, act);
        argmax = device.Transient($"{name}.argmax", geometry.Output, DType.U8);
        InputGradient = device.Transient($"{name}.inputGradient", geometry.Input, act);
    }

    protected override void Compute(Tensor x, Phase phase) => Ops.MaxPoolForward(Output, argmax, x, geometry);

    protected override void ComputeGradients(Tensor dY, Gradients gradients) => Ops.MaxPoolBackward(InputGradient!, dY, argmax, geometry);
}
