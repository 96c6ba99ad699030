using System.Numerics;

namespace Avedis.Trainer.Synth;

/// <summary>
/// Draws in the coordinates of a head on a canvas: x to the viewer's right, y down, the unit half the height of the head, (0, 0) between
/// brow and nose, the chin at y = 1. <see cref="Front"/> puts a point on the curved front of the head, which moves as the head turns and
/// nods;
/// <see cref="Flat"/> puts it on the outline, which does not.
/// </summary>
public sealed class Sketch(Canvas canvas)
{
    private readonly Contour contour = new();
    private Vector2 center, right, down; // pixels; right and down are one unit long
    private Vector2 turn;                // shift of a point per unit of depth

    public Canvas Canvas => canvas;

    /// <summary>Pixels per unit.</summary>
    public float Unit { get; private set; }

    /// <summary>Change of lightness per unit, towards the light.</summary>
    public Vector2 Light { get; set; }

    public void Pose(Vector2 headCenter, float unit, float yaw, float nod, float roll)
    {
        var (sine, cosine) = MathF.SinCos(roll);
        Unit = unit;
        right = new Vector2(cosine, sine) * unit;
        down = new Vector2(-sine, cosine) * unit;
        center = headCenter + (new Vector2(0, unit) - down) * 0.8f; // the head tilts about the neck
        turn = new Vector2(MathF.Sin(yaw), MathF.Sin(nod));
    }

    public Vector2 Flat(float x, float y) => center + (right * x) + (down * y);

    public Vector2 Front(float x, float y, float lift = 0)
    {
        float depth = (0.8f * MathF.Sqrt(MathF.Max(0, 1 - (x * x) - (y * y / 1.7f)))) + lift;
        return Flat(x + (depth * turn.X), y + (depth * turn.Y));
    }

    /// <summary>A vector of head coordinates in pixels.</summary>
    public Vector2 Span(float x, float y) => (right * x) + (down * y);

    public void Smooth(ReadOnlySpan<Vector2> knots, Vector4 color, float alpha = 1, Mask? clip = null) =>
        canvas.Fill(contour.Smooth(knots), Lit(color, alpha), clip);

    public void Polygon(ReadOnlySpan<Vector2> corners, Vector4 color, float alpha = 1, Mask? clip = null) =>
        canvas.Fill(contour.Polygon(corners), Lit(color, alpha), clip);

    /// <summary>A brush stroke; widths are half widths in units.</summary>
    public void Stroke(ReadOnlySpan<Vector2> knots, float start, float middle, float end, Vector4 color, float alpha = 1,
        Mask? clip = null) =>
        canvas.Fill(contour.Stroke(knots, start * Unit, middle * Unit, end * Unit), Lit(color, alpha), clip);

    public void Ellipse(Vector2 middle, float width, float height, Vector4 color, float alpha = 1, Mask? clip = null) =>
        canvas.Fill(contour.Ellipse(middle, right * width, height / width), Lit(color, alpha), clip);

    public void Glow(Vector2 middle, float width, float height, Vector4 color, float alpha, Mask? clip = null) =>
        canvas.Glow(middle, right * width, height / width, color, alpha, clip);

    public void Cover(ReadOnlySpan<Vector2> knots, Mask mask, bool smooth = true) =>
        canvas.Cover(smooth ? contour.Smooth(knots) : contour.Polygon(knots), mask);

    private Paint Lit(Vector4 color, float alpha) =>
        new(color, alpha, center, color * (Light.X / Unit), color * (Light.Y / Unit));
}
