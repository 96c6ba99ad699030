namespace Avedis.Trainer.Media;

/// <summary>One channel out of many: what the speaker said, however it was recorded. Samples are in [-1, 1].</summary>
internal static class SoundMix
{
    /// <summary>What no sample of a silent clip exceeds: -80 dB of full scale, three steps of 16-bit sound, which coders and dither leave
    /// of silence.</summary>
    public const float SilentPeak = 1e-4f;

    /// <summary>Power below which a channel, or the mean of all, is nothing beside the loudest channel: -20 dB.</summary>
    private const double Nothing = 0.01;

    /// <summary>Of the layouts with as many channels or more, the third of ffmpeg's order is the centre, where films have their
    /// speakers.</summary>
    private const int Surround = 5, Centre = 2;

    /// <summary>
    /// Fills <paramref name="mono"/> from <paramref name="sound"/>, whose channels take turns. It is the centre of surround sound; else
    /// the mean of the channels; else,
    /// where that is nothing beside the loudest channel (they cancel, or one of many speaks), the loudest channel.
    /// </summary>
    public static void ToMono(ReadOnlySpan<float> sound, int channels, Span<float> mono)
    {
        var powers = new double[channels];
        double mean = 0;
        for (int i = 0; i < mono.Length; i++)
        {
            float sum = 0;
            for (int channel = 0; channel < channels; channel++)
            {
                float sample = sound[(i * channels) + channel];
                sum += sample;
                powers[channel] += (double)sample * sample;
            }
            mono[i] = sum / channels;
            mean += (double)mono[i] * mono[i];
        }
        int loudest = Array.IndexOf(powers, powers.Max());
        bool centre = channels >= Surround && powers[Centre] >= Nothing * powers[loudest];
        if (!centre && !(mean < Nothing * powers[loudest]))
            return;
        int chosen = centre ? Centre : loudest;
        for (int i = 0; i < mono.Length; i++)
            mono[i] = sound[(i * channels) + chosen];
    }

    /// <summary>Whether nothing is heard.</summary>
    public static bool IsSilent(ReadOnlySpan<float> mono) => !mono.ContainsAnyExceptInRange(-SilentPeak, SilentPeak);
}
