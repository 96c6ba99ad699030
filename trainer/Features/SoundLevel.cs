namespace Avedis.Trainer.Features;

/// <summary>How loud a clip is, and how much of it is not silence.</summary>
/// <param name="Dbfs">Root mean square in dB of full scale, 1; minus infinity where all samples are 0.</param>
/// <param name="HeardShare">
/// Share of the clip's frames (25 ms, one every 10 ms) that are above <see cref="Silence"/> and no more than <see cref="Range"/> below the
/// clip's loud frames. It
/// is a rule of energy: steady noise counts as heard, speech or not.
/// </param>
public readonly record struct SoundLevel(double Dbfs, double HeardShare)
{
    /// <summary>dB of full scale, below which a frame is silence.</summary>
    public const double Silence = -60;

    /// <summary>dB below the frame that one in twenty exceeds; pauses of speech recorded well lie further below.</summary>
    public const double Range = 35;

    private const double FrameSeconds = 0.025, HopSeconds = 0.01, LoudShare = 0.95;

    public static SoundLevel Of(ReadOnlySpan<float> samples, int rate)
    {
        if (samples.IsEmpty)
            return new(double.NegativeInfinity, 0);
        int frame = Math.Min(samples.Length, (int)Math.Round(FrameSeconds * rate)), hop = Math.Max(1, (int)Math.Round(HopSeconds * rate));
        var levels = new double[1 + ((samples.Length - frame) / hop)];
        for (int i = 0; i < levels.Length; i++)
            levels[i] = Level(samples.Slice(i * hop, frame));
        double loud = levels.Order().ElementAt((int)(LoudShare * (levels.Length - 1)));
        return new(Level(samples), levels.Count(level => level > Silence && level >= loud - Range) / (double)levels.Length);
    }

    private static double Level(ReadOnlySpan<float> samples)
    {
        double sum = 0;
        foreach (float sample in samples)
            sum += (double)sample * sample;
        return 10 * Math.Log10(sum / samples.Length);
    }
}
