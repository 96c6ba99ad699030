using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The log-mel presets on the processor: against golden numbers, and properties of all.</summary>
public sealed class LogMelTests
{
    private static IEnumerable<TestCaseData> GoldenCases() => LogMelGolden.Cases();

    [TestCaseSource(nameof(GoldenCases))]
    public void Preset_agrees_with_its_convention(LogMelGolden golden) => golden.Check(new LogMel(golden.Options).Compute);

    [Test]
    public void Frames_beyond_the_signal_hold_the_value_of_silence([Values] MelPreset preset)
    {
        var options = Options(preset);
        var output = new float[options.MelCount];
        int valid = new LogMel(options).Compute(LogMelGolden.Signal("sweep"), output);
        var silent = new float[options.MelCount];
        new LogMel(options).Compute(LogMelGolden.Signal("silence"), silent);
        Assert.That(valid, Is.InRange(90, 110));
        for (int bin = 0; bin < options.MelBins; bin++)
            for (int t = valid; t < options.MelFrames; t++)
                Assert.That(output[(bin * options.MelFrames) + t], Is.EqualTo(silent[bin * options.MelFrames]));
    }

    [Test]
    public void An_own_log_floor_replaces_the_preset_one()
    {
        var options = Options(MelPreset.Avedis) with { LogFloor = 1e-3 };
        var output = new float[options.MelCount];
        new LogMel(options).Compute(LogMelGolden.Signal("silence"), output);
        Assert.That(output, Is.All.EqualTo((float)Math.Log(1e-3)));
        Assert.That(new LogMel(options).Definition, Is.Not.EqualTo(new LogMel(Options(MelPreset.Avedis)).Definition));
    }

    [Test]
    public void Clip_normalisation_gives_each_bin_mean_0_and_variance_1_over_valid_frames()
    {
        var options = Options(MelPreset.Avedis) with { Normalisation = MelNormalisation.Clip };
        var output = new float[options.MelCount];
        int valid = new LogMel(options).Compute(LogMelGolden.Signal("sweep"), output);
        for (int bin = 0; bin < options.MelBins; bin++)
        {
            var row = output.AsSpan(bin * options.MelFrames, options.MelFrames);
            double mean = row[..valid].ToArray().Average(), variance = row[..valid].ToArray().Average(x => (x - mean) * (x - mean));
            Assert.That(mean, Is.EqualTo(0).Within(1e-5));
            Assert.That(variance, Is.EqualTo(1).Within(1e-2));
            Assert.That(row[valid..].ToArray(), Is.All.Zero);
        }
    }

    [Test]
    public void Padding_holds_what_silence_is([Values] MelPreset preset, [Values] MelNormalisation normalisation)
    {
        var options = Options(preset) with { Normalisation = normalisation };
        var output = new float[options.MelCount];
        int valid = new LogMel(options).Compute(LogMelGolden.Signal("speech").AsSpan(0, 4000), output);
        Assert.That(output[valid..options.MelFrames], Is.Not.Empty.And.All.EqualTo(LogMel.Silence(options)));
    }

    [Test]
    public void Silence_stays_finite_when_normalised()
    {
        var options = Options(MelPreset.Kaldi) with { Normalisation = MelNormalisation.Clip };
        var output = new float[options.MelCount];
        new LogMel(options).Compute(LogMelGolden.Signal("silence"), output);
        Assert.That(output, Is.All.EqualTo(0f).Within(1e-3f));
    }

    /// <summary>Torchaudio's own default of 128 mels at 400 points is known to leave four triangles empty (0, 3, 6 and 13).</summary>
    [TestCase(MelPreset.Torchaudio, 40, 0)]
    [TestCase(MelPreset.Torchaudio, 128, 4)]
    [TestCase(MelPreset.Avedis, 128, 1)]
    [TestCase(MelPreset.Avedis, 80, 0)]
    public void Empty_filters_are_counted(MelPreset preset, int mels, int expected)
        => Assert.That(new LogMel(Options(preset) with { MelBins = mels }).EmptyFilters, Is.EqualTo(expected));

    [TestCase(7)]
    [TestCase(60)]
    [TestCase(400)]
    [TestCase(512)]
    public void Power_spectrum_is_that_of_the_defining_sum(int length)
    {
        var signal = LogMelGolden.Signal("speech").Take(length).Select(x => (double)x).ToArray();
        var power = new double[(length / 2) + 1];
        new Fft(length).PowerSpectrum(signal, power);
        for (int k = 0; k < power.Length; k++)
        {
            double re = signal.Select((x, i) => x * Math.Cos(2 * Math.PI * k * i / length)).Sum();
            double im = signal.Select((x, i) => x * Math.Sin(2 * Math.PI * k * i / length)).Sum();
            Assert.That(power[k], Is.EqualTo((re * re) + (im * im)).Within(1e-9 * (1 + power[k])));
        }
    }

    private static FeatureOptions Options(MelPreset preset) => new() { MelPreset = preset, Normalisation = MelNormalisation.None };
}
