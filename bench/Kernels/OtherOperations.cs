using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>An operation on tensors of one backend: what runs it, and its results.</summary>
internal sealed record BuiltOperation(Action Run, params Tensor[] Results);

/// <summary>An operation that is no product of matrices, to be built on the GPU and, for its check, on the processor.</summary>
/// <param name="Passes">Names in <see cref="KernelPrediction"/> whose times add up to its floor; none where <paramref name="Bytes"/> are it.</param>
/// <param name="Bytes">That it reads and writes at least.</param>
internal sealed record OtherOperation(
    string Layer, string Name, string Shape, string[] Passes, double Bytes, Func<BenchTensors, BuiltOperation> Build);

/// <summary>Stems, batch norms, means over time, losses and the optimiser of a training step.</summary>
internal static class OtherOperations
{
    private const float Epsilon = 1e-5f, Momentum = 0.1f;

    public static IEnumerable<OtherOperation> Of(string preset, int batch, string precision)
    {
        var act = precision == "bf16" ? DType.BF16 : DType.F32;
        FormulaNumbers Numbers(uint seed) => FormulaNumbers.For(precision, seed);
        var layers = StepLayers.Convolutions(preset, batch);
        foreach (var layer in layers)
        {
            string shape = $"{layer.Geometry.Output}{(layer.Pool is { } pool ? $" to {pool.Output}" : "")}";
            if (layer.Stem)
            {
                yield return new(layer.Name, "stem forward", shape, ["Gram matrix", "forward to pool"], 0, tensors => Stem(tensors, layer, act, Numbers, backward: false));
                yield return new(layer.Name, "stem backward", shape, ["backward"], 0, tensors => Stem(tensors, layer, act, Numbers, backward: true));
                continue;
            }
            yield return new(
                layer.Name, "batch_norm forward", shape, ["batch norm: statistics", "batch norm: apply, ReLU, pool"], 0,
                tensors => BatchNorm(tensors, layer, act, Numbers, backward: false));
            yield return new(
                layer.Name, "batch_norm backward", shape, ["batch norm: sums of gradients", "batch norm: gradient"], 0,
                tensors => BatchNorm(tensors, layer, act, Numbers, backward: true));
        }
        foreach (var last in layers.Where(layer => layer.Name.EndsWith("conv6", StringComparison.Ordinal)))
        {
            var steps = new Shape(batch, (int)(last.Output.Count / batch / last.Geometry.K), last.Geometry.K);
            double bytes = (double)steps.Count * act.Bytes() + 4.0 * batch * steps[2];
            string name = last.Name.Replace("conv6", "mean");
            yield return new(name, "masked_mean forward", steps.ToString(), [], bytes, tensors => MaskedMean(tensors, steps, act, Numbers, backward: false));
            yield return new(name, "masked_mean backward", steps.ToString(), [], bytes, tensors => MaskedMean(tensors, steps, act, Numbers, backward: true));
        }
        var linears = StepLayers.Linears(preset, batch);
        foreach (var head in linears.Where(layer => layer.Name.EndsWith(".head", StringComparison.Ordinal)))
            yield return new(
                head.Name, "softmax_cross_entropy", $"[{batch}, {head.Outputs}]", [], 12.0 * batch * head.Outputs, tensors => SoftmaxCrossEntropy(tensors, head, Numbers));
        long parameters = layers.Sum(layer => layer.Geometry.Weight.Count + 2 * layer.Geometry.K) + linears.Sum(layer => (long)layer.Outputs * (layer.Inputs + 1));
        yield return new("parameters", "adam", $"[{parameters}]", ["Adam"], 0, tensors => Adam(tensors, checked((int)parameters), Numbers));
    }

    private static BuiltOperation Stem(BenchTensors tensors, ConvolutionLayer layer, DType act, Func<uint, FormulaNumbers> numbers, bool backward)
    {
        var (g, settings, channels) = (layer.Geometry, new BatchNormSettings(Epsilon, Momentum, Relu: true, layer.Pool), new Shape(layer.Geometry.K));
        var memory = tensors.Backend.StemMemory(g, settings, act);
        tensors.RequireWorkspace(memory.Workspace);
        Tensor? state = tensors.Bytes("state", memory.State), scratch = tensors.Bytes("scratch", Math.Max(memory.ForwardScratch, memory.BackwardScratch));
        Tensor x = tensors.Of("x", g.Input, act, numbers(1)), weight = tensors.Of("weight", g.Weight, DType.F32, numbers(2));
        Tensor y = tensors.Zeroes("y", layer.Output, act), argmax = tensors.Zeroes("argmax", layer.Output, DType.U8);
        var norm = new NormTensors(tensors, channels, numbers);
        void Forward() => tensors.Backend.StemForward(
            y, argmax, norm.Mean, norm.InverseStd, norm.RunningMean, norm.RunningVariance, state, scratch, x, weight, norm.Gamma, norm.Beta, g, settings);
        if (!backward)
            return new(Forward, y, norm.Mean, norm.InverseStd);
        Tensor dY = tensors.Of("dY", layer.Output, act, numbers(3)), dWeight = tensors.Zeroes("dWeight", g.Weight, DType.F32);
        Forward();
        return new(
            () => tensors.Backend.StemBackward(
                dWeight, norm.DGamma, norm.DBeta, scratch, dY, y, argmax, x, weight, norm.Gamma, norm.Beta, norm.Mean, norm.InverseStd, state, g, settings),
            dWeight, norm.DGamma, norm.DBeta);
    }

    private static BuiltOperation BatchNorm(BenchTensors tensors, ConvolutionLayer layer, DType act, Func<uint, FormulaNumbers> numbers, bool backward)
    {
        var (shape, settings) = (layer.Geometry.Output, new BatchNormSettings(Epsilon, Momentum, Relu: true, layer.Pool));
        Tensor x = tensors.Of("x", shape, act, numbers(1)), y = tensors.Zeroes("y", layer.Output, act);
        var argmax = layer.Pool is null ? null : tensors.Zeroes("argmax", layer.Output, DType.U8);
        var norm = new NormTensors(tensors, new Shape(layer.Geometry.K), numbers);
        void Forward() => tensors.Backend.BatchNormForward(
            y, argmax, norm.Mean, norm.InverseStd, norm.RunningMean, norm.RunningVariance, x, moments: null, norm.Gamma, norm.Beta, settings);
        if (!backward)
            return new(Forward, y, norm.Mean, norm.InverseStd);
        Tensor dY = tensors.Of("dY", layer.Output, act, numbers(3)), dX = tensors.Zeroes("dX", shape, act);
        Forward();
        return new(
            () => tensors.Backend.BatchNormBackward(dX, norm.DGamma, norm.DBeta, dY, argmax, x, norm.Gamma, norm.Beta, norm.Mean, norm.InverseStd, settings),
            dX, norm.DGamma, norm.DBeta);
    }

    private static BuiltOperation MaskedMean(BenchTensors tensors, Shape steps, DType act, Func<uint, FormulaNumbers> numbers, bool backward)
    {
        var mean = new Shape(steps[0], steps[2]);
        var lengths = tensors.Of("lengths", new Shape(steps[0]), DType.I32, _ => steps[1]);
        if (!backward)
        {
            Tensor x = tensors.Of("x", steps, act, numbers(1)), y = tensors.Zeroes("y", mean, DType.F32);
            return new(() => tensors.Backend.MaskedMeanForward(y, x, lengths), y);
        }
        Tensor dY = tensors.Of("dY", mean, DType.F32, numbers(1)), dX = tensors.Zeroes("dX", steps, act);
        return new(() => tensors.Backend.MaskedMeanBackward(dX, dY, lengths), dX);
    }

    private static BuiltOperation SoftmaxCrossEntropy(BenchTensors tensors, LinearLayer head, Func<uint, FormulaNumbers> numbers)
    {
        Shape clips = new(head.Rows), logits = new(head.Rows, head.Outputs);
        Tensor loss = tensors.Zeroes("loss", clips, DType.F32), probabilities = tensors.Zeroes("probabilities", logits, DType.F32);
        Tensor dLogits = tensors.Zeroes("dLogits", logits, DType.F32), x = tensors.Of("logits", logits, DType.F32, numbers(1));
        Tensor labels = tensors.Of("labels", clips, DType.I32, n => (int)(n % head.Outputs)), weights = tensors.Of("weights", clips, DType.F32, _ => 1f / head.Rows);
        return new(() => tensors.Backend.SoftmaxCrossEntropy(loss, probabilities, dLogits, x, labels, weights, 1), loss, probabilities, dLogits);
    }

    private static BuiltOperation Adam(BenchTensors tensors, int count, Func<uint, FormulaNumbers> numbers)
    {
        var shape = new Shape(count);
        Tensor parameters = tensors.Of("parameters", shape, DType.F32, numbers(1)), gradients = tensors.Of("gradients", shape, DType.F32, numbers(2));
        Tensor m = tensors.Zeroes("m", shape, DType.F32), v = tensors.Zeroes("v", shape, DType.F32);
        // rate, and what the averages of the first step are divided by
        var schedule = tensors.Of("schedule", new Shape(3), DType.F32, i => i switch { 0 => 1e-3f, 1 => 0.1f, _ => 1e-3f });
        return new(() => tensors.Backend.Adam(parameters, gradients, m, v, schedule, 0.9f, 0.999f, 1e-8f), parameters, m, v);
    }

    private sealed class NormTensors(BenchTensors tensors, Shape channels, Func<uint, FormulaNumbers> numbers)
    {
        public Tensor Mean { get; } = tensors.Zeroes("mean", channels, DType.F32);

        public Tensor InverseStd { get; } = tensors.Zeroes("inverseStd", channels, DType.F32);

        public Tensor RunningMean { get; } = tensors.Zeroes("runningMean", channels, DType.F32);

        public Tensor RunningVariance { get; } = tensors.Zeroes("runningVariance", channels, DType.F32);

        public Tensor Gamma { get; } = tensors.Of("gamma", channels, DType.F32, numbers(4));

        public Tensor Beta { get; } = tensors.Of("beta", channels, DType.F32, numbers(5));

        public Tensor DGamma { get; } = tensors.Zeroes("dGamma", channels, DType.F32);

        public Tensor DBeta { get; } = tensors.Zeroes("dBeta", channels, DType.F32);
    }
}
