using Avedis.Engine;
using Avedis.Trainer.Features;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Data;

/// <summary>
/// Plans how each clip of a training batch is varied. A plan is a pure function of (seed, epoch, position, row of the whole batch), whoever asks for it and in whichever order, and
/// each choice has random bits of its own: to turn one of them on leaves the others as they were.
/// </summary>
public sealed class Augmentation(AugmentOptions options, FeatureOptions features, ulong seed)
{
    private const ulong Stream = 0x4155_474DUL << 32; // "AUGM"; the low half is the epoch
    private const int Words = 16, WordsPerBlock = 4;

    private readonly float silence = LogMel.Silence(features);

    /// <summary>Plans a row of a batch that knows its epoch and position, and shortens its lengths by the shift.</summary>
    public void Apply(Batch batch, int row)
    {
        Span<uint> bits = stackalloc uint[Words];
        ulong first = ((ulong)batch.Position << 32) | ((uint)(batch.FirstRow + row) * (Words / WordsPerBlock));
        for (int i = 0; i < Words; i += WordsPerBlock)
            (bits[i], bits[i + 1], bits[i + 2], bits[i + 3]) = Philox.Block(first + (uint)(i / WordsPerBlock), Stream | (uint)batch.Epoch, seed);

        var (faceShift, melShift) = Shift(bits[3], batch.FaceLengths[row], batch.MelLengths[row]);
        batch.FaceLengths[row] -= faceShift;
        int frames = batch.MelLengths[row] -= melShift;
        int widestTime = Math.Min(options.TimeMaskFrames, frames / 2);
        batch.Augmentation[row] = new AugmentPlan
        {
            Flip = options.Flip ? Below(bits[0], 2) : 0,
            CropY = Below(bits[1], (2 * options.CropJitter) + 1) - options.CropJitter,
            CropX = Below(bits[2], (2 * options.CropJitter) + 1) - options.CropJitter,
            FaceShift = faceShift,
            PadPixel = features.PadPixel,
            MelShift = melShift,
            MelFrames = frames,
            // log-mels are of power: ten decibels are a factor of ten
            Gain = (float)(options.Gain * ((2 * Unit(bits[4])) - 1) * Math.Log(10) / 10),
            Silence = silence,
            Bins0 = Mask(options.FrequencyMasks > 0, bits[5], bits[6], options.FrequencyMaskBins, features.MelBins),
            Bins1 = Mask(options.FrequencyMasks > 1, bits[7], bits[8], options.FrequencyMaskBins, features.MelBins),
            Frames0 = Mask(options.TimeMasks > 0, bits[9], bits[10], widestTime, frames),
            Frames1 = Mask(options.TimeMasks > 1, bits[11], bits[12], widestTime, frames),
        };
    }

    private (int Faces, int Mels) Shift(uint bits, int faces, int mels)
    {
        double faceSeconds = features.ClipSeconds / features.FaceFrames, melSeconds = features.HopMs / 1000;
        double most = Math.Min(options.TimeShift, Math.Min(faces * faceSeconds, mels * melSeconds) / 2);
        double seconds = most * Unit(bits);
        // half a frame may be rounded up
        return (Math.Min((int)Math.Round(seconds / faceSeconds), faces / 2), Math.Min((int)Math.Round(seconds / melSeconds), mels / 2));
    }

    // 0 to `widest` of `all`, anywhere in it
    private static AugmentMask Mask(bool used, uint width, uint place, int widest, int all)
    {
        int count = used ? Below(width, widest + 1) : 0;
        return new(count > 0 ? Below(place, all - count + 1) : 0, count);
    }

    // 0 to n - 1, uneven by n / 2^32
    private static int Below(uint bits, int n) => (int)(((ulong)bits * (uint)n) >> 32);

    // 0 to 1, without 1
    private static double Unit(uint bits) => bits / 4294967296.0;
}
