using Avedis.Bindings.Faces;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using Avedis.Trainer.Synth;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>The detector and what is cut by it, on drawn faces in a noisy picture: where they are is known.</summary>
public sealed class FaceDetectorTests
{
    private const int Width = 640, Height = 360;

    /// <summary>The detector's boxes lie on a grid of eighths and scales of a fifth, and drawn heads differ: the worst overlaps by 0.59.</summary>
    private const double LeastOverlap = 0.55;

    private FaceDetector detector = null!;

    [OneTimeSetUp]
    public void Open()
    {
        if (!File.Exists(Path.Combine(AppContext.BaseDirectory, "libavedis_faces.so")))
            Assert.Ignore("built without the face detector: libdlib-dev is not installed");
        detector = new FaceDetector();
    }

    [OneTimeTearDown]
    public void Close() => detector?.Dispose();

    /// <summary>A picture of noise around mid-grey.</summary>
    private static byte[] Noise(ulong seed)
    {
        var random = new Philox(seed, 0);
        return [.. Enumerable.Range(0, Width * Height).Select(_ => (byte)Math.Clamp(120 + (12 * random.NextGaussian()), 0, 255))];
    }

    /// <summary>Pastes a drawn head with shoulders, size x size, and returns where its face is: brows to chin, as the detector means it.</summary>
    private static FaceBox Paste(byte[] picture, int speaker, int left, int top, int size)
    {
        const float scale = 0.365f, x = 0.5f, y = 0.51f;
        var scene = Scene.Draw(Speaker.Cast(8, 1)[speaker], Emotion.Neutral, speaker, 0, 1) with
        {
            Yaw = 0, Nod = 0, Scale = scale, X = x, Y = y, LightAngle = -2.2f, LightStrength = 0.16f, Exposure = 1.02f, Backdrop = 3,
        };
        var portrait = new byte[size * size * 3];
        new Clip(scene, 1, 1, speaker).Portrait(size, portrait);
        for (int row = 0; row < size; row++)
            for (int column = 0; column < size; column++)
            {
                var rgb = portrait.AsSpan(((row * size) + column) * 3, 3);
                picture[((top + row) * Width) + left + column] = (byte)((0.299 * rgb[0]) + (0.587 * rgb[1]) + (0.114 * rgb[2]) + 0.5);
            }
        float unit = scale * size, side = 1.75f * unit;
        return new FaceBox(left + (x * size) - (side / 2), top + (y * size) + (0.28f * unit) - (side / 2), side, side, 0);
    }

    private static double Overlap(FaceBox a, FaceBox b)
    {
        double wide = Math.Min(a.X + a.Width, b.X + b.Width) - Math.Max(a.X, b.X), high = Math.Min(a.Y + a.Height, b.Y + b.Height) - Math.Max(a.Y, b.Y);
        double both = Math.Max(0, wide) * Math.Max(0, high);
        return both / ((a.Width * a.Height) + (b.Width * b.Height) - both);
    }

    private FaceBox[] Find(byte[] picture)
    {
        var boxes = new FaceBox[16];
        return boxes[..detector.Find(boxes, picture, Width, Height)];
    }

    /// <summary>Speakers that the detector is sure of.</summary>
    [Test]
    public void A_face_is_found_where_it_is([Values(0, 2, 5)] int speaker, [Values(56, 64, 96, 128, 192)] int side)
    {
        int size = (int)Math.Round(side / (1.75 * 0.365));
        foreach (var (left, top) in ((int, int)[])[(0, 0), ((Width - size) / 2, (Height - size) / 2), (Width - size, Height - size)])
        {
            var picture = Noise(11);
            var truth = Paste(picture, speaker, left, top, size);
            var found = Find(picture);
            Assert.That(found, Has.Length.EqualTo(1), $"at {left}, {top}");
            Assert.That(Overlap(found[0], truth), Is.GreaterThan(LeastOverlap), $"at {left}, {top}");
        }
    }

    /// <summary>Drawn faces are no photographs: some score just above the detector's threshold, and one of 64 below it.</summary>
    [Test]
    public void Most_faces_of_the_cast_are_found_and_nothing_else()
    {
        int faces = 0;
        foreach (int size in (int[])[84, 88, 92, 100, 130, 150, 200, 300]) // faces of 54 to 192 px
            for (int speaker = 0; speaker < 8; speaker++)
            {
                var picture = Noise(7);
                var truth = Paste(picture, speaker, 40 + (20 * speaker), 30, size);
                var found = Find(picture);
                faces += found.Length;
                Assert.That(found, Has.Length.LessThanOrEqualTo(1));
                foreach (var box in found)
                    Assert.That(Overlap(box, truth), Is.GreaterThan(LeastOverlap), $"speaker {speaker}, {size} px");
            }
        Assert.That(faces, Is.AtLeast(60));
    }

    [Test]
    public void A_picture_without_a_face_gives_none([Values(1, 2, 3)] int seed) =>
        Assert.That(Find(Noise((ulong)seed)), Is.Empty);

    [TestCase(1, 1)]
    [TestCase(7, 5)]
    [TestCase(640, 3)]
    public void A_picture_smaller_than_a_face_gives_none(int width, int height)
    {
        var boxes = new FaceBox[4];
        Assert.That(detector.Find(boxes, new byte[width * height], width, height), Is.Zero);
    }

    [Test]
    public void More_faces_than_there_is_room_for_are_left_out()
    {
        var picture = Noise(3);
        var truths = new[] { Paste(picture, 0, 10, 20, 200), Paste(picture, 0, 230, 40, 200), Paste(picture, 0, 440, 120, 200) };
        Assert.That(Find(picture), Has.Length.EqualTo(truths.Length));
        Assert.That(detector.Find(new FaceBox[2], picture, Width, Height), Is.EqualTo(2));
        Assert.That(detector.Find([], picture, Width, Height), Is.Zero);
    }

    [Test]
    public void The_speaker_is_cut_out_of_every_picture_also_where_nothing_was_found()
    {
        const int count = 8, size = 48, frame = Width * Height;
        var frames = new byte[count * frame];
        var truths = new FaceBox[count];
        for (int i = 0; i < count; i++)
        {
            var picture = Noise((ulong)i);
            truths[i] = Paste(picture, 0, 100 + (12 * i), 80 + (4 * i), 200);
            if (i is 3 or 7) // somebody walks through the picture
                picture = Noise(99);
            picture.CopyTo(frames, i * frame);
        }
        var faces = new byte[count * size * size];
        var cropper = new FaceCropper(detector, size);
        Assert.That(cropper.Crop(frames, count, Width, Height, faces), Is.EqualTo(count - 2));
        var expected = new byte[size * size];
        for (int i = 0; i < count; i++)
        {
            if (i is 3 or 7)
                continue;
            var truth = truths[i];
            new FaceCrop(size).Cut(expected, frames.AsSpan(i * frame, frame), Height, Width,
                new FaceSquare(truth.X + (truth.Width / 2), truth.Y + (truth.Height / 2), FaceTrack.Margin * truth.Width));
            Assert.That(Correlation(faces.AsSpan(i * size * size, size * size), expected), Is.GreaterThan(0.6), $"picture {i}");
        }

        var again = new byte[faces.Length];
        Assert.That(cropper.Crop(frames, count, Width, Height, again), Is.EqualTo(count - 2));
        Assert.That(again, Is.EqualTo(faces), "same pictures, same bytes");
    }

    [Test]
    public void A_clip_without_a_face_is_said_so_and_nothing_is_written()
    {
        var faces = new byte[2 * 16 * 16];
        Assert.That(new FaceCropper(detector, 16).Crop([.. Noise(1), .. Noise(2)], 2, Width, Height, faces), Is.Zero);
        Assert.That(faces, Is.All.Zero);
    }

    [TestCase(Width, 1)]
    [TestCase(2 * Width, 1, Description = "shrunk before faces are looked for")]
    [TestCase(Width, 2, Description = "two people, of whom the right one speaks")]
    [Category(Tier.Long)]
    public void A_video_is_decoded_to_the_face_in_it(int width, int halves)
    {
        const int count = 10, size = 48;
        var options = new FeatureOptions { ClipSeconds = 1, FaceSize = size, FaceFrames = count, Crop = CropMode.Detect };
        var frames = new byte[count * Width * Height];
        var expected = new byte[size * size];
        var faces = new List<byte[]>();
        for (int i = 0; i < count; i++)
        {
            var picture = Noise((ulong)i);
            if (halves == 2)
                Paste(picture, 2, 20, 60, 250);
            var truth = Paste(picture, 0, (halves == 2 ? 350 : 100) + (4 * i), 80, 200);
            picture.CopyTo(frames, i * picture.Length);
            new FaceCrop(size).Cut(expected, picture, Height, Width, new FaceSquare(truth.X + (truth.Width / 2), truth.Y + (truth.Height / 2), FaceTrack.Margin * truth.Width));
            faces.Add([.. expected]);
        }
        string video = Path.Combine(TestFolders.New(), "a.mp4");
        TestMedia.Write(
            ["-f", "rawvideo", "-pix_fmt", "gray", "-s", $"{Width}x{Height}", "-r", $"{count}", "-i", "pipe:0", "-f", "lavfi", "-i", "sine=duration=1", "-vf", $"scale={width}:-2",
                "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", video], frames);
        using var decoder = new ClipDecoder(TestMedia.Tool, options);

        decoder.Decode(new ClipSource(video, Region: halves == 2 ? PictureRegion.Right : PictureRegion.Whole));

        Assert.That(decoder.FaceCount, Is.EqualTo(count));
        Assert.That(decoder.Found, Is.AtLeast(count - 1));
        for (int i = 0; i < count; i++)
            Assert.That(Correlation(decoder.Faces.Slice(i * size * size, size * size), faces[i]), Is.GreaterThan(0.6), $"picture {i}");
    }

    [Test]
    public void A_video_without_a_face_is_rejected()
    {
        using var decoder = new ClipDecoder(TestMedia.Tool, new FeatureOptions { ClipSeconds = 1, FaceSize = 24, FaceFrames = 5, Crop = CropMode.Detect });
        var failure = Assert.Throws<MediaException>(() => decoder.Decode(TestMedia.Clip(Path.Combine(TestFolders.New(), "a.mp4"), width: 320, height: 240)))!;
        Assert.That((failure.Reason, failure.Detail), Is.EqualTo(("no face", "a face was found in 0 of 5 pictures")));
    }

    /// <summary>In a copy of the program that lacks the library.</summary>
    [Test]
    public void Without_the_library_doctor_says_how_to_get_it()
    {
        string copy = TestFolders.New(), program = Path.GetDirectoryName(TinyCorpus.ProgramPath)!;
        foreach (string file in Directory.GetFiles(program).Where(file => Path.GetFileName(file) != "libavedis_faces.so"))
            File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
        string text = "";
        ChildProgram.Run("dotnet", [Path.Combine(copy, "avedis.dll"), "doctor"], TimeSpan.FromMinutes(1), readOutput: stream => text = new StreamReader(stream).ReadToEnd());
        string line = text.Split('\n').Single(l => l.StartsWith("faces", StringComparison.Ordinal));
        Assert.That(line, Does.Contain("MISSING").And.Contain("apt-get install libdlib-dev").And.Contain(copy));
        Assert.That(text, Does.Contain("ready"), "nothing else needs it");
    }

    private static double Correlation(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        double[] x = [.. a.ToArray().Select(v => (double)v)], y = [.. b.ToArray().Select(v => (double)v)];
        return MathNet.Numerics.Statistics.Correlation.Pearson(x, y);
    }
}
