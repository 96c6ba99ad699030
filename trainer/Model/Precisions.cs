using System.Globalization;
using System.Text.Json.Serialization;
using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>The number format of a run, and what it was chosen by.</summary>
/// <param name="Precision">Not <see cref="Precision.Auto"/>.</param>
/// <param name="Rates">Of the device, if they chose; null where the precision was named.</param>
public sealed record PrecisionChoice(Precision Precision, PrecisionRates? Rates)
{
    /// <summary>Type of activations.</summary>
    [JsonIgnore]
    public DType Act => Precision == Precision.Bf16 ? DType.BF16 : DType.F32;

    /// <summary>What a run records: "fp32", "tf32" or "bf16".</summary>
    [JsonIgnore]
    public string Name => Precision.ToString().ToLowerInvariant();
}

/// <summary>Which number format activations have.</summary>
public static class Precisions
{
    /// <param name="backend">Where the network will be.</param>
    /// <param name="say">Takes a line about what auto has chosen.</param>
    public static PrecisionChoice Choose(Precision precision, IBackend backend, Action<string>? say = null)
    {
        if (precision != Precision.Auto)
            return new(precision, null);
        var rates = backend.Rates();
        var choice = new PrecisionChoice(rates.PreferBf16 ? Precision.Bf16 : Precision.Fp32, rates);
        say?.Invoke(Line(choice));
        return choice;
    }

    /// <summary>"precision auto: fp32 (convolutions: ...)".</summary>
    public static string Line(PrecisionChoice choice) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"precision auto: {choice.Name} (convolutions: {choice.Rates}; bf16 is taken from {PrecisionRates.ClearFactor} times as fast)");

    /// <summary>The precision that a run recorded.</summary>
    public static Precision Named(string name) => name switch
    {
        "bf16" => Precision.Bf16,
        "tf32" => Precision.Tf32,
        _ => Precision.Fp32,
    };
}
