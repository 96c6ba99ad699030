using System.Text.Json;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>One signal by one preset in golden/logmel.json, which says how it was made: ln energies [frames, mels] of some of its frames.</summary>
/// <param name="Count">Frames that the convention makes of the signal.</param>
public sealed record LogMelGolden(MelPreset Preset, string Name, int Count, int[] Frames, double[][] Values)
{
    /// <summary>
    /// Of ln energies, for every way to compute them. The definitions differ from each other by far more; the golden numbers are rounded to 5e-7, energies in
    /// F32 to some 1e-6.
    /// </summary>
    private const double Ln = 1e-4;

    private const int Rate = 16_000, SpeechSeconds = 12;

    /// <summary>Clips are a little longer than the signals, so that no frame of these is cut off.</summary>
    public FeatureOptions Options => new()
    {
        MelPreset = Preset, Normalisation = MelNormalisation.None, ClipSeconds = 0.1 + (Name == "speech" ? SpeechSeconds : 1),
    };

    public delegate int Computation(ReadOnlySpan<float> samples, Span<float> output);

    public static IEnumerable<TestCaseData> Cases()
    {
        using var golden = JsonDocument.Parse(File.ReadAllText(Path.Combine(TestContext.CurrentContext.TestDirectory, "golden", "logmel.json")));
        foreach (var item in golden.RootElement.GetProperty("cases").EnumerateArray())
        {
            string preset = item.GetProperty("preset").GetString()!, signal = item.GetProperty("signal").GetString()!;
            yield return new TestCaseData(new LogMelGolden(
                Enum.Parse<MelPreset>(preset), signal, item.GetProperty("count").GetInt32(), item.GetProperty("frames").Deserialize<int[]>()!,
                item.GetProperty("values").Deserialize<double[][]>()!)).SetArgDisplayNames(preset, signal);
        }
    }

    /// <summary>Computes the signal and compares number and values of its frames.</summary>
    public void Check(Computation compute)
    {
        var options = Options;
        var output = new float[options.MelCount];
        int valid = compute(Signal(Name), output);
        Assert.That(valid, Is.EqualTo(Count), "number of frames");
        double worst = 0;
        foreach (var (t, values) in Frames.Zip(Values))
            for (int bin = 0; bin < options.MelBins; bin++)
                worst = Math.Max(worst, Math.Abs(values[bin] - output[(bin * options.MelFrames) + t]));
        TestContext.Out.WriteLine($"largest difference of ln energies {worst:g3}");
        Assert.That(worst, Is.LessThan(Ln), "largest difference of ln energies");
    }

    /// <summary>The signals of make_logmel_golden.py.</summary>
    public static float[] Signal(string name)
    {
        int length = name switch { "speech" => SpeechSeconds * Rate, "dc" or "impulse" => 4000, "one sample" => 1, _ => Rate };
        var samples = new float[length];
        uint state = 1;
        for (int i = 0; i < length; i++)
        {
            double t = (double)i / Rate;
            state = (state * 1664525) + 1013904223;
            samples[i] = (float)(name switch
            {
                "silence" => 0,
                "dc" => 0.5,
                "impulse" => i == 1000 ? 1 : 0,
                "sweep" => 0.8 * Math.Sin(2 * Math.PI * ((50 * t) + (3925 * t * t))),
                "clipping" => Math.Clamp(4 * Math.Sin(2 * Math.PI * 220 * t), -1, 1),
                "one sample" => 0.25,
                "speech" => Speech(t, (state / 4294967296.0) - 0.5),
                _ => throw new ArgumentException($"no signal \"{name}\""),
            });
        }
        return samples;
    }

    private static double Speech(double t, double noise)
    {
        double phase = (2 * Math.PI * 120 * t) - (20.0 / 3 * (Math.Cos(2 * Math.PI * 3 * t) - 1));
        double syllable = Math.Sin(2 * Math.PI * 4 * t);
        double voice = Enumerable.Range(1, 20).Sum(h => Math.Sin(h * phase) / h) * 0.3 * Math.Max(syllable, 0);
        return (t % 3 < 2.5 ? voice + (0.1 * noise * Math.Max(-syllable, 0)) : 0) + (0.001 * noise);
    }
}
