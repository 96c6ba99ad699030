using System.Numerics;
using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>One clip before encoding: its frames and its sound, both a pure function of (scene, seconds, seed, number).</summary>
public sealed class Clip
{
    public const int Size = 224, FramesPerSecond = 25;

    private readonly Scene scene;
    private readonly Expression feeling;
    private readonly FaceRenderer renderer;
    private readonly Utterance utterance;
    private readonly double seconds;
    private readonly ulong seed;
    private readonly int number;
    private readonly double[] blinks;           // times of the lids' lowest point, seconds
    private readonly (double Time, Vector2 Gaze)[] glances;
    private readonly double[] phases;           // of the slow sways of the head
    private readonly float tiltSide;

    public Clip(Scene scene, double seconds, ulong seed, int number)
    {
        (this.scene, this.seconds, this.seed, this.number) = (scene, seconds, seed, number);
        feeling = Expression.All[(int)scene.Emotion].At(scene.Intensity);
        renderer = new FaceRenderer(scene, Size, seed, number);
        utterance = new Utterance(scene, seconds, new Philox(seed, Streams.Speech(number)));
        var random = new Philox(seed, Streams.Motion(number));
        var times = new List<double>();
        for (double t = random.NextDouble(0.3, 2.5); t < seconds; t += random.NextDouble(1.5, 4))
            times.Add(t);
        blinks = [.. times];
        var looks = new List<(double, Vector2)>();
        for (double t = 0; t < seconds; t += random.NextDouble(0.6, 2))
            looks.Add((t, new Vector2((float)random.NextDouble(-0.25, 0.25), (float)random.NextDouble(-0.2, 0.2))));
        glances = [.. looks];
        phases = [.. Enumerable.Range(0, 6).Select(_ => random.NextDouble(0, 2 * Math.PI))];
        tiltSide = random.Next(2) == 0 ? -1 : 1;
    }

    public int FrameCount => (int)Math.Round(seconds * FramesPerSecond);

    public int SampleCount => Voice.SampleCount(seconds);

    /// <summary>Draws a frame, Size x Size x 3 bytes of RGB. Camera noise makes frames the same only when drawn in order from 0.</summary>
    public void Render(int frame, Span<byte> rgb) => renderer.Render(GestureAt((frame + 0.5) / FramesPerSecond), rgb);

    /// <summary>A still of the silent face with open eyes, size x size x 3 bytes of RGB.</summary>
    public void Portrait(int size, Span<byte> rgb)
    {
        var gesture = new Gesture(scene.Yaw, scene.Nod + feeling.Nod, feeling.Tilt * tiltSide, default, 0, 0, 0, default);
        new FaceRenderer(scene, size, seed, number).Render(gesture, rgb);
    }

    /// <summary>16 kHz mono; each call gives the same samples.</summary>
    public short[] Speak() => Voice.Speak(scene, utterance, seconds, new Philox(seed, Streams.Voice(number)));

    private Gesture GestureAt(double time)
    {
        float Sway(int i, double hertz) => (float)Math.Sin((2 * Math.PI * hertz * time) + phases[i]);
        var (open, wide) = utterance.Lips(time);
        float blink = 0;
        foreach (double at in blinks)
            blink = MathF.Max(blink, 1 - MathF.Min(1, MathF.Abs((float)(time - at)) / 0.1f));
        var gaze = glances.Last(glance => glance.Time <= time).Gaze;
        var tremble = new Vector2(Sway(4, 9.1), Sway(5, 7.7)) * (0.014f * feeling.Tremble);
        var bob = new Vector2(0, -0.035f * feeling.Bob * MathF.Abs(Sway(3, 1.1)));
        return new Gesture(
            scene.Yaw + (0.06f * Sway(0, 0.31)) + (0.02f * Sway(1, 0.83)),
            scene.Nod + feeling.Nod + (0.03f * Sway(2, 0.47)) + (0.04f * open),
            (feeling.Tilt * tiltSide) + (0.03f * Sway(3, 0.39)),
            new Vector2(0.03f * Sway(1, 0.23), 0.02f * Sway(2, 0.35)) + tremble + bob,
            open, wide, blink, gaze);
    }
}
