namespace Avedis.Engine;

/// <summary>
/// 2-D convolution without bias: in front of a batch norm a bias has no effect, its gradient is rounding noise, and Adam would turn that into full
/// steps. Parameter: name.weight [K,R,S,C], initially uniform in +-1/sqrt(R*S*C) as in PyTorch.
/// </summary>
public sealed class Conv2d : Layer
{
    // of the tensor of prepared weights, which has no shape that means anything: their number is a multiple of it
    private const int PreparedRow = 64;

    private readonly Conv2dGeometry geometry;
    private readonly Parameter weight;
    private readonly Tensor? preparedWeight;

    /// <param name="prepared">Whether <see cref="Prepared"/> is prepared before each forward pass; else each pass prepares what it
    /// needs.</param>
    public Conv2d(Device device, ParameterGroup group, string name, Conv2dGeometry geometry, DType act, bool prepared = false)
        : base(device, name)
    {
        this.geometry = geometry;
        weight = Own(Weight(group, name, geometry));
        (InputShape, InputType) = (geometry.Input, act);
        Output = device.Transient($"{name}.output", geometry.Output, act);
        InputGradient = device.Transient($"{name}.inputGradient", geometry.Input, act);
        if (prepared && device.Ops.Conv2dPreparedCount(geometry, act) is > 0 and long count)
            preparedWeight = device.Transient($"{name}.prepared", new Shape(checked((int)(count / PreparedRow)), PreparedRow), act);
        if (device.Ops.Conv2dMomentRows(geometry, act) is > 0 and int rows)
        {
            int positions = geometry.N * geometry.P * geometry.Q, parts = (positions + rows - 1) / rows;
            Moments = new(device.Transient($"{name}.moments", new Shape(parts, 2, geometry.K), DType.F32), rows, positions);
        }
    }

    /// <summary>Of the output, for the batch norm behind it; a training step leaves them where the device can, else null.</summary>
    public Moments? Moments { get; }

    /// <summary>
    /// The weights for <see cref="IBackend.Conv2dPrepare"/>; null where the device takes them as they are, or each pass prepares what it
    /// needs.
    /// </summary>
    public Conv2dWeights? Prepared => preparedWeight is null ? null : new(preparedWeight, weight.Value, geometry);

    /// <summary>The parameter of a convolution: name.weight.</summary>
    internal static Parameter Weight(ParameterGroup group, string name, in Conv2dGeometry geometry) =>
        group.Uniform($"{name}.weight", geometry.Weight, 1 / MathF.Sqrt(geometry.R * geometry.S * geometry.C));

    protected override void Compute(Tensor x, Phase phase) =>
        Ops.Conv2dForward(Output, phase == Phase.Evaluation ? null : Moments?.Parts, x, weight.Value, geometry, preparedWeight);

    protected override void ComputeGradients(Tensor dY, Gradients gradients)
    {
        if (gradients.HasFlag(Gradients.Parameters))
            Ops.Conv2dBackwardWeight(weight.Gradient, dY, Input, geometry);
        if (gradients.HasFlag(Gradients.Input))
            Ops.Conv2dBackwardData(InputGradient!, dY, weight.Value, geometry, preparedWeight);
    }
}
