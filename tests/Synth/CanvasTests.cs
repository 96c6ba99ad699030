using System.Numerics;
using Avedis.Trainer.Synth;
using NUnit.Framework;

namespace Avedis.Tests;

public class CanvasTests
{
    private static readonly Paint White = new(Vector4.One);

    private static float Area(Canvas canvas) => canvas.Pixels.Sum(pixel => pixel.X);

    [Test]
    public void A_rectangle_covers_pixels_by_their_share()
    {
        var canvas = new Canvas(4, 3);
        canvas.Fill(new Contour().Polygon([new(0.5f, 1), new(2.25f, 1), new(2.25f, 1.5f), new(0.5f, 1.5f)]), White);
        float[] expected = [0, 0, 0, 0, 0.25f, 0.5f, 0.125f, 0, 0, 0, 0, 0];
        Assert.That(canvas.Pixels.Select(pixel => pixel.X), Is.EqualTo(expected).Within(1e-6f));
    }

    [Test]
    public void A_slanted_edge_covers_exactly_the_area_beside_it([Values(0.3f, 2.5f, 7.75f)] float slant)
    {
        var canvas = new Canvas(20, 8);
        canvas.Fill(new Contour().Polygon([new(1, 1), new(1 + slant, 1), new(9 + slant, 6.5f), new(1, 6.5f)]), White);
        Assert.That(Area(canvas), Is.EqualTo(5.5f * (slant + slant + 8) / 2).Within(1e-3f));
        Assert.That(canvas.Pixels.Select(pixel => pixel.X), Is.All.InRange(0, 1));
    }

    [Test]
    public void A_shape_that_leaves_the_canvas_fills_only_what_is_inside()
    {
        var canvas = new Canvas(10, 10);
        canvas.Fill(new Contour().Polygon([new(-5, -5), new(4, -5), new(4, 25), new(-5, 25)]), White);
        Assert.That(Area(canvas), Is.EqualTo(40).Within(1e-4f));
        canvas.Fill(new Contour().Ellipse(new(30, 5), new(5, 0), 1), White);
        canvas.Fill(new Contour().Polygon([new(6, 8), new(15, 8), new(15, 15), new(6, 15)]), White);
        Assert.That(Area(canvas), Is.EqualTo(40 + 8).Within(1e-4f));
    }

    [Test]
    public void A_mask_limits_a_fill_and_nothing_is_left_behind()
    {
        var canvas = new Canvas(12, 12);
        var mask = new Mask(12, 12);
        canvas.Cover(new Contour().Polygon([new(3, 3), new(6.5f, 3), new(6.5f, 9), new(3, 9)]), mask);
        canvas.Fill(new Contour().Polygon([new(0, 0), new(12, 0), new(12, 12), new(0, 12)]), White, mask);
        Assert.That(Area(canvas), Is.EqualTo(3.5f * 6).Within(1e-4f));
        // the same fill without a mask would show what the clipped one had left in the accumulator
        var fresh = new Canvas(12, 12);
        foreach (var target in (Canvas[])[canvas, fresh])
            target.Fill(new Contour().Polygon([new(0, 0), new(12, 0), new(12, 12), new(0, 12)]), new Paint(new Vector4(0.5f)));
        Assert.That(canvas.Pixels, Is.EqualTo(fresh.Pixels));
        canvas.Cover(new Contour().Polygon([new(8, 8), new(9, 8), new(9, 9), new(8, 9)]), mask);
        Assert.That(mask.Row(5).ToArray(), Is.All.Zero, "the old cover is gone");
    }

    [Test]
    public void A_stroke_is_as_wide_as_asked()
    {
        var canvas = new Canvas(40, 20);
        canvas.Fill(new Contour().Stroke([new(10, 10), new(20, 10), new(30, 10)], 3, 3, 3), White);
        Assert.That(Enumerable.Range(0, 20).Sum(y => canvas.Pixels[(y * 40) + 20].X), Is.EqualTo(6).Within(1e-3f));
        Assert.That(Area(canvas), Is.InRange(20 * 6, (20 * 6) + (MathF.PI * 9)));
    }

    [Test]
    public void A_glow_is_strongest_in_the_middle_and_ends_at_its_rim()
    {
        var canvas = new Canvas(21, 21);
        canvas.Glow(new(10.5f, 10.5f), new(8, 0), 0.5f, Vector4.One, 0.5f);
        Assert.That(canvas.Pixels[(10 * 21) + 10].X, Is.EqualTo(0.5f).Within(1e-6f));
        Assert.That(canvas.Pixels[(10 * 21) + 16].X, Is.GreaterThan(0).And.LessThan(0.5f));
        Assert.That(canvas.Pixels[(16 * 21) + 10].X, Is.Zero);
    }
}
