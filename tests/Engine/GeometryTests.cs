using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class GeometryTests
{
    [TestCase(5, 5, 1, 0, ExpectedResult = 1, Description = "the window is the input")]
    [TestCase(7, 3, 1, 0, ExpectedResult = 5)]
    [TestCase(7, 3, 1, 1, ExpectedResult = 7)]
    [TestCase(7, 3, 2, 0, ExpectedResult = 3)]
    [TestCase(8, 3, 2, 0, ExpectedResult = 3, Description = "the remainder is left over")]
    [TestCase(2, 3, 1, 0, ExpectedResult = 0, Description = "the window does not fit")]
    [TestCase(2, 3, 2, 0, ExpectedResult = 0, Description = "rounding towards zero must not make one of a missing row")]
    [TestCase(1, 3, 1, 1, ExpectedResult = 1, Description = "it fits with padding")]
    [TestCase(1, 1, 3, 0, ExpectedResult = 1)]
    public int Extent_of_a_sliding_window(int size, int window, int stride, int pad) => Conv2dGeometry.Extent(size, window, stride, pad);

    [Test]
    public void Convolution_shapes_are_channels_last()
    {
        var geometry = new Conv2dGeometry(2, 40, 60, 3, 24, 5, 7, 1, 2, 2, 1);
        Assert.That(geometry.Input, Is.EqualTo(new Shape(2, 40, 60, 3)));
        Assert.That(geometry.Weight, Is.EqualTo(new Shape(24, 5, 7, 3)));
        Assert.That(geometry.Output, Is.EqualTo(new Shape(2, 40, 28, 24)));
    }

    [Test]
    public void Pooling_keeps_the_channels()
    {
        var geometry = new Pool2dGeometry(2, 9, 24, 33, 3, 1, 2, 2, 0, 0);
        Assert.That(geometry.Input, Is.EqualTo(new Shape(2, 9, 24, 33)));
        Assert.That(geometry.Output, Is.EqualTo(new Shape(2, 4, 12, 33)));
    }

    /// <summary>Rows, and as many columns, of the face stream: conv1, pool1, conv2, pool2, conv3 to conv5, pool5, conv6.</summary>
    [TestCase(224, new[] { 109, 54, 26, 13, 13, 6, 1 })]
    [TestCase(64, new[] { 29, 14, 6, 3, 3, 1, 1 })]
    public void Extents_of_the_face_stream(int pixels, int[] expected)
    {
        var extents = Walk(pixels, (7, 2, 0), (3, 2, 0), (5, 2, 1), (3, 2, 1), (3, 1, 1), (3, 2, 0));
        extents.Add(Conv2dGeometry.Extent(extents[^1], extents[^1], 1, 0));
        Assert.That(extents, Is.EqualTo(expected));
    }

    /// <summary>Mel rows and time steps through the voice stream: conv1, pool1, conv2, pool2, conv3 to conv5, pool5, conv6.</summary>
    [Test]
    public void Extents_of_the_voice_stream()
    {
        var mels = Walk(40, (5, 1, 2), (1, 1, 0), (5, 2, 1), (3, 2, 0), (3, 1, 1), (3, 2, 0), (4, 1, 0));
        var steps = Walk(1200, (7, 1, 2), (3, 2, 0), (5, 1, 1), (3, 1, 0), (3, 1, 1), (3, 2, 0), (1, 1, 0));
        Assert.That(mels, Is.EqualTo(new[] { 40, 40, 19, 9, 9, 4, 1 }));
        Assert.That(steps, Is.EqualTo(new[] { 1198, 598, 596, 594, 594, 296, 296 }));
    }

    private static List<int> Walk(int size, params (int Window, int Stride, int Pad)[] layers)
    {
        var extents = new List<int>();
        foreach (var (window, stride, pad) in layers)
            extents.Add(size = Conv2dGeometry.Extent(size, window, stride, pad));
        return extents;
    }
}
