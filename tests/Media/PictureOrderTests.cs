using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class PictureOrderTests
{
    [TestCase("2.jpg 10.jpg 0000001.jpg", "0000001.jpg 2.jpg 10.jpg")]
    [TestCase("10_face.jpg 1_face.jpg 2_face.jpg", "1_face.jpg 2_face.jpg 10_face.jpg")]
    [TestCase("frame-12-crop.png frame-2-crop.png frame-101-crop.png", "frame-2-crop.png frame-12-crop.png frame-101-crop.png")]
    [TestCase("crop224_9_v2.jpg crop224_10_v2.jpg", "crop224_9_v2.jpg crop224_10_v2.jpg")]
    [TestCase("a (10).png a (9).png", "a (9).png a (10).png")]
    [TestCase("F10.JPG f9.jpeg", "f9.jpeg F10.JPG")]
    [TestCase("00_01_10.jpg 00_02_01.jpg 00_01_09.jpg", "00_01_09.jpg 00_01_10.jpg 00_02_01.jpg", Description = "hours, minutes, seconds")]
    [TestCase("1.04.jpg 0.96.jpg 1.00.jpg 10.00.jpg", "0.96.jpg 1.00.jpg 1.04.jpg 10.00.jpg", Description = "seconds")]
    [TestCase("f10_400ms.jpg f9_360ms.jpg f100_4000ms.jpg", "f9_360ms.jpg f10_400ms.jpg f100_4000ms.jpg",
        Description = "two numbers that agree")]
    [TestCase("99999999999999999999998.jpg 99999999999999999999997.jpg", "99999999999999999999997.jpg 99999999999999999999998.jpg")]
    [TestCase("portrait.jpg", "portrait.jpg")]
    public void Numbers_in_names_tell_the_order(string files, string sorted)
        => Assert.That(string.Join(' ', PictureOrder.Sort(Names(files))), Is.EqualTo(string.Join(' ', Names(sorted))));

    [TestCase("1.jpg 2.jpg cover.jpg", "cover.jpg")]
    [TestCase("a.jpg b.jpg", "b.jpg")]
    [TestCase("a3f9.jpg 7bb2.jpg", "7bb2.jpg")]
    [TestCase("1.jpg 01.jpg", "the same number")]
    [TestCase("face0_frame1.jpg face0_frame2.jpg face1_frame1.jpg face1_frame2.jpg", "more than one number")]
    [TestCase("x30_frame1.jpg x20_frame2.jpg", "another falls")]
    [TestCase("1_2.jpg 1_10.jpg 2_1.jpg 2_2.jpg", "more than one number")]
    [TestCase("0.2.jpg 0.04.jpg", "behind a point")]
    public void Names_that_do_not_tell_it_are_refused(string files, string says)
    {
        var failure = Assert.Throws<MediaException>(() => PictureOrder.Sort(Names(files)))!;
        Assert.That(failure.Reason, Is.EqualTo("unknown order"));
        Assert.That(failure.Message, Does.Contain(says));
    }

    /// <summary>"a (10).png" is one name.</summary>
    private static string[] Names(string files) => files.Replace("a (", "a_(", StringComparison.Ordinal).Split(' ');
}
