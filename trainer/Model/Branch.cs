using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>
/// What one factor has behind the shared trunk: a hidden layer where asked for, embedding (linear + ReLU each), softmax head, and the auxiliary heads that read from the embedding what it is to
/// forget.
/// </summary>
public sealed class Branch
{
    private readonly Device device;
    private readonly LinearRelu? hidden;
    private readonly LinearRelu embedding;
    private readonly Linear head;
    private readonly SoftmaxCrossEntropy loss;
    private readonly Target target;

    /// <param name="loss">Where <see cref="Loss"/> goes; null for a tensor of its own.</param>
    public Branch(
        Device device, ParameterGroup group, int batch, int inputs, Target target, FactorOptions options,
        IReadOnlyList<AuxiliaryHead> auxiliary, Tensor? loss)
    {
        (this.device, this.target, Weight, Auxiliary) = (device, target, options.Weight, auxiliary);
        if (options.Hidden > 0)
        {
            hidden = new LinearRelu(device, group, $"{Name}.hidden", batch, inputs, options.Hidden);
            inputs = options.Hidden;
        }
        embedding = new LinearRelu(device, group, $"{Name}.embedding", batch, inputs, options.Embedding);
        head = new Linear(device, group, $"{Name}.head", batch, options.Embedding, Factor.Classes.Count);
        this.loss = new SoftmaxCrossEntropy(device, $"{Name}.loss", batch, Factor.Classes.Count, loss);
    }

    public Factor Factor => target.Factor;

    public string Name => Factor.Name;

    public int Classes => Factor.Classes.Count;

    /// <summary>Of its loss in the total.</summary>
    public float Weight { get; }

    /// <summary>Empty where nothing is to be forgotten or watched.</summary>
    public IReadOnlyList<AuxiliaryHead> Auxiliary { get; }

    /// <summary>[N, width] F32.</summary>
    public Tensor Embedding => embedding.Output;

    public Tensor Logits => head.Output;

    /// <summary>[N, classes] F32, after <see cref="Evaluate"/>.</summary>
    public Tensor Probabilities => loss.Probabilities;

    /// <summary>Loss per clip, already weighted, [N] F32.</summary>
    public Tensor Loss => loss.Loss;

    /// <summary>Embedding and logits.</summary>
    public void Forward(Tensor trunk, Phase phase) =>
        head.Forward(embedding.Forward(hidden?.Forward(trunk, phase) ?? trunk, phase), phase);

    /// <summary>Loss, probabilities and gradient of the head.</summary>
    public void Evaluate() => loss.Evaluate(head.Output, target.Labels, target.Weights, Weight);

    /// <summary>Gradient of the trunk; the losses must have been evaluated.</summary>
    /// <param name="adversary">Adds to the gradient of the embedding what the auxiliary heads make of it; null without.</param>
    /// <param name="inputs">Whether the trunk takes a gradient at all.</param>
    /// <param name="intoTrunk">Whether the trunk takes the adversary's part of it, or the embedding alone.</param>
    public Tensor Backward(Action<AuxiliaryHead, Tensor>? adversary, bool inputs, bool intoTrunk)
    {
        var dEmbedding = head.Backward(loss.LogitsGradient)!;
        if (adversary is null || intoTrunk || !inputs)
            return Backward(dEmbedding, adversary, inputs);
        var dTrunk = BackwardEmbedding(dEmbedding, Gradients.Input);
        Backward(dEmbedding, adversary, inputs: false);
        return dTrunk;
    }

    /// <summary>The same of what the auxiliary heads make of the embedding alone, as if the head did not exist.</summary>
    /// <inheritdoc cref="Backward(Action{AuxiliaryHead, Tensor}?, bool, bool)"/>
    public Tensor BackwardAuxiliary(Action<AuxiliaryHead, Tensor> adversary, bool inputs)
    {
        device.Ops.Zero(head.InputGradient!);
        return Backward(head.InputGradient!, adversary, inputs);
    }

    private Tensor Backward(Tensor dEmbedding, Action<AuxiliaryHead, Tensor>? adversary, bool inputs)
    {
        if (adversary is not null)
            foreach (var auxiliary in Auxiliary)
                adversary(auxiliary, dEmbedding);
        return BackwardEmbedding(dEmbedding, inputs ? Gradients.Both : Gradients.Parameters);
    }

    private Tensor BackwardEmbedding(Tensor dEmbedding, Gradients gradients) => hidden is null
        ? embedding.Backward(dEmbedding, gradients)!
        : hidden.Backward(embedding.Backward(dEmbedding, gradients | Gradients.Input)!, gradients)!;
}
