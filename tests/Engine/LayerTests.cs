using Avedis.Engine;
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
