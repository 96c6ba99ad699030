using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What the effects do to signals whose pitch, length, level and decay can be measured.</summary>
public sealed class SoundVariantTests
{
    private const int Rate = 16_000;

    [TestCase(1.0, 1.0)]
    [TestCase(1.05, 1.0)]
    [TestCase(0.95, 1.0)]
    [TestCase(0.8, 1.0)]
    [TestCase(1.0, 1.0293)]
    [TestCase(1.0, 0.9715)]
    [TestCase(1.0, 1.26)]
    [TestCase(1.2, 0.794)]
    public void Speed_and_pitch_are_those_asked_for(double speed, double pitch)
    {
        float[] voice = Voice(130, 2 * Rate), shifted = SoundVariant.Shift(voice, Rate, speed, pitch);
        Assert.That(shifted, Has.Length.EqualTo((int)Math.Round(voice.Length / speed)));
        foreach (int place in (int[])[2000, 10_000, shifted.Length - 6000])
        {
            Assert.That(PitchAt(shifted, place), Is.EqualTo(130 * speed * pitch).Within(0.5).Percent, $"pitch at {place}");
            Assert.That(Level(shifted.AsSpan(place, 4000)), Is.EqualTo(Level(voice)).Within(1.0), $"level at {place}");
        }
        // the first and the last tenth of a second are there too
        Assert.That(Level(shifted.AsSpan(0, 1600)), Is.EqualTo(Level(voice)).Within(3.0));
        Assert.That(Level(shifted.AsSpan(shifted.Length - 1600)), Is.EqualTo(Level(voice)).Within(3.0));
    }

    [Test]
    public void Words_stay_where_they_were_but_for_the_speed([Values(0.9, 1.0, 1.1)] double speed, [Values(0.97, 1.0, 1.03)] double pitch)
    {
        float[] voice = Voice(130, 2 * Rate);
        voice.AsSpan(0, 12_000).Clear();
        voice.AsSpan(20_000).Clear();
        float[] shifted = SoundVariant.Shift(voice, Rate, speed, pitch);
        double Middle(float[] sound) =>
            Enumerable.Range(0, sound.Length).Sum(i => i * (double)sound[i] * sound[i]) / sound.Sum(x => (double)x * x);
        Assert.That(Middle(shifted) / Rate, Is.EqualTo(Middle(voice) / speed / Rate).Within(0.015), "seconds");
    }

    [TestCase(NoiseColour.White, 0)]
    [TestCase(NoiseColour.White, 20)]
    [TestCase(NoiseColour.Pink, -10)]
    [TestCase(NoiseColour.Pink, 35)]
    public void Noise_has_the_ratio_asked_for(NoiseColour colour, double snr)
    {
        float[] clean = Voice(200, Rate), noisy = [.. clean];
        SoundVariant.AddNoise(noisy, colour, snr, new Philox(1, 2));
        float[] noise = [.. noisy.Zip(clean, (a, b) => a - b)];
        Assert.That(Level(clean) - Level(noise), Is.EqualTo(snr).Within(0.01));
    }

    /// <summary>White noise gains 3 dB with every octave, pink none.</summary>
    [TestCase(NoiseColour.White, 3.01)]
    [TestCase(NoiseColour.Pink, 0)]
    public void Noise_has_its_colour(NoiseColour colour, double perOctave)
    {
        var noise = new float[1 << 15];
        noise[0] = 1e-3f; // for a level
        SoundVariant.AddNoise(noise, colour, -60, new Philox(3, 4));
        double Band(double low)
        {
            double sum = 0;
            int first = (int)(low * noise.Length / Rate);
            for (int k = first; k < 2 * first; k += Math.Max(1, first / 60))
            {
                double re = 0, im = 0;
                for (int i = 0; i < noise.Length; i++)
                {
                    var (sine, cosine) = Math.SinCos(2 * Math.PI * ((long)k * i % noise.Length) / noise.Length);
                    (re, im) = (re + (noise[i] * cosine), im + (noise[i] * sine));
                }
                sum += ((re * re) + (im * im)) * Math.Max(1, first / 60);
            }
            return 10 * Math.Log10(sum);
        }
        Assert.That((Band(3000) - Band(187.5)) / 4, Is.EqualTo(perOctave).Within(0.8), "dB an octave");
    }

    [TestCase(0.2)]
    [TestCase(0.5)]
    [TestCase(1.5)]
    public void The_echo_decays_in_the_time_asked_for(double seconds)
    {
        var impulse = new float[2 * Rate];
        impulse[0] = 1;
        SoundVariant.Reverberate(impulse, Rate, seconds, new Philox(1, 2));
        Assert.That(Level(impulse), Is.EqualTo(-10 * Math.Log10(2 * Rate)).Within(0.01), "the level stays");
        // Schroeder's integral from the end of the echo
        var left = new double[impulse.Length + 1];
        for (int i = impulse.Length; i-- > 80;)
            left[i] = left[i + 1] + ((double)impulse[i] * impulse[i]);
        double Falls(double db) =>
            Enumerable.Range(80, impulse.Length).First(i => left[i] < left[80] * Math.Pow(10, -db / 10)) / (double)Rate;
        Assert.That(2 * (Falls(35) - Falls(5)), Is.EqualTo(seconds).Within(10).Percent);
        Assert.That(10 * Math.Log10((double)impulse[0] * impulse[0] / left[80]), Is.EqualTo(6).Within(0.1), "voice over echo, dB");
    }

    [Test]
    public void A_copy_follows_from_seed_name_and_number_alone()
    {
        var options = new VariantOptions();
        float[] voice = Voice(150, Rate);
        float[] Copy(VariantOptions o, string name, int copy) => SoundVariant.Make(voice, Rate, o, name, copy);
        float[] first = Copy(options, "a.mp4", 1), again = Copy(options, "a.mp4", 1);
        Assert.That(again, Is.EqualTo(first));
        foreach (float[] other in (float[][])[Copy(options, "a.mp4", 2),
            Copy(options, "b.mp4", 1), Copy(options with { Seed = 2 }, "a.mp4", 1)])
            Assert.That(other, Is.Not.EqualTo(first));
        Assert.That(Copy(options with { Copies = 3 }, "a.mp4", 1), Is.EqualTo(first), "more copies leave the first");
    }

    [Test]
    public void Each_effect_draws_for_itself()
    {
        var speedAlone = new VariantOptions { Pitch = 0, Reverberation = 0, Noise = NoiseColour.None };
        float[] voice = Voice(150, Rate);
        int Length(VariantOptions o) => SoundVariant.Make(voice, Rate, o, "a", 1).Length;
        Assert.That(Length(new VariantOptions()), Is.EqualTo(Length(speedAlone)).And.Not.EqualTo(Rate));
        Assert.That(SoundVariant.Make(voice, Rate, speedAlone with { Speed = 0 }, "a", 1), Is.EqualTo(voice),
            "nothing on, nothing changed");
    }

    [Test]
    public void Odd_clips_stay_finite([Values(1, 100, 5000)] int length, [Values(4000, 16_000, 48_000)] int rate)
    {
        float[] silence = new float[length], clipping = [.. Enumerable.Range(0, length).Select(i => i % 50 < 25 ? 1f : -1f)];
        var options = new VariantOptions { Speed = 0.2, Pitch = 4, Reverberation = 2 };
        for (int copy = 1; copy < 4; copy++)
        {
            Assert.That(SoundVariant.Make(silence, rate, options, "a", copy), Is.All.Zero, "silence stays silent");
            Assert.That(SoundVariant.Make(clipping, rate, options, "a", copy).All(float.IsFinite));
        }
    }

    [TestCase("data.variants.copies=17", "data.variants.copies")]
    [TestCase("data.variants.speed=0.3", "data.variants.speed")]
    [TestCase("data.variants.pitch=-1", "data.variants.pitch")]
    [TestCase("data.variants.reverberation=0.01", "data.variants.reverberation")]
    [TestCase("data.variants.snrLow=40", "data.variants.snrHigh")]
    [TestCase("data.variants.snrHigh=10", "data.variants.snrHigh")]
    public void Settings_out_of_range_are_refused_by_name(string setting, string named)
    {
        var failure = Assert.Throws<UserException>(() => Config.Load(null, null, [setting]).Data.Validate())!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(failure.Message, Does.Contain(named));
    }

    [Test]
    public void Copies_of_nothing_are_refused() => Assert.That(
        Assert.Throws<UserException>(new VariantOptions { Copies = 1, Speed = 0, Pitch = 0,
            Reverberation = 0, Noise = NoiseColour.None }.Validate)!.Message,
        Does.Contain("nothing is varied"));

    [Test]
    public void The_page_lists_every_setting_with_its_default_and_every_preset()
    {
        string[] rows = [.. File.ReadLines(Path.Combine(Repository.Root, "docs", "sound.md")).Where(line => line.StartsWith('|'))];
        foreach (var (name, value) in JsonSerializer.SerializeToNode(new VariantOptions(), Json.Line)!.AsObject())
            Assert.That(rows.Where(row => row.Contains($"`{name}`", StringComparison.Ordinal)), Has.Some.Contains(value!.ToString()), name);
        foreach (MelPreset preset in Enum.GetValues<MelPreset>())
            Assert.That(rows, Has.Some.Contains($"| `{preset.ToString().ToLowerInvariant()}`"));
    }

    /// <summary>A buzz of harmonics up to 4 kHz.</summary>
    private static float[] Voice(double pitch, int length) => [.. Enumerable.Range(0, length).Select(i =>
        (float)Enumerable.Range(1, (int)(4000 / pitch)).Sum(h => 0.2 * Math.Sin(2 * Math.PI * h * pitch * i / Rate) / h))];

    private static double Level(ReadOnlySpan<float> samples)
    {
        double sum = 0;
        foreach (float sample in samples)
            sum += (double)sample * sample;
        return 10 * Math.Log10(sum / samples.Length);
    }

    /// <summary>From the first large peak of the autocorrelation, placed by a parabola.</summary>
    private static double PitchAt(float[] sound, int place)
    {
        double Alike(int lag)
        {
            double product = 0, here = 0, there = 0;
            for (int i = place; i < place + 3000; i++)
                (product, here, there) = (product + (sound[i] * sound[i + lag]),
                    here + (sound[i] * sound[i]), there + (sound[i + lag] * sound[i + lag]));
            return product / Math.Sqrt(here * there);
        }
        double[] alike = [.. Enumerable.Range(0, 400).Select(Alike)];
        double most = alike[40..].Max();
        int peak = Enumerable.Range(40, 359).First(lag =>
            alike[lag] > 0.95 * most && alike[lag] >= alike[lag - 1] && alike[lag] >= alike[lag + 1]);
        double shift = 0.5 * (alike[peak - 1] - alike[peak + 1]) / (alike[peak - 1] - (2 * alike[peak]) + alike[peak + 1]);
        return Rate / (peak + shift);
    }
}
