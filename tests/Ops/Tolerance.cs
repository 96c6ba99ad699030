using Avedis.Engine;

namespace Avedis.Tests.Ops;

/// <summary>
/// How far a result may lie from the double-precision reference. Bounds are per element: a multiple of the rounding unit, times the sum of
/// the absolute terms that were added to make the element (its magnitude), so that cancellation is allowed for and a missing term is not.
/// </summary>
internal static class Tolerance
{
    /// <summary>Rounding unit of F32: 24 significant bits, round to nearest.</summary>
    public const double F32 = 1.0 / (1 << 24);

    /// <summary>Rounding unit of BF16: 8 significant bits, round to nearest.</summary>
    public const double BF16 = 1.0 / (1 << 8);

    /// <summary>Rounding unit of TF32: 11 significant bits, round to nearest.</summary>
    public const double Tf32 = 1.0 / (1 << 11);

    /// <summary>The roundings of a sum walk at random, whatever its order: four standard deviations, or four roundings.</summary>
    public const double Walk = 4;

    /// <summary>
    /// What a matrix unit may lose when it adds eight or more products to a sum: it aligns all to the largest and cuts off what lies below 24 significant bits
    /// (Fasi and others 2021, for Volta to Ampere), so that the errors of the steps do not walk but add up.
    /// </summary>
    public const double MatrixUnit = 1.0 / (1 << 23);

    /// <summary>Products that one instruction of a matrix unit adds, at least (TF32; twice as many in BF16).</summary>
    public const int MatrixUnitDepth = 8;

    /// <summary>exp and log of the common vector libraries are right to a few units; four, next to the argument's own error.</summary>
    public const double Transcendental = 4;

    /// <summary>Roundings of an Adam step on the way from m and v to the new parameter.</summary>
    public const int AdamRoundings = 7;

    /// <summary>Below this a probability may be flushed to zero: smallest normal F32.</summary>
    public const double Underflow = 1.2e-38;

    /// <summary>A four-point difference in double: truncation h^4 and rounding 2^-53 / h are both below 1e-9 at the step used.</summary>
    public const double FiniteDifference = 1e-6;

    /// <summary>A two-point difference of F32 results: truncation step^2 = 1e-4, rounding 2^-24 * terms / step, a margin of ten.</summary>
    public const double DirectionalF32 = 2e-3;

    /// <summary>
    /// How near to the kink of ReLU a normalised value may lie: some hundred roundings, so that F32 and double agree on which side it is.
    /// </summary>
    public const double Kink = 1e-5;

    /// <summary>Worked examples in double precision: a few roundings of 2^-53.</summary>
    public const double Double = 1e-15;

    /// <summary>For a sum of <paramref name="length"/> F32 terms per element, whose absolute values add up to its magnitude.</summary>
    public static double[] Sum(DType type, long length, double[] magnitude, double[] expected) =>
        Rounded(type, Array.ConvertAll(magnitude, m => Walk * Math.Sqrt(length) * F32 * m), expected);

    /// <summary>The same, summed by matrix units.</summary>
    public static double[] MatrixUnitSum(DType type, long length, double[] magnitude, double[] expected) =>
        Rounded(
            type, Array.ConvertAll(magnitude, m => (Walk * Math.Sqrt(length) * F32 + (length / MatrixUnitDepth + 1) * MatrixUnit) * m), expected);

    /// <summary>The error made in F32, and one rounding more where the result is BF16.</summary>
    public static double[] Rounded(DType type, double[] error, double[] expected) =>
        type == DType.F32 ? error : [.. error.Zip(expected, (e, value) => e + BF16 * (Math.Abs(value) + e))];
}
