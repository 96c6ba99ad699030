namespace Avedis.Engine;

/// <summary>Two vectors per clip side by side: [N,A] and [N,B] give [N,A+B], F32. Two inputs, so not a <see cref="Layer"/>.</summary>
public sealed class Concat
{
    private readonly Device device;

    public Concat(Device device, string name, int batch, int a, int b)
    {
        this.device = device;
        Output = device.Transient($"{name}.output", new Shape(batch, a + b), DType.F32);
        GradientA = device.Transient($"{name}.gradientA", new Shape(batch, a), DType.F32);
        GradientB = device.Transient($"{name}.gradientB", new Shape(batch, b), DType.F32);
    }

    public Tensor Output { get; }

    public Tensor GradientA { get; }

    public Tensor GradientB { get; }

    public Tensor Forward(Tensor a, Tensor b)
    {
        if (a.Shape != GradientA.Shape || b.Shape != GradientB.Shape)
            throw new ArgumentException($"{Output.Name}: expected {GradientA.Shape} and {GradientB.Shape}, got {a} and {b}");
        device.Ops.ConcatForward(Output, a, b);
        return Output;
    }

    /// <summary>Splits the gradient of the output into <see cref="GradientA"/> and <see cref="GradientB"/>.</summary>
    public void Backward(Tensor dY)
    {
        if (dY.Shape != Output.Shape)
            throw new ArgumentException($"{Output.Name}: gradient must be {Output.Shape}, got {dY}");
        device.Ops.ConcatBackward(GradientA, GradientB, dY);
    }
}
