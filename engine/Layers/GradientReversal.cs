namespace Avedis.Engine;

/// <summary>
/// The identity forwards, -lambda times the gradient backwards (Ganin and Lempitsky 2015): what stands behind it learns its task, what stands
/// before it unlearns it. lambda lives on the device, so that a schedule moves it without a new plan.
/// </summary>
public sealed class GradientReversal
{
    private readonly Device device;
    private readonly Tensor lambda;
    private readonly Shape shape;
    private readonly string name;

    public GradientReversal(Device device, string name, Shape shape)
    {
        (this.device, this.name, this.shape) = (device, name, shape);
        lambda = device.Persistent($"{name}.lambda", new Shape(1), DType.F32);
    }

    /// <summary>Sets the factor for the steps to come; 0, as at the start, stops the gradient.</summary>
    public void SetLambda(float value) => device.Ops.Upload(lambda, [value]);

    /// <summary>Adds the reversed gradient to what else reads the same activation: dX += -lambda * dY, both F32.</summary>
    /// <exception cref="ArgumentException">A shape is another than the layer's.</exception>
    public void BackwardAdd(Tensor dX, Tensor dY)
    {
        if (dX.Shape != shape || dY.Shape != shape)
            throw new ArgumentException($"{name}: gradients must be {shape}, got {dX} and {dY}");
        device.Ops.GradientReversalAdd(dX, dY, lambda);
    }
}
