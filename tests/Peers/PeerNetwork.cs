using Avedis.Engine;
using Avedis.Tests.Ops;
using TorchSharp;
using static TorchSharp.torch.nn;

namespace Avedis.Peers;

/// <summary>
/// The network of <see cref="EngineNetwork"/> in libtorch: in float64, or as a yardstick in float32, where activations may be rounded to BF16, or what convolutions
/// multiply to TF32.
/// </summary>
internal sealed class PeerNetwork : IDisposable
{
    private readonly NetworkSize size;
    private readonly torch.ScalarType type;
    private readonly DType act;
    private readonly bool tf32;
    private readonly Dictionary<string, torch.Tensor> state = [];
    private readonly List<TorchSharp.Modules.Parameter> parameters = [];
    private readonly torch.optim.Optimizer adam;
    private readonly BatchNormSettings settings;

    /// <param name="start">State by name, in the engine's layout.</param>
    public PeerNetwork(NetworkSize size, IEnumerable<(string Name, Shape Shape, double[] Values)> start, torch.ScalarType type, DType act, bool tf32)
    {
        (this.size, this.type, this.act, this.tf32) = (size, type, act, tf32);
        settings = new(BatchNorm.DefaultEpsilon, 0.1f, false, null);
        foreach (var (name, shape, values) in start)
        {
            var tensor = Oracle.Constant(values, shape).to(type);
            if (!name.Contains("running", StringComparison.Ordinal))
            {
                var parameter = new TorchSharp.Modules.Parameter(tensor);
                parameters.Add(parameter);
                tensor = parameter;
            }
            state.Add(name, tensor);
        }
        var options = new AdamOptions();
        adam = torch.optim.Adam(parameters, size.Rate, options.Beta1, options.Beta2, options.Epsilon);
    }

    public double[] Read(string name) => Oracle.Values(state[name]);

    /// <summary>One step; returns the loss in front of it.</summary>
    public double Step(NetworkBatch batch)
    {
        using var scope = torch.NewDisposeScope();
        adam.zero_grad();
        var target = torch.tensor(Array.ConvertAll(batch.Labels, label => (long)label));
        var weights = Oracle.Constant(batch.Weights, new Shape(size.Clips)).to(type);
        var loss = (functional.cross_entropy(Forward(batch, training: true), target, reduction: Reduction.None) * weights).sum();
        loss.backward();
        adam.step();
        return Oracle.Values(loss)[0];
    }

    public double[] Logits(NetworkBatch batch)
    {
        using var scope = torch.NewDisposeScope();
        return Oracle.Values(Forward(batch, training: false));
    }

    public void Dispose() => adam.Dispose();

    private torch.Tensor Forward(NetworkBatch batch, bool training)
    {
        var x = Oracle.Constant(batch.Image, size.First.Input).to(type);
        var z1 = Convolution(x, "conv1.weight", size.First);
        var y1 = Rounded(Oracle.MaxPool(Norm("bn1", z1, relu: true, training), size.Pool).Y);
        var z2 = Convolution(y1, "conv2.weight", size.Second);
        var y2 = Rounded(Norm("bn2", z2, relu: false, training)).reshape(size.Clips, size.Steps, size.Second.K);
        var lengths = Oracle.Constant(Numbers.Of(batch.Lengths), new Shape(size.Clips)).to(type).unsqueeze(1);
        var valid = (torch.arange(size.Steps).unsqueeze(0) < lengths).to(type).unsqueeze(2);
        var mean = (y2 * valid).sum(1) / lengths;
        var hidden = functional.relu(functional.linear(mean, state["hidden.weight"], state["hidden.bias"]));
        return functional.linear(hidden, state["head.weight"], state["head.bias"]);
    }

    private torch.Tensor Norm(string name, torch.Tensor x, bool relu, bool training) => Oracle.BatchNorm(
        x, state[$"{name}.weight"], state[$"{name}.bias"], state[$"{name}.running_mean"], state[$"{name}.running_var"], settings with { Relu = relu }, training);

    private torch.Tensor Convolution(torch.Tensor x, string weight, Conv2dGeometry geometry)
    {
        var z = Oracle.Convolution(Multiplied(x), Multiplied(state[weight]), geometry);
        return Rounded(tf32 ? Tf32Gradient.apply(z) : z);
    }

    /// <summary>An activation as it is stored, and its gradient.</summary>
    private torch.Tensor Rounded(torch.Tensor x) => act == DType.BF16 ? x.to(torch.bfloat16).to(type) : x;

    /// <summary>What a convolution multiplies; its gradient is left as it is.</summary>
    private torch.Tensor Multiplied(torch.Tensor x) => x + ((tf32 ? Tf32(x) : Rounded(x)) - x).detach();

    /// <summary>The upper 11 of 24 bits, in float32 (Veltkamp's splitting).</summary>
    private static torch.Tensor Tf32(torch.Tensor x)
    {
        var scaled = x * 8193;
        return scaled - (scaled - x);
    }

    /// <summary>The identity; the gradient is rounded to TF32, as the backward passes of a convolution in front do.</summary>
    private sealed class Tf32Gradient : torch.autograd.SingleTensorFunction<Tf32Gradient>
    {
        public override string Name => nameof(Tf32Gradient);

        public override torch.Tensor forward(torch.autograd.AutogradContext context, params object[] inputs) => ((torch.Tensor)inputs[0]).clone();

        public override List<torch.Tensor> backward(torch.autograd.AutogradContext context, torch.Tensor gradient) => [Tf32(gradient)];
    }
}
