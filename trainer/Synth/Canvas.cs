using System.Numerics;

namespace Avedis.Trainer.Synth;

/// <summary>
/// A small software painter: closed contours filled with exact-area anti-aliasing, soft ellipses, and masks to clip either. Pixels are RGB
/// in 0..1 (gamma-encoded, as a video stores them) in the first three lanes of a Vector4; the fourth is unused. The origin is the upper
/// left corner, pixel (x, y) covers [x, x+1) x [y, y+1).
/// </summary>
public sealed class Canvas
{
    private readonly float[] accumulator; // signed area per pixel of the contour in work, Width + 2 per row, all zero between calls

    public Canvas(int width, int height)
    {
        (Width, Height) = (width, height);
        Pixels = new Vector4[width * height];
        accumulator = new float[(width + 2) * height];
    }

    public int Width { get; }

    public int Height { get; }

    /// <summary>Row by row.</summary>
    public Vector4[] Pixels { get; }

    /// <summary>Fills <paramref name="contour"/> (non-zero winding) and empties it.</summary>
    public void Fill(Contour contour, in Paint paint, Mask? clip = null)
    {
        var box = Accumulate(contour);
        if (clip != null)
            box = ClearOutside(box, clip.Box);
        for (int y = box.Top; y < box.Bottom; y++)
        {
            var sums = accumulator.AsSpan(y * (Width + 2), Width + 2);
            var row = Pixels.AsSpan(y * Width, Width);
            var limits = clip == null ? default : clip.Row(y);
            var color = paint.At(box.Left, y);
            float sum = 0;
            for (int x = box.Left; x < box.Right; x++, color += paint.PerX)
            {
                sum += sums[x];
                sums[x] = 0;
                float cover = MathF.Min(MathF.Abs(sum), 1) * paint.Alpha;
                if (clip != null)
                    cover *= limits[x];
                if (cover > 1e-3f)
                    row[x] += (color - row[x]) * cover;
            }
            sums[box.Right..].Clear();
        }
    }

    /// <summary>Makes <paramref name="mask"/> the area of <paramref name="contour"/> and empties it.</summary>
    public void Cover(Contour contour, Mask mask)
    {
        var box = Accumulate(contour);
        mask.Reset(box);
        for (int y = box.Top; y < box.Bottom; y++)
        {
            var sums = accumulator.AsSpan(y * (Width + 2), Width + 2);
            var row = mask.Row(y);
            float sum = 0;
            for (int x = box.Left; x < box.Right; x++)
            {
                sum += sums[x];
                sums[x] = 0;
                row[x] = MathF.Min(MathF.Abs(sum), 1);
            }
            sums[box.Right..].Clear();
        }
    }

    /// <summary>Blends <paramref name="color"/> in with a weight that falls smoothly from <paramref name="alpha"/> at the centre to 0 at
    /// the rim.</summary>
    /// <param name="center">Centre in pixels.</param>
    /// <param name="axis">One half axis of the ellipse, in pixels.</param>
    /// <param name="aspect">The other half axis as a share of the first.</param>
    public void Glow(Vector2 center, Vector2 axis, float aspect, Vector4 color, float alpha, Mask? clip = null)
    {
        float length = axis.Length(), reach = length * MathF.Max(1, aspect);
        var around = Box.Around(center.X - reach, center.Y - reach, center.X + reach, center.Y + reach);
        var box = around.And(clip?.Box ?? new Box(0, 0, Width, Height));
        var along = axis / (length * length);
        var across = new Vector2(-along.Y, along.X) / aspect;
        for (int y = box.Top; y < box.Bottom; y++)
        {
            var row = Pixels.AsSpan(y * Width, Width);
            var limits = clip == null ? default : clip.Row(y);
            for (int x = box.Left; x < box.Right; x++)
            {
                var offset = new Vector2(x + 0.5f, y + 0.5f) - center;
                float u = Vector2.Dot(offset, along), v = Vector2.Dot(offset, across), inside = 1 - (u * u) - (v * v);
                if (inside <= 0)
                    continue;
                float cover = alpha * inside * inside;
                if (clip != null)
                    cover *= limits[x];
                row[x] += (color - row[x]) * cover;
            }
        }
    }

    /// <summary>Adds the edges of a contour to the accumulator: afterwards a running sum along a row is the covered area of each
    /// pixel.</summary>
    private Box Accumulate(Contour contour)
    {
        var box = Box.Around(contour.Low.X, contour.Low.Y, contour.High.X, contour.High.Y).And(new Box(0, 0, Width, Height));
        if (box.Right > box.Left && box.Bottom > box.Top)
            foreach (var (from, to) in contour.Edges)
                AddEdge(from, to);
        contour.Clear();
        return box;
    }

    /// <summary>Zeroes what was accumulated outside <paramref name="keep"/>, so that a fill may walk the smaller box; sums start at its
    /// left edge.</summary>
    private Box ClearOutside(Box box, Box keep)
    {
        var inner = box.And(keep);
        for (int y = box.Top; y < box.Bottom; y++)
        {
            var sums = accumulator.AsSpan(y * (Width + 2), Width + 2);
            if (y < inner.Top || y >= inner.Bottom || inner.Right <= inner.Left)
            {
                sums.Clear();
                continue;
            }
            float left = 0;
            for (int x = box.Left; x < inner.Left; x++)
            {
                left += sums[x];
                sums[x] = 0;
            }
            sums[inner.Left] += left;
        }
        return inner;
    }

    private void AddEdge(Vector2 from, Vector2 to)
    {
        if (from.Y == to.Y)
            return;
        float sign = from.Y < to.Y ? 1 : -1;
        if (sign < 0)
            (from, to) = (to, from);
        float slope = (to.X - from.X) / (to.Y - from.Y);
        int last = Math.Min(Height, (int)MathF.Ceiling(to.Y));
        for (int y = Math.Max(0, (int)from.Y); y < last; y++)
        {
            float y0 = MathF.Max(y, from.Y), y1 = MathF.Min(y + 1, to.Y);
            if (y1 <= y0)
                continue;
            float xa = Math.Clamp(from.X + ((y0 - from.Y) * slope), 0, Width), xb = Math.Clamp(from.X + ((y1 - from.Y) * slope), 0, Width);
            AddSlice(accumulator.AsSpan(y * (Width + 2), Width + 2), MathF.Min(xa, xb), MathF.Max(xa, xb), sign * (y1 - y0));
        }
    }

    /// <summary>
    /// One edge within one row, from x = <paramref name="low"/> to <paramref name="high"/>, <paramref name="height"/> tall (signed): each
    /// pixel right of it gains the height, the pixels it crosses a part of it, kept as differences between neighbours.
    /// </summary>
    private static void AddSlice(Span<float> sums, float low, float high, float height)
    {
        int first = (int)low, end = (int)MathF.Ceiling(high);
        if (end <= first + 1)
        {
            float missed = (0.5f * (low + high)) - first;
            sums[first] += height * (1 - missed);
            sums[first + 1] += height * missed;
            return;
        }
        float perPixel = height / (high - low), before = 0;
        for (int x = first; x < end; x++)
        {
            // area right of the edge inside pixel x: the integral of (x + 1 - t) over the part of the edge in the pixel, plus the part
            // already passed
            float a = MathF.Max(low, x), b = MathF.Min(high, x + 1);
            float area = perPixel * (((b - a) * (x + 1 - (0.5f * (a + b)))) + (a - low));
            sums[x] += area - before;
            before = area;
        }
        sums[end] += height - before;
    }
}

/// <summary>Half-open rectangle of pixels.</summary>
public readonly record struct Box(int Left, int Top, int Right, int Bottom)
{
    public static Box Around(float x0, float y0, float x1, float y1) =>
        new((int)MathF.Floor(x0), (int)MathF.Floor(y0), (int)MathF.Ceiling(x1), (int)MathF.Ceiling(y1));

    public Box And(Box other) =>
        new(Math.Max(Left, other.Left), Math.Max(Top, other.Top), Math.Min(Right, other.Right), Math.Min(Bottom, other.Bottom));
}

/// <summary>A colour with a linear gradient: lightest towards the light.</summary>
/// <param name="Color">RGB at <paramref name="Origin"/>.</param>
/// <param name="Alpha">Opacity, 0..1.</param>
/// <param name="Origin">Where the gradient is zero, in pixels.</param>
/// <param name="PerX">Change of the colour per pixel to the right.</param>
/// <param name="PerY">Change of the colour per pixel downwards.</param>
public readonly record struct Paint(Vector4 Color, float Alpha = 1, Vector2 Origin = default, Vector4 PerX = default,
    Vector4 PerY = default)
{
    public Vector4 At(int x, int y) => Color + (PerX * (x - Origin.X)) + (PerY * (y - Origin.Y));
}

/// <summary>The share of each pixel that an area covers, 0..1; clips what is painted.</summary>
public sealed class Mask(int width, int height)
{
    private readonly float[] cover = new float[width * height];

    /// <summary>Outside this box the cover is 0.</summary>
    public Box Box { get; private set; }

    public Span<float> Row(int y) => cover.AsSpan(y * width, width);

    internal void Reset(Box box)
    {
        for (int y = Box.Top; y < Box.Bottom; y++)
            Row(y).Clear();
        Box = box;
    }
}
