using Avedis.Engine;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class FaceCropTests
{
    /// <summary>Weights and sums are FP32 here and FP64 in the reference: a value that is nearly a half may round the other way.</summary>
    private const double Rounding = 0.501;

    private static byte[] Noise(int count, ulong seed)
    {
        var random = new Philox(seed, 0);
        return [.. Enumerable.Range(0, count).Select(_ => (byte)random.Next(256))];
    }

    /// <summary>The mean of the picture, whose edge goes on for ever, over a rectangle; or what bilinear interpolation gives at its middle.</summary>
    private static double Reference(byte[] picture, int height, int width, double left, double top, double step)
    {
        double Pixel(int y, int x) => picture[(Math.Clamp(y, 0, height - 1) * width) + Math.Clamp(x, 0, width - 1)];
        if (step < 1)
        {
            double u = left + (step / 2) - 0.5, v = top + (step / 2) - 0.5;
            var (x, y) = ((int)Math.Floor(u), (int)Math.Floor(v));
            return double.Lerp(double.Lerp(Pixel(y, x), Pixel(y, x + 1), u - x), double.Lerp(Pixel(y + 1, x), Pixel(y + 1, x + 1), u - x), v - y);
        }
        double sum = 0;
        for (int y = (int)Math.Floor(top); y < top + step; y++)
            for (int x = (int)Math.Floor(left); x < left + step; x++)
                sum += Pixel(y, x) * (Math.Min(top + step, y + 1) - Math.Max(top, y)) * (Math.Min(left + step, x + 1) - Math.Max(left, x));
        return sum / (step * step);
    }

    [TestCase(64, 48, 24, 32, 24, 48, TestName = "Shrinks to a half")]
    [TestCase(64, 48, 48, 32, 24, 48, TestName = "Copies pixel for pixel")]
    [TestCase(67, 45, 17, 31.3, 22.8, 40.9, TestName = "Shrinks by an odd factor")]
    [TestCase(67, 45, 31, 30.1, 20.7, 19.3, TestName = "Enlarges")]
    [TestCase(67, 45, 31, 30.1, 20.7, 31.4, TestName = "Shrinks by a hair")]
    [TestCase(53, 37, 23, 2.4, 35.2, 30.5, TestName = "Beyond a corner, shrinking")]
    [TestCase(53, 37, 23, 52.1, 1.5, 11.7, TestName = "Beyond a corner, enlarging")]
    [TestCase(53, 37, 19, 26, 18, 140, TestName = "Wider than the picture on every side")]
    [TestCase(53, 37, 9, -80, 18, 20, TestName = "Beside the picture")]
    [TestCase(1, 1, 5, 0.5, 0.5, 3, TestName = "From one pixel")]
    public void A_square_is_what_the_reference_gives(int width, int height, int size, double x, double y, double side)
    {
        var picture = Noise(width * height, 3);
        var face = new byte[size * size];
        new FaceCrop(size).Cut(face, picture, height, width, new FaceSquare(x, y, side));
        double step = side / size;
        for (int row = 0; row < size; row++)
            for (int column = 0; column < size; column++)
                Assert.That(face[(row * size) + column],
                    Is.EqualTo(Reference(picture, height, width, x - (side / 2) + (column * step), y - (side / 2) + (row * step), step)).Within(Rounding),
                    $"row {row}, column {column}");
    }

    [Test]
    public void An_even_picture_stays_even([Values(0, 1, 128, 255)] int grey, [Values(7.3, 40, 333.3)] double side)
    {
        var picture = new byte[50 * 40];
        Array.Fill(picture, (byte)grey);
        var face = new byte[21 * 21];
        new FaceCrop(21).Cut(face, picture, 40, 50, new FaceSquare(11.1, 33.3, side));
        Assert.That(face, Is.All.EqualTo((byte)grey));
    }

    [Test]
    public void A_crop_used_again_keeps_nothing_of_the_square_before()
    {
        var picture = Noise(80 * 60, 5);
        byte[] used = new byte[16 * 16], fresh = new byte[16 * 16];
        var crop = new FaceCrop(16);
        foreach (double side in (double[])[200, 7, 33.3])
            crop.Cut(used, picture, 60, 80, new FaceSquare(40, 30, side));
        new FaceCrop(16).Cut(fresh, picture, 60, 80, new FaceSquare(40, 30, 33.3));
        Assert.That(used, Is.EqualTo(fresh));
    }
}
