using Avedis.Trainer;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Decoding real media: what comes out of good clips, and the reason that each kind of bad one is given.</summary>
public sealed class ClipDecoderTests
{
    private static readonly FeatureOptions Options = new() { ClipSeconds = 1, FaceSize = 30, FaceFrames = 5 };

    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = TestFolders.New();

    [Test]
    public void Pictures_and_sound_are_those_that_ffmpeg_gives_for_each_stream_alone()
    {
        string clip = TestMedia.Clip(Path.Combine(folder, "a.mp4"));
        var decoder = new ClipDecoder(TestMedia.Tool, Options);
        decoder.Decode(clip);

        string faces = Path.Combine(folder, "faces.raw"), sound = Path.Combine(folder, "sound.raw");
        TestMedia.Run(["-i", clip, "-vf", "fps=5:start_time=0,crop=48:48,scale=30:30:flags=area,format=gray", "-f", "rawvideo", faces]);
        TestMedia.Run(["-i", clip, "-ac", "1", "-ar", "16000", "-f", "f32le", sound]);
        Assert.That(decoder.FaceCount, Is.EqualTo(5));
        Assert.That(decoder.Faces.ToArray(), Is.EqualTo(File.ReadAllBytes(faces).Take(Options.FaceBytes)));
        Assert.That(decoder.Samples.Length, Is.EqualTo(16_000));
        Assert.That(System.Runtime.InteropServices.MemoryMarshal.AsBytes(decoder.Samples).ToArray(), Is.EqualTo(File.ReadAllBytes(sound).Take(64_000)));
    }

    [Test]
    public void A_longer_clip_gives_its_first_seconds()
    {
        var whole = new ClipDecoder(TestMedia.Tool, Options);
        whole.Decode(TestMedia.Clip(Path.Combine(folder, "long.mp4"), seconds: 3));
        Assert.That((whole.FaceCount, whole.Samples.Length), Is.EqualTo((5, 16_000)));
    }

    [Test]
    public void A_shorter_clip_is_padded_and_counted()
    {
        var decoder = new ClipDecoder(TestMedia.Tool, Options with { ClipSeconds = 2, FaceFrames = 10 });
        decoder.Decode(TestMedia.Clip(Path.Combine(folder, "a.mp4")));
        Assert.That(decoder.FaceCount, Is.EqualTo(5));
        Assert.That(decoder.Samples.Length, Is.EqualTo(16_000).Within(1024));
        Assert.That(decoder.Faces[(5 * 900)..].ToArray(), Is.All.EqualTo(128));
        Assert.That(decoder.Faces[..(5 * 900)].ToArray().Distinct().Count(), Is.GreaterThan(10));
    }

    [Test]
    public void A_decoder_used_again_keeps_nothing_of_the_clip_before()
    {
        string shorter = TestMedia.Clip(Path.Combine(folder, "short.mp4"), seconds: 0.6, tone: 880);
        var used = new ClipDecoder(TestMedia.Tool, Options);
        used.Decode(TestMedia.Clip(Path.Combine(folder, "a.mp4")));
        used.Decode(shorter);
        var fresh = new ClipDecoder(TestMedia.Tool, Options);
        fresh.Decode(shorter);
        Assert.That(used.Faces.ToArray(), Is.EqualTo(fresh.Faces.ToArray()));
        Assert.That(used.Samples.ToArray(), Is.EqualTo(fresh.Samples.ToArray()));
    }

    [Test]
    public void Names_that_look_like_options_addresses_or_patterns_are_names()
    {
        var decoder = new ClipDecoder(TestMedia.Tool, Options);
        foreach (string name in (string[])["-y.mp4", "concat:a.mp4", "%03d.mp4", "a b'\"c;$(x).mp4", "ünïcödé.mp4"])
            Assert.That(() => decoder.Decode(TestMedia.Clip(Path.Combine(folder, name))), Throws.Nothing, name);
    }

    [TestCase("missing file")]
    [TestCase("empty file")]
    [TestCase("not a media file")]
    [TestCase("Git LFS pointer")]
    [TestCase("no sound")]
    [TestCase("no picture")]
    [TestCase("too short")]
    [TestCase("truncated", "index at the end")]
    [TestCase("truncated", "index at the start")]
    [TestCase("no picture", "folder without any")]
    [TestCase("no sound", "folder of pictures")]
    public void A_bad_clip_is_refused_with_its_reason(string reason, string variant = "")
    {
        string path = BadClip(reason, variant);
        var failure = Assert.Throws<MediaException>(() => new ClipDecoder(TestMedia.Tool, Options).Decode(path))!;
        Assert.That(failure.Reason, Is.EqualTo(reason), failure.Message);
        Assert.That(failure.Message, Does.Not.Contain("\n"));
    }

    [Test]
    public void A_folder_of_pictures_gives_those_that_a_video_of_them_would()
    {
        string pictures = TestMedia.Pictures(Path.Combine(folder, "track"), 30), video = Path.Combine(folder, "track.avi"), sound = TestMedia.Clip(Path.Combine(folder, "a.mp4"), seconds: 2);
        TestMedia.Run(["-framerate", "25", "-i", Path.Combine(pictures, "%d.png"), "-i", sound, "-map", "0:v", "-map", "1:a", "-c:v", "ffv1", "-c:a", "pcm_s16le", video]);
        var (fromFolder, fromVideo) = (new ClipDecoder(TestMedia.Tool, Options), new ClipDecoder(TestMedia.Tool, Options));

        fromFolder.Decode(new ClipSource(pictures, sound));
        fromVideo.Decode(new ClipSource(video, sound));

        Assert.That(fromFolder.FaceCount, Is.EqualTo(5));
        Assert.That(fromFolder.Faces.ToArray(), Is.EqualTo(fromVideo.Faces.ToArray()));
        Assert.That(fromFolder.Samples.ToArray(), Is.EqualTo(fromVideo.Samples.ToArray()).And.Length.EqualTo(16_000));
    }

    [Test]
    public void A_damaged_picture_among_others_is_told()
    {
        string pictures = TestMedia.Pictures(Path.Combine(folder, "track"), 30);
        File.WriteAllText(Path.Combine(pictures, "3.png"), "no picture");
        var failure = Assert.Throws<MediaException>(() => new ClipDecoder(TestMedia.Tool, Options).Decode(new ClipSource(pictures, TestMedia.Clip(Path.Combine(folder, "a.mp4")))))!;
        Assert.That(failure.Reason, Is.EqualTo("cannot be decoded"), failure.Message);
    }

    [Test]
    public void Pictures_may_be_links_into_a_store_and_not_to_nothing_or_to_a_device()
    {
        string store = TestMedia.Pictures(Path.Combine(folder, "store"), 3), pictures = Path.Combine(folder, "track");
        Directory.CreateDirectory(pictures);
        foreach (string file in Directory.GetFiles(store))
            File.CreateSymbolicLink(Path.Combine(pictures, Path.GetFileName(file)), Path.Combine("..", "store", Path.GetFileName(file)));
        Assert.That(new PictureFolder(pictures, 25).Every(0.04, 0, 1, 9).Select(Path.GetDirectoryName),
            Is.EqualTo(Enumerable.Repeat(pictures, 3)));
        var source = new ClipSource(pictures);
        long before = source.State().Size;
        File.AppendAllText(Directory.GetFiles(store)[0], "more");
        Assert.That(source.State().Size, Is.EqualTo(before + 4), "what a link leads to has changed");
        foreach (var (target, reason) in ((string, string)[])[("gone.png", "missing file"), ("9.png", "missing file"),
            ("/dev/zero", "empty file")])
        {
            string link = Path.Combine(pictures, "9.png");
            File.CreateSymbolicLink(link, target);
            Assert.That(() => new PictureFolder(pictures, 25), Throws.TypeOf<MediaException>().With.Property("Reason").EqualTo(reason),
                target);
            File.Delete(link);
        }
    }

    [Test]
    public void Pictures_are_taken_by_the_number_in_their_names()
    {
        string pictures = Path.Combine(folder, "track");
        Directory.CreateDirectory(pictures);
        foreach (string name in (string[])["2.jpg", "10.jpg", "0000001.jpg", "notes.txt"])
            File.WriteAllText(Path.Combine(pictures, name), name);
        Assert.That(new PictureFolder(pictures, 25).Every(0.04, 0, 1, 9).Select(Path.GetFileName), Is.EqualTo((string[])["0000001.jpg", "2.jpg", "10.jpg"]));
        Assert.That(new PictureFolder(pictures, 5).Every(0.1, 0.1, 1, 9).Select(Path.GetFileName), Is.EqualTo((string[])["0000001.jpg", "2.jpg", "2.jpg", "10.jpg", "10.jpg"]), "one may be taken twice");
    }

    [Test]
    public void A_part_of_a_file_is_what_that_part_alone_would_be()
    {
        string whole = TestMedia.Clip(Path.Combine(folder, "whole.mp4"), seconds: 3), part = Path.Combine(folder, "part.avi");
        TestMedia.Run(["-ss", "1.2", "-t", "0.8", "-i", whole, "-c:v", "ffv1", "-c:a", "pcm_s16le", part]);
        var (cut, alone) = (new ClipDecoder(TestMedia.Tool, Options), new ClipDecoder(TestMedia.Tool, Options));

        cut.Decode(new ClipSource(whole, Start: 1.2, End: 2));
        alone.Decode(part);

        Assert.That(cut.FaceCount, Is.EqualTo(4).And.EqualTo(alone.FaceCount));
        Assert.That(cut.Faces.ToArray(), Is.EqualTo(alone.Faces.ToArray()));
        Assert.That(cut.Samples.Length, Is.EqualTo(12_800).Within(1));
    }

    [TestCase(PictureRegion.Left, 0)]
    [TestCase(PictureRegion.Right, 32)]
    public void A_half_of_the_picture_is_cut_before_the_face(PictureRegion region, int left)
    {
        string clip = TestMedia.Clip(Path.Combine(folder, "a.mp4")), half = Path.Combine(folder, "half.avi");
        TestMedia.Run(["-i", clip, "-vf", $"crop=32:48:{left}:0", "-c:v", "ffv1", "-c:a", "pcm_s16le", half]);
        var (cut, alone) = (new ClipDecoder(TestMedia.Tool, Options), new ClipDecoder(TestMedia.Tool, Options));

        cut.Decode(new ClipSource(clip, Region: region));
        alone.Decode(half);

        Assert.That(cut.Faces.ToArray(), Is.EqualTo(alone.Faces.ToArray()));
    }

    [Test]
    public void A_tight_crop_is_the_middle_of_the_picture()
    {
        string clip = TestMedia.Clip(Path.Combine(folder, "a.mp4")), middle = Path.Combine(folder, "middle.avi");
        TestMedia.Run(["-i", clip, "-vf", "crop=30:30", "-c:v", "ffv1", "-c:a", "pcm_s16le", middle]); // 48 / 1.6
        var (cut, alone) = (new ClipDecoder(TestMedia.Tool, Options with { Crop = CropMode.Center }), new ClipDecoder(TestMedia.Tool, Options));

        cut.Decode(clip);
        alone.Decode(middle);

        Assert.That(cut.Faces.ToArray(), Is.EqualTo(alone.Faces.ToArray()));
    }

    /// <summary>Each of these would play the clip beside it, had ffmpeg been let.</summary>
    [TestCase("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")]
    [TestCase("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")]
    [TestCase("list.ffconcat", "ffconcat version 1.0\nfile a.ts\n")]
    public void A_playlist_cannot_make_ffmpeg_open_another_file(string name, string text)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllText(path, text);
        TestMedia.Run(["-i", TestMedia.Clip(Path.Combine(folder, "a.mp4")), Path.Combine(folder, "a.ts")]);
        var failure = Assert.Throws<MediaException>(() => new ClipDecoder(TestMedia.Tool, Options).Decode(path))!;
        Assert.That(failure.Reason, Is.EqualTo("not a media file"));
    }

    [Test]
    public void Probe_reads_length_and_streams()
    {
        var info = MediaInfo.Probe(TestMedia.Tool, TestMedia.Clip(Path.Combine(folder, "a.mp4")));
        Assert.That((info.HasVideo, info.HasAudio), Is.EqualTo((true, true)));
        Assert.That(info.SoundStarts, Is.EqualTo((double[])[0]));
        Assert.That(info.Seconds, Is.EqualTo(1).Within(0.1));
    }

    [Test]
    public void A_program_that_hangs_is_ended_with_its_children()
    {
        var result = ChildProgram.Run("/bin/sh", ["-c", "sleep 60 & sleep 60"], TimeSpan.FromMilliseconds(200));
        Assert.That(result.TimedOut, Is.True);
        Assert.That(result.Succeeded, Is.False);
    }

    [Test]
    public void Cancelling_ends_a_program()
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        Assert.That(() => ChildProgram.Run("/bin/sh", ["-c", "sleep 60"], TimeSpan.FromMinutes(1), stop: stop.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Input_output_and_endless_complaints_pass_at_the_same_time()
    {
        var sent = Enumerable.Range(0, 1_000_000).Select(i => (byte)i).ToArray();
        var received = new MemoryStream();
        var result = ChildProgram.Run("/bin/sh", ["-c", "head -c 300000 /dev/zero | tr '\\0' e >&2; cat"], TimeSpan.FromMinutes(1),
            writeInput: stream => stream.Write(sent), readOutput: stream => stream.CopyTo(received));
        Assert.That(received.ToArray(), Is.EqualTo(sent));
        Assert.That(result.Errors, Has.Length.EqualTo(4096).And.All.EqualTo('e'));
    }

    [Test]
    public void Missing_ffmpeg_is_one_line_that_says_where_it_was_looked_for()
    {
        var failure = Assert.Throws<UserException>(() => FfmpegTool.Find(Path.Combine(folder, "nowhere")))!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.DeviceUnavailable));
        Assert.That(failure.Message, Does.Contain(Path.Combine(folder, "nowhere")).And.Contain("apt-get install ffmpeg").And.Not.Contain("\n"));
    }

    private string BadClip(string reason, string variant)
    {
        string path = Path.Combine(folder, "bad.mp4");
        switch (reason)
        {
            case "empty file":
                File.WriteAllBytes(path, []);
                break;
            case "not a media file":
                File.WriteAllText(path, "dear diary, this is no film\n");
                break;
            case "Git LFS pointer":
                File.WriteAllText(path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
                break;
            case "no sound" when variant == "folder of pictures":
                TestMedia.Pictures(path, 25);
                break;
            case "no picture" when variant == "folder without any":
                Directory.CreateDirectory(path);
                break;
            case "no sound":
                TestMedia.Clip(path, sound: false);
                break;
            case "no picture":
                TestMedia.Clip(path, picture: false);
                break;
            case "too short":
                TestMedia.Clip(path, seconds: 0.2);
                break;
            case "truncated" when variant == "index at the start":
                TestMedia.Clip(path);
                Cut(path, 0.6);
                break;
            case "truncated":
                TestMedia.Run(["-i", TestMedia.Clip(Path.Combine(folder, "whole.mp4")), "-c", "copy", path]);
                Cut(path, 0.6);
                break;
        }
        return path;
    }

    private static void Cut(string path, double share)
    {
        using var file = File.OpenWrite(path);
        file.SetLength((long)(file.Length * share));
    }
}
