using Avedis.Trainer.Corpora;
using NUnit.Framework;
using NWaves.Audio;
using NWaves.Signals;

namespace Avedis.Tests;

/// <summary>Lengths of wav files that others wrote: NWaves and ffmpeg.</summary>
public sealed class WavHeaderTests
{
    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = TestFolders.New();

    [Test]
    public void Files_of_NWaves([Values(8, 16, 24, 32)] int bits, [Values(1, 2, 6)] int channels, [Values(8000, 44_100)] int rate)
    {
        string path = Path.Combine(folder, "a.wav");
        using (var file = File.Create(path))
            new WaveFile([.. Enumerable.Range(0, channels).Select(_ => new DiscreteSignal(rate, 12_345))], (short)bits).SaveTo(file);
        Assert.That(WavHeader.Seconds(path), Is.EqualTo(12_345.0 / rate).Within(1e-9));
    }

    [TestCase("pcm_u8")]
    [TestCase("pcm_s24le")]
    [TestCase("pcm_f32le")]
    [TestCase("pcm_f64le")]
    [TestCase("pcm_mulaw")]
    [TestCase("pcm_s16le", "-ac", "6")]
    public void Files_of_ffmpeg(string codec, params string[] more)
    {
        string path = Path.Combine(folder, "a.wav");
        TestMedia.Run(["-f", "lavfi", "-i", "sine=440:r=16000:d=1.25", "-c:a", codec, .. more, path]);
        Assert.That(WavHeader.Seconds(path), Is.EqualTo(1.25).Within(1e-9));
    }

    /// <summary>What is written into a pipe cannot say its length, and has the largest number there.</summary>
    [Test]
    public void Of_a_length_that_is_not_filled_in_or_too_long_counts_what_is_there()
    {
        string whole = Path.Combine(folder, "a.wav"), cut = Path.Combine(folder, "b.wav"), piped = Path.Combine(folder, "c.wav");
        TestMedia.Run(["-f", "lavfi", "-i", "sine=440:r=16000:d=1", "-bitexact", whole]);
        byte[] bytes = File.ReadAllBytes(whole);
        File.WriteAllBytes(cut, bytes[..(44 + 8000)]);
        Assert.That(WavHeader.Seconds(cut), Is.EqualTo(0.25).Within(1e-9));
        bytes.AsSpan(40, 4).Fill(255);
        File.WriteAllBytes(piped, bytes);
        Assert.That(WavHeader.Seconds(piped), Is.EqualTo(1).Within(1e-9));
    }
}
