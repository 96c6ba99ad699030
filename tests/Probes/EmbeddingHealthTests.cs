using Avedis.Engine;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

public sealed class EmbeddingHealthTests
{
    /// <summary>Products of F32 vectors against the covariance in double.</summary>
    private const double Rounding = 1e-4;

    [Test]
    public void Dead_units_are_those_that_are_never_positive_or_never_move()
    {
        float[] inputs =
        [
            1, 0, -1, 2, 0,
            2, 0, -2, 2, 0,
            3, 0, -3, 2, 1,
        ];
        var health = EmbeddingHealth.Of(inputs, 5);
        Assert.That(health.DeadShare, Is.EqualTo(0.6));
        Assert.That(health.MeanNorm, Is.EqualTo((Math.Sqrt(6) + Math.Sqrt(12) + Math.Sqrt(23)) / 3).Within(1e-12));
    }

    [Test]
    public void An_embedding_of_zeros_is_all_dead()
    {
        Assert.That(EmbeddingHealth.Of(new float[40], 4), Is.EqualTo(new EmbeddingHealth(4, 1, 0, 0)));
        Assert.That(EmbeddingHealth.Of([], 4), Is.EqualTo(new EmbeddingHealth(4, 0, 0, 0)), "no clips");
    }

    [Test]
    public void Rank_counts_directions()
    {
        // two corners of each of four axes: four directions of equal variance
        var axes = new float[8 * 4];
        for (int i = 0; i < 8; i++)
            axes[i * 4 + i / 2] = i % 2 == 0 ? 3 : 5;
        float[] line = [.. Enumerable.Range(0, 50).SelectMany(i => new float[] { i, -i, 2 * i + 1 })];
        Assert.That(EmbeddingHealth.Of(line, 3).EffectiveRank, Is.EqualTo(1).Within(Rounding));
        Assert.That(EmbeddingHealth.Of(axes, 4).EffectiveRank, Is.EqualTo(Rank(axes, 4)).Within(Rounding));
    }

    [TestCase(5, 8)]
    [TestCase(40, 11)]
    [TestCase(3000, 3)]
    public void Rank_is_the_participation_ratio(int rows, int width)
    {
        var random = new Philox(1, (ulong)rows);
        float[] inputs = [.. Enumerable.Range(0, rows * width).Select(i => (float)(random.NextGaussian() * (1 + i % width) + 1000))];
        var expected = rows <= 2048 ? Rank(inputs, width) : Rank([.. Enumerable.Range(0, 2048).SelectMany(i =>
        {
            int row = (int)((long)i * rows / 2048);
            return inputs[(row * width)..((row + 1) * width)];
        })], width);
        Assert.That(EmbeddingHealth.Of(inputs, width).EffectiveRank, Is.EqualTo(expected).Within(Rounding));
    }

    [TestCase(1e-30f)]
    [TestCase(1e30f)]
    public void Rank_does_not_depend_on_the_scale(float scale)
    {
        float[] inputs = [1, 2, 4, 1, 0, 3, 5, 5], scaled = Array.ConvertAll(inputs, x => x * scale);
        Assert.That(EmbeddingHealth.Of(scaled, 2).EffectiveRank, Is.EqualTo(EmbeddingHealth.Of(inputs, 2).EffectiveRank).Within(Rounding));
    }

    private static double Rank(float[] inputs, int width)
    {
        int rows = inputs.Length / width;
        double[] mean = [.. Enumerable.Range(0, width).Select(d => Enumerable.Range(0, rows).Average(i => (double)inputs[i * width + d]))];
        double trace = 0, squares = 0;
        for (int a = 0; a < width; a++)
            for (int b = 0; b < width; b++)
            {
                double c = Enumerable.Range(0, rows).Sum(i => (inputs[i * width + a] - mean[a]) * (inputs[i * width + b] - mean[b]));
                trace += a == b ? c : 0;
                squares += c * c;
            }
        return trace * trace / squares;
    }
}
