using Avedis.Bench.Kernels;
using Avedis.Engine;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;
using Tensor = TorchSharp.torch.Tensor;

namespace Avedis.Bench.Peers.TorchSharp.Operations;

/// <summary>One operation at one shape of a training step, as both libraries compute it from the same numbers.</summary>
/// <param name="Layouts">That TorchSharp's images may have.</param>
/// <param name="Ours">As <see cref="OurSide"/> takes it.</param>
/// <param name="Theirs">As <see cref="TheirSide"/> takes it.</param>
/// <param name="Autograd">Whether TorchSharp has the operation only as a part of autograd.</param>
/// <param name="Decides">Whether rounding may decide which element of a window wins, or whether ReLU lets it pass.</param>
internal sealed record OperationCase(
    string Preset, int Batch, string Operation, string Layer, string Shape, IReadOnlyList<Layout> Layouts,
    Func<BenchTensors, Func<BenchTensors, BuiltOperation>> Ours, Func<Layout, Func<Tensor[]>> Theirs, bool Autograd, bool Decides)
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f, Strength = 0.3f;
    private const DType Act = DType.F32;

    private static readonly Layout[] images = [Layout.ChannelsFirst, Layout.ChannelsLast], noImages = [Layout.None];

    /// <summary>No other of its preset has it.</summary>
    public string Name => $"{Preset} {Operation}, {Layer}";

    /// <summary>The operations of a preset's training step; layers of one shape once.</summary>
    public static IEnumerable<OperationCase> Of(string preset, int batch)
    {
        OperationCase Case(
            string operation, string layer, string shape, IReadOnlyList<Layout> layouts,
            Func<BenchTensors, Func<BenchTensors, BuiltOperation>> ours, Func<Layout, Func<Tensor[]>> theirs,
            bool autograd = false, bool decides = false) =>
            new(preset, batch, operation, layer, shape, layouts, ours, theirs, autograd, decides);
        var layers = StepLayers.Convolutions(preset, batch);
        static string Names(IEnumerable<ConvolutionLayer> same) => string.Join(", ", same.Select(layer => layer.Name));
        var behind = layers.Where(layer => !layer.Stem).ToList();
        var convolutions = behind.GroupBy(layer => layer.Geometry).Select(same => (G: same.Key, Names: Names(same))).ToList();
        foreach (var (g, names) in convolutions)
            yield return Case(
                "convolution forward", names, Describe(g), images, tensors => Forward(tensors, g), layout => Forward(layout, g));
        foreach (var (g, names) in convolutions)
            yield return Case(
                "convolution, gradient of x", names, Describe(g), images,
                tensors => BackwardData(tensors, g), layout => Backward(layout, g, ofWeight: false), autograd: true);
        foreach (var (g, names) in convolutions)
            yield return Case(
                "convolution, gradient of weights", names, Describe(g), images,
                tensors => BackwardWeight(tensors, g), layout => Backward(layout, g, ofWeight: true), autograd: true);
        foreach (var layer in layers.Where(layer => layer.Stem))
            yield return Case(
                "first block, forward and backward", layer.Name, $"{Describe(layer.Geometry)}, pooled to {layer.Output}", images,
                tensors => Stem(tensors, layer), layout => Block(layout, layer, convolution: true), autograd: true, decides: true);
        foreach (var same in layers.Where(layer => layer.Pool is not null).GroupBy(layer => layer.Pool!.Value))
            yield return Case(
                "max pooling, forward and backward", Names(same), $"{same.Key.Input} to {same.Key.Output}", images,
                tensors => MaxPool(tensors, same.Key), layout => MaxPool(layout, same.Key), autograd: true);
        foreach (var same in behind.GroupBy(layer => layer.Geometry.Output))
            yield return Case(
                "batch norm, forward and backward", Names(same), same.Key.ToString(), images,
                tensors => BatchNorm(tensors, same.Key, same.Key, new(Epsilon, Momentum, Relu: false, Pool: null)),
                layout => BatchNorm(layout, same.Key), autograd: true);
        foreach (var same in behind.GroupBy(layer => (Input: layer.Geometry.Output, layer.Pool, layer.Output)))
        {
            var (input, pool, output) = same.Key;
            yield return Case(
                "batch norm, ReLU, pooling, both ways", Names(same), pool is null ? $"{input}" : $"{input} to {output}", images,
                tensors => BatchNorm(tensors, input, output, new(Epsilon, Momentum, Relu: true, pool)),
                layout => Block(layout, same.First(), convolution: false), autograd: true, decides: true);
        }
        foreach (var last in layers.Where(layer => layer.Name.EndsWith("conv6", StringComparison.Ordinal)))
        {
            var steps = new Shape(batch, (int)(last.Output.Count / batch / last.Geometry.K), last.Geometry.K);
            yield return Case(
                "masked mean, forward and backward", last.Name, $"{steps}", noImages,
                tensors => MaskedMean(tensors, steps), _ => MaskedMean(steps), autograd: true);
        }
        var linears = StepLayers.Linears(preset, batch);
        foreach (var embedding in linears.Where(layer => layer.Name.EndsWith(".embedding", StringComparison.Ordinal)))
        {
            var shape = new Shape(embedding.Rows, embedding.Outputs);
            yield return Case(
                "gradient reversal", embedding.Name, $"{shape}", noImages, tensors => Reversal(tensors, shape), _ => Reversal(shape));
        }
        foreach (var head in linears.Where(layer => layer.Name.EndsWith(".head", StringComparison.Ordinal)))
        {
            var logits = new Shape(head.Rows, head.Outputs);
            yield return Case(
                "softmax cross-entropy, with gradient", head.Name, $"{logits}", noImages,
                tensors => CrossEntropy(tensors, logits), _ => CrossEntropy(logits), autograd: true);
            yield return Case(
                "uniform confusion, with gradient", head.Name, $"{logits}", noImages,
                tensors => Confusion(tensors, logits), _ => Confusion(logits), autograd: true);
        }
        Shape[] parameters =
        [
            .. layers.SelectMany(layer => new[] { layer.Geometry.Weight, new(layer.Geometry.K), new(layer.Geometry.K) }),
            .. linears.SelectMany(layer => new[] { new Shape(layer.Outputs, layer.Inputs), new(layer.Outputs) }),
        ];
        yield return Case(
            "Adam", "all parameters", $"[{parameters.Sum(shape => shape.Count)}] in {parameters.Length} tensors", noImages,
            tensors => Adam(tensors, parameters), _ => Adam(parameters));
    }

    private static string Describe(Conv2dGeometry g)
    {
        string stride = g.StrideH * g.StrideW > 1 ? $", stride {g.StrideH}x{g.StrideW}" : "";
        return $"{g.Input} by {g.R}x{g.S}{stride} to {g.Output}";
    }

    // every tensor of a case has a seed of its own: both sides have the same numbers
    private static FormulaNumbers Numbers(uint seed) => FormulaNumbers.For("fp32", seed);

    private const uint X = 1, Weight = 2, DY = 3, Gamma = 4, Beta = 5;

    // ---- ours -----------------------------------------------------------------------------------------------------------

    private static Func<BenchTensors, BuiltOperation> Forward(BenchTensors inputs, Conv2dGeometry g)
    {
        var (x, weight) = (inputs.Of("x", g.Input, Act, Numbers(X)), inputs.Of("weight", g.Weight, DType.F32, Numbers(Weight)));
        return outputs =>
        {
            outputs.RequireWorkspace(outputs.Backend.Conv2dWorkspace(g, Act));
            var y = outputs.Zeroes("y", g.Output, Act);
            return new(() => outputs.Backend.Conv2dForward(y, moments: null, x, weight, g), y);
        };
    }

    private static Func<BenchTensors, BuiltOperation> BackwardData(BenchTensors inputs, Conv2dGeometry g)
    {
        var (dY, weight) = (inputs.Of("dY", g.Output, Act, Numbers(DY)), inputs.Of("weight", g.Weight, DType.F32, Numbers(Weight)));
        return outputs =>
        {
            outputs.RequireWorkspace(outputs.Backend.Conv2dWorkspace(g, Act));
            var dX = outputs.Zeroes("dX", g.Input, Act);
            return new(() => outputs.Backend.Conv2dBackwardData(dX, dY, weight, g), dX);
        };
    }

    private static Func<BenchTensors, BuiltOperation> BackwardWeight(BenchTensors inputs, Conv2dGeometry g)
    {
        var (x, dY) = (inputs.Of("x", g.Input, Act, Numbers(X)), inputs.Of("dY", g.Output, Act, Numbers(DY)));
        return outputs =>
        {
            outputs.RequireWorkspace(outputs.Backend.Conv2dWorkspace(g, Act));
            var dWeight = outputs.Zeroes("dWeight", g.Weight, DType.F32);
            return new(() => outputs.Backend.Conv2dBackwardWeight(dWeight, dY, x, g), dWeight);
        };
    }

    private static Func<BenchTensors, BuiltOperation> Stem(BenchTensors inputs, ConvolutionLayer layer)
    {
        var (g, settings) = (layer.Geometry, new BatchNormSettings(Epsilon, Momentum, Relu: true, layer.Pool));
        var (x, weight) = (inputs.Of("x", g.Input, Act, Numbers(X)), inputs.Of("weight", g.Weight, DType.F32, Numbers(Weight)));
        var dY = inputs.Of("dY", layer.Output, Act, Numbers(DY));
        var norm = new Norm(inputs, g.K);
        return outputs =>
        {
            var memory = outputs.Backend.StemMemory(g, settings, Act);
            outputs.RequireWorkspace(memory.Workspace);
            var (state, scratch) = (outputs.Bytes("state", memory.State),
                outputs.Bytes("scratch", Math.Max(memory.ForwardScratch, memory.BackwardScratch)));
            var (y, argmax) = (outputs.Zeroes("y", layer.Output, Act), outputs.Zeroes("argmax", layer.Output, DType.U8));
            var (dWeight, sums) = (outputs.Zeroes("dWeight", g.Weight, DType.F32), new NormResults(outputs, g.K));
            return new(
                () =>
                {
                    outputs.Backend.StemForward(
                        y, argmax, sums.Mean, sums.InverseStd, norm.RunningMean, norm.RunningVariance, state, scratch, x, weight,
                        norm.Gamma, norm.Beta, g, settings);
                    outputs.Backend.StemBackward(
                        dWeight, sums.DGamma, sums.DBeta, scratch, dY, y, argmax, x, weight, norm.Gamma, norm.Beta, sums.Mean,
                        sums.InverseStd, state, g, settings);
                },
                y, dWeight, sums.DGamma, sums.DBeta);
        };
    }

    private static Func<BenchTensors, BuiltOperation> MaxPool(BenchTensors inputs, Pool2dGeometry g)
    {
        var (x, dY) = (inputs.Of("x", g.Input, Act, Numbers(X)), inputs.Of("dY", g.Output, Act, Numbers(DY)));
        return outputs =>
        {
            var (y, argmax, dX) = (outputs.Zeroes("y", g.Output, Act), outputs.Zeroes("argmax", g.Output, DType.U8),
                outputs.Zeroes("dX", g.Input, Act));
            return new(
                () =>
                {
                    outputs.Backend.MaxPoolForward(y, argmax, x, g);
                    outputs.Backend.MaxPoolBackward(dX, dY, argmax, g);
                },
                y, dX);
        };
    }

    private static Func<BenchTensors, BuiltOperation> BatchNorm(BenchTensors inputs, Shape input, Shape output, BatchNormSettings settings)
    {
        var (x, dY) = (inputs.Of("x", input, Act, Numbers(X)), inputs.Of("dY", output, Act, Numbers(DY)));
        var norm = new Norm(inputs, input[3]);
        return outputs =>
        {
            var (y, dX, sums) = (outputs.Zeroes("y", output, Act), outputs.Zeroes("dX", input, Act), new NormResults(outputs, input[3]));
            var argmax = settings.Pool is null ? null : outputs.Zeroes("argmax", output, DType.U8);
            return new(
                () =>
                {
                    outputs.Backend.BatchNormForward(
                        y, argmax, sums.Mean, sums.InverseStd, norm.RunningMean, norm.RunningVariance, x, moments: null, norm.Gamma,
                        norm.Beta, settings);
                    outputs.Backend.BatchNormBackward(
                        dX, sums.DGamma, sums.DBeta, dY, argmax, x, norm.Gamma, norm.Beta, sums.Mean, sums.InverseStd, settings);
                },
                y, dX, sums.DGamma, sums.DBeta);
        };
    }

    private static Func<BenchTensors, BuiltOperation> MaskedMean(BenchTensors inputs, Shape steps)
    {
        var mean = new Shape(steps[0], steps[2]);
        var (x, dY) = (inputs.Of("x", steps, Act, Numbers(X)), inputs.Of("dY", mean, DType.F32, Numbers(DY)));
        var lengths = inputs.Of("lengths", new Shape(steps[0]), DType.I32, n => Length(steps, n));
        return outputs =>
        {
            var (y, dX) = (outputs.Zeroes("y", mean, DType.F32), outputs.Zeroes("dX", steps, Act));
            return new(
                () =>
                {
                    outputs.Backend.MaskedMeanForward(y, x, lengths);
                    outputs.Backend.MaskedMeanBackward(dX, dY, lengths);
                },
                y, dX);
        };
    }

    private static Func<BenchTensors, BuiltOperation> Reversal(BenchTensors inputs, Shape shape)
    {
        var (dY, strength) = (inputs.Of("dY", shape, DType.F32, Numbers(DY)),
            inputs.Of("strength", new Shape(1), DType.F32, _ => Strength));
        return outputs =>
        {
            var dX = outputs.Zeroes("dX", shape, DType.F32);
            return new(() => outputs.Backend.GradientReversalBackward(dX, dY, strength), dX);
        };
    }

    private static Func<BenchTensors, BuiltOperation> CrossEntropy(BenchTensors inputs, Shape logits)
    {
        var clips = new Shape(logits[0]);
        var (x, weights) = (inputs.Of("logits", logits, DType.F32, Numbers(X)),
            inputs.Of("weights", clips, DType.F32, _ => 1f / logits[0]));
        var labels = inputs.Of("labels", clips, DType.I32, n => (int)(n % logits[1]));
        return outputs =>
        {
            var (loss, probabilities, dLogits) =
                (outputs.Zeroes("loss", clips, DType.F32), outputs.Zeroes("probabilities", logits, DType.F32),
                outputs.Zeroes("dLogits", logits, DType.F32));
            return new(() => outputs.Backend.SoftmaxCrossEntropy(loss, probabilities, dLogits, x, labels, weights, 1), loss, dLogits);
        };
    }

    private static Func<BenchTensors, BuiltOperation> Confusion(BenchTensors inputs, Shape logits)
    {
        var clips = new Shape(logits[0]);
        var (x, weights) = (inputs.Of("logits", logits, DType.F32, Numbers(X)),
            inputs.Of("weights", clips, DType.F32, _ => 1f / logits[0]));
        return outputs =>
        {
            var (loss, kl, dLogits) = (outputs.Zeroes("loss", clips, DType.F32), outputs.Zeroes("kl", clips, DType.F32),
                outputs.Zeroes("dLogits", logits, DType.F32));
            return new(() => outputs.Backend.UniformConfusion(loss, kl, dLogits, x, weights, 1), loss, dLogits);
        };
    }

    // parameters start at 0, so that the result is what the step changed
    private static Func<BenchTensors, BuiltOperation> Adam(BenchTensors inputs, Shape[] parameters)
    {
        var all = new Shape(checked((int)parameters.Sum(shape => shape.Count)));
        var options = new AdamOptions();
        var (values, gradients) = (inputs.Zeroes("parameters", all, DType.F32), inputs.Of("gradients", all, DType.F32, Numbers(DY)));
        var (m, v) = (inputs.Zeroes("m", all, DType.F32), inputs.Zeroes("v", all, DType.F32));
        var schedule = inputs.Of("schedule", new Shape(3), DType.F32, i =>
            i switch { 0 => 1e-4f, 1 => 1 - options.Beta1, _ => 1 - options.Beta2 });
        return outputs => new(() => outputs.Backend.Adam(values, gradients, m, v, schedule, options.Beta1, options.Beta2, options.Epsilon),
            values);
    }

    private static int Length(Shape steps, long clip) => Math.Max(1, steps[1] - (int)(clip % 3));

    // ---- theirs ---------------------------------------------------------------------------------------------------------

    // images [N, H, W, C] and weights [K, R, S, C] as libtorch names them, [N, C, H, W] and [K, C, R, S], in either order of memory
    private static Tensor Image(Shape shape, uint seed, Layout layout)
    {
        var seen = Values(shape, seed).permute(0, 3, 1, 2);
        return layout == Layout.ChannelsFirst ? seen.contiguous() : seen;
    }

    private static Tensor Values(Shape shape, uint seed)
    {
        var numbers = Numbers(seed);
        var values = new float[shape.Count];
        Parallel.For(0, values.Length, i => values[i] = numbers[i]);
        return tensor(values, Array.ConvertAll(shape.ToArray(), extent => (long)extent));
    }

    private static Tensor Convolve(Tensor x, Tensor weight, Conv2dGeometry g) =>
        nn.functional.conv2d(x, weight, strides: [g.StrideH, g.StrideW], padding: [g.PadH, g.PadW]);

    private static Tensor Pooled(Tensor x, Pool2dGeometry g) =>
        nn.functional.max_pool2d(x, [g.R, g.S], [g.StrideH, g.StrideW], [g.PadH, g.PadW]);

    private static Func<Tensor[]> Forward(Layout layout, Conv2dGeometry g)
    {
        var (x, weight) = (Image(g.Input, X, layout), Image(g.Weight, Weight, layout));
        return () => [Convolve(x, weight, g)];
    }

    // the graph is made once: the backward pass of one operand alone is timed
    private static Func<Tensor[]> Backward(Layout layout, Conv2dGeometry g, bool ofWeight)
    {
        var (x, weight, dY) = (Image(g.Input, X, layout), Image(g.Weight, Weight, layout), Image(g.Output, DY, layout));
        var wanted = (ofWeight ? weight : x).requires_grad_();
        var y = Convolve(x, weight, g);
        return () => [.. autograd.grad([y], [wanted], [dY], retain_graph: true)];
    }

    private static Func<Tensor[]> Block(Layout layout, ConvolutionLayer layer, bool convolution)
    {
        var g = layer.Geometry;
        var (x, dY) = (Image(convolution ? g.Input : g.Output, X, layout), Image(layer.Output, DY, layout));
        var weight = convolution ? Image(g.Weight, Weight, layout).requires_grad_() : null;
        var norm = new TheirNorm(g.K);
        Tensor[] wanted = [weight ?? x.requires_grad_(), norm.Gamma, norm.Beta];
        return () =>
        {
            var z = weight is null ? x : Convolve(x, weight, g);
            var active = norm.Apply(z).relu_();
            var y = layer.Pool is { } pool ? Pooled(active, pool) : active;
            return [y, .. autograd.grad([y], wanted, [dY])];
        };
    }

    private static Func<Tensor[]> BatchNorm(Layout layout, Shape shape)
    {
        var (x, dY, norm) = (Image(shape, X, layout).requires_grad_(), Image(shape, DY, layout), new TheirNorm(shape[3]));
        return () =>
        {
            var y = norm.Apply(x);
            return [y, .. autograd.grad([y], [x, norm.Gamma, norm.Beta], [dY])];
        };
    }

    private static Func<Tensor[]> MaxPool(Layout layout, Pool2dGeometry g)
    {
        var (x, dY) = (Image(g.Input, X, layout).requires_grad_(), Image(g.Output, DY, layout));
        return () =>
        {
            var y = Pooled(x, g);
            return [y, .. autograd.grad([y], [x], [dY])];
        };
    }

    private static Func<Tensor[]> MaskedMean(Shape steps)
    {
        var (x, dY) = (Values(steps, X).requires_grad_(), Values(new Shape(steps[0], steps[2]), DY));
        var lengths = tensor([.. Enumerable.Range(0, steps[0]).Select(n => (float)Length(steps, n))]).unsqueeze(1);
        var valid = (arange(steps[1], dtype: float32).unsqueeze(0) < lengths).to(float32).unsqueeze(2);
        return () =>
        {
            var y = (x * valid).sum(1) / lengths;
            return [y, .. autograd.grad([y], [x], [dY])];
        };
    }

    private static Func<Tensor[]> Reversal(Shape shape)
    {
        var dY = Values(shape, DY);
        return () => [dY.mul(-Strength)];
    }

    private static Func<Tensor[]> CrossEntropy(Shape logits)
    {
        var (x, labels) = (Values(logits, X).requires_grad_(), arange(logits[0], dtype: int64) % logits[1]);
        return () =>
        {
            var loss = nn.functional.cross_entropy(x, labels);
            return [loss, .. autograd.grad([loss], [x])];
        };
    }

    private static Func<Tensor[]> Confusion(Shape logits)
    {
        var x = Values(logits, X).requires_grad_();
        return () =>
        {
            var loss = -nn.functional.log_softmax(x, 1).mean();
            return [loss, .. autograd.grad([loss], [x])];
        };
    }

    private static Func<Tensor[]> Adam(Shape[] parameters)
    {
        var all = Values(new Shape(checked((int)parameters.Sum(shape => shape.Count))), DY);
        var learned = new List<Parameter>();
        long start = 0;
        foreach (var shape in parameters)
        {
            learned.Add(new Parameter(zeros(shape.Count)) { grad = all.narrow(0, start, shape.Count).clone() });
            start += shape.Count;
        }
        var options = new AdamOptions();
        var adam = optim.Adam(learned, 1e-4, options.Beta1, options.Beta2, options.Epsilon);
        return () =>
        {
            adam.step();
            return [.. learned];
        };
    }

    /// <summary>What a batch norm of ours reads and moves.</summary>
    private sealed class Norm(BenchTensors inputs, int channels)
    {
        public Engine.Tensor Gamma { get; } = inputs.Of("gamma", new Shape(channels), DType.F32, Numbers(OperationCase.Gamma));

        public Engine.Tensor Beta { get; } = inputs.Of("beta", new Shape(channels), DType.F32, Numbers(OperationCase.Beta));

        public Engine.Tensor RunningMean { get; } = inputs.Zeroes("runningMean", new Shape(channels), DType.F32);

        public Engine.Tensor RunningVariance { get; } = inputs.Zeroes("runningVariance", new Shape(channels), DType.F32);
    }

    /// <summary>What it writes, by channel.</summary>
    private sealed class NormResults(BenchTensors outputs, int channels)
    {
        public Engine.Tensor Mean { get; } = outputs.Zeroes("mean", new Shape(channels), DType.F32);

        public Engine.Tensor InverseStd { get; } = outputs.Zeroes("inverseStd", new Shape(channels), DType.F32);

        public Engine.Tensor DGamma { get; } = outputs.Zeroes("dGamma", new Shape(channels), DType.F32);

        public Engine.Tensor DBeta { get; } = outputs.Zeroes("dBeta", new Shape(channels), DType.F32);
    }

    private sealed class TheirNorm(int channels)
    {
        private readonly Tensor runningMean = zeros(channels), runningVariance = zeros(channels);

        public Tensor Gamma { get; } = Values(new Shape(channels), OperationCase.Gamma).requires_grad_();

        public Tensor Beta { get; } = Values(new Shape(channels), OperationCase.Beta).requires_grad_();

        public Tensor Apply(Tensor x) =>
            nn.functional.batch_norm(x, runningMean, runningVariance, Gamma, Beta, training: true, Momentum, Epsilon);
    }
}
