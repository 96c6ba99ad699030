using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class SoftmaxCrossEntropyTests(BackendCase backend) : OpTests(backend)
{
    [Test]
    public void Value_and_gradient(
        [Values(1, 3, 17)] int rows, [Values(1, 2, 6, 24, 33, 1251)] int classes, [Values(1f, 0.3f, -2f)] float scale)
    {
        var random = Seeded(1);
        double[] logits = Numbers.Uniform(random, rows * classes, low: -5, high: 5);
        Expect(logits, Labels(random, rows, classes), LossCases.Weights(random, rows), scale);
    }

    [Test]
    public void Huge_logits_neither_overflow_nor_lose_the_loss([Values(2, 7, 33)] int classes)
    {
        const int Rows = 6;
        var random = Seeded(2);
        double[] logits = Numbers.Uniform(random, Rows * classes, low: -10000, high: 10000);
        Numbers.Constant(classes, 10000).CopyTo(logits, 0);
        Numbers.Constant(classes, -10000).CopyTo(logits, classes);
        logits[2 * classes] = 10000;
        logits[2 * classes + 1] = -10000;
        Expect(logits, [0, classes - 1, 0, 1, 0, 1], Numbers.Constant(Rows, 0.25), 1);
    }

    /// <summary>Padded clips: weight 0, and a label that is no class.</summary>
    [TestCase(-1)]
    [TestCase(6)]
    [TestCase(int.MaxValue)]
    [TestCase(int.MinValue)]
    public void Rows_of_weight_zero_contribute_nothing_whatever_their_label(int label)
    {
        double[] logits = Numbers.Uniform(Seeded(3), 4 * 6, low: -5, high: 5);
        Expect(logits, [2, label, 5, label], [0.5, 0, 0.5, 0], 1);
    }

    [Test]
    public void Gradient_agrees_with_finite_differences_of_the_backend_itself()
    {
        const int Rows = 5, Classes = 7;
        const float Scale = 0.5f;
        var random = Seeded(4);
        double[] logits = Numbers.Uniform(random, Rows * Classes, low: -2, high: 2), weights = Numbers.Uniform(random, Rows, low: 0.1);
        int[] labels = Labels(random, Rows, Classes);

        FiniteDifference.CheckDirection("logits", at => Scale * Run(at, labels, weights, Scale).Loss.Sum(), logits,
            Run(logits, labels, weights, Scale).DLogits, random, step: 1e-2);
    }

    private void Expect(double[] logits, int[] labels, double[] weights, float scale)
    {
        int rows = labels.Length, classes = logits.Length / rows;
        using var op = new OpHarness(Backend);
        var (loss, probabilities, dLogits) = Execute(op, logits, labels, weights, scale);

        var expected = Reference.SoftmaxCrossEntropy(logits, labels, weights, scale);
        double[] targets = [.. Enumerable.Range(0, logits.Length).Select(i => i % classes == labels[i / classes] ? 1.0 : 0)];
        var bound = LossCases.Bounds(logits, targets, weights, scale);
        op.Expect(probabilities, expected.Probabilities, bound.Probabilities);
        op.Expect(dLogits, expected.DLogits, bound.DLogits);
        double[] lossBound = [.. weights.Select((weight, n) => weight == 0 ? 0 : weight * bound.LogProbabilities[n * classes + labels[n]])];
        op.Expect(loss, expected.Loss, lossBound);
    }

    private (double[] Loss, double[] DLogits) Run(double[] logits, int[] labels, double[] weights, float scale)
    {
        using var op = new OpHarness(Backend);
        var (loss, _, dLogits) = Execute(op, logits, labels, weights, scale);
        return (op.Read(loss), op.Read(dLogits));
    }

    private static (Tensor Loss, Tensor Probabilities, Tensor DLogits) Execute(
        OpHarness op, double[] logits, int[] labels, double[] weights, float scale)
    {
        var rows = new Shape(labels.Length);
        var matrix = new Shape(labels.Length, logits.Length / labels.Length);
        var tensorLogits = op.Input("logits", matrix, DType.F32, logits);
        var tensorLabels = op.Input("labels", rows, DType.I32, Numbers.Of(labels));
        var tensorWeights = op.Input("weights", rows, DType.F32, weights);
        var loss = op.Output("loss", rows, DType.F32);
        var probabilities = op.Output("probabilities", matrix, DType.F32);
        var dLogits = op.Output("dLogits", matrix, DType.F32);
        op.Run(device => device.SoftmaxCrossEntropy(loss, probabilities, dLogits, tensorLogits, tensorLabels, tensorWeights, scale));
        return (loss, probabilities, dLogits);
    }

    private static int[] Labels(Random random, int rows, int classes) => [.. Enumerable.Range(0, rows).Select(_ => random.Next(classes))];

    [Test]
    public void Random_shapes() => OnRandomShapes(random => [() => Value_and_gradient(Extent(random, 70), Extent(random, 300), 4 * random.NextSingle() - 2)]);
}
