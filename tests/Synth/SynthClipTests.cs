using Avedis.Engine;
using Avedis.Trainer.Synth;
using NUnit.Framework;

namespace Avedis.Tests;

public class SynthClipTests
{
    private const double Seconds = 2;

    private static Scene Scene(Emotion emotion, int clip, int speaker = 0, double noise = 1) =>
        Avedis.Trainer.Synth.Scene.Draw(Speaker.Cast(4, 1)[speaker], emotion, clip, noise, seed: 1);

    private static byte[] Frames(Scene scene, int clip, int count, ulong seed = 1)
    {
        var (rendered, frame) = (new Clip(scene, Seconds, seed, clip), new byte[Clip.Size * Clip.Size * 3]);
        var all = new List<byte>();
        for (int i = 0; i < count; i++)
        {
            rendered.Render(i, frame);
            all.AddRange(frame);
        }
        return [.. all];
    }

    [Test]
    public void Same_seed_and_number_give_the_same_pixels_and_samples([Values] Emotion emotion)
    {
        var scene = Scene(emotion, 5);
        Assert.That(Frames(scene, 5, 3), Is.EqualTo(Frames(Scene(emotion, 5), 5, 3)));
        Assert.That(new Clip(scene, Seconds, 1, 5).Speak(), Is.EqualTo(new Clip(Scene(emotion, 5), Seconds, 1, 5).Speak()));
    }

    [Test]
    public void Another_seed_number_or_emotion_gives_other_pixels_and_samples()
    {
        var scene = Scene(Emotion.Neutral, 5);
        var (pixels, samples) = (Frames(scene, 5, 1), new Clip(scene, Seconds, 1, 5).Speak());
        foreach (var (other, seed, number) in new[] { (scene, 2UL, 5), (scene, 1UL, 6), (Scene(Emotion.Anger, 5), 1UL, 5) })
        {
            Assert.That(Frames(other, number, 1, seed), Is.Not.EqualTo(pixels));
            Assert.That(new Clip(other, Seconds, seed, number).Speak(), Is.Not.EqualTo(samples));
        }
    }

    [Test]
    public void Every_emotion_changes_the_face_visibly()
    {
        var faces = Enum.GetValues<Emotion>().Select(emotion =>
        {
            var face = new byte[96 * 96 * 3];
            new Clip(Scene(Emotion.Neutral, 3, noise: 0) with { Emotion = emotion }, Seconds, 1, 3).Portrait(96, face);
            return face;
        }).ToArray();
        for (int a = 0; a < faces.Length; a++)
            for (int b = 0; b < a; b++)
                Assert.That(faces[a].Zip(faces[b], (x, y) => Math.Abs(x - y)).Count(change => change > 40), Is.GreaterThan(300),
                    $"{(Emotion)a} and {(Emotion)b}");
    }

    [Test]
    public void The_sound_is_as_long_as_asked_and_never_clips([Values] Emotion emotion)
    {
        for (int clip = 0; clip < 3; clip++)
        {
            var samples = new Clip(Scene(emotion, clip, clip), Seconds, 1, clip).Speak();
            Assert.That(samples, Has.Length.EqualTo(32000));
            Assert.That(samples.Max(Math.Abs), Is.InRange(32767 / 40, (int)Math.Ceiling(32767 * 0.708)), "a level between -32 and -3 dBFS");
        }
    }

    [Test]
    public void Lips_move_with_the_voice()
    {
        var scene = Scene(Emotion.Neutral, 8, noise: 0);
        var utterance = new Utterance(scene, Seconds, new Philox(1, Streams.Speech(8)));
        var samples = Voice.Speak(scene, utterance, Seconds, new Philox(1, Streams.Voice(8)));
        double[] level = new double[50], lips = new double[50];
        for (int frame = 0; frame < 50; frame++)
        {
            level[frame] = Math.Sqrt(samples.Skip(frame * 640).Take(640).Average(sample => (double)sample * sample));
            lips[frame] = utterance.Lips((frame + 0.5) / 25).Open;
        }
        Assert.That(MathNet.Numerics.Statistics.Correlation.Pearson(level, lips), Is.GreaterThan(0.5));
    }

    [Test]
    public void Pitch_of_the_sound_is_the_pitch_of_the_manifest()
    {
        var scene = Scene(Emotion.Neutral, 2, speaker: 1, noise: 0);
        double[] sound = [.. new Clip(scene, Seconds, 1, 2).Speak().Select(sample => (double)sample)];
        double Likeness(int lag) => Enumerable.Range(0, sound.Length - lag).Sum(n => sound[n] * sound[n + lag]);
        int best = Enumerable.Range(16000 / 250, (16000 / 60) - (16000 / 250)).MaxBy(Likeness);
        Assert.That(16000.0 / best, Is.EqualTo(scene.Pitch).Within(15).Percent, "autocorrelation against the mean pitch");
    }

    [Test]
    public void No_two_speakers_share_a_face_or_a_voice()
    {
        var cast = Speaker.Cast(24, 1);
        Assert.That(cast.Count(speaker => speaker.Female), Is.EqualTo(12));
        Assert.That(cast.Select(speaker => Math.Round(speaker.Formants, 3)).Distinct().Count(), Is.GreaterThan(20));
        Assert.That(cast.Select(speaker => speaker.Skin).Distinct().Count(), Is.EqualTo(24));
        Assert.That(cast.Select(speaker => speaker.Pitch), Is.All.InRange(85, 255));
    }
}
