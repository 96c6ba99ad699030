using System.Globalization;
using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>A result is not what it should be; where, what came and what was expected.</summary>
public sealed class WrongResultException(string message) : Exception(message);

/// <summary>An element of a result in double precision, with the sum of the absolute values of its terms and their number.</summary>
internal readonly record struct SumOfProducts(double Value, double Magnitude, long Terms);

/// <summary>
/// Compares results: some elements with sums in double precision, all elements with those of another. Bounds are those of the operation tests: roundings of a
/// sum in FP32 walk at random, matrix units cut off what lies below their 24 bits, a BF16 result is rounded once more.
/// </summary>
internal static class ResultCheck
{
    private const double F32 = 1.0 / (1 << 24), BF16 = 1.0 / (1 << 8), Walk = 4, MatrixUnit = 1.0 / (1 << 23);

    /// <summary>Products that one instruction of a matrix unit adds, at least.</summary>
    private const int MatrixUnitDepth = 8;

    /// <summary>Elements that are computed in double precision: the first, the last, and others by chance.</summary>
    private const int Samples = 256;

    /// <summary>Compares some elements with their sums in double precision.</summary>
    /// <param name="matrixUnits">Whether matrix units may have added the products.</param>
    /// <returns>The largest error that the FP32 sum of an element may have.</returns>
    /// <exception cref="WrongResultException"/>
    public static double Sampled(IBackend backend, Tensor result, bool matrixUnits, Func<long, SumOfProducts> reference)
    {
        var random = new Random(1);
        long[] indices = [0, result.Count - 1, .. Enumerable.Range(0, Samples).Select(_ => random.NextInt64(result.Count))];
        float[] values = Array.ConvertAll(indices, index => BenchTensors.Read(backend, result, index, 1)[0]);
        var expected = new SumOfProducts[indices.Length];
        Parallel.For(0, indices.Length, i => expected[i] = reference(indices[i]));
        double largest = 0;
        for (int i = 0; i < indices.Length; i++)
        {
            double error = expected[i].Magnitude *
                (Walk * Math.Sqrt(expected[i].Terms) * F32 + (matrixUnits ? (expected[i].Terms / MatrixUnitDepth + 1) * MatrixUnit : 0));
            largest = Math.Max(largest, error);
            double allowed = Rounded(result.Type, error, Math.Abs(expected[i].Value));
            if (!(Math.Abs(values[i] - expected[i].Value) <= allowed))
                throw new WrongResultException(Text(
                    $"{result} at {indices[i]}: {values[i]:G6} instead of {expected[i].Value:G6}, allowed difference {allowed:G3}"));
        }
        return largest;
    }

    /// <summary>Compares every element of two results on one backend.</summary>
    /// <param name="error">That the FP32 sum of an element may have in each.</param>
    /// <exception cref="WrongResultException"/>
    public static void Alike(IBackend backend, Tensor ours, Tensor theirs, double error)
    {
        BenchTensors.Read(backend, ours, (start, values) =>
        {
            float[] others = BenchTensors.Read(backend, theirs, start, values.Length);
            // either may be rounded to BF16, theirs also where ours is not
            var type = theirs.Type == DType.BF16 ? DType.BF16 : ours.Type;
            for (int i = 0; i < values.Length; i++)
                if (!(Math.Abs(values[i] - others[i]) <= 2 * Rounded(type, error, Math.Max(Math.Abs(values[i]), Math.Abs(others[i])))))
                    throw new WrongResultException(Text($"{theirs} at {start + i}: {others[i]:G6}, ours is {values[i]:G6}"));
        });
    }

    /// <summary>Compares every element with that of another backend, to a share of the largest.</summary>
    /// <exception cref="WrongResultException"/>
    public static void Within(double share, IBackend backend, Tensor result, IBackend other, Tensor expected)
    {
        double largest = 0, worst = 0;
        (long Index, float Value, float Expected) at = default;
        BenchTensors.Read(backend, result, (start, values) =>
        {
            float[] others = BenchTensors.Read(other, expected, start, values.Length);
            for (int i = 0; i < values.Length; i++)
            {
                largest = Math.Max(largest, Math.Abs(others[i]));
                double difference = Math.Abs(values[i] - others[i]);
                if (!(difference <= worst))
                    (worst, at) = (double.IsNaN(difference) ? double.PositiveInfinity : difference, (start + i, values[i], others[i]));
            }
        });
        if (worst > share * largest)
            throw new WrongResultException(Text(
                $"{result} at {at.Index}: {at.Value:G6} instead of the processor's {at.Expected:G6}, allowed difference {share * largest:G3}"));
    }

    private static double Rounded(DType type, double error, double value) => type == DType.BF16 ? error + BF16 * (value + error) : error;

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
