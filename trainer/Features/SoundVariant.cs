using Avedis.Engine;
using NWaves.Filters.Base64;
using NWaves.Operations;
using NWaves.Operations.Tsm;
using NWaves.Signals;

namespace Avedis.Trainer.Features;

/// <summary>
/// Another sound of the same words: faster or slower, higher or lower, in a room, over noise. The signal processing is NWaves'; the random
/// numbers are not, since
/// its noise takes no seed.
/// </summary>
public static class SoundVariant
{
    private const double DirectDb = 6;       // power of the voice over that of its echo
    private const double FirstEcho = 0.005;  // seconds behind it
    private const double ShortestRoom = 0.1; // seconds until the echo is 60 dB down

    // pink noise from white: three poles within 0.3 dB of 3 dB an octave over 9 octaves (J. O. Smith, Spectral Audio Signal Processing)
    private static readonly double[] PinkZeros = [0.049922035, -0.095993537, 0.050612699, -0.004408786];
    private static readonly double[] PinkPoles = [1, -2.494956002, 2.017265875, -0.522189400];

    /// <summary>
    /// A copy of a clip: a pure function of the clip's samples and name, the number of the copy and the options. What one effect draws
    /// does not depend on
    /// whether another is on.
    /// </summary>
    public static float[] Make(ReadOnlySpan<float> clip, int rate, VariantOptions options, string name, int copy)
    {
        Philox Drawn(string what) => new(options.Seed, StableHash.Of($"{name}\n{copy}\n{what}"));
        Philox noise = Drawn("noise"), room = Drawn("room");
        double speed = 1 + (options.Speed * Drawn("speed").NextDouble(-1, 1));
        double semitones = options.Pitch * Drawn("pitch").NextDouble(-1, 1);
        double echo = room.NextDouble(ShortestRoom, options.Reverberation), snr = noise.NextDouble(options.SnrLow, options.SnrHigh);
        float[] sound = Shift(clip, rate, speed, Math.Pow(2, semitones / 12));
        if (options.Reverberation > 0)
            Reverberate(sound, rate, echo, room);
        if (options.Noise != NoiseColour.None)
            AddNoise(sound, options.Noise, snr, noise);
        return sound;
    }

    /// <summary>
    /// A sound <paramref name="speed"/> times as fast, and <paramref name="speed"/> times <paramref name="pitch"/> as high.
    /// </summary>
    public static float[] Shift(ReadOnlySpan<float> samples, int rate, double speed, double pitch)
    {
        int before = rate / 8, behind = rate / 4; // overlap-add fades in over its first window, and leaves out its last
        var padded = new float[before + samples.Length + behind];
        samples.CopyTo(padded.AsSpan(before));
        var signal = new DiscreteSignal(rate, padded);
        if (pitch != 1)
            signal = Operation.TimeStretch(signal, pitch, TsmAlgorithm.Wsola);
        signal = new Resampler().Resample(signal, (int)Math.Round(rate / (speed * pitch)));
        var shifted = new float[(int)Math.Round(samples.Length / speed)];
        var heard = signal.Samples.AsSpan((int)Math.Round(before / speed));
        heard[..Math.Min(heard.Length, shifted.Length)].CopyTo(shifted);
        return shifted;
    }

    /// <summary>The echo of a room, of noise that falls by 60 dB in so many seconds; the level stays.</summary>
    public static void Reverberate(float[] samples, int rate, double seconds, Philox random)
    {
        int first = (int)(FirstEcho * rate);
        var response = new double[Math.Max(first + 1, (int)(seconds * rate))];
        double energy = 0, level = PowerOf(samples);
        for (int i = first; i < response.Length; i++)
        {
            response[i] = random.NextGaussian() * Math.Pow(10, -3 * i / (seconds * rate));
            energy += response[i] * response[i];
        }
        double scale = Math.Sqrt(Math.Pow(10, -DirectDb / 10) / Math.Max(energy, double.Epsilon));
        for (int i = first; i < response.Length; i++)
            response[i] *= scale;
        response[0] = 1;
        double[] wet = Operation.Convolve(Array.ConvertAll(samples, x => (double)x), response);
        for (int i = 0; i < samples.Length; i++)
            samples[i] = (float)wet[i];
        double after = PowerOf(samples), gain = after > 0 ? Math.Sqrt(level / after) : 1;
        for (int i = 0; i < samples.Length; i++)
            samples[i] = (float)(samples[i] * gain);
    }

    /// <summary>Noise whose mean power lies so many dB under that of the samples; a silent sound stays silent.</summary>
    public static void AddNoise(float[] samples, NoiseColour colour, double snr, Philox random)
    {
        var filter = new IirFilter64(PinkZeros, PinkPoles);
        var noise = new double[samples.Length];
        double power = 0;
        for (int i = 0; i < noise.Length; i++)
        {
            double white = random.NextGaussian();
            noise[i] = colour == NoiseColour.Pink ? filter.Process(white) : white;
            power += noise[i] * noise[i] / noise.Length;
        }
        double gain = Math.Sqrt(PowerOf(samples) * Math.Pow(10, -snr / 10) / Math.Max(power, double.Epsilon));
        for (int i = 0; i < samples.Length; i++)
            samples[i] = (float)(samples[i] + (gain * noise[i]));
    }

    private static double PowerOf(ReadOnlySpan<float> samples)
    {
        double sum = 0;
        foreach (float sample in samples)
            sum += (double)sample * sample;
        return sum / Math.Max(samples.Length, 1);
    }
}
