using Avedis.Engine;
using Avedis.Trainer.Probes;

namespace Avedis.Tests.Probes;

/// <summary>Embeddings of which a test knows what they tell.</summary>
internal static class ProbeCases
{
    /// <summary>Small and quick: what a probe can do does not hang on its size here.</summary>
    public static readonly ProbeSettings Quick = ProbeSettings.Cheap with { Hidden = 32 };

    /// <param name="fill">Writes a row's inputs and returns its label.</param>
    public static ProbeSplit Split(int rows, int width, ulong seed, Func<Philox, Memory<float>, int> fill)
    {
        var random = new Philox(seed, StableHash.Of("tests.probes"));
        var (inputs, labels) = (new float[rows * width], new int[rows]);
        for (int row = 0; row < rows; row++)
            labels[row] = fill(random, inputs.AsMemory(row * width, width));
        return new(inputs, labels);
    }

    public static ProbeData Data(int width, int classes, int train, int validation, int test, ulong seed, Func<Philox, Memory<float>, int> fill) =>
        new(width, classes, Split(train, width, 3 * seed, fill), Split(validation, width, 3 * seed + 1, fill), Split(test, width, 3 * seed + 2, fill), seed);

    /// <summary>Normal noise around a corner of its own for each class, so many deviations from the origin; class c is as frequent as its share.</summary>
    public static Func<Philox, Memory<float>, int> Corners(double distance, params double[] shares) => (random, row) =>
    {
        double u = random.NextDouble();
        int label = 0;
        for (double sum = shares[0]; label < shares.Length - 1 && u >= sum; sum += shares[label])
            label++;
        for (int d = 0; d < row.Length; d++)
            row.Span[d] = (float)(random.NextGaussian() + (d == label ? distance : 0));
        return label;
    };

    /// <summary>
    /// The label is the exclusive or of three inputs' signs. Of two, half a plane gets three of four corners right; of three, half of space five of eight.
    /// </summary>
    public static int Xor(Philox random, Memory<float> row)
    {
        int label = 0;
        for (int d = 0; d < row.Length; d++)
            row.Span[d] = (float)random.NextGaussian();
        for (int d = 0; d < 3; d++)
        {
            row.Span[d] += MathF.CopySign(2, row.Span[d]); // a gap of four deviations
            label ^= row.Span[d] > 0 ? 1 : 0;
        }
        return label;
    }

    public static ProbeScore Run(ProbeData data, ProbeKind kind, bool balanced = false, ProbeSettings? settings = null, ProbeLabels? labels = null)
    {
        using var probe = new Probe(new CpuBackend(2), data, settings ?? Quick);
        return probe.Run(kind, balanced, seed: 1, labels);
    }
}
