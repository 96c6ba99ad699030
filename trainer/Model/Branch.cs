using Avedis.Engine;

namespace Avedis.Trainer.Model;

/// <summary>
/// What one factor has behind the shared trunk: embedding (linear + ReLU), softmax head, and optionally an auxiliary head that reads the other
/// factor from this embedding, behind a gradient reversal.
/// </summary>
public sealed class Branch
{
    private readonly Linear embedding;
    private readonly Relu relu;
    private readonly Linear head;
    private readonly Linear? auxiliary;
    private readonly GradientReversal? reversal;
    private readonly SoftmaxCrossEntropy loss;
    private readonly SoftmaxCrossEntropy? auxiliaryLoss;

    /// <param name="otherClasses">Classes of the other factor; 0 for no auxiliary head.</param>
    public Branch(
        Device device, ParameterGroup primary, ParameterGroup auxiliaryGroup, string name,
        int batch, int inputs, int width, int classes, int otherClasses)
    {
        Name = name;
        Classes = classes;
        embedding = new Linear(device, primary, $"{name}.embedding", batch, inputs, width);
        relu = new Relu(device, $"{name}.relu", embedding.Output.Shape, DType.F32);
        head = new Linear(device, primary, $"{name}.head", batch, width, classes);
        loss = new SoftmaxCrossEntropy(device, $"{name}.loss", batch, classes);
        Labels = device.Persistent($"{name}.labels", new Shape(batch), DType.I32);
        Weights = device.Persistent($"{name}.weights", new Shape(batch), DType.F32);
        if (otherClasses > 0)
        {
            auxiliary = new Linear(device, auxiliaryGroup, $"{name}.auxiliary", batch, width, otherClasses);
            reversal = new GradientReversal(device, $"{name}.reversal", relu.Output.Shape);
            auxiliaryLoss = new SoftmaxCrossEntropy(device, $"{name}.auxiliary.loss", batch, otherClasses);
        }
    }

    /// <summary>"emotion" or "speaker".</summary>
    public string Name { get; }

    public int Classes { get; }

    /// <summary>Labels of this factor, [N] I32.</summary>
    public Tensor Labels { get; }

    /// <summary>Each clip's share of this factor's batch mean, [N] F32.</summary>
    public Tensor Weights { get; }

    /// <summary>[N, width] F32.</summary>
    public Tensor Embedding => relu.Output;

    public Tensor Logits => head.Output;

    /// <summary>[N, classes] F32, after <see cref="Evaluate"/>.</summary>
    public Tensor Probabilities => loss.Probabilities;

    /// <summary>Loss per clip, already weighted, [N] F32.</summary>
    public Tensor Loss => loss.Loss;

    /// <summary>Loss of the auxiliary head per clip; null without one.</summary>
    public Tensor? AuxiliaryLoss => auxiliaryLoss?.Loss;

    /// <summary>Sets the reversal factor: 0 leaves the embedding alone.</summary>
    public void SetLambda(float lambda) =>
        (reversal ?? throw new InvalidOperationException($"{Name} has no auxiliary head")).SetLambda(lambda);

    public void Forward(Tensor trunk, Phase phase)
    {
        head.Forward(relu.Forward(embedding.Forward(trunk, phase), phase), phase);
        auxiliary?.Forward(relu.Output, phase);
    }

    /// <summary>Loss, probabilities and gradient of the head.</summary>
    public void Evaluate(float scale) => loss.Evaluate(head.Output, Labels, Weights, scale);

    /// <summary>The same of the auxiliary head, against the other factor's labels.</summary>
    public void EvaluateAuxiliary(Branch other, float scale) =>
        auxiliaryLoss!.Evaluate(auxiliary!.Output, other.Labels, other.Weights, scale);

    /// <summary>
    /// Gradient of the trunk. The head's loss must have been evaluated; with <paramref name="withAuxiliary"/> the auxiliary head's too: it gets its
    /// full gradient, the embedding gets it times -lambda.
    /// </summary>
    public Tensor Backward(bool withAuxiliary)
    {
        var dEmbedding = head.Backward(loss.LogitsGradient)!;
        if (withAuxiliary)
            reversal!.BackwardAdd(dEmbedding, auxiliary!.Backward(auxiliaryLoss!.LogitsGradient)!);
        return embedding.Backward(relu.Backward(dEmbedding)!)!;
    }
}
