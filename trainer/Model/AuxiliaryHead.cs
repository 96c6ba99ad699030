using Avedis.Engine;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Model;

/// <summary>
/// Reads a factor from the embedding of another, which is to forget it: figure 2 of the paper. It is a parameter group of its own with an optimiser of its
/// own, so that a strategy moves it or leaves it alone. What it says of the leak is a lower bound; a fresh probe is the measure.
/// <code>
/// embedding [N,D] -> (batch norm -> + noise) -> (linear, ReLU) -> linear -> logits [N,C]
/// </code>
/// </summary>
public sealed class AuxiliaryHead
{
    private readonly Device device;
    private readonly Target target;
    private readonly BatchNorm? norm;
    private readonly Tensor? noise;
    private readonly float noiseDeviation;
    private readonly LinearRelu? hidden;
    private readonly Linear head;
    private readonly GradientReversal reversal;
    private readonly SoftmaxCrossEntropy loss;
    private readonly UniformConfusion confusion;
    private readonly float scale;
    private readonly float[] noiseBuffer = [];

    /// <param name="constants">Group of what no optimiser moves.</param>
    /// <param name="name">embedding's factor.auxiliary.read factor, and a number where there are several.</param>
    /// <param name="weight">Of its loss in the total: w_aux of equation (2) over the number of heads.</param>
    /// <param name="passes">Passes of a training step through the head; each has noise of its own.</param>
    /// <param name="loss">Where <see cref="Loss"/> goes.</param>
    public AuxiliaryHead(
        Device device, ParameterGroup constants, string name, int batch, int width, Target target, AuxiliaryOptions options,
        float weight, int passes, Tensor loss)
    {
        (this.device, this.target, scale, Name) = (device, target, weight, name);
        int classes = target.Factor.Classes.Count, inputs = width;
        Group = new ParameterGroup(device, name);
        if (options.Normalise)
            norm = new BatchNorm(device, constants, $"{name}.norm", new Shape(batch, 1, 1, width), DType.F32);
        noiseDeviation = options.Noise;
        if (options.Noise > 0)
        {
            noise = device.Persistent($"{name}.noise", new Shape(passes, batch, width), DType.F32);
            noiseBuffer = new float[noise.Count];
        }
        if (options.Hidden > 0)
        {
            hidden = new LinearRelu(device, Group, $"{name}.hidden", batch, width, options.Hidden);
            inputs = options.Hidden;
        }
        head = new Linear(device, Group, $"{name}.head", batch, inputs, classes);
        Group.Seal();
        reversal = new GradientReversal(device, $"{name}.reversal", new Shape(batch, width));
        this.loss = new SoftmaxCrossEntropy(device, $"{name}.loss", batch, classes, loss);
        confusion = new UniformConfusion(device, $"{name}.confusion", batch, classes);
    }

    /// <summary>speaker.auxiliary.emotion: emotion, read from the speaker embedding.</summary>
    public string Name { get; }

    /// <summary>The factor that it reads.</summary>
    public Factor Factor => target.Factor;

    public ParameterGroup Group { get; }

    public RunningStatistics? Statistics => norm?.Statistics;

    /// <summary>[N, classes].</summary>
    public Tensor Logits => head.Output;

    /// <summary>[N, classes], after <see cref="Evaluate"/>.</summary>
    public Tensor Probabilities => loss.Probabilities;

    /// <summary>Cross-entropy with the labels per clip, already weighted, [N] F32.</summary>
    public Tensor Loss => loss.Loss;

    /// <summary>Cross-entropy with the uniform distribution per clip, weighted, [N] F32. After <see cref="EvaluateConfusion"/>.</summary>
    public Tensor Confusion => confusion.Loss;

    /// <summary>KL(uniform || prediction) per clip, weighted, [N] F32; 0 where the head tells nothing. After <see cref="EvaluateConfusion"/>.</summary>
    public Tensor Divergence => confusion.Divergence;

    /// <summary>Sets what the gradient that enters the embedding is multiplied by, negated: lambda pushes away, -lambda draws near, 0 leaves alone.</summary>
    public void SetLambda(float lambda) => reversal.SetLambda(lambda);

    /// <summary>Draws the noise of the next step, for the whole batch, of which each rank takes its clips' part; needless without noise.</summary>
    public void DrawNoise(ulong seed, long step)
    {
        if (noise is null)
            return;
        var random = new Philox(seed, StableHash.Of($"{Name}.noise {step}"));
        int part = noise.Shape[1] * noise.Shape[2], ranks = device.Collective.Size;
        for (int i = 0; i < noiseBuffer.Length * ranks; i++)
        {
            float drawn = noiseDeviation * (float)random.NextGaussian();
            var (pass, inPass) = Math.DivRem(i, part * ranks);
            if (inPass / part == device.Collective.Rank)
                noiseBuffer[(pass * part) + (inPass % part)] = drawn;
        }
        device.Ops.Upload<float>(noise, noiseBuffer);
    }

    /// <param name="pass">Number of this pass within the step, from 0.</param>
    public void Forward(Tensor embedding, Phase phase, int pass = 0)
    {
        var x = embedding;
        if (norm is not null)
        {
            x = norm.Forward(embedding.Reshape(embedding.Shape[0], 1, 1, embedding.Shape[1]), phase).Reshape(embedding.Shape[0], embedding.Shape[1]);
            if (noise is not null && phase != Phase.Evaluation)
                device.Ops.Add(x, noise.Part($"{noise.Name}.{pass}", x.Shape, pass * x.Count));
        }
        head.Forward(hidden?.Forward(x, phase) ?? x, phase);
    }

    /// <summary>Loss, probabilities and gradient against the labels.</summary>
    public Tensor Evaluate() => loss.Evaluate(head.Output, target.Labels, target.Weights, scale);

    /// <summary>Loss, divergence and gradient against the uniform distribution.</summary>
    public Tensor EvaluateConfusion() => confusion.Evaluate(head.Output, target.Weights, scale);

    /// <summary>One step of the head itself, on an embedding that it takes as given.</summary>
    /// <param name="pass">Number of this pass within the step; the first moves the running statistics, which see each batch once.</param>
    public void Learn(Tensor embedding, Adam optimiser, int pass)
    {
        Forward(embedding, pass == 0 ? Phase.Training : Phase.Repeat, pass);
        Backward(Evaluate(), Gradients.Parameters);
        optimiser.Apply(pass);
    }

    /// <summary>Adds this head's gradient, times -lambda, to that of the embedding.</summary>
    /// <param name="gradients">Both moves the head as well, by its full gradient; Input takes it for constant.</param>
    public void BackwardAdd(Tensor dEmbedding, Tensor dLogits, Gradients gradients) => reversal.BackwardAdd(dEmbedding, Backward(dLogits, gradients));

    // the gradient of the embedding; what it holds without Gradients.Input is of no use
    private Tensor Backward(Tensor dLogits, Gradients gradients)
    {
        bool inside = norm is not null && gradients.HasFlag(Gradients.Input);
        var inner = hidden is null ? gradients : gradients | Gradients.Input;
        var dX = head.Backward(dLogits, inner)!;
        if (hidden is not null)
            dX = hidden.Backward(dX, gradients)!;
        // noise adds a constant, whose gradient is nobody's
        return inside ? norm!.Backward(dX.Reshape(dX.Shape[0], 1, 1, dX.Shape[1]))!.Reshape(dX.Shape[0], dX.Shape[1]) : dX;
    }
}
