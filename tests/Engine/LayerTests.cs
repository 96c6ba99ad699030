using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What layers add to the operations: checks, saved state, and the wiring of those that the golden network does not hold.
/// </summary>
public sealed class LayerTests
{
    private static float[] Read(Device device, Tensor tensor)
    {
        var values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
        return values;
    }

    [Test]
    public void Max_pooling_sends_the_gradient_to_the_winner()
    {
        using var device = new Device(new CpuBackend());
        var layer = new MaxPool(device, "pool", new Pool2dGeometry(1, 1, 4, 1, 1, 2, 1, 2, 0, 0), DType.F32);
        var x = device.Persistent("x", new Shape(1, 1, 4, 1), DType.F32);
        var dY = device.Persistent("dY", new Shape(1, 1, 2, 1), DType.F32);
        void Step()
        {
            layer.Forward(x);
            layer.Backward(dY);
            Read(device, layer.Output);
            Read(device, layer.InputGradient!);
        }
        device.Plan(Step);
        device.Ops.Upload<float>(x, [1, 3, 5, 2]);
        device.Ops.Upload<float>(dY, [10, 20]);
        Step();
        Assert.Multiple(() =>
        {
            Assert.That(Read(device, layer.Output), Is.EqualTo(new float[] { 3, 5 }));
            Assert.That(Read(device, layer.InputGradient!), Is.EqualTo(new float[] { 0, 10, 20, 0 }));
        });
    }

    [Test]
    public void Uniform_confusion_of_equal_logits_is_ln_c_without_gradient()
    {
        using var device = new Device(new CpuBackend());
        var loss = new UniformConfusion(device, "confusion", 2, 5);
        var logits = device.Persistent("logits", new Shape(2, 5), DType.F32);
        var weights = device.Persistent("weights", new Shape(2), DType.F32);
        void Step()
        {
            loss.Evaluate(logits, weights);
            Read(device, loss.Loss);
            Read(device, loss.Divergence);
            Read(device, loss.LogitsGradient);
        }
        device.Plan(Step);
        device.Ops.Upload<float>(weights, [0.5f, 0.5f]);
        Step();
        Assert.Multiple(() =>
        {
            Assert.That(Read(device, loss.Loss).Sum(), Is.EqualTo(Math.Log(5)).Within(1e-6), "rounding of one logarithm");
            Assert.That(Read(device, loss.Divergence), Is.All.EqualTo(0), "nothing is above the minimum");
            Assert.That(Read(device, loss.LogitsGradient), Is.All.EqualTo(0).Within(1e-7), "rounding of 1/5 - 1/5");
        });
    }

    [Test]
    public void Losses_refuse_each_tensor_of_another_shape()
    {
        using var device = new Device(new CpuBackend());
        var entropy = new SoftmaxCrossEntropy(device, "entropy", 2, 5);
        var confusion = new UniformConfusion(device, "confusion", 2, 5);
        var logits = device.Persistent("logits", new Shape(2, 5), DType.F32);
        var labels = device.Persistent("labels", new Shape(2), DType.I32);
        var weights = device.Persistent("weights", new Shape(2), DType.F32);
        var other = device.Persistent("other", new Shape(3), DType.F32);
        Assert.Multiple(() =>
        {
            foreach (Action call in new Action[]
                {
                    () => entropy.Evaluate(other, labels, weights), () => entropy.Evaluate(logits, other, weights), () => entropy.Evaluate(logits, labels, other),
                })
                Assert.That(call, Throws.ArgumentException.With.Message.StartsWith("entropy.loss: expected logits [2, 5], labels and weights [2]; got "));
            foreach (Action call in new Action[] { () => confusion.Evaluate(other, weights), () => confusion.Evaluate(logits, other) })
                Assert.That(call, Throws.ArgumentException.With.Message.StartsWith("confusion.loss: expected logits [2, 5] and weights [2], got "));
        });
    }

    [Test]
    public void Gradient_reversal_adds_to_what_else_reads_the_activation()
    {
        using var device = new Device(new CpuBackend());
        var reversal = new GradientReversal(device, "reversal", new Shape(3));
        var dX = device.Persistent("dX", new Shape(3), DType.F32);
        var dY = device.Persistent("dY", new Shape(3), DType.F32);
        var other = device.Persistent("other", new Shape(4), DType.F32);
        device.Plan(() => reversal.BackwardAdd(dX, dY));
        device.Ops.Upload<float>(dX, [1, 2, 3]);
        device.Ops.Upload<float>(dY, [4, -8, 0]);
        reversal.BackwardAdd(dX, dY);
        Assert.That(Read(device, dX), Is.EqualTo(new float[] { 1, 2, 3 }), "lambda starts at 0");
        reversal.SetLambda(0.5f);
        reversal.BackwardAdd(dX, dY);
        Assert.That(Read(device, dX), Is.EqualTo(new float[] { -1, 6, 3 }));
        Assert.That(() => reversal.BackwardAdd(dX, other), Throws.ArgumentException.With.Message
            .EqualTo("reversal: gradients must be [3], got dX [3] F32 and other [4] F32"));
    }

    /// <summary>Parameters and state of a stem are those of the two layers that it replaces, to the bit.</summary>
    [Test]
    public void A_stem_is_a_convolution_and_a_batch_norm_in_one()
    {
        var geometry = new Conv2dGeometry(2, 13, 15, 1, 5, 3, 3, 2, 1, 1, 0);
        var pool = new Pool2dGeometry(2, geometry.P, geometry.Q, 5, 3, 2, 2, 2, 0, 0);
        Dictionary<string, float[]> Step(Func<Device, ParameterGroup, (Action<Tensor> Forward, Func<Tensor> Output, Action<Tensor> Backward, RunningStatistics Running)> build)
        {
            using var device = new Device(new CpuBackend());
            var group = new ParameterGroup(device, "group");
            var layer = build(device, group);
            group.Seal();
            var x = device.Persistent("x", geometry.Input, DType.F32);
            var dY = device.Persistent("dY", pool.Output, DType.F32);
            var output = new float[pool.Output.Count];
            void Run()
            {
                layer.Forward(x);
                device.Ops.Download<float>(output, layer.Output());
                layer.Backward(dY);
            }
            device.Plan(Run);
            group.Initialise(seed: 3);
            layer.Running.Initialise();
            var random = new Philox(7, 0);
            device.Ops.Upload<float>(x, [.. Enumerable.Range(0, (int)x.Count).Select(_ => (float)random.NextGaussian())]);
            device.Ops.Upload<float>(dY, [.. Enumerable.Range(0, (int)dY.Count).Select(_ => (float)random.NextGaussian())]);
            Run();
            var results = group.Parameters.ToDictionary(p => p.Gradient.Name, p => Read(device, p.Gradient));
            foreach (var p in group.Parameters)
                results.Add(p.Name, Read(device, p.Value));
            foreach (var statistic in new[] { layer.Running.Mean, layer.Running.Variance })
                results.Add(statistic.Name, Read(device, statistic));
            results.Add("output", output);
            return results;
        }

        var separate = Step((device, group) =>
        {
            var conv = new Conv2d(device, group, "conv1", geometry, DType.F32);
            var norm = new BatchNorm(device, group, "bn1", geometry.Output, DType.F32, relu: true, pool);
            return (x => norm.Forward(conv.Forward(x)), () => norm.Output, dY => conv.Backward(norm.Backward(dY)!), norm.Statistics);
        });
        var together = Step((device, group) =>
        {
            var stem = new Stem(device, group, "conv1", "bn1", geometry, DType.F32, relu: true, pool);
            return (x => stem.Forward(x), () => stem.Output, dY => stem.Backward(dY), stem.Statistics);
        });
        Assert.That(together.Keys, Is.EquivalentTo(separate.Keys));
        // the stem has its sums from the Gram matrix, so they are rounded otherwise: a hundred roundings of the largest element
        foreach (var (name, values) in separate)
            Assert.That(together[name], Is.EqualTo(values).Within(100 * Tolerance.F32 * values.Max(MathF.Abs)), name);
    }

    /// <summary>A batch norm that is given its convolution's moments, on a device that leaves any, and one that reads its input for them.</summary>
    [Test]
    public void A_batch_norm_takes_the_moments_of_the_convolution_in_front()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        var geometry = new Conv2dGeometry(3, 13, 15, 8, 72, 3, 3, 2, 1, 1, 0);
        Dictionary<string, float[]> Step(bool given)
        {
            using var device = new Device(Emulation.Open(tf32: false));
            var group = new ParameterGroup(device, "group");
            var conv = new Conv2d(device, group, "conv1", geometry, DType.F32);
            Assert.That(conv.Moments?.Parts.Shape, Is.EqualTo(new Shape(3, 2, 72)));
            var norm = new BatchNorm(device, group, "bn1", geometry.Output, DType.F32, relu: true, moments: given ? conv.Moments : null);
            group.Seal();
            var x = device.Persistent("x", geometry.Input, DType.F32);
            var dY = device.Persistent("dY", geometry.Output, DType.F32);
            float[] trained = new float[geometry.Output.Count], evaluated = new float[geometry.Output.Count], dX = new float[geometry.Input.Count];
            void Train()
            {
                norm.Forward(conv.Forward(x));
                device.Ops.Download<float>(trained, norm.Output);
                conv.Backward(norm.Backward(dY)!);
                device.Ops.Download<float>(dX, conv.InputGradient!);
            }
            void Evaluate()
            {
                norm.Forward(conv.Forward(x, Phase.Evaluation), Phase.Evaluation);
                device.Ops.Download<float>(evaluated, norm.Output);
            }
            device.Plan(Train, Evaluate);
            group.Initialise(seed: 3);
            norm.Statistics.Initialise();
            var random = new Philox(7, 0);
            device.Ops.Upload<float>(x, [.. Enumerable.Range(0, (int)x.Count).Select(_ => (float)random.NextGaussian())]);
            device.Ops.Upload<float>(dY, [.. Enumerable.Range(0, (int)dY.Count).Select(_ => (float)random.NextGaussian())]);
            Evaluate();
            float[] before = [.. evaluated];
            Train();
            Evaluate();
            var results = group.Parameters.ToDictionary(p => p.Gradient.Name, p => Read(device, p.Gradient));
            foreach (var statistic in new[] { norm.Statistics.Mean, norm.Statistics.Variance })
                results.Add(statistic.Name, Read(device, statistic));
            foreach (var (name, values) in new[] { ("before", before), ("trained", trained), ("evaluated", evaluated), ("dX", dX) })
                results.Add(name, values);
            return results;
        }

        var (read, given) = (Step(given: false), Step(given: true));
        Assert.That(given["before"], Is.EqualTo(read["before"]), "evaluation knows nothing of moments");
        // other trees of sums: a hundred roundings of the largest element
        foreach (var (name, values) in read)
            Assert.That(given[name], Is.EqualTo(values).Within(100 * Tolerance.F32 * values.Max(MathF.Abs)), name);
    }

    [Test]
    public void A_stem_refuses_a_pooling_of_another_shape()
    {
        using var device = new Device(new CpuBackend());
        var geometry = new Conv2dGeometry(1, 8, 8, 1, 2, 3, 3, 1, 1, 0, 0);
        Assert.That(
            () => new Stem(
                device, new ParameterGroup(device, "group"), "conv1", "bn1", geometry, DType.F32, relu: true, new Pool2dGeometry(1, 8, 8, 2, 2, 2, 2, 2, 0, 0)),
            Throws.ArgumentException.With.Message.EqualTo("conv1: pooling expects [1, 8, 8, 2], the convolution gives [1, 6, 6, 2]"));
    }

    private static IEnumerable<TestCaseData> PoolingLayers()
    {
        yield return Case("MaxPool", (device, pool) => new MaxPool(device, "pool1", pool, DType.F32));
        yield return Case("BatchNorm", (device, pool) => new BatchNorm(device, new(device, "group"), "pool1", pool.Input, DType.F32, pool: pool));
        yield return Case("Stem", (device, pool) => new Stem(
            device, new(device, "group"), "pool1", "bn1", new(2, pool.H, pool.W, 1, 3, 1, 1, 1, 1, 0, 0), DType.F32, relu: true, pool));

        static TestCaseData Case(string layer, Func<Device, Pool2dGeometry, Layer> build) => new TestCaseData(build).SetArgDisplayNames(layer);
    }

    [TestCaseSource(nameof(PoolingLayers))]
    public void A_pooling_window_of_more_elements_than_a_byte_tells_apart_is_refused(Func<Device, Pool2dGeometry, Layer> build)
    {
        var largest = new Pool2dGeometry(2, 20, 19, 3, 16, 16, 1, 1, 0, 0);
        using (var device = new Device(new CpuBackend()))
            Assert.That(build(device, largest).Output.Shape, Is.EqualTo(largest.Output));
        using (var device = new Device(new CpuBackend()))
            Assert.That(
                () => build(device, largest with { R = 17 }),
                Throws.ArgumentException.With.Message.EqualTo(
                    "pool1: a pooling window of 17 x 16 has 272 elements, at most 256 are possible; pool twice, with smaller windows"));
    }

    [Test]
    public void A_wrong_shape_is_refused_with_layer_tensor_expected_and_found()
    {
        using var device = new Device(new CpuBackend());
        var relu = new Relu(device, "speaker.relu", new Shape(2, 3), DType.F32);
        var x = device.Persistent("embedding", new Shape(3, 2), DType.F32);
        Assert.That(() => relu.Forward(x), Throws.ArgumentException.With.Message
            .EqualTo("speaker.relu: input must be [2, 3] F32, got embedding [3, 2] F32"));
    }

    [Test]
    public void Backward_before_forward_is_refused()
    {
        using var device = new Device(new CpuBackend());
        var group = new ParameterGroup(device, "group");
        var linear = new Linear(device, group, "head", 1, 2, 2);
        group.Seal();
        Assert.That(() => linear.Backward(linear.Output), Throws.InvalidOperationException.With.Message.Contains("head: Backward before Forward"));
    }
}
