using System.Numerics;
using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>One frame's worth of movement.</summary>
/// <param name="Yaw">Turn of the head, radians; the scene's mean included.</param>
/// <param name="Nod">Positive looks down.</param>
/// <param name="Roll">Tilt of the head.</param>
/// <param name="Shift">Movement of the head, in half head heights.</param>
/// <param name="Voice">Opening of the mouth by speech, 0..1.</param>
/// <param name="Wide">Spread lips (i, e) at 1, rounded ones (o, u) at -1.</param>
/// <param name="Blink">0 open, 1 closed.</param>
/// <param name="Gaze">Direction of the eyes, -1..1 each way.</param>
public readonly record struct Gesture(float Yaw, float Nod, float Roll, Vector2 Shift, float Voice, float Wide, float Blink, Vector2 Gaze);

/// <summary>Draws the speaker of one scene, frame by frame. Not safe for use by several threads at once.</summary>
public sealed partial class FaceRenderer
{
    private static readonly Vector4 Ink = Speaker.Rgb(0x2B1D1A), White = Speaker.Rgb(0xFAF7F2);

    private readonly Scene scene;
    private readonly Speaker speaker;
    private readonly Expression feeling;
    private readonly int size;
    private readonly Canvas canvas;
    private readonly Sketch sketch;
    private readonly Mask face, opening;
    private readonly Vector4[] backdrop;
    private readonly sbyte[] grain;    // a tile of camera noise, GrainSize a side
    private readonly Philox random;
    private readonly Vector4 skin, shade, lips, hair;
    private const int GrainSize = 256;

    /// <param name="size">Width and height of the picture in pixels.</param>
    public FaceRenderer(Scene scene, int size, ulong seed, int clip)
    {
        (this.scene, this.size, speaker) = (scene, size, scene.Speaker);
        feeling = Expression.All[(int)scene.Emotion].At(scene.Intensity);
        canvas = new Canvas(size, size);
        sketch = new Sketch(canvas) { Light = new Vector2(MathF.Cos(scene.LightAngle), MathF.Sin(scene.LightAngle)) * scene.LightStrength };
        (face, opening) = (new Mask(size, size), new Mask(size, size));
        random = new Philox(seed, Streams.Camera(clip));
        skin = Vector4.Lerp(speaker.Skin, Speaker.Rgb(0xD8402F), 0.27f * MathF.Max(0, feeling.Flush));
        skin = Vector4.Lerp(skin, Speaker.Rgb(0xE6ECF2), 0.4f * MathF.Max(0, -feeling.Flush));
        skin = Vector4.Lerp(skin, Speaker.Rgb(0x93B65A), 0.24f * feeling.Sick);
        shade = Vector4.Lerp(skin * 0.62f, Speaker.Rgb(0x5A2A2A), 0.15f);
        lips = Vector4.Lerp(skin, speaker.Female ? Speaker.Rgb(0xC2334D) : Speaker.Rgb(0xA8544C), speaker.Female ? 0.7f : 0.5f);
        hair = speaker.HairColor;
        grain = new sbyte[GrainSize * GrainSize];
        for (int i = 0; i < grain.Length; i++)
            grain[i] = (sbyte)Math.Clamp(Math.Round(scene.CameraNoise * random.NextGaussian()), -60, 60);
        DrawBackdrop();
        backdrop = [.. canvas.Pixels];
    }

    /// <summary>Draws one frame into <paramref name="rgb"/>, size x size x 3 bytes. Frames come out the same only in the same
    /// order.</summary>
    public void Render(in Gesture gesture, Span<byte> rgb)
    {
        backdrop.CopyTo(canvas.Pixels, 0);
        float unit = scene.Scale * size;
        var middle = new Vector2(scene.X, scene.Y) * size;
        DrawBody(middle + (gesture.Shift * unit * 0.4f), unit);
        sketch.Pose(middle + (gesture.Shift * unit), unit, gesture.Yaw, gesture.Nod, gesture.Roll);
        float jaw = JawDrop(gesture);
        Hair.DrawBack(sketch, speaker, hair * 0.8f);
        DrawNeck(middle + (gesture.Shift * unit * 0.4f), unit);
        DrawHead(gesture, jaw);
        DrawBeard(jaw);
        DrawNose();
        DrawMouth(gesture);
        DrawEye(-1, gesture);
        DrawEye(1, gesture);
        Hair.DrawFront(sketch, speaker, hair);
        DrawBrow(-1);
        DrawBrow(1);
        if (speaker.Glasses != 0)
            DrawGlasses();
        DrawDrops();
        Develop(rgb);
    }

    private float JawDrop(in Gesture gesture) => feeling.MouthOpen + (0.17f * gesture.Voice);

    /// <summary>Canvas to bytes: exposure, tint, camera noise.</summary>
    private void Develop(Span<byte> rgb)
    {
        var gain = new Vector4(1 + scene.Warmth, 1, 1 - scene.Warmth, 0) * (255 * scene.Exposure);
        int shiftX = random.Next(GrainSize), shiftY = random.Next(GrainSize), at = 0;
        for (int y = 0; y < size; y++)
        {
            int row = ((y + shiftY) % GrainSize) * GrainSize;
            foreach (var pixel in canvas.Pixels.AsSpan(y * size, size))
            {
                var value = (pixel * gain) + new Vector4(grain[row + (shiftX++ % GrainSize)] + 0.5f);
                value = Vector4.Clamp(value, Vector4.Zero, new Vector4(255));
                rgb[at] = (byte)value.X;
                rgb[at + 1] = (byte)value.Y;
                rgb[at + 2] = (byte)value.Z;
                at += 3;
            }
        }
    }

    private void DrawBackdrop()
    {
        var (top, bottom) = (Tint(scene.BackdropHue, 0.32f, 0.72f), Tint(scene.BackdropHue + 0.08f, 0.4f, 0.5f));
        for (int y = 0; y < size; y++)
            canvas.Pixels.AsSpan(y * size, size).Fill(Vector4.Lerp(top, bottom, (float)y / size));
        var contour = new Contour();
        float s = size;
        for (int i = 0; i < 7; i++)
        {
            var (x, y) = (random.NextFloat() * s, random.NextFloat() * s);
            var color = Vector4.Lerp(top, i % 2 == 0 ? Vector4.One : bottom * 0.7f, 0.25f + (0.2f * random.NextFloat()));
            float extent = s * (0.05f + (0.1f * random.NextFloat()));
            switch (scene.Backdrop)
            {
                case 0: // lights out of focus
                    canvas.Fill(contour.Ellipse(new(x, y), new(extent, 0), 1), new Paint(color, 0.45f));
                    break;
                case 1: // wallpaper
                    canvas.Fill(contour.Polygon([new(i * s / 7, 0), new((i + 0.5f) * s / 7, 0), new((i + 0.5f) * s / 7, s),
                        new(i * s / 7, s)]), new Paint(color, 0.5f));
                    break;
                case 2: // shelf of books
                    canvas.Fill(contour.Polygon([new(i * s / 7, s * 0.12f), new(((i + 0.8f) * s / 7), s * 0.12f),
                        new((i + 0.8f) * s / 7, s * 0.42f), new(i * s / 7, s * 0.42f)]),
                        new Paint(Tint(scene.BackdropHue + (0.13f * i), 0.45f, 0.55f), 0.7f));
                    break;
                default: // a plain wall, unevenly lit
                    canvas.Glow(new(x, y), new(extent * 5, 0), 1, color, 0.5f);
                    break;
            }
        }
    }

    /// <summary>Shoulders in a shirt, below the picture's lower edge.</summary>
    private void DrawBody(Vector2 middle, float unit)
    {
        sketch.Pose(middle, unit, 0, 0, 0);
        var shirt = Tint(scene.ShirtHue, 0.55f, 0.6f);
        float wide = speaker.Female ? 1.35f : 1.6f;
        sketch.Smooth(
            [
                sketch.Flat(-0.35f, 1.12f), sketch.Flat(0.35f, 1.12f), sketch.Flat(wide * 0.75f, 1.32f), sketch.Flat(wide, 1.8f),
                sketch.Flat(wide, 2.5f),
                sketch.Flat(-wide, 2.5f), sketch.Flat(-wide, 1.8f), sketch.Flat(-wide * 0.75f, 1.32f),
            ],
            shirt);
    }

    private void DrawNeck(Vector2 shoulders, float unit)
    {
        float wide = speaker.Female ? 0.3f : 0.4f;
        var below = shoulders + new Vector2(0, 1.3f * unit);
        sketch.Smooth(
            [
                sketch.Flat(-wide, 0.6f), sketch.Flat(wide, 0.6f), below + new Vector2(wide * unit, -0.12f * unit),
                below + new Vector2(0, 0.14f * unit),
                below - new Vector2(wide * unit, 0.12f * unit),
            ],
            skin * 0.8f);
    }

    private void DrawHead(in Gesture gesture, float jaw)
    {
        float far = -0.35f * MathF.Sin(gesture.Yaw), chin = 1 + (0.45f * jaw);
        foreach (int side in (ReadOnlySpan<int>)[-1, 1])
        {
            float x = (side * speaker.CheekWidth) + far;
            sketch.Ellipse(sketch.Flat(x, 0.02f), speaker.EarSize * 0.7f, speaker.EarSize * 1.1f, skin * 0.93f);
            sketch.Ellipse(sketch.Flat(x + (side * 0.01f), 0.03f), speaker.EarSize * 0.35f, speaker.EarSize * 0.65f, shade, 0.5f);
            if (speaker.Earrings)
                sketch.Ellipse(sketch.Flat(x, 0.02f + (speaker.EarSize * 1.25f)), 0.045f, 0.06f, Speaker.Rgb(0xF2C94C));
        }
        float cheek = speaker.CheekWidth, lower = speaker.JawWidth;
        sketch.Cover(
            [
                sketch.Flat(0, -1.02f), sketch.Flat(cheek * 0.62f, -0.9f), sketch.Flat(cheek * 0.95f, -0.5f), sketch.Flat(cheek, -0.05f),
                sketch.Flat(float.Lerp(cheek, lower, 0.35f), 0.36f), sketch.Flat(lower, 0.7f * chin),
                sketch.Flat(lower * 0.55f, 0.95f * chin),
                sketch.Flat(0, chin), sketch.Flat(-lower * 0.55f, 0.95f * chin), sketch.Flat(-lower, 0.7f * chin),
                sketch.Flat(-float.Lerp(cheek, lower, 0.35f), 0.36f), sketch.Flat(-cheek, -0.05f), sketch.Flat(-cheek * 0.95f, -0.5f),
                sketch.Flat(-cheek * 0.62f, -0.9f),
            ],
            face);
        sketch.Polygon([sketch.Flat(-1.4f, -1.4f), sketch.Flat(1.4f, -1.4f), sketch.Flat(1.4f, 1.6f), sketch.Flat(-1.4f, 1.6f)], skin, 1,
            face);
        var away = -sketch.Light / scene.LightStrength;
        sketch.Glow(sketch.Flat(away.X * 1.05f, 0.1f + (away.Y * 0.9f)), 0.95f, 1.1f, shade, 0.25f + (1.1f * scene.LightStrength), face);
        sketch.Glow(sketch.Front(-away.X * 0.35f, -0.62f), 0.5f, 0.3f, White, 0.22f, face);
        foreach (int side in (ReadOnlySpan<int>)[-1, 1])
        {
            var apple = sketch.Front(side * 0.5f, 0.3f - (0.06f * feeling.Cheek));
            sketch.Glow(apple, 0.3f, 0.24f, Speaker.Rgb(0xE0554D), 0.2f + (0.35f * MathF.Max(0, feeling.Flush)), face);
            if (feeling.Cheek > 0)
            {
                sketch.Glow(sketch.Front(side * 0.5f, 0.2f), 0.2f, 0.12f, White, 0.3f * feeling.Cheek, face);
                sketch.Stroke(
                    [sketch.Front(side * 0.2f, 0.3f), sketch.Front(side * 0.36f, 0.4f), sketch.Front(side * 0.44f, 0.58f)], 0.006f, 0.016f,
                        0.004f, shade, 0.6f * feeling.Cheek);
            }
            if (speaker.Freckles)
                for (int i = 0; i < 5; i++)
                    sketch.Ellipse(sketch.Front(side * (0.3f + (0.075f * i)), 0.24f + (0.07f * ((i * 3) % 4 / 2f))), 0.016f, 0.016f, shade,
                        0.6f);
        }
        for (int line = 0; line < 2 && feeling.ForeheadLines > 0; line++)
        {
            float up = -0.64f - (0.08f * line);
            sketch.Stroke(
                [sketch.Front(-0.36f, up + 0.02f), sketch.Front(-0.18f, up - 0.02f), sketch.Front(0, up + 0.01f),
                    sketch.Front(0.18f, up - 0.02f), sketch.Front(0.36f, up + 0.02f)],
                0.003f, 0.011f, 0.003f, shade, 0.8f * feeling.ForeheadLines, face);
        }
        if (feeling.Sick > 0 || feeling.Flush < 0) // dark rings under the eyes
            foreach (int side in (ReadOnlySpan<int>)[-1, 1])
                sketch.Glow(sketch.Front(side * speaker.EyeDistance, 0.1f), 0.26f, 0.15f, shade,
                    0.5f * MathF.Max(feeling.Sick, -feeling.Flush), face);
    }

    private static Vector4 Tint(float hue, float saturation, float value)
    {
        float Channel(float offset) => value * (1 - (saturation * Math.Clamp(1.5f - MathF.Abs((((hue + offset) % 1) * 6) - 3), 0, 1)));
        return new Vector4(Channel(0), Channel(1 / 3f), Channel(2 / 3f), 0);
    }
}
