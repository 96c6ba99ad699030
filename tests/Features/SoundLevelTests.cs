using System.Globalization;
using System.Text.RegularExpressions;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed partial class SoundLevelTests
{
    private const int Rate = 16_000;

    /// <summary>Against ffmpeg's own measurement, which it rounds to 0.1 dB.</summary>
    [TestCase("speech")]
    [TestCase("sweep")]
    [TestCase("dc")]
    [TestCase("clipping")]
    [TestCase("impulse")]
    public void Level_is_what_ffmpeg_measures(string name)
    {
        float[] signal = LogMelGolden.Signal(name);
        byte[] bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(signal.AsSpan()).ToArray();
        var result = TestMedia.Tool.RunFfmpeg(
            ["-v", "info", "-f", "f32le", "-ar", "16000", "-ac", "1", "-i", "pipe:0",
                "-af", "astats=measure_perchannel=none", "-f", "null", "-"],
            TimeSpan.FromMinutes(1), writeInput: pipe => pipe.Write(bytes));
        string measured = RmsLevel().Match(result.Errors).Groups[1].Value;
        Assert.That(measured, Is.Not.Empty, result.Errors);
        Assert.That(SoundLevel.Of(signal, Rate).Dbfs, Is.EqualTo(double.Parse(measured, CultureInfo.InvariantCulture)).Within(0.01));
    }

    [GeneratedRegex(@"RMS level dB: (\S+)")]
    private static partial Regex RmsLevel();

    /// <summary>Seconds of a tone at an amplitude in dB among seconds of noise at another.</summary>
    [TestCase(-20, 1.0, -90, 0.5)]
    [TestCase(-20, 1.0, -58, 0.5)] // a room above the fixed threshold is silence beside loud speech
    [TestCase(-40, 1.0, -58, 1.0)] // and is heard beside quiet speech
    [TestCase(-20, 0.2, -90, 0.1)]
    [TestCase(-70, 1.0, -90, 0.0)] // too quiet as a whole
    [TestCase(-3, 2.0, -90, 1.0)]
    public void Share_is_that_of_the_loud_part(double toneDb, double toneSeconds, double roomDb, double expected)
    {
        uint state = 1;
        float[] signal = [.. Enumerable.Range(0, 2 * Rate).Select(i =>
        {
            state = (state * 1664525) + 1013904223;
            double room = Math.Pow(10, roomDb / 20) * Math.Sqrt(12) * ((state / 4294967296.0) - 0.5);
            return (float)(room + (i < toneSeconds * Rate ? Math.Pow(10, toneDb / 20) * Math.Sqrt(2) * Math.Sin(0.3 * i) : 0));
        })];
        Assert.That(SoundLevel.Of(signal, Rate).HeardShare, Is.EqualTo(expected).Within(0.015));
    }

    [Test]
    public void Digital_silence_and_nothing_have_no_level([Values(0, 1, 100, 16_000)] int length)
    {
        var level = SoundLevel.Of(new float[length], Rate);
        Assert.That((level.Dbfs, level.HeardShare), Is.EqualTo((double.NegativeInfinity, 0.0)));
    }

    [Test]
    public void A_clip_shorter_than_a_frame_is_one_frame() =>
        Assert.That(SoundLevel.Of([0.5f, -0.5f], Rate), Is.EqualTo(new SoundLevel(20 * Math.Log10(0.5), 1)));
}
