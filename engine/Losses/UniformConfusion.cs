namespace Avedis.Engine;

/// <summary>
/// Cross-entropy of the uniform distribution with softmax(logits) (Tzeng et al. 2015), the paper's confusion loss: smallest, ln C, where
/// the logits tell nothing.
/// </summary>
public sealed class UniformConfusion
{
    private readonly Device device;
    private readonly Shape logitsShape;

    public UniformConfusion(Device device, string name, int batch, int classes)
    {
        this.device = device;
        logitsShape = new Shape(batch, classes);
        Loss = device.Persistent($"{name}.loss", new Shape(batch), DType.F32);
        Divergence = device.Persistent($"{name}.divergence", new Shape(batch), DType.F32);
        LogitsGradient = device.Transient($"{name}.logitsGradient", logitsShape, DType.F32);
    }

    /// <summary>
    /// Weighted loss per clip [N]; the batch's loss is the sum. Persistent, so that the next batch may be loaded before the host reads it.
    /// </summary>
    public Tensor Loss { get; }

    /// <summary>
    /// Weighted KL(uniform || softmax(logits)) per clip [N]: how far the loss is above its minimum, exact where little is left of it. Persistent as the
    /// loss.
    /// </summary>
    public Tensor Divergence { get; }

    public Tensor LogitsGradient { get; }

    /// <inheritdoc cref="SoftmaxCrossEntropy.Evaluate"/>
    public Tensor Evaluate(Tensor logits, Tensor weights, float scale = 1)
    {
        if (logits.Shape != logitsShape || weights.Shape != Loss.Shape)
            throw new ArgumentException($"{Loss.Name}: expected logits {logitsShape} and weights {Loss.Shape}, got {logits} and {weights}");
        device.Ops.UniformConfusion(Loss, Divergence, LogitsGradient, logits, weights, scale);
        return LogitsGradient;
    }
}
