using System.Numerics;

namespace Avedis.Trainer.Synth;

/// <summary>Eyes, brows, nose, mouth, beard, glasses, tears: everything that the expression moves.</summary>
public sealed partial class FaceRenderer
{
    private const float EyeY = -0.06f, MouthY = 0.6f;

    private void DrawEye(int side, in Gesture gesture)
    {
        float x = speaker.EyeDistance, wide = 0.195f * speaker.EyeSize, high = 0.135f * speaker.EyeSize;
        float open = MathF.Max(0, 1 + feeling.LidOpen) * (1 - gesture.Blink);
        float upper = high * open, relaxed = high * (0.75f + (0.3f * MathF.Max(0, feeling.LidOpen)));
        float lower = relaxed * (1 - feeling.LowerLid) * (1 - gesture.Blink);
        float slant = 0.4f * feeling.LidSlant * upper;
        // a point of the eye: u runs from the nose (-1) to the temple (1)
        Vector2 At(float u, float y) => sketch.Front(side * (x + (wide * u)), EyeY + y);
        float top0 = -MathF.Max(upper * 0.78f - slant, -lower), top1 = -upper, top2 = -MathF.Max(upper * 0.78f + slant, -lower);
        float squeeze = feeling.LowerLid * 0.06f; // raised lower lids push the whole slit up
        ReadOnlySpan<Vector2> rim =
        [
            At(-1, 0.02f), At(-0.55f, top0 - squeeze), At(0, top1 - squeeze), At(0.55f, top2 - squeeze), At(1, -0.01f),
            At(0.55f, (lower * 0.8f) - squeeze), At(0, lower - squeeze), At(-0.55f, (lower * 0.8f) - squeeze),
        ];
        sketch.Glow(sketch.Front(side * x, EyeY - 0.03f), wide * 1.5f, high * 1.9f, shade, 0.35f, face);
        if (open > 0.12f)
        {
            sketch.Cover(rim, opening);
            sketch.Smooth(rim, White);
            var iris = At(0, 0) + sketch.Span((gesture.Gaze.X + feeling.GazeX) * wide * 0.5f,
                ((gesture.Gaze.Y + feeling.GazeY) * high * 0.4f) - (squeeze * 0.6f));
            float radius = 0.105f * speaker.EyeSize * (1 + (0.35f * feeling.Pupil));
            sketch.Ellipse(iris, radius, radius, speaker.EyeColor * 0.7f, 1, opening);
            sketch.Ellipse(iris, radius * 0.8f, radius * 0.8f, speaker.EyeColor * 1.15f, 1, opening);
            sketch.Ellipse(iris, radius * 0.48f * (1 + (0.4f * feeling.Pupil)), radius * 0.48f * (1 + (0.4f * feeling.Pupil)), Ink * 0.5f,
                1, opening);
            sketch.Ellipse(iris + sketch.Span(-0.03f, -0.04f), 0.027f, 0.027f, Vector4.One, 0.95f, opening);
            sketch.Glow(At(0, top1 - squeeze), wide * 1.1f, high * 0.7f, Ink, 0.35f, opening);
        }
        float lash = speaker.Female ? 0.026f : 0.018f;
        sketch.Stroke([rim[0], rim[1], rim[2], rim[3], rim[4]], 0.008f, lash, speaker.Female ? lash : 0.01f, Ink);
        if (speaker.Female)
            sketch.Stroke([rim[4], At(1.22f, -0.06f - (0.3f * upper))], lash, 0.015f, 0.006f, Ink);
        sketch.Stroke([rim[5], rim[6], rim[7]], 0.006f, 0.01f, 0.006f, shade, 0.8f);
        if (feeling.LidOpen < 0.3f) // the fold above the lid
            sketch.Stroke([At(-0.8f, -high * 0.85f), At(0, -high * 1.3f), At(0.9f, -high * 0.8f)], 0.004f, 0.009f, 0.004f, shade, 0.6f);
        if (feeling.LowerLid > 0.3f) // a pouch below it
            sketch.Stroke([At(-0.6f, lower + 0.05f - squeeze), At(0, lower + 0.085f - squeeze), At(0.7f, lower + 0.045f - squeeze)], 0.004f,
                0.011f, 0.004f, shade, feeling.LowerLid);
    }

    private void DrawBrow(int side)
    {
        float lift = side > 0 ? feeling.BrowLift : 0, y = speaker.BrowHeight + 0.03f, x = speaker.EyeDistance;
        float inner = y + 0.03f - feeling.BrowInner - (0.6f * lift), outer = y + 0.05f - feeling.BrowOuter - (0.7f * lift);
        float middle = ((inner + outer) * 0.5f) - 0.055f - feeling.BrowArch - (0.5f * lift), half = speaker.BrowThickness;
        var color = speaker.HairColor.X > 0.75f ? speaker.HairColor * 0.62f : speaker.HairColor * 0.75f;
        sketch.Stroke(
            [
                sketch.Front(side * (x - 0.2f - feeling.BrowSqueeze), inner),
                sketch.Front(side * (x - (0.5f * feeling.BrowSqueeze)), middle),
                sketch.Front(side * (x + 0.21f), outer),
            ],
            half * 0.85f, half, half * 0.35f, color);
        if (feeling.Furrow > 0)
            sketch.Stroke([sketch.Front(side * 0.055f, -0.36f), sketch.Front(side * 0.07f, -0.26f), sketch.Front(side * 0.045f, -0.17f)],
                0.006f, 0.016f, 0.005f, shade, feeling.Furrow);
    }

    private void DrawNose()
    {
        float tip = 0.02f + speaker.NoseLength, half = speaker.NoseWidth, crunch = 0.05f * feeling.NoseWrinkle;
        int dark = sketch.Light.X > 0 ? -1 : 1;
        sketch.Glow(sketch.Front(dark * half * 0.8f, tip - 0.06f, 0.06f), half * 1.2f, 0.2f, shade, 0.45f, face);
        sketch.Glow(sketch.Front(0, tip - 0.02f - crunch, 0.12f), half * 0.9f, 0.1f, White, 0.35f, face);
        sketch.Stroke([sketch.Front(dark * 0.07f, -0.1f), sketch.Front(dark * 0.075f, tip - 0.14f, 0.05f),
            sketch.Front(dark * half, tip - 0.02f - crunch, 0.05f)], 0.003f, 0.009f, 0.013f, shade, 0.7f);
        foreach (int side in (ReadOnlySpan<int>)[-1, 1])
        {
            sketch.Stroke(
                [sketch.Front(side * half, tip - 0.05f - crunch, 0.04f), sketch.Front(side * (half + 0.012f), tip + 0.005f - crunch, 0.04f),
                    sketch.Front(side * half * 0.55f, tip + 0.03f - crunch, 0.06f)],
                0.006f, 0.015f, 0.008f, shade, 0.9f);
            sketch.Ellipse(sketch.Front(side * half * 0.5f, tip + 0.015f - crunch, 0.06f),
                half * 0.28f * (1 + (0.4f * feeling.NoseWrinkle)), 0.018f, Ink, 0.65f);
            if (feeling.NoseWrinkle > 0)
                for (int line = 0; line < 3; line++)
                {
                    float y = -0.06f + (0.07f * line);
                    sketch.Stroke([sketch.Front(side * 0.02f, y + 0.03f, 0.05f), sketch.Front(side * 0.075f, y, 0.04f),
                        sketch.Front(side * 0.13f, y - 0.045f, 0.02f)], 0.004f, 0.014f, 0.004f, shade, feeling.NoseWrinkle);
                }
        }
    }

    private void DrawMouth(in Gesture gesture)
    {
        const int points = 13;
        float speech = 0.2f * gesture.Voice;
        float half = speaker.MouthWidth * (1 + feeling.MouthWidth + (0.13f * gesture.Wide * gesture.Voice));
        float open = feeling.MouthOpen + speech, corner = 0.17f * feeling.MouthCorner, lean = 0.04f * feeling.Smirk;
        float power = 2 + (4 * feeling.MouthSquare) + (1.5f * feeling.MouthRound);
        float gap = 0.3f * feeling.MouthSquare * open; // a square mouth is open at its corners too
        float bow = 0.3f * corner; // the middle of the mouth goes against the corners
        Span<Vector2> inner = stackalloc Vector2[2 * points], top = stackalloc Vector2[2 * points], bottom = stackalloc Vector2[2 * points];
        for (int i = 0; i < points; i++)
        {
            float u = (2f * i / (points - 1)) - 1, bend = MathF.Pow(MathF.Abs(u), power), x = (half * u) + lean;
            float smirk = -0.13f * feeling.Smirk * MathF.Max(0, u) * MathF.Max(0, u),
                sneer = -0.12f * feeling.Sneer * MathF.Exp(-8 * (u - 0.35f) * (u - 0.35f));
            float rest = MouthY + bow - ((corner + bow) * u * u) + smirk;
            float over = rest - (0.32f * open * (1 - bend)) - (0.4f * gap) + sneer,
                under = rest + (0.75f * open * (1 - bend)) + gap - (0.06f * feeling.Pout * (1 - (u * u)));
            float taper = MathF.Sqrt(MathF.Max(0, 1 - (u * u)));
            float notch = 0.25f * MathF.Exp(-30 * u * u);
            float thickTop = speaker.LipThickness * (0.25f + (0.75f * taper) - notch),
                thickBottom = speaker.LipThickness * (0.2f + (1.1f * taper)) * (1 + (0.5f * feeling.Pout));
            inner[i] = sketch.Front(x, over, 0.03f);
            inner[(2 * points) - 1 - i] = sketch.Front(x, MathF.Max(under, over), 0.03f);
            top[i] = sketch.Front(x, over - (thickTop * 0.9f), 0.03f);
            top[(2 * points) - 1 - i] = sketch.Front(x, over + 0.006f, 0.03f);
            bottom[i] = sketch.Front(x, MathF.Max(under, over) - 0.006f, 0.03f);
            bottom[(2 * points) - 1 - i] = sketch.Front(x, MathF.Max(under, over) + thickBottom, 0.03f);
        }
        sketch.Glow(sketch.Front(0, MouthY + (0.75f * open) + 0.17f), half * 0.9f, 0.1f, shade, 0.5f, face); // below the lip
        sketch.Polygon(top, lips * 0.88f);
        sketch.Polygon(bottom, lips);
        sketch.Glow(sketch.Front(0, MouthY + bow + (0.75f * open) + (speaker.LipThickness * 0.6f) - (0.06f * feeling.Pout), 0.04f),
            half * 0.5f, speaker.LipThickness * 0.5f, White, 0.3f);
        if (open > 0.015f)
        {
            sketch.Cover(inner, opening, smooth: false);
            sketch.Polygon(inner, Speaker.Rgb(0x4A1015));
            sketch.Ellipse(sketch.Front(lean, MouthY + (0.9f * open) + 0.02f), half * 0.62f, 0.5f * open, Speaker.Rgb(0xC9545C), 1,
                opening);
            DrawTeeth(half, open, lean, bow);
        }
        ReadOnlySpan<Vector2> line = [inner[0], inner[2], inner[4], inner[6], inner[8], inner[10], inner[12]];
        sketch.Stroke(line, 0.016f, 0.012f, 0.016f, Ink, 0.85f);
        foreach (int side in (ReadOnlySpan<int>)[-1, 1]) // dimples mark the corners
        {
            float depth = side > 0 ? MathF.Max(MathF.Abs(feeling.MouthCorner), feeling.Smirk) : MathF.Abs(feeling.MouthCorner);
            var end = inner[side < 0 ? 0 : points - 1];
            sketch.Stroke([end + sketch.Span(side * 0.03f, -0.045f), end + sketch.Span(side * 0.045f, 0),
                end + sketch.Span(side * 0.03f, 0.05f)], 0.003f, 0.012f, 0.003f, shade, 0.8f * depth);
        }
        if (feeling.Tongue > 0)
            DrawTongue(half, open);
    }

    private void DrawTeeth(float half, float open, float lean, float bow)
    {
        float line = MouthY + bow - (0.32f * open), high = 0.05f + (0.08f * feeling.Teeth) - (0.02f * feeling.MouthRound);
        // bared teeth stay clenched: both rows meet in the middle of the gap
        bool clenched = feeling.MouthSquare * feeling.Teeth > 0.3f;
        if (clenched)
        {
            float middle = MouthY + bow + (0.2f * open);
            sketch.Polygon([sketch.Front(-half, line - 0.3f), sketch.Front(half, line - 0.3f), sketch.Front(half, middle + 0.35f),
                sketch.Front(-half, middle + 0.35f)], White, 1, opening);
            sketch.Stroke([sketch.Front(-half, middle), sketch.Front(0, middle + 0.01f), sketch.Front(half, middle)], 0.01f, 0.012f, 0.01f,
                Ink, 0.8f, opening);
            for (int i = -3; i <= 3; i++)
                sketch.Stroke([sketch.Front((i * half / 3.6f) + lean, line - 0.2f), sketch.Front((i * half / 3.6f) + lean, middle + 0.3f)],
                    0.006f, 0.006f, 0.006f, Ink, 0.5f, opening);
            return;
        }
        sketch.Smooth([sketch.Front(-half, line - 0.3f), sketch.Front(half, line - 0.3f),
            sketch.Front(half * 0.85f, line + high - (0.12f * feeling.MouthCorner)), sketch.Front(0, line + high),
            sketch.Front(-half * 0.85f, line + high - (0.12f * feeling.MouthCorner))], White, 1, opening);
    }

    private void DrawTongue(float half, float open)
    {
        float root = MouthY + (0.2f * open), tip = MouthY + (0.75f * open) + (0.17f * feeling.Tongue), wide = half * 0.5f;
        var pink = Speaker.Rgb(0xE0707A);
        sketch.Smooth(
            [
                sketch.Front(-wide * 0.8f, root, 0.05f), sketch.Front(wide * 0.8f, root, 0.05f), sketch.Front(wide, tip - 0.07f, 0.05f),
                sketch.Front(0, tip + 0.02f, 0.05f),
                sketch.Front(-wide, tip - 0.07f, 0.05f),
            ],
            pink);
        sketch.Stroke([sketch.Front(0, root + 0.03f, 0.05f), sketch.Front(0, tip - 0.08f, 0.05f)], 0.012f, 0.01f, 0.004f, pink * 0.7f);
    }

    private void DrawBeard(float jaw)
    {
        float cheek = speaker.CheekWidth, lower = speaker.JawWidth, chin = 1 + (0.45f * jaw);
        bool stubble = speaker.Beard == BeardStyle.Stubble;
        var color = stubble ? Vector4.Lerp(skin * 0.55f, hair * 0.6f, 0.5f) : hair * 0.85f;
        if (stubble || speaker.Beard == BeardStyle.Full)
        {
            float reach = stubble ? 1 : 1.05f;
            sketch.Smooth(
                [
                    sketch.Flat(-cheek * 1.02f, -0.12f), sketch.Flat(-cheek * 0.86f, 0.14f), sketch.Flat(-lower * 0.85f, 0.48f),
                    sketch.Front(-0.36f, 0.44f), sketch.Front(0, 0.38f),
                    sketch.Front(0.36f, 0.44f), sketch.Flat(lower * 0.85f, 0.48f), sketch.Flat(cheek * 0.86f, 0.14f),
                    sketch.Flat(cheek * 1.02f, -0.12f),
                    sketch.Flat(float.Lerp(cheek, lower, 0.35f) * reach, 0.36f), sketch.Flat(lower * reach, 0.72f * chin),
                    sketch.Flat(lower * 0.58f * reach, 0.98f * chin * reach),
                    sketch.Flat(0, chin * reach * 1.02f), sketch.Flat(-lower * 0.58f * reach, 0.98f * chin * reach),
                    sketch.Flat(-lower * reach, 0.72f * chin),
                    sketch.Flat(-float.Lerp(cheek, lower, 0.35f) * reach, 0.36f),
                ],
                color, stubble ? 0.4f : 1, stubble ? face : null);
        }
        if (speaker.Beard == BeardStyle.Goatee)
            sketch.Smooth([sketch.Front(-0.17f, 0.8f + (0.5f * jaw)), sketch.Front(0.17f, 0.8f + (0.5f * jaw)), sketch.Flat(0.2f, chin),
                sketch.Flat(0, chin + 0.1f), sketch.Flat(-0.2f, chin)], color);
        if (speaker.Beard is BeardStyle.Mustache or BeardStyle.Goatee)
            foreach (int side in (ReadOnlySpan<int>)[-1, 1])
                sketch.Stroke([sketch.Front(side * 0.02f, 0.44f), sketch.Front(side * 0.2f, 0.44f), sketch.Front(side * 0.36f, 0.52f)],
                    0.05f, 0.055f, 0.015f, color);
    }

    private void DrawGlasses()
    {
        var frame = Speaker.Rgb(0x1D2430);
        float x = speaker.EyeDistance, radius = 0.25f;
        Span<Vector2> rim = stackalloc Vector2[17];
        foreach (int side in (ReadOnlySpan<int>)[-1, 1])
        {
            for (int i = 0; i < rim.Length; i++)
            {
                var (sine, cosine) = MathF.SinCos(2 * MathF.PI * i / (rim.Length - 1));
                // the square rim is a superellipse
                float stretch = speaker.Glasses == 1 ? 1 : MathF.Pow(MathF.Pow(MathF.Abs(sine), 5) + MathF.Pow(MathF.Abs(cosine), 5),
                    -0.2f);
                rim[i] = sketch.Front((side * x) + (radius * stretch * cosine), EyeY + 0.02f + (radius * 0.88f * stretch * sine), 0.04f);
            }
            sketch.Stroke(rim, 0.022f, 0.022f, 0.022f, frame);
            sketch.Stroke([sketch.Front(side * (x + radius), EyeY - 0.03f, 0.04f), sketch.Flat(side * speaker.CheekWidth, EyeY - 0.03f)],
                0.02f, 0.02f, 0.02f, frame, 1, face);
            sketch.Stroke([sketch.Front((side * x) - 0.1f, EyeY - 0.06f, 0.05f), sketch.Front((side * x) - 0.02f, EyeY - 0.15f, 0.05f)],
                0.008f, 0.018f, 0.008f, Vector4.One, 0.5f);
        }
        sketch.Stroke([sketch.Front(-x + radius, EyeY, 0.05f), sketch.Front(0, EyeY - 0.04f, 0.08f), sketch.Front(x - radius, EyeY, 0.05f)],
            0.02f, 0.02f, 0.02f, frame);
    }

    /// <summary>A tear below the eye on the left, sweat on the temple on the right.</summary>
    private void DrawDrops()
    {
        void Drop(float x, float y, float radius, float alpha)
        {
            var water = Speaker.Rgb(0x8FD0F5);
            sketch.Smooth(
                [
                    sketch.Front(x, y - (radius * 2.2f)), sketch.Front(x + (radius * 0.8f), y - (radius * 0.3f)),
                    sketch.Front(x + (radius * 0.7f), y + (radius * 0.8f)),
                    sketch.Front(x - (radius * 0.7f), y + (radius * 0.8f)), sketch.Front(x - (radius * 0.8f), y - (radius * 0.3f)),
                ],
                water, alpha);
            sketch.Ellipse(sketch.Front(x - (radius * 0.25f), y), radius * 0.25f, radius * 0.4f, Vector4.One, alpha);
        }
        if (feeling.Tear > 0)
            Drop(-speaker.EyeDistance - 0.02f, 0.28f, 0.07f, 0.95f);
        if (feeling.Sweat > 0)
        {
            Drop(0.62f, -0.48f, 0.065f, 0.95f);
            Drop(-0.66f, -0.22f, 0.05f, 0.95f);
        }
    }
}
