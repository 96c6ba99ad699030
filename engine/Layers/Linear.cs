namespace Avedis.Engine;

/// <summary>
/// y [N,O] = x [N,I] * weight [O,I]^T + bias [O], all F32. Both parameters start uniform in +-1/sqrt(I), as in PyTorch.
/// </summary>
public sealed class Linear : Layer
{
    private readonly Parameter weight, bias;

    public Linear(Device device, ParameterGroup group, string name, int batch, int inputs, int outputs)
        : base(device, name)
    {
        float bound = 1 / MathF.Sqrt(inputs);
        weight = Own(group.Uniform($"{name}.weight", new Shape(outputs, inputs), bound));
        bias = Own(group.Uniform($"{name}.bias", new Shape(outputs), bound));
        (InputShape, InputType) = (new Shape(batch, inputs), DType.F32);
        Output = device.Transient($"{name}.output", new Shape(batch, outputs), DType.F32);
        InputGradient = device.Transient($"{name}.inputGradient", InputShape, DType.F32);
    }

    protected override void Compute(Tensor x, Phase phase) => Ops.LinearForward(Output, x, weight.Value, bias.Value);

    protected override void ComputeGradients(Tensor dY, Gradients gradients)
    {
        if (gradients.HasFlag(Gradients.Parameters))
            Ops.LinearBackwardWeight(weight.Gradient, bias.Gradient, dY, Input);
        if (gradients.HasFlag(Gradients.Input))
            Ops.LinearBackwardData(InputGradient!, dY, weight.Value);
    }
}
