using System.Buffers.Binary;
using Avedis.Trainer;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class FaceContactSheetTests
{
    private static readonly string Folder = TestFolders.New();

    [TestCase(24, 2, 12)]
    [TestCase(5, 1, 5)]
    [TestCase(100, 3, 16, TestName = "No more clips than there are")]
    public void The_sheet_has_a_place_for_every_clip(int clips, int perRow, int rows)
    {
        string path = Path.Combine(Folder, $"{clips}.png");
        var (code, output, error) = TinyCorpus.Run("contact-sheet", TinyCorpus.Prepared, "--out", path, "--clips", $"{clips}");
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        var head = File.ReadAllBytes(path).AsSpan(16, 8);
        // 64 px faces; 2 px between faces and rows, 12 between clips
        Assert.That(BinaryPrimitives.ReadInt32BigEndian(head), Is.EqualTo((perRow * 394) + ((perRow - 1) * 12)));
        Assert.That(BinaryPrimitives.ReadInt32BigEndian(head[4..]), Is.EqualTo((rows * 66) - 2));
        Assert.That(output.Split('\n').Count(line => line.StartsWith("row ", StringComparison.Ordinal)), Is.EqualTo(rows));
        Assert.That(output.Split(".mp4").Length - 1, Is.EqualTo(perRow * rows));
    }

    [Test]
    public void The_faces_stand_where_the_output_says()
    {
        string path = Path.Combine(Folder, "one.png");
        TinyCorpus.Run("contact-sheet", TinyCorpus.Prepared, "--out", path, "--clips", "3");
        using var dataset = Avedis.Trainer.Data.PreparedDataset.Open(TinyCorpus.Prepared);
        var faces = new byte[dataset.Features.FaceBytes];
        dataset.Read(dataset.Index.Clips[32], faces, new float[dataset.Features.MelCount]); // the last of three among 48
        var picture = new MemoryStream();
        TestMedia.Tool.RunFfmpeg(["-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"], TimeSpan.FromMinutes(1), readOutput: stream => stream.CopyTo(picture));
        byte[] row = [.. picture.ToArray().Skip(((2 * 66) + 10) * 394).Take(394)];
        Assert.That(row.Take(64), Is.EqualTo(faces.Skip(10 * 64).Take(64)));
        Assert.That(row.Skip(66).Take(64), Is.EqualTo(faces.Skip((64 * 64) + (10 * 64)).Take(64)));
        Assert.That(row.Skip(132), Is.All.EqualTo(255), "two faces a clip, the rest stays white");
    }

    [TestCase(ExitCode.Usage, "--clips", "0")]
    [TestCase(ExitCode.DiskOrIo, "--out", "/dev/null/a.png")]
    public void What_cannot_be_is_one_line(int expected, params string[] arguments)
    {
        string[] place = arguments.Contains("--out") ? [] : ["--out", Path.Combine(Folder, "x.png")];
        var (code, _, error) = TinyCorpus.Run(["contact-sheet", TinyCorpus.Prepared, .. place, .. arguments]);
        Assert.That(code, Is.EqualTo(expected), error);
        Assert.That(error.TrimEnd(), Does.StartWith("avedis: ").And.Not.Contain("\n"));
    }

    [Test]
    public void A_folder_that_is_not_prepared_is_bad_input()
    {
        var (code, _, error) = TinyCorpus.Run("contact-sheet", Folder, "--out", Path.Combine(Folder, "x.png"));
        Assert.That(code, Is.EqualTo(ExitCode.BadInput), error);
    }
}
