using MathNet.Numerics.LinearAlgebra;

namespace Avedis.Trainer.Probes;

/// <summary>
/// LEACE, least-squares concept erasure in closed form (Belrose et al. 2023, theorem 4.3): the affine map that takes from embeddings everything that a linear
/// classifier could read of a factor, and moves them the least in doing so.
/// <code>
/// r(x) = x - (x - mean) B (A' B)^+ A',  A = cov(x, z), B = cov(x)^+ A, z one-hot
/// </code>
/// That is the paper's x - W^+ P W (x - mean) with W = cov(x)^(-1/2) multiplied out. B is the least-squares solution of least norm of X B = Z, which needs no
/// more than the smaller of X X' and X' X. A probe that is not linear may still read the factor: it is a yardstick, not a cure.
/// </summary>
public sealed class LinearErasure
{
    // eigenvalues below this share of the largest are rounding errors of F32 embeddings
    private const double Negligible = 1e-9;

    private readonly int width;
    private readonly double[] mean;
    private readonly Matrix<double> read;  // [width, classes]: B (A' B)^+
    private readonly Matrix<double> write; // [classes, width]: A'

    /// <param name="inputs">[N, width] train embeddings.</param>
    /// <param name="labels">One each; -1 is left out.</param>
    /// <exception cref="ArgumentException">No row has a label.</exception>
    public LinearErasure(float[] inputs, int width, int[] labels, int classes)
    {
        this.width = width;
        int[] rows = [.. Enumerable.Range(0, labels.Length).Where(row => labels[row] >= 0)];
        if (rows.Length == 0)
            throw new ArgumentException("nothing to erase: no row has a label");
        int count = rows.Length;
        mean = new double[width];
        var shares = new double[classes];
        foreach (int row in rows)
        {
            shares[labels[row]] += 1.0 / count;
            for (int d = 0; d < width; d++)
                mean[d] += inputs[row * width + d] / (double)count;
        }
        var x = Matrix<double>.Build.Dense(count, width, (i, d) => inputs[rows[i] * width + d] - mean[d]);
        var z = Matrix<double>.Build.Dense(count, classes, (i, c) => (labels[rows[i]] == c ? 1 : 0) - shares[c]);
        var a = x.TransposeThisAndMultiply(z) / count;
        var b = count < width
            ? x.TransposeThisAndMultiply(PseudoInverse(x.TransposeAndMultiply(x)) * z)
            : PseudoInverse(x.TransposeThisAndMultiply(x)) * x.TransposeThisAndMultiply(z);
        read = b * PseudoInverse(a.TransposeThisAndMultiply(b));
        write = a.Transpose();
    }

    /// <summary>The embeddings without what was erased.</summary>
    /// <param name="inputs">[N, width].</param>
    public float[] Apply(float[] inputs)
    {
        int count = inputs.Length / width;
        var x = Matrix<double>.Build.Dense(count, width, (i, d) => inputs[i * width + d] - mean[d]);
        var moved = x * read * write;
        var erased = new float[inputs.Length];
        for (int i = 0; i < count; i++)
            for (int d = 0; d < width; d++)
                erased[i * width + d] = (float)(inputs[i * width + d] - moved[i, d]);
        return erased;
    }

    // of a symmetric matrix without negative eigenvalues
    private static Matrix<double> PseudoInverse(Matrix<double> matrix)
    {
        var decomposition = matrix.Evd(Symmetricity.Symmetric);
        double largest = decomposition.EigenValues.Enumerate().Max(value => value.Real);
        var inverse = decomposition.EigenValues.Map(value => value.Real > Negligible * largest && largest > 0 ? 1 / value.Real : 0);
        return decomposition.EigenVectors * Matrix<double>.Build.DiagonalOfDiagonalVector(inverse) * decomposition.EigenVectors.Transpose();
    }
}
