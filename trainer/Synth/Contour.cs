using System.Numerics;

namespace Avedis.Trainer.Synth;

/// <summary>Closed contours in pixels, built point by point; curves are flattened as they are added. Filling them empties the list for the
/// next shape.</summary>
public sealed class Contour
{
    private readonly List<Vector2> points = [];
    private readonly List<int> ends = [];        // index behind the last point of each finished contour
    private readonly List<Vector2> outline = []; // of the stroke in work

    public Vector2 Low { get; private set; } = new(float.MaxValue);

    public Vector2 High { get; private set; } = new(float.MinValue);

    /// <summary>Every edge, the closing ones included.</summary>
    public IEnumerable<(Vector2 From, Vector2 To)> Edges
    {
        get
        {
            int start = 0;
            foreach (int end in ends)
            {
                for (int i = start; i < end; i++)
                    yield return (points[i], points[i + 1 == end ? start : i + 1]);
                start = end;
            }
        }
    }

    public void Clear()
    {
        points.Clear();
        ends.Clear();
        (Low, High) = (new(float.MaxValue), new(float.MinValue));
    }

    /// <summary>A contour of straight lines.</summary>
    public Contour Polygon(ReadOnlySpan<Vector2> corners)
    {
        foreach (var corner in corners)
            Add(corner);
        ends.Add(points.Count);
        return this;
    }

    /// <summary>A smooth closed contour through the knots (Catmull-Rom).</summary>
    public Contour Smooth(ReadOnlySpan<Vector2> knots, int steps = 5)
    {
        for (int i = 0; i < knots.Length; i++)
        {
            var (a, b) = (knots[(i + knots.Length - 1) % knots.Length], knots[i]);
            var (c, d) = (knots[(i + 1) % knots.Length], knots[(i + 2) % knots.Length]);
            for (int k = 0; k < steps; k++)
                Add(CatmullRom(a, b, c, d, (float)k / steps));
        }
        ends.Add(points.Count);
        return this;
    }

    public Contour Ellipse(Vector2 center, Vector2 axis, float aspect, int steps = 24)
    {
        var across = new Vector2(-axis.Y, axis.X) * aspect;
        for (int i = 0; i < steps; i++)
        {
            var (sine, cosine) = MathF.SinCos(2 * MathF.PI * i / steps);
            Add(center + (axis * cosine) + (across * sine));
        }
        ends.Add(points.Count);
        return this;
    }

    /// <summary>
    /// A brush stroke along a smooth open curve through the knots. Its half width runs from <paramref name="start"/> over
    /// <paramref name="middle"/> to <paramref name="end"/> pixels; the ends are round.
    /// </summary>
    public Contour Stroke(ReadOnlySpan<Vector2> knots, float start, float middle, float end)
    {
        const int steps = 5;
        int last = (knots.Length - 1) * steps;
        outline.Clear();
        for (int side = 0; side < 2; side++) // forth along the left side, back along the right
            for (int n = 0; n <= last; n++)
            {
                int i = side == 0 ? n : last - n;
                var (here, direction) = Along(knots, i, steps);
                float t = (float)i / last, half = t < 0.5f ? float.Lerp(start, middle, 2 * t) : float.Lerp(middle, end, (2 * t) - 1);
                var normal = new Vector2(-direction.Y, direction.X) * (side == 0 ? half : -half);
                outline.Add(here + normal);
                if (n == last) // half a turn around the end
                {
                    var ahead = direction * (side == 0 ? half : -half);
                    for (int k = 1; k < 4; k++)
                    {
                        var (sine, cosine) = MathF.SinCos(MathF.PI * k / 4);
                        outline.Add(here + (normal * cosine) + (ahead * sine));
                    }
                }
            }
        return Polygon(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(outline));
    }

    private static (Vector2 Point, Vector2 Direction) Along(ReadOnlySpan<Vector2> knots, int i, int steps)
    {
        int segment = Math.Min(i / steps, knots.Length - 2);
        var (b, c) = (knots[segment], knots[segment + 1]);
        var a = segment > 0 ? knots[segment - 1] : b + b - c;
        var d = segment + 2 < knots.Length ? knots[segment + 2] : c + c - b;
        float t = ((float)i / steps) - segment;
        var ahead = CatmullRom(a, b, c, d, t + 0.05f) - CatmullRom(a, b, c, d, t - 0.05f);
        return (CatmullRom(a, b, c, d, t), ahead / MathF.Max(ahead.Length(), 1e-6f));
    }

    private static Vector2 CatmullRom(Vector2 a, Vector2 b, Vector2 c, Vector2 d, float t) =>
        0.5f * ((2 * b) + ((c - a) * t) + (((2 * a) - (5 * b) + (4 * c) - d) * (t * t)) + (((3 * b) - a - (3 * c) + d) * (t * t * t)));

    private void Add(Vector2 point)
    {
        points.Add(point);
        Low = Vector2.Min(Low, point);
        High = Vector2.Max(High, point);
    }
}
