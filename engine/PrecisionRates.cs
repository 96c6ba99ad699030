using System.Globalization;
using System.Text.Json.Serialization;

namespace Avedis.Engine;

/// <summary>How fast a device multiplies and adds in each number format of activations.</summary>
/// <param name="Fp32">In <paramref name="Unit"/>.</param>
/// <param name="Bf16">In <paramref name="Unit"/>.</param>
/// <param name="Unit">Of both, for people.</param>
public sealed record PrecisionRates(double Fp32, double Bf16, string Unit)
{
    /// <summary>
    /// BF16 is chosen where it is at least so many times as fast: its results are a little coarser, and where two rates are nearly the
    /// same, noise must not decide.
    /// </summary>
    public const double ClearFactor = 1.25;

    /// <summary>Whether activations in BF16 make training clearly faster.</summary>
    [JsonIgnore]
    public bool PreferBf16 => Bf16 >= ClearFactor * Fp32;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Fp32:F0} {Unit} in fp32, {Bf16:F0} in bf16");
}
