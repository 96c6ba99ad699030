using Avedis.Engine;
using Avedis.Trainer.Probes;
using NUnit.Framework;

namespace Avedis.Tests.Probes;

/// <summary>LEACE: no covariance with the factor is left, nothing else is touched, and it moves embeddings the least.</summary>
public sealed class LinearErasureTests
{
    private const int Classes = 3;

    /// <summary>Clouds around a centre for each class, in mixed and unequally long directions; <paramref name="rank"/> of them.</summary>
    private static (float[] Inputs, int[] Labels) Clouds(int count, int width, int rank, ulong seed)
    {
        var random = new Philox(seed, StableHash.Of("tests.erasure"));
        var mix = Enumerable.Range(0, rank * width).Select(_ => random.NextGaussian()).ToArray();
        var (inputs, labels) = (new float[count * width], new int[count]);
        for (int i = 0; i < count; i++)
        {
            labels[i] = i % 5 == 0 ? 1 : i % 7 == 0 ? 2 : 0;
            for (int r = 0; r < rank; r++)
            {
                double value = random.NextGaussian() * (1 + r) + (r == labels[i] ? 3 : 0);
                for (int d = 0; d < width; d++)
                    inputs[i * width + d] += (float)(value * mix[r * width + d]);
            }
        }
        return (inputs, labels);
    }

    /// <summary>Largest covariance of a column with a class, over the deviations of both.</summary>
    private static double Correlation(float[] inputs, int width, int[] labels)
    {
        int count = labels.Length;
        double largest = 0;
        for (int c = 0; c < Classes; c++)
        {
            double share = labels.Count(label => label == c) / (double)count;
            for (int d = 0; d < width; d++)
            {
                double mean = Enumerable.Range(0, count).Average(i => (double)inputs[i * width + d]);
                double variance = Enumerable.Range(0, count).Average(i => Math.Pow(inputs[i * width + d] - mean, 2));
                double covariance = Enumerable.Range(0, count).Average(i => (inputs[i * width + d] - mean) * ((labels[i] == c ? 1 : 0) - share));
                largest = Math.Max(largest, Math.Abs(covariance) / Math.Sqrt(Math.Max(variance, 1e-12) * share * (1 - share)));
            }
        }
        return largest;
    }

    [TestCase(500, 8, 8)]
    [TestCase(500, 16, 5)]
    [TestCase(40, 64, 64)]
    public void Nothing_linear_is_left(int count, int width, int rank)
    {
        var (inputs, labels) = Clouds(count, width, rank, 1);
        Assert.That(Correlation(inputs, width, labels), Is.GreaterThan(0.2));
        float[] erased = new LinearErasure(inputs, width, labels, Classes).Apply(inputs);
        // F32 embeddings of size 10 or so
        Assert.That(Correlation(erased, width, labels), Is.LessThan(1e-4));
    }

    [Test]
    public void It_is_the_published_map()
    {
        // x - W^+ P W (x - mean) with whitening W, by its definition
        const int Width = 6;
        var (inputs, labels) = Clouds(400, Width, Width, 2);
        int count = labels.Length;
        var build = MathNet.Numerics.LinearAlgebra.Matrix<double>.Build;
        double[] mean = [.. Enumerable.Range(0, Width).Select(d => Enumerable.Range(0, count).Average(i => (double)inputs[i * Width + d]))];
        var x = build.Dense(count, Width, (i, d) => inputs[i * Width + d] - mean[d]);
        var z = build.Dense(count, Classes, (i, c) => (labels[i] == c ? 1 : 0) - labels.Count(label => label == c) / (double)count);
        var decomposition = (x.TransposeThisAndMultiply(x) / count).Evd();
        var roots = decomposition.EigenValues.Map(value => 1 / Math.Sqrt(value.Real));
        var whitening = decomposition.EigenVectors * build.DiagonalOfDiagonalVector(roots) * decomposition.EigenVectors.Transpose();
        // of rank classes - 1: the columns sum to 0
        var left = (whitening * (x.TransposeThisAndMultiply(z) / count)).Svd().U.SubMatrix(0, Width, 0, Classes - 1);
        var expected = x - x * (whitening.Inverse() * left * left.Transpose() * whitening).Transpose();
        float[] erased = new LinearErasure(inputs, Width, labels, Classes).Apply(inputs);
        Assert.Multiple(() =>
        {
            for (int i = 0; i < count; i++)
                for (int d = 0; d < Width; d++)
                    Assert.That(erased[i * Width + d], Is.EqualTo(expected[i, d] + mean[d]).Within(1e-4)); // F32 of size 10 or so
        });
    }

    [Test]
    public void Embeddings_that_tell_nothing_stay_as_they_are()
    {
        var constant = Enumerable.Repeat(2.5f, 40).ToArray();
        Assert.That(new LinearErasure(constant, 4, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], Classes).Apply(constant), Is.EqualTo(constant));
    }

    [Test]
    public void Clips_without_a_label_are_left_out()
    {
        var (inputs, labels) = Clouds(300, 8, 8, 3);
        var few = new LinearErasure(inputs[..(200 * 8)], 8, labels[..200], Classes).Apply(inputs);
        Assert.That(new LinearErasure(inputs, 8, [.. labels.Select((label, i) => i < 200 ? label : -1)], Classes).Apply(inputs), Is.EqualTo(few));
        Assert.Throws<ArgumentException>(() => _ = new LinearErasure(inputs, 8, [.. labels.Select(_ => -1)], Classes));
    }
}
