namespace Avedis.Engine;

/// <summary>y [N,O] = max(x [N,I] * weight [O,I]^T + bias [O], 0), all F32: what an embedding is, and each hidden layer. Two operations, one layer.</summary>
public sealed class LinearRelu : Layer
{
    private readonly Linear linear;
    private readonly Relu relu;

    public LinearRelu(Device device, ParameterGroup group, string name, int batch, int inputs, int outputs)
        : base(device, name)
    {
        linear = new Linear(device, group, name, batch, inputs, outputs);
        relu = new Relu(device, $"{name}.relu", linear.Output.Shape, DType.F32);
        (InputShape, InputType) = (new Shape(batch, inputs), DType.F32);
        (Output, InputGradient) = (relu.Output, linear.InputGradient);
    }

    protected override void Compute(Tensor x, Phase phase) => relu.Forward(linear.Forward(x, phase), phase);

    protected override void ComputeGradients(Tensor dY, Gradients gradients) => linear.Backward(relu.Backward(dY)!, gradients);
}
