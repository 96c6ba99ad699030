using Avedis.Trainer;
using Avedis.Trainer.Features;
using NUnit.Framework;
using NWaves.FeatureExtractors;
using NWaves.FeatureExtractors.Options;
using NWaves.Filters.Fda;
using NWaves.Windows;

namespace Avedis.Tests;

/// <summary>The preset nwaves beside the library called by hand, and beside the formula of what it computes.</summary>
public sealed class NwavesPresetTests
{
    /// <summary>
    /// Speech at the defaults; a window that is a power of two; a window of odd length, few bins and a rate of telephones; a large bank.
    /// </summary>
    [TestCase(16_000, 25, 10, 40)]
    [TestCase(16_000, 32, 16, 40)]
    [TestCase(8_000, 20.1, 7.5, 23)]
    [TestCase(44_100, 23, 11, 128)]
    [TestCase(16_000, 2, 1, 4)]
    public void Every_bit_is_that_of_the_extractor(int rate, double windowMs, double hopMs, int bins)
    {
        var options = new FeatureOptions
        {
            MelPreset = MelPreset.Nwaves, Normalisation = MelNormalisation.None,
                SampleRate = rate, WindowMs = windowMs, HopMs = hopMs, MelBins = bins,
            ClipSeconds = 2,
        };
        int window = (int)Math.Round(rate * windowMs / 1000), size = 1;
        while (size < window)
            size *= 2;
        var extractor = new FilterbankExtractor(new FilterbankOptions
        {
            SamplingRate = rate,
            FrameSize = window,
            HopSize = (int)Math.Round(rate * hopMs / 1000),
            FftSize = size,
            FilterBank = FilterBanks.Triangular(size, rate, FilterBanks.MelBands(bins, rate)),
            Window = WindowType.Hamming,
            NonLinearity = NonLinearityType.LogE,
            LogFloor = 1e-6f,
        });
        var logMel = new LogMel(options);
        var output = new float[options.MelCount];
        foreach (string name in (string[])["speech", "silence", "impulse", "one sample"])
        {
            float[] signal = LogMelGolden.Signal(name);
            var expected = extractor.ComputeFrom(signal);
            int valid = logMel.Compute(signal, output);
            Assert.That(valid, Is.EqualTo(Math.Min(expected.Count, options.MelFrames)), name);
            for (int t = 0; t < valid; t++)
                for (int bin = 0; bin < bins; bin++)
                    Assert.That(output[(bin * options.MelFrames) + t], Is.EqualTo(expected[t][bin]), $"{name}, frame {t}, bin {bin}");
        }
    }

    [Test]
    public void The_extractor_computes_the_documented_formula(
        [Values("speech", "sweep", "clipping", "dc", "impulse", "silence")] string name)
        => NwavesDefinition.Check(LogMelGolden.Signal(name), options => new LogMel(options).Compute);

    [TestCase(1e-46, false)]
    [TestCase(1.5e-45, true)]
    public void A_floor_that_is_0_in_single_precision_is_refused(double floor, bool valid)
    {
        var options = new FeatureOptions { LogFloor = floor };
        if (valid)
            options.Validate();
        else
            Assert.That(Assert.Throws<UserException>(options.Validate)!.Message, Does.Contain("features.logFloor").And.Contain("1.4e-45"));
    }
}

/// <summary>What the preset nwaves stands for, from its documentation and in double precision, with nothing of the library.</summary>
public static class NwavesDefinition
{
    /// <summary>
    /// Of amplitudes, as a share of the loudest band's in the frame: the spectrum is rounded to F32 at each of nine steps of its
    /// transform, with what is
    /// loudest in it.
    /// </summary>
    private const double Share = 3e-6;

    /// <summary>Compares a way to compute the preset with the formula.</summary>
    public static void Check(float[] signal, Func<FeatureOptions, LogMelGolden.Computation> ways)
    {
        const int Rate = 16_000, Window = 400, Hop = 160, Size = 512, Bins = 40;
        const double Floor = 1e-6;
        var options = new FeatureOptions { MelPreset = MelPreset.Nwaves, Normalisation = MelNormalisation.None, ClipSeconds = 1 };
        var output = new float[options.MelCount];
        int valid = ways(options)(signal, output);
        Assert.That(valid, Is.EqualTo(Math.Min(100, 1 + ((signal.Length - Window) / Hop))));
        double[] corners =
            [.. Enumerable.Range(0, Bins + 2).Select(i => 700 * (Math.Exp(Math.Log(1 + (Rate / 2 / 700.0)) * i / (Bins + 1)) - 1))];
        var power = new double[(Size / 2) + 1];
        double worst = 0;
        for (int t = 0; t < valid; t++)
        {
            for (int k = 0; k < power.Length; k++)
            {
                double re = 0, im = 0;
                for (int i = 0; i < Window; i++)
                {
                    double x = signal[(t * Hop) + i] * (0.54 - (0.46 * Math.Cos(2 * Math.PI * i / (Window - 1))));
                    var (sine, cosine) = Turn(k * i);
                    (re, im) = (re + (x * cosine), im + (x * sine));
                }
                power[k] = (re * re) + (im * im);
            }
            var energies =
                Enumerable.Range(0, Bins).Select(b => power.Select((p, k) => p * Triangle(corners, b, (double)k * Rate / Size)).Sum())
                    .ToArray();
            for (int b = 0; b < Bins; b++)
            {
                double actual = Math.Exp(output[(b * options.MelFrames) + t] / 2), expected = Math.Sqrt(Math.Max(energies[b], Floor));
                worst = Math.Max(worst, Math.Abs(actual - expected) / Math.Sqrt(Math.Max(energies.Max(), Floor)));
            }
        }
        TestContext.Out.WriteLine($"largest difference of amplitudes {worst:g3} of the loudest band");
        Assert.That(worst, Is.LessThan(Share));
    }

    private static readonly (double Sine, double Cosine)[] Turns =
        [.. Enumerable.Range(0, 512).Select(i => Math.SinCos(2 * Math.PI * i / 512))];

    private static (double Sine, double Cosine) Turn(int at) => Turns[at % 512];

    private static double Triangle(double[] corners, int band, double hertz) => Math.Max(0, Math.Min(
        (hertz - corners[band]) / (corners[band + 1] - corners[band]),
            (corners[band + 2] - hertz) / (corners[band + 2] - corners[band + 1])));
}
