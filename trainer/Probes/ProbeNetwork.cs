using Avedis.Engine;

namespace Avedis.Trainer.Probes;

public enum ProbeKind
{
    /// <summary>Softmax regression.</summary>
    Linear,

    /// <summary>One hidden layer of ReLU units, as the paper's probe has.</summary>
    Hidden,
}

/// <summary>A classifier for so many rows at a time, with its optimiser.</summary>
internal sealed class ProbeNetwork
{
    private readonly Device device;
    private readonly ParameterGroup group;
    private readonly Adam adam;
    private readonly LinearRelu? hidden;
    private readonly Linear output;
    private readonly SoftmaxCrossEntropy loss;

    public ProbeNetwork(Device device, ProbeKind kind, int rows, int width, int units, int classes)
    {
        this.device = device;
        (Kind, Rows) = (kind, rows);
        string name = $"probe.{kind}.{rows}";
        group = new ParameterGroup(device, name);
        if (kind == ProbeKind.Hidden)
        {
            // names of parameters do not tell the rows: the same seed gives the same start whatever the chunks are
            hidden = new LinearRelu(device, group, "probe.hidden", rows, width, units);
        }
        output = new Linear(device, group, "probe.output", rows, hidden is null ? width : units, classes);
        loss = new SoftmaxCrossEntropy(device, name, rows, classes);
        group.Seal();
        adam = new Adam(device, group, new AdamOptions());
    }

    public ProbeKind Kind { get; }

    public int Rows { get; }

    /// <summary>All parameters, flat.</summary>
    public Tensor Values => group.Values;

    /// <summary>Back to the start of this seed.</summary>
    public void Begin(ulong seed)
    {
        device.Ops.Zero(group.Gradients);
        adam.Reset();
        group.Initialise(seed);
    }

    /// <summary>Adds these rows' share of the loss's gradient.</summary>
    public void Accumulate(Tensor x, Tensor labels, Tensor weights)
    {
        var gradient = loss.Evaluate(Logits(x), labels, weights);
        // nobody asks for the gradient of the embeddings, which would be a third of the work
        if (hidden is null)
            output.Backward(gradient, Gradients.Parameters);
        else
            hidden.Backward(output.Backward(gradient)!, Gradients.Parameters);
    }

    public void Move(double rate)
    {
        adam.Advance(rate);
        adam.Apply();
    }

    /// <summary>[rows, classes]</summary>
    public Tensor Probabilities(Tensor x, Tensor labels, Tensor weights)
    {
        loss.Evaluate(Logits(x), labels, weights);
        return loss.Probabilities;
    }

    private Tensor Logits(Tensor x) => output.Forward(hidden?.Forward(x) ?? x);
}
