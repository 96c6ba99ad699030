using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class UniformConfusionTests(BackendCase backend) : OpTests(backend)
{
    [Test]
    public void Value_and_gradient(
        [Values(1, 3, 17)] int rows, [Values(1, 2, 6, 24, 33, 1251)] int classes, [Values(1f, 0.3f, -2f)] float scale)
    {
        var random = Seeded(1);
        Expect(Numbers.Uniform(random, rows * classes, low: -5, high: 5), LossCases.Weights(random, rows), scale);
    }

    [Test]
    public void Huge_logits_do_not_overflow([Values(2, 7, 33)] int classes) =>
        Expect(Numbers.Uniform(Seeded(2), 5 * classes, low: -10000, high: 10000), Numbers.Constant(5, 0.25), 1);

    /// <summary>At equal logits, however large, the loss is at its minimum ln C and no gradient is left.</summary>
    [Test]
    public void The_gradient_is_zero_at_the_uniform_distribution([Values(1, 2, 7, 24, 1251)] int classes, [Values(0, 3, -10000)] int logit)
    {
        var (loss, kl, dLogits) = Execute(Op, Numbers.Constant(2 * classes, logit), [1, 1], 1);

        double[] expected = Numbers.Constant(2, Math.Log(classes));
        Op.Expect(loss, expected, Tolerance.Sum(DType.F32, classes, Array.ConvertAll(expected, value => value + 1), expected));
        Op.Expect(kl, new double[2], LossCases.DivergenceBounds(Numbers.Constant(2 * classes, logit), [1, 1]));
        Op.Expect(dLogits, new double[2 * classes], Numbers.Constant(2 * classes, Tolerance.Walk * Tolerance.F32 / classes));
    }

    [Test]
    public void The_loss_is_at_least_ln_C([Values(2, 7, 24)] int classes)
    {
        const int Rows = 50;
        const double Spread = 0.01;
        double[] logits = Numbers.Uniform(Seeded(3), Rows * classes, low: -Spread, high: Spread);
        var (loss, _, _) = Execute(Op, logits, Numbers.Constant(Rows, 1), 1);

        // near the uniform distribution it is also little more: no log probability is farther from -ln C than the spread of the logits
        double least = Math.Log(classes) * (1 - Tolerance.Walk * Tolerance.F32), most = Math.Log(classes) + 2 * Spread;
        Assert.That(Op.Read(loss), Is.All.InRange(least, most));
    }

    /// <summary>
    /// Around a common value the divergence is about half the variance of the logits: here some 1e-5 to 1e-11, of which the loss minus ln C would
    /// leave one digit or none.
    /// </summary>
    [Test]
    public void The_divergence_is_right_where_little_is_left_of_it(
        [Values(2, 7, 24, 1251)] int classes, [Values(1e-2, 1e-3, 1e-5)] double spread, [Values(0, 3, -40)] int around)
    {
        const int Rows = 9;
        double[] logits = Numbers.Round(
            Array.ConvertAll(Numbers.Uniform(Seeded(6), Rows * classes, low: -spread, high: spread), value => around + value), DType.F32);
        double[] weights = LossCases.Weights(Seeded(7), Rows);
        var (_, kl, _) = Execute(Op, logits, weights, 1);
        Op.Expect(kl, Reference.UniformConfusion(logits, weights, 1).Kl, LossCases.DivergenceBounds(logits, weights));
    }

    [Test]
    public void Rows_of_weight_zero_contribute_nothing() =>
        Expect(Numbers.Uniform(Seeded(4), 4 * 6, low: -5, high: 5), [0.5, 0, 0.5, 0], 1);

    [Test]
    public void Gradient_agrees_with_finite_differences_of_the_backend_itself()
    {
        const float Scale = 0.5f;
        var random = Seeded(5);
        double[] logits = Numbers.Uniform(random, 5 * 7, low: -2, high: 2), weights = Numbers.Uniform(random, 5, low: 0.1);
        (double Loss, double[] DLogits) At(double[] values)
        {
            using var op = new OpHarness(Backend);
            var (loss, _, dLogits) = Execute(op, values, weights, Scale);
            return (Scale * op.Read(loss).Sum(), op.Read(dLogits));
        }
        FiniteDifference.CheckDirection("logits", at => At(at).Loss, logits, At(logits).DLogits, random, step: 1e-2);
    }

    private void Expect(double[] logits, double[] weights, float scale)
    {
        var (loss, kl, dLogits) = Execute(Op, logits, weights, scale);

        var expected = Reference.UniformConfusion(logits, weights, scale);
        int classes = logits.Length / weights.Length;
        var bound = LossCases.Bounds(logits, Numbers.Constant(logits.Length, 1.0 / classes), weights, scale);
        Op.Expect(dLogits, expected.DLogits, bound.DLogits);
        double[] lossBound = [.. weights.Zip(bound.LogProbabilities.Chunk(classes), (weight, row) => weight * row.Average())];
        Op.Expect(loss, expected.Loss, lossBound);
        Op.Expect(kl, expected.Kl, LossCases.DivergenceBounds(logits, weights));
    }

    private static (Tensor Loss, Tensor Kl, Tensor DLogits) Execute(OpHarness op, double[] logits, double[] weights, float scale)
    {
        var matrix = new Shape(weights.Length, logits.Length / weights.Length);
        var tensorLogits = op.Input("logits", matrix, DType.F32, logits);
        var tensorWeights = op.Input("weights", new Shape(weights.Length), DType.F32, weights);
        var loss = op.Output("loss", new Shape(weights.Length), DType.F32);
        var kl = op.Output("kl", new Shape(weights.Length), DType.F32);
        var dLogits = op.Output("dLogits", matrix, DType.F32);
        op.Run(device => device.UniformConfusion(loss, kl, dLogits, tensorLogits, tensorWeights, scale));
        return (loss, kl, dLogits);
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random => [() => Value_and_gradient(Extent(random, 70), Extent(random, 300), 4 * random.NextSingle() - 2)]);
}
