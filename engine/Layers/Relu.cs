namespace Avedis.Engine;

/// <summary>y = max(x, 0), for inputs of any shape.</summary>
public sealed class Relu : Layer
{
    public Relu(Device device, string name, Shape shape, DType act)
        : base(device, name)
    {
        (InputShape, InputType) = (shape, act);
        Output = device.Transient($"{name}.output", shape, act);
        InputGradient = device.Transient($"{name}.inputGradient", shape, act);
    }

    protected override void Compute(Tensor x, Phase phase) => Ops.ReluForward(Output, x);

    protected override void ComputeGradients(Tensor dY, Gradients gradients) => Ops.ReluBackward(InputGradient!, dY, Output);
}
