using System.Numerics;

namespace Avedis.Trainer.Synth;

/// <summary>Draws a speaker's hair: the part behind the head and shoulders, and the part that falls on the forehead.</summary>
public static class Hair
{
    public static void DrawBack(Sketch s, Speaker speaker, Vector4 color)
    {
        float w = speaker.CheekWidth + 0.06f;
        switch (speaker.Hair)
        {
            case HairStyle.Bald:
                break;
            case HairStyle.Buzz:
                s.Smooth([s.Flat(0, -1.07f), s.Flat(w * 0.75f, -0.88f), s.Flat(w * 0.98f, -0.4f), s.Flat(w * 0.94f, 0),
                    s.Flat(-w * 0.94f, 0), s.Flat(-w * 0.98f, -0.4f), s.Flat(-w * 0.75f, -0.88f)], color);
                break;
            case HairStyle.Long:
                s.Smooth(
                    [
                        s.Flat(0, -1.2f), s.Flat(w * 0.85f, -1), s.Flat(w * 1.15f, -0.4f), s.Flat(w * 1.18f, 0.5f),
                        s.Flat(w * 1.22f, 1.35f), s.Flat(w * 0.5f, 1.45f), s.Flat(-w * 0.5f, 1.45f),
                        s.Flat(-w * 1.22f, 1.35f), s.Flat(-w * 1.18f, 0.5f), s.Flat(-w * 1.15f, -0.4f), s.Flat(-w * 0.85f, -1),
                    ],
                    color);
                break;
            case HairStyle.Bob:
                s.Smooth(
                    [
                        s.Flat(0, -1.2f), s.Flat(w * 0.9f, -0.98f), s.Flat(w * 1.2f, -0.3f), s.Flat(w * 1.3f, 0.4f),
                        s.Flat(w * 1.22f, 0.72f), s.Flat(w * 0.6f, 0.7f), s.Flat(-w * 0.6f, 0.7f),
                        s.Flat(-w * 1.22f, 0.72f), s.Flat(-w * 1.3f, 0.4f), s.Flat(-w * 1.2f, -0.3f), s.Flat(-w * 0.9f, -0.98f),
                    ],
                    color);
                break;
            case HairStyle.Wavy:
                Curls(s, color, -0.05f, w * 1.22f, 1.18f, 0.04f, 15, 0.3f);
                break;
            case HairStyle.Curly:
                Curls(s, color, -0.42f, w * 1.14f, 0.8f, 0.06f, 15);
                break;
            case HairStyle.Cloud:
                Curls(s, color, -0.28f, w * 1.42f, 1.0f, 0.045f, 19);
                break;
            case HairStyle.Bun:
                s.Ellipse(s.Flat(0, -1.22f), 0.36f, 0.33f, color);
                Cap(s, color, w * 1.03f, 1.1f);
                break;
            default:
                Cap(s, color, w * 1.04f, 1.14f);
                break;
        }
    }

    public static void DrawFront(Sketch s, Speaker speaker, Vector4 color)
    {
        float w = speaker.CheekWidth;
        var shine = Vector4.Lerp(color, Vector4.One, 0.25f);
        switch (speaker.Hair)
        {
            case HairStyle.Bald:
                s.Glow(s.Front(0.15f, -0.85f), 0.3f, 0.12f, Vector4.One, 0.35f);
                return;
            case HairStyle.Buzz:
                Band(s, color, w * 1.02f, 1.04f, [(-1, -0.2f), (-0.86f, -0.52f), (-0.5f, -0.72f), (0, -0.75f), (0.5f, -0.72f),
                    (0.86f, -0.52f), (1, -0.2f)], 0.85f);
                return;
            case HairStyle.Short:
                Band(s, color, w * 1.07f, 1.14f, [(-1, -0.05f), (-0.9f, -0.45f), (-0.55f, -0.72f), (-0.1f, -0.64f), (0.4f, -0.74f),
                    (0.88f, -0.45f), (1, -0.05f)]);
                break;
            case HairStyle.Parted:
                Band(s, color, w * 1.08f, 1.16f, [(-1, -0.05f), (-0.93f, -0.4f), (-0.55f, -0.86f), (-0.35f, -0.6f), (0.2f, -0.6f),
                    (0.75f, -0.42f), (1, 0)]);
                break;
            case HairStyle.Pixie:
                Band(s, color, w * 1.08f, 1.17f, [(-1, 0.12f), (-0.86f, -0.28f), (-0.4f, -0.5f), (0.1f, -0.68f), (0.45f, -0.86f),
                    (0.9f, -0.45f), (1, 0.1f)]);
                break;
            case HairStyle.Spiky:
                Spikes(s, color, w);
                break;
            case HairStyle.Curly:
                Curls(s, color, -0.84f, w * 1.02f, 0.3f, 0.07f, 11);
                return;
            case HairStyle.Cloud:
                Curls(s, color, -0.88f, w * 1.08f, 0.3f, 0.06f, 13);
                return;
            case HairStyle.Bob:
                Band(s, color, w * 1.1f, 1.18f, [(-1, 0.3f), (-0.9f, -0.3f), (-0.6f, -0.5f), (0, -0.52f), (0.6f, -0.5f), (0.9f, -0.3f),
                    (1, 0.3f)]);
                break;
            case HairStyle.Bun:
                Band(s, color, w * 1.04f, 1.1f, [(-1, -0.15f), (-0.9f, -0.5f), (-0.5f, -0.76f), (0, -0.82f), (0.5f, -0.76f), (0.9f, -0.5f),
                    (1, -0.15f)]);
                break;
            default: // long and wavy hair parted in the middle
                Band(s, color, w * 1.1f, 1.18f, [(-1, 0.45f), (-0.92f, -0.25f), (-0.55f, -0.62f), (0, -0.92f), (0.55f, -0.62f),
                    (0.92f, -0.25f), (1, 0.45f)]);
                break;
        }
        s.Stroke([s.Front(-0.45f, -0.88f), s.Front(-0.1f, -0.97f), s.Front(0.3f, -0.93f)], 0.005f, 0.03f, 0.005f, shine, 0.5f);
    }

    /// <summary>The silhouette of hair that lies close to the skull, down to the ears.</summary>
    private static void Cap(Sketch s, Vector4 color, float w, float top) =>
        s.Smooth([s.Flat(0, -top), s.Flat(w * 0.75f, -top * 0.85f), s.Flat(w, -0.4f), s.Flat(w * 0.95f, 0.1f), s.Flat(-w * 0.95f, 0.1f),
            s.Flat(-w, -0.4f), s.Flat(-w * 0.75f, -top * 0.85f)], color);

    /// <summary>Hair between the crown and a hairline given from temple to temple, x as a share of the head's half width.</summary>
    private static void Band(Sketch s, Vector4 color, float w, float top, ReadOnlySpan<(float X, float Y)> hairline, float alpha = 1)
    {
        Span<Vector2> knots = stackalloc Vector2[hairline.Length + 5];
        for (int i = 0; i < hairline.Length; i++)
        {
            var (x, y) = hairline[i];
            knots[i] = i == 0 || i == hairline.Length - 1 ? s.Flat(x * w, y) : s.Front(x * w * 0.97f, y);
        }
        int n = hairline.Length;
        (knots[n], knots[n + 1], knots[n + 2]) = (s.Flat(w, -0.45f), s.Flat(w * 0.75f, -top * 0.86f), s.Flat(0, -top));
        (knots[n + 3], knots[n + 4]) = (s.Flat(-w * 0.75f, -top * 0.86f), s.Flat(-w, -0.45f));
        s.Smooth(knots, color, alpha);
    }

    /// <summary>An ellipse with a rim of <paramref name="count"/> curls; <paramref name="sag"/> makes its lower half longer.</summary>
    private static void Curls(Sketch s, Vector4 color, float y, float width, float height, float bump, int count, float sag = 0)
    {
        Span<Vector2> corners = stackalloc Vector2[160];
        for (int i = 0; i < corners.Length; i++)
        {
            float angle = 2 * MathF.PI * i / corners.Length;
            var (sine, cosine) = MathF.SinCos(angle);
            float reach = 1 + (bump * ((2 * MathF.Abs(MathF.Sin(0.5f * count * angle))) - 1));
            corners[i] = s.Flat(width * reach * cosine, y + (height * reach * sine * (sine > 0 ? 1 + sag : 1)));
        }
        s.Polygon(corners, color);
    }

    private static void Spikes(Sketch s, Vector4 color, float w)
    {
        Span<Vector2> corners = stackalloc Vector2[24];
        for (int i = 0; i < 15; i++) // the crown, from the left ear to the right
        {
            var (sine, cosine) = MathF.SinCos(MathF.PI * (1.02f + (0.96f * i / 14)));
            float reach = i % 2 == 0 ? 1.02f : 1.24f;
            corners[i] = s.Flat(w * 1.03f * reach * cosine, -0.2f + (0.9f * reach * sine));
        }
        for (int i = 0; i < 9; i++) // the hairline, back again
        {
            float u = 1 - (i / 4f);
            corners[15 + i] = s.Front(u * w * 0.95f, -0.76f + (0.42f * u * u) + (i % 2 == 0 ? 0 : 0.12f));
        }
        s.Polygon(corners, color);
    }
}
