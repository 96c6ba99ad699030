namespace Avedis.Trainer.Features;

/// <summary>Whose log-mel definition is followed; the numbers behind each are in <see cref="LogMel"/>.</summary>
public enum MelPreset
{
    /// <summary>HTK mel, periodic Hann, FFT padded to a power of two, centred frames with zeros at the edges, ln(max(x, 1e-6)).</summary>
    Avedis,

    /// <summary>
    /// torchaudio.transforms.MelSpectrogram: FFT as long as the window, centred frames mirrored at the edges, ln(x + 1e-6).
    /// </summary>
    Torchaudio,

    /// <summary>
    /// librosa.feature.melspectrogram: Slaney mel and area norm, centred frames with zeros at the edges, ln(max(x, 1e-10)).
    /// </summary>
    Librosa,

    /// <summary>
    /// Kaldi's fbank: amplitudes of 16-bit integers, pre-emphasis, Povey window, frames inside the signal, ln(max(x, 2^-23)).
    /// </summary>
    Kaldi,

    /// <summary>
    /// FilterbankExtractor of NWaves, in F32: symmetric Hamming window, frames inside the signal, triangles in Hz, ln(max(x, 1e-6)).
    /// </summary>
    Nwaves,
}

/// <summary>What is done to the log-mel values of a clip before they are stored.</summary>
public enum MelNormalisation
{
    /// <summary>Values stay ln energies; padded frames hold the value of silence.</summary>
    None,

    /// <summary>Every mel bin gets mean 0 and standard deviation 1 over the valid frames of its clip; padded frames hold 0.</summary>
    Clip,
}

/// <summary>What of a clip's picture is its face.</summary>
public enum CropMode
{
    /// <summary>The pictures are faces already: the largest square in the middle.</summary>
    Given,

    /// <summary>The middle of that square, its side divided by <see cref="Media.FaceTrack.Margin"/>: a wide crop made tight.</summary>
    Center,

    /// <summary>
    /// A face is looked for in every picture and followed over the clip, with <see cref="Media.FaceTrack.Margin"/> around it.
    /// </summary>
    Detect,
}

/// <summary>What is done with a clip in whose sound nothing is heard.</summary>
public enum SilenceMode
{
    /// <summary>It is rejected as silent.</summary>
    Reject,

    /// <summary>It is kept, and the number of such clips is said.</summary>
    Warn,

    /// <summary>It is kept without a word.</summary>
    Keep,
}

/// <summary>
/// How a clip becomes numbers: everything that, changed, makes prepared data another data set. The defaults are the demo preset.
/// </summary>
public sealed record FeatureOptions
{
    /// <summary>The fast setting: 64 px, 8 faces and 300 mel frames from 3 s.</summary>
    public static FeatureOptions Demo { get; } = new();

    /// <summary>Half the faces and half the mel frames of <see cref="Demo"/>, for many trainings in an hour.</summary>
    public static FeatureOptions Grid { get; } = new() { FaceFrames = 4, HopMs = 20 };

    /// <summary>The published setting: 224 px, 50 faces and 1200 mel frames from 12 s.</summary>
    public static FeatureOptions Paper { get; } = new() { ClipSeconds = 12, FaceSize = 224, FaceFrames = 50 };

    /// <summary>Window taken from the start of every clip, in seconds; shorter clips are padded, and carry their valid lengths.</summary>
    public double ClipSeconds { get; init; } = 3;

    /// <summary>Clips with less picture or less sound than this many seconds are rejected as too short.</summary>
    public double MinimumSeconds { get; init; } = 0.5;

    /// <summary>
    /// What is done with a clip in whose sound no sample exceeds <see cref="Media.SoundMix.SilentPeak"/>. It decides which clips are
    /// kept, not what they hold.
    /// </summary>
    public SilenceMode Silence { get; init; } = SilenceMode.Reject;

    /// <summary>What of the picture is taken.</summary>
    public CropMode Crop { get; init; }

    /// <summary>Side of a square grey face picture in pixels; the crop is scaled to it.</summary>
    public int FaceSize { get; init; } = 64;

    /// <summary>Pictures per clip, evenly over the window.</summary>
    public int FaceFrames { get; init; } = 8;

    /// <summary>Value 0..255 of the pixels of padded pictures; mid-grey, which the network sees as (almost) 0.</summary>
    public int PadPixel { get; init; } = 128;

    /// <summary>Samples per second of the sound, after resampling and mixing to one channel.</summary>
    public int SampleRate { get; init; } = 16_000;

    /// <summary>Mel bins per frame.</summary>
    public int MelBins { get; init; } = 40;

    /// <summary>The log-mel definition.</summary>
    public MelPreset MelPreset { get; init; } = MelPreset.Avedis;

    /// <summary>Length of the analysis window in milliseconds.</summary>
    public double WindowMs { get; init; } = 25;

    /// <summary>Distance between analysis windows in milliseconds.</summary>
    public double HopMs { get; init; } = 10;

    /// <summary>Smallest energy before the logarithm (added, for the torchaudio preset); null takes the preset's own.</summary>
    public double? LogFloor { get; init; }

    /// <summary>What is done to the log-mel values of a clip.</summary>
    public MelNormalisation Normalisation { get; init; } = MelNormalisation.Clip;

    /// <summary>Mel frames per clip. Definitions that yield one more lose their last; those that yield fewer are padded.</summary>
    public int MelFrames => (int)Math.Round(ClipSeconds * 1000 / HopMs);

    /// <summary>Bytes of the pictures of one clip, laid out [FaceFrames, FaceSize, FaceSize].</summary>
    public int FaceBytes => FaceFrames * FaceSize * FaceSize;

    /// <summary>Values of the log-mel picture of one clip, laid out [MelBins, MelFrames].</summary>
    public int MelCount => MelBins * MelFrames;

    /// <summary>Throws one line with exit code 2 for a value that no clip could be prepared with.</summary>
    public void Validate()
    {
        Require(ClipSeconds is > 0 and <= 600, "clipSeconds", ClipSeconds, "above 0 and at most 600");
        Require(MinimumSeconds >= 0 && MinimumSeconds <= ClipSeconds, "minimumSeconds", MinimumSeconds, "between 0 and clipSeconds");
        Require(FaceSize is >= 8 and <= 1024, "faceSize", FaceSize, "between 8 and 1024");
        Require(FaceFrames is >= 1 and <= 10_000, "faceFrames", FaceFrames, "between 1 and 10000");
        Require((long)FaceFrames * FaceSize * FaceSize <= 1 << 29, "faceFrames", FaceFrames,
            "small enough that a clip's pictures stay below 512 MiB");
        Require(PadPixel is >= 0 and <= 255, "padPixel", PadPixel, "between 0 and 255");
        Require(SampleRate is >= 4_000 and <= 192_000, "sampleRate", SampleRate, "between 4000 and 192000");
        Require(MelBins is >= 1 and <= 512, "melBins", MelBins, "between 1 and 512");
        Require(HopMs is >= 1 and <= 1000 && HopMs <= ClipSeconds * 1000, "hopMs", HopMs, "at least 1 and at most the clip");
        Require(WindowMs is >= 2 and <= 1000, "windowMs", WindowMs, "between 2 and 1000");
        Require(LogFloor is null or >= float.Epsilon and < 1e30, "logFloor", LogFloor ?? 0, "at least 1.4e-45, the smallest number of F32");
        Require(Enum.IsDefined(Crop), "crop", (int)Crop, "one of given, center, detect");
        Require(Enum.IsDefined(Silence), "silence", (int)Silence, "one of reject, warn, keep");
        Require(Enum.IsDefined(MelPreset), "melPreset", (int)MelPreset, "one of avedis, torchaudio, librosa, kaldi, nwaves");
        Require(Enum.IsDefined(Normalisation), "normalisation", (int)Normalisation, "one of none, clip");
    }

    private static void Require(bool holds, string name, double value, string expected)
    {
        if (!holds)
            throw new UserException(ExitCode.Usage, $"features.{name} is {value}; it has to be {expected}");
    }
}
