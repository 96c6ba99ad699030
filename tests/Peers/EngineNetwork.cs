using Avedis.Engine;
using Avedis.Tests.Ops;

namespace Avedis.Peers;

/// <summary>Sizes of the network that is compared as a whole.</summary>
/// <param name="Second">Its window has as many rows as its input, so that one row of steps is left.</param>
internal sealed record NetworkSize(int Clips, Conv2dGeometry First, Pool2dGeometry Pool, Conv2dGeometry Second, int Hidden, int Classes, float Rate)
{
    public int Steps => Second.Q;
}

/// <summary>Data of one batch.</summary>
internal sealed record NetworkBatch(double[] Image, int[] Lengths, int[] Labels, double[] Weights);

/// <summary>
/// Eight layers of the engine's: convolution, batch norm with ReLU and pooling, convolution, batch norm, mean over valid steps, linear with ReLU, linear,
/// cross-entropy; one optimiser.
/// </summary>
internal sealed class EngineNetwork : IDisposable
{
    private readonly Device device;
    private readonly NetworkSize size;
    private readonly ParameterGroup group;
    private readonly Conv2d conv1, conv2;
    private readonly BatchNorm norm1, norm2;
    private readonly MaskedMean mean;
    private readonly LinearRelu hidden;
    private readonly Linear head;
    private readonly SoftmaxCrossEntropy entropy;
    private readonly Adam adam;
    private readonly Tensor image, lengths, labels, weights;
    private readonly float[] losses, logits;

    public EngineNetwork(IBackend backend, NetworkSize size, DType act)
    {
        this.size = size;
        device = new Device(backend);
        group = new ParameterGroup(device, "network");
        image = device.Persistent("image", size.First.Input, act);
        lengths = device.Persistent("lengths", new Shape(size.Clips), DType.I32);
        labels = device.Persistent("labels", new Shape(size.Clips), DType.I32);
        weights = device.Persistent("weights", new Shape(size.Clips), DType.F32);
        conv1 = new Conv2d(device, group, "conv1", size.First, act);
        norm1 = new BatchNorm(device, group, "bn1", size.First.Output, act, relu: true, size.Pool, moments: conv1.Moments);
        conv2 = new Conv2d(device, group, "conv2", size.Second, act);
        norm2 = new BatchNorm(device, group, "bn2", size.Second.Output, act, moments: conv2.Moments);
        mean = new MaskedMean(device, "mean", new Shape(size.Clips, size.Steps, size.Second.K), act, lengths);
        hidden = new LinearRelu(device, group, "hidden", size.Clips, size.Second.K, size.Hidden);
        head = new Linear(device, group, "head", size.Clips, size.Hidden, size.Classes);
        entropy = new SoftmaxCrossEntropy(device, "entropy", size.Clips, size.Classes);
        group.Seal();
        adam = new Adam(device, group, new AdamOptions());
        (losses, logits) = (new float[size.Clips], new float[size.Clips * size.Classes]);
        device.Plan(Train, Evaluate);
    }

    /// <summary>Parameters in the engine's layout, then running statistics, by name.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> State =>
    [
        .. group.Parameters.Select(parameter => (parameter.Name, parameter.Value)),
        .. new[] { norm1, norm2 }.SelectMany(norm => new[] { norm.Statistics.Mean, norm.Statistics.Variance }).Select(tensor => (tensor.Name, tensor)),
    ];

    public void Initialise(ulong seed)
    {
        group.Initialise(seed);
        norm1.Statistics.Initialise();
        norm2.Statistics.Initialise();
    }

    public double[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
        return Array.ConvertAll(values, value => (double)value);
    }

    public void Write(Tensor tensor, double[] values) => device.Ops.Upload<float>(tensor, Array.ConvertAll(values, value => (float)value));

    /// <summary>One step; returns the loss in front of it.</summary>
    public double Step(NetworkBatch batch)
    {
        Load(batch);
        adam.Advance(size.Rate);
        Train();
        return losses.Sum(loss => (double)loss);
    }

    /// <summary>Logits by running statistics.</summary>
    public double[] Logits(NetworkBatch batch)
    {
        Load(batch);
        Evaluate();
        return Array.ConvertAll(logits, value => (double)value);
    }

    public void Dispose() => device.Dispose();

    private void Load(NetworkBatch batch)
    {
        device.Ops.Upload<byte>(image, Numbers.Encode(batch.Image, image.Type));
        device.Ops.Upload<int>(lengths, batch.Lengths);
        device.Ops.Upload<int>(labels, batch.Labels);
        Write(weights, batch.Weights);
    }

    private Tensor Forward(Phase phase)
    {
        var features = norm2.Forward(conv2.Forward(norm1.Forward(conv1.Forward(image, phase), phase), phase), phase);
        var embedding = hidden.Forward(mean.Forward(features.Reshape(size.Clips, size.Steps, size.Second.K), phase), phase);
        return head.Forward(embedding, phase);
    }

    private void Train()
    {
        var dLogits = entropy.Evaluate(Forward(Phase.Training), labels, weights);
        device.Ops.Download<float>(losses, entropy.Loss);
        var shape = size.Second.Output;
        var dFeatures = mean.Backward(hidden.Backward(head.Backward(dLogits)!)!)!.Reshape(shape[0], shape[1], shape[2], shape[3]);
        conv1.Backward(norm1.Backward(conv2.Backward(norm2.Backward(dFeatures)!)!)!, Gradients.Parameters);
        adam.Apply();
    }

    private void Evaluate() => device.Ops.Download<float>(logits, Forward(Phase.Evaluation));
}
