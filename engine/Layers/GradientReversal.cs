namespace Avedis.Engine;

/// <summary>
/// The identity forwards, -lambda times the gradient backwards (Ganin and Lempitsky 2015): what stands behind it learns its task, what stands
/// before it unlearns it. lambda lives on the device, so that a schedule moves it without a new plan.
/// </summary>
public sealed class GradientReversal
{
    private readonly Device device;
    private readonly Tensor lambda;
    private readonly Tensor inputGradient;

    public GradientReversal(Device device, string name, Shape shape)
    {
        this.device = device;
        lambda = device.Persistent($"{name}.lambda", new Shape(1), DType.F32);
        inputGradient = device.Transient($"{name}.inputGradient", shape, DType.F32);
    }

    /// <summary>Sets the factor for the steps to come; 0, as at the start, stops the gradient.</summary>
    public void SetLambda(float value) => device.Ops.Upload(lambda, [value]);

    public Tensor Backward(Tensor dY)
    {
        if (dY.Shape != inputGradient.Shape)
            throw new ArgumentException($"{inputGradient.Name}: gradient must be {inputGradient.Shape}, got {dY}");
        device.Ops.GradientReversalBackward(inputGradient, dY, lambda);
        return inputGradient;
    }
}
