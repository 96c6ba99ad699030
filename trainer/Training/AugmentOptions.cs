using System.Text.Json.Serialization;
using Avedis.Trainer.Features;

namespace Avedis.Trainer.Training;

/// <summary>How the clips of a training are varied, on the device, anew in every epoch; all is off by default, and what is evaluated is never varied.</summary>
public sealed record AugmentOptions
{
    /// <summary>Mirrors the pictures of every other clip, left to right.</summary>
    public bool Flip { get; init; }

    /// <summary>The pictures of a clip move by up to so many pixels each way; the edge is repeated.</summary>
    public int CropJitter { get; init; }

    /// <summary>A clip begins up to so many seconds later, its pictures to the nearest one; at least half of it stays.</summary>
    public double TimeShift { get; init; }

    /// <summary>A clip is up to so many decibels louder or quieter. Not for features that are normalised per clip: there loudness is gone.</summary>
    public double Gain { get; init; }

    /// <summary>Bands of mel bins that are silenced (SpecAugment, Park et al. 2019): 0 to 2.</summary>
    public int FrequencyMasks { get; init; }

    /// <summary>Widest of them, in bins: F of the paper.</summary>
    public int FrequencyMaskBins { get; init; }

    /// <summary>Stretches of mel frames that are silenced: 0 to 2.</summary>
    public int TimeMasks { get; init; }

    /// <summary>Longest of them, in frames: T of the paper; at most half of the clip.</summary>
    public int TimeMaskFrames { get; init; }

    /// <summary>Whether anything is varied at all.</summary>
    [JsonIgnore]
    public bool Enabled => this != new AugmentOptions();

    public void Validate()
    {
        Require(CropJitter is >= 0 and <= 1024, "cropJitter", CropJitter, "0 to 1024 pixels");
        Require(TimeShift is >= 0 and <= 600, "timeShift", TimeShift, "0 to 600 seconds");
        Require(Gain is >= 0 and <= 60, "gain", Gain, "0 to 60 dB");
        Require(FrequencyMasks is >= 0 and <= 2, "frequencyMasks", FrequencyMasks, "0 to 2");
        Require(FrequencyMaskBins >= 0 && FrequencyMaskBins > 0 == FrequencyMasks > 0, "frequencyMaskBins", FrequencyMaskBins, "1 or more with frequencyMasks, else 0");
        Require(TimeMasks is >= 0 and <= 2, "timeMasks", TimeMasks, "0 to 2");
        Require(TimeMaskFrames >= 0 && TimeMaskFrames > 0 == TimeMasks > 0, "timeMaskFrames", TimeMaskFrames, "1 or more with timeMasks, else 0");
    }

    /// <exception cref="UserException">Exit code 2: these features cannot be varied so.</exception>
    public void ValidateFor(FeatureOptions features)
    {
        Require(Gain == 0 || features.Normalisation == MelNormalisation.None, "gain", Gain, "0 with features.normalisation clip: a clip's loudness is no longer in its features");
        Require(CropJitter < features.FaceSize, "cropJitter", CropJitter, $"less than the {features.FaceSize} pixels of features.faceSize");
        Require(FrequencyMaskBins <= features.MelBins / 2, "frequencyMaskBins", FrequencyMaskBins, $"at most half of the {features.MelBins} bins of features.melBins");
    }

    private static void Require(bool holds, string key, object value, string expected) => TrainingOptions.Require(holds, $"training.augment.{key}", value, expected);
}
