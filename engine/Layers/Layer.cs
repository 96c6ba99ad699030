namespace Avedis.Engine;

/// <summary>How a layer runs: batch statistics and saved state for a backward pass, or running statistics.</summary>
public enum Phase
{
    Training,

    /// <summary>As Training, but the running statistics stay: they have seen this batch already.</summary>
    Repeat,
    Evaluation,
}

/// <summary>What a backward pass computes.</summary>
[Flags]
public enum Gradients
{
    /// <summary>Adds to the gradients of the layer's parameters.</summary>
    Parameters = 1,

    /// <summary>Writes the gradient of the layer's input.</summary>
    Input = 2,

    Both = Parameters | Input,
}

/// <summary>
/// A piece of the network with a fixed batch shape. Forward writes <see cref="Output"/> and keeps in the layer what Backward needs; Backward takes the
/// gradient of the output, adds to the gradients of the layer's parameters and writes the gradient of its input. Public methods check shapes and say which
/// layer, which tensor, what was expected and what came; protected ones compute.
/// </summary>
public abstract class Layer(Device device, string name)
{
    private readonly List<Parameter> parameters = [];
    private Tensor? input;

    public string Name { get; } = name;

    /// <summary>Where Forward writes; its shape is fixed when the layer is built.</summary>
    public Tensor Output { get; protected init; } = null!;

    /// <summary>Where Backward writes; null for a layer whose input takes no gradient.</summary>
    public Tensor? InputGradient { get; protected init; }

    protected IBackend Ops => device.Ops;

    protected Shape InputShape { get; init; }

    protected DType InputType { get; init; }

    /// <summary>The input of the last Forward.</summary>
    protected Tensor Input => input ?? throw new InvalidOperationException($"{Name}: Backward before Forward");

    public Tensor Forward(Tensor x, Phase phase = Phase.Training)
    {
        Check(x, InputShape, InputType, "input");
        input = x;
        Compute(x, phase);
        return Output;
    }

    /// <summary>From now on Backward reads x instead of the input of the last Forward. They must be equal.</summary>
    public void ReadInputFrom(Tensor x)
    {
        Check(x, InputShape, InputType, "input");
        input = x;
    }

    /// <summary>Backward of the last Forward; returns <see cref="InputGradient"/>.</summary>
    /// <param name="gradients">Input alone takes the parameters for constants; Parameters alone cuts what is in front of the layer off.</param>
    public Tensor? Backward(Tensor dY, Gradients gradients = Gradients.Both)
    {
        Check(dY, Output.Shape, Output.Type, "gradient of the output");
        ComputeGradients(dY, gradients);
        if (device.Reduction is { } reduction && gradients.HasFlag(Gradients.Parameters))
            foreach (var parameter in parameters)
                reduction.Ready(parameter);
        return InputGradient;
    }

    /// <summary>Notes a parameter whose gradient this layer itself adds to.</summary>
    protected Parameter Own(Parameter parameter)
    {
        parameters.Add(parameter);
        return parameter;
    }

    protected abstract void Compute(Tensor x, Phase phase);

    protected abstract void ComputeGradients(Tensor dY, Gradients gradients);

    protected void Check(Tensor tensor, Shape shape, DType type, string role)
    {
        if (tensor.Shape != shape || tensor.Type != type)
            throw new ArgumentException($"{Name}: {role} must be {shape} {type}, got {tensor}");
    }
}
