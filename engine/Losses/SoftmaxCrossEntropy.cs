namespace Avedis.Engine;

/// <summary>
/// Softmax cross-entropy over [N,C] logits with a weight per clip: value, probabilities and gradient in one evaluation. The gradient carries the
/// loss's weight in the total.
/// </summary>
public sealed class SoftmaxCrossEntropy
{
    private readonly Device device;
    private readonly Shape logitsShape;

    /// <param name="loss">Where <see cref="Loss"/> goes, [batch] F32, persistent; null for a tensor of its own.</param>
    public SoftmaxCrossEntropy(Device device, string name, int batch, int classes, Tensor? loss = null)
    {
        this.device = device;
        logitsShape = new Shape(batch, classes);
        Loss = loss ?? device.Persistent($"{name}.loss", new Shape(batch), DType.F32);
        Probabilities = device.Transient($"{name}.probabilities", logitsShape, DType.F32);
        LogitsGradient = device.Transient($"{name}.logitsGradient", logitsShape, DType.F32);
    }

    /// <summary>
    /// Weighted loss per clip [N]; the batch's loss is the sum. Persistent, so that the next batch may be loaded before the host reads it.
    /// </summary>
    public Tensor Loss { get; }

    public Tensor Probabilities { get; }

    public Tensor LogitsGradient { get; }

    /// <param name="labels">[N] I32 in 0..C-1; ignored where the weight is 0.</param>
    /// <param name="weights">[N] F32, each clip's share of the batch mean; they sum to 1.</param>
    /// <param name="scale">The weight of this loss in the total.</param>
    /// <returns><see cref="LogitsGradient"/></returns>
    public Tensor Evaluate(Tensor logits, Tensor labels, Tensor weights, float scale = 1)
    {
        if (logits.Shape != logitsShape || labels.Shape != Loss.Shape || weights.Shape != Loss.Shape)
            throw new ArgumentException($"{Loss.Name}: expected logits {logitsShape}, labels and weights {Loss.Shape}; got {logits}, {labels}, {weights}");
        device.Ops.SoftmaxCrossEntropy(Loss, Probabilities, LogitsGradient, logits, labels, weights, scale);
        return LogitsGradient;
    }
}
