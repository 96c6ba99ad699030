using System.Numerics;

namespace Avedis.Trainer.Probes;

/// <summary>Whether an embedding is alive: a leak of nothing is no merit where the embedding has collapsed.</summary>
/// <param name="DeadShare">Share of units that are never above 0, or always the same.</param>
/// <param name="MeanNorm">Mean over clips of the Euclidean norm.</param>
/// <param name="EffectiveRank">
/// In how many directions the clips vary: trace(C)^2 / trace(C^2) of their covariance C, which is the participation ratio of its eigenvalues, 1 .. units; 0 if
/// they do not vary at all. Of at most <see cref="MaxRows"/> clips, evenly spaced.
/// </param>
public sealed record EmbeddingHealth(int Units, double DeadShare, double MeanNorm, double EffectiveRank)
{
    /// <summary>More clips would cost seconds for wide embeddings and hardly move the figure.</summary>
    private const int MaxRows = 2048;

    /// <summary>What next to nothing is left of: it leaks nothing because it holds nothing.</summary>
    public bool Collapsed => DeadShare >= 0.9;

    /// <param name="inputs">[N, width], the embeddings as the network gives them; N may be 0: all figures are 0 then.</param>
    public static EmbeddingHealth Of(float[] inputs, int width)
    {
        int rows = inputs.Length / width;
        if (rows == 0)
            return new(width, 0, 0, 0);
        int dead = 0;
        for (int d = 0; d < width; d++)
        {
            float low = inputs[d], high = inputs[d];
            for (int row = 1; row < rows; row++)
                (low, high) = (Math.Min(low, inputs[row * width + d]), Math.Max(high, inputs[row * width + d]));
            if (high <= 0 || low == high)
                dead++;
        }
        double norms = 0;
        for (int row = 0; row < rows; row++)
        {
            double squares = 0;
            foreach (float x in inputs.AsSpan(row * width, width))
                squares += (double)x * x;
            norms += Math.Sqrt(squares);
        }
        return new(width, (double)dead / width, norms / rows, Rank(inputs, rows, width));
    }

    private static double Rank(float[] inputs, int rows, int width)
    {
        int taken = Math.Min(rows, MaxRows);
        var centred = new float[taken * width];
        double largest = 0;
        for (int d = 0; d < width; d++)
        {
            double mean = 0;
            for (int i = 0; i < taken; i++)
                mean += At(i, d) / (double)taken;
            for (int i = 0; i < taken; i++)
                largest = Math.Max(largest, Math.Abs(At(i, d) - mean));
        }
        if (largest == 0)
            return 0;
        for (int d = 0; d < width; d++)
        {
            float first = At(0, d);
            bool constant = true;
            double mean = 0;
            for (int i = 0; i < taken; i++)
            {
                mean += At(i, d) / (double)taken;
                constant &= At(i, d) == first;
            }
            // the ratio does not depend on the scale; at most 1, no square over- or underflows
            for (int i = 0; i < taken; i++)
                centred[i * width + d] = constant ? 0 : (float)((At(i, d) - mean) / largest);
        }
        // both X X^T and X^T X have the eigenvalues: take the smaller
        var (vectors, count, length) = taken <= width ? (centred, taken, width) : (Transposed(centred, taken, width), width, taken);
        double trace = 0, squares = 0;
        for (int i = 0; i < count; i++)
            for (int j = 0; j <= i; j++)
            {
                double product = Dot(vectors.AsSpan(i * length, length), vectors.AsSpan(j * length, length));
                squares += (i == j ? 1 : 2) * product * product;
                trace += i == j ? product : 0;
            }
        return squares == 0 ? 0 : trace * trace / squares;

        float At(int i, int d) => inputs[(int)((long)i * rows / taken) * width + d];
    }

    private static float[] Transposed(float[] x, int rows, int columns)
    {
        var result = new float[x.Length];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                result[j * rows + i] = x[i * columns + j];
        return result;
    }

    private static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sums = Vector<float>.Zero;
        int i = 0;
        for (; i <= a.Length - Vector<float>.Count; i += Vector<float>.Count)
            sums += new Vector<float>(a[i..]) * new Vector<float>(b[i..]);
        float sum = Vector.Sum(sums);
        for (; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
