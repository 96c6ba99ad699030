namespace Avedis.Engine;

/// <summary>Mean over the valid steps of a sequence: x [N,T,C] act, lengths [N] I32 in 1..T, output [N,C] F32.</summary>
public sealed class MaskedMean : Layer
{
    private readonly Tensor lengths;

    public MaskedMean(Device device, string name, Shape input, DType act, Tensor lengths)
        : base(device, name)
    {
        this.lengths = lengths;
        Check(lengths, new Shape(input[0]), DType.I32, "lengths");
        (InputShape, InputType) = (input, act);
        Output = device.Transient($"{name}.output", new Shape(input[0], input[2]), DType.F32);
        InputGradient = device.Transient($"{name}.inputGradient", input, act);
    }

    protected override void Compute(Tensor x, Phase phase) => Ops.MaskedMeanForward(Output, x, lengths);

    protected override void ComputeGradients(Tensor dY, Gradients gradients) => Ops.MaskedMeanBackward(InputGradient!, dY, lengths);
}
