using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What people's files are like: parts of them in every container, streams that begin late, pixels that are no squares, tracks without a
/// voice, channels that
/// cancel, containers without a length. Each film is its own clock: at second t its picture has the grey level 20 + 30 t.
/// </summary>
public sealed class RealMediaTests
{
    private const double Beep = 2.5, BeepLength = 0.3;

    private const string Clock = "color=black:size=64x64:rate=25:duration=6,format=yuv420p,geq=lum='20+1.2*N':cb=128:cr=128";

    private static readonly string Tone = $"sine=frequency=500:sample_rate=48000:duration=6,"
        + $"volume='if(between(t,{Beep},{Beep + BeepLength}),4,0)':eval=frame";

    private static readonly FeatureOptions Options = new() { ClipSeconds = 1, FaceSize = 16, FaceFrames = 5 };

    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = TestFolders.New();

    [TestCase("a.mp4", "-c:v libx264 -bf 3 -c:a aac")]
    [TestCase("a.mkv", "-c:v libx264 -bf 3 -c:a libopus")]
    [TestCase("a.mov", "-c:v mpeg4 -c:a pcm_s16le -movflags +faststart")]
    [TestCase("fragments.mp4", "-c:v libx264 -c:a aac -movflags +frag_keyframe+empty_moov")]
    [TestCase("a.flv", "-c:v libx264 -c:a aac -ar 44100")]
    [TestCase("h264.ts", "-c:v libx264 -bf 3 -c:a aac")]
    [TestCase("refreshed.ts", "-c:v libx264 -x264-params intra-refresh=1 -c:a aac")]
    [TestCase("mpeg2.ts", "-c:v mpeg2video -bf 2 -c:a mp2")]
    [TestCase("a.mpg", "-c:v mpeg2video -c:a mp2")]
    [TestCase("a.avi", "-c:v mpeg4 -bf 2 -c:a libmp3lame")]
    [TestCase("a.asf", "-c:v wmv2 -c:a wmav2")]
    [TestCase("a.ogv", "-c:v libtheora -q:v 9 -c:a libvorbis")]
    [TestCase("a.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -c:a libvorbis")]
    [TestCase("a.nut", "-c:v mpeg4 -c:a pcm_s16le")]
    [TestCase("a.mxf", "-c:v mpeg2video -c:a pcm_s16le")]
    public void A_part_shows_and_says_what_happens_then(string name, string coding)
    {
        string film = Film(name, [.. coding.Split(' '), "-g", "50", "-preset", "ultrafast"]);
        foreach (double start in (double[])[0, 1.1, 2.2, 3.3, 4.4])
        {
            var decoder = Decode(new ClipSource(film, Start: start));
            Assert.That(decoder.FaceCount, Is.EqualTo(5), $"from {start} s");
            // transport streams count from the first packet of sound, which lies some 50 ms before it
            for (int i = 0; i < 5; i++)
                Assert.That(SecondOf(decoder, i), Is.EqualTo(start + (0.2 * i) + 0.1).Within(0.12), $"picture {i} from {start} s");
            if (start == 2.2)
                Assert.That(Onset(decoder), Is.EqualTo(Beep - start).Within(0.08));
            Assert.That(decoder.Silent, Is.EqualTo(start != 2.2));
        }
    }

    [TestCase("a.mkv")]
    [TestCase("a.mp4")]
    [TestCase("a.mov")]
    [TestCase("a.ts")]
    [TestCase("a.flv")]
    [TestCase("a.nut")]
    public void Sound_that_begins_late_stands_at_its_time_behind_silence(string name)
    {
        string film = Path.Combine(folder, name);
        TestMedia.Run(["-f", "lavfi", "-i", Clock, "-itsoffset", "3.4", "-f", "lavfi", "-i",
            "sine=frequency=500:sample_rate=44100:duration=2",
            "-c:v", name == "a.nut" ? "mpeg4" : "libx264", "-g", "25", "-c:a", name == "a.nut" ? "pcm_s16le" : "aac", film]);
        Assert.That(Onset(Decode(new ClipSource(film, Start: 3))), Is.EqualTo(0.4).Within(0.06));
        foreach (double start in (double[])[0, 1.5])
        {
            var before = Decode(new ClipSource(film, Start: start));
            Assert.That((before.Silent, before.Samples.Length, before.FaceCount), Is.EqualTo((true, 16_000, 5)), $"from {start} s");
            Assert.That(SecondOf(before, 4), Is.EqualTo(start + 0.9).Within(0.1));
        }
        var whole = new ClipDecoder(TestMedia.Tool, Options with { ClipSeconds = 5 });
        whole.Decode(film);
        Assert.That(Onset(whole), Is.EqualTo(3.4).Within(0.06));
    }

    [TestCase("a.mkv")]
    [TestCase("a.mp4")]
    [TestCase("a.ts")]
    public void Pictures_that_begin_late_do_not_come_earlier(string name)
    {
        string film = Path.Combine(folder, name);
        TestMedia.Run(["-itsoffset", "1.5", "-f", "lavfi", "-i", Clock, "-f", "lavfi", "-i", Tone, "-c:v", "libx264", "-preset",
            "ultrafast", "-g", "25", "-c:a", "aac", "-vsync", "passthrough", film]);
        var decoder = Decode(new ClipSource(film, Start: 2));
        Assert.That(SecondOf(decoder, 0), Is.EqualTo(2 + 0.1 - 1.5).Within(0.12)); // a picture, and the start of AAC
        Assert.That(Onset(decoder), Is.EqualTo(Beep - 2).Within(0.06));
        var early = Decode(new ClipSource(film, Start: 1));
        foreach (int picture in (int[])[0, 1])
            Assert.That(SecondOf(early, picture), Is.EqualTo(SecondOf(early, 3)), "the first picture stands for those before it");
        Assert.That(Assert.Throws<MediaException>(() => Decode(new ClipSource(film, End: 1)))!.Reason, Is.EqualTo("too short"));
    }

    [Test]
    public void The_picture_that_stands_when_a_part_begins_is_shown()
    {
        string film = Film("slides.mkv", ["-vf", "select='not(mod(n,50))'", "-vsync", "vfr", "-c:v", "libx264", "-c:a",
            "aac"]); // at 0, 2 and 4 s
        foreach (var (start, shown) in ((double, double)[])[(0.5, 0), (2.9, 2)])
            for (int i = 0; i < 5; i++)
                Assert.That(SecondOf(Decode(new ClipSource(film, Start: start)), i), Is.EqualTo(shown).Within(0.1),
                    $"picture {i} from {start} s");
    }

    /// <summary>A disc, stored in pixels of another shape, or lying on its side.</summary>
    [TestCase(CropMode.Given, 256, 144, "")]
    [TestCase(CropMode.Given, 180, 144, "setsar=64/45")]
    [TestCase(CropMode.Center, 180, 144, "setsar=64/45")]
    [TestCase(CropMode.Given, 128, 144, "setsar=2/1")]
    [TestCase(CropMode.Given, 256, 72, "setsar=1/2")]
    [TestCase(CropMode.Center, 256, 72, "setsar=1/2")]
    [TestCase(CropMode.Given, 192, 144, "setsar=4/3")]
    public void A_disc_is_round(CropMode crop, int width, int height, string shape)
    {
        foreach (string name in (string[])["disc.mkv", "disc.mp4", "disc.ts"])
        {
            string film = Path.Combine(folder, name);
            TestMedia.Run(["-f", "lavfi", "-i",
                "color=black:size=256x144:rate=5:duration=1,format=yuv420p,geq=lum='if(lt(hypot(X-128,Y-72),40),235,16)':cb=128:cr=128",
                "-f", "lavfi", "-i", "sine=duration=1", "-vf", $"scale={width}:{height}{(shape.Length > 0 ? "," + shape : "")}", "-c:v",
                    "libx264", "-c:a", "aac", film]);
            var decoder = new ClipDecoder(TestMedia.Tool, Options with { FaceSize = 90, Crop = crop });
            decoder.Decode(film);
            int side = 90, across = 0, down = 0;
            for (int i = 0; i < side; i++)
            {
                across += decoder.Faces[(side / 2 * side) + i] > 128 ? 1 : 0;
                down += decoder.Faces[(i * side) + (side / 2)] > 128 ? 1 : 0;
            }
            Assert.That(across, Is.EqualTo(down).Within(3).And.EqualTo(80.0 / 144 * side * (crop == CropMode.Center ? FaceTrack.Margin
                : 1)).Within(4), name);
        }
    }

    [TestCase(90)]
    [TestCase(180)]
    [TestCase(270)]
    public void A_picture_is_turned_as_the_file_says(int degrees)
    {
        string film = Path.Combine(folder, "film.mp4"), turned = Path.Combine(folder, "turned.mp4"),
            upright = Path.Combine(folder, "upright.mkv");
        TestMedia.Run(["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=1", "-f", "lavfi", "-i", "sine=duration=1", "-c:v",
            "mpeg4", "-q:v", "1", "-c:a", "aac", film]);
        TestMedia.Run(["-i", film, "-c", "copy", "-metadata:s:v", $"rotate={degrees}", turned]);
        TestMedia.Run(["-i", turned, "-c:v", "ffv1", "-c:a", "pcm_s16le", upright]);
        if (MatrixOf(turned).Length == 0)
            TestMedia.Run(["-y", "-display_rotation", $"{-degrees}", "-i", film, "-c", "copy", turned]); // what ffmpeg wants since 6
        var (a, b, straight) = (Decode(new ClipSource(turned)), Decode(new ClipSource(upright)), Decode(new ClipSource(film)));
        Assert.That(Difference(a.Faces, b.Faces), Is.LessThan(2));
        Assert.That(Difference(a.Faces, straight.Faces), Is.GreaterThan(10));
    }

    /// <summary>However the voice was put into the file, it comes out as loud as a voice.</summary>
    [TestCase("first track empty", "[1:a]volume=0[n];[1:a]anull[v]", "-map [n] -map [v]")]
    [TestCase("two tracks empty", "[1:a]volume=0,asplit[m][n];[1:a]anull[v]", "-map [m] -map [n] -map [v]")]
    [TestCase("left only", "[1:a]pan=stereo|c0=c0|c1=0*c0[v]", "-map [v]")]
    [TestCase("right only", "[1:a]pan=stereo|c0=0*c0|c1=c0[v]", "-map [v]")]
    [TestCase("phase inverted", "[1:a]pan=stereo|c0=c0|c1=-1*c0[v]", "-map [v]")]
    [TestCase("nearly inverted", "[1:a]pan=stereo|c0=c0|c1=-0.98*c0[v]", "-map [v]")]
    [TestCase("centre of 5.1", "[1:a]pan=5.1|FC=c0[v]", "-map [v]")]
    [TestCase("5.1 without centre", "[1:a]pan=5.1|FL=c0|FR=c0[v]", "-map [v]")]
    [TestCase("one of eight", "[1:a]pan=7.1|BR=c0[v]", "-map [v]")]
    [TestCase("one of sixteen", "[1:a]pan=hexadecagonal|c15=c0[v]", "-map [v]")]
    [TestCase("8 kHz", "[1:a]aresample=8000[v]", "-map [v]")]
    public void The_voice_is_heard(string how, string graph, string maps)
    {
        string film = Path.Combine(folder, "a.mkv");
        TestMedia.Run(["-f", "lavfi", "-i", Clock, "-f", "lavfi", "-i", "sine=frequency=500:sample_rate=48000:duration=6",
            "-filter_complex", graph, "-map", "0:v", .. maps.Split(' '),
            "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le", film]);
        var decoder = Decode(new ClipSource(film, Start: 2));
        Assert.That(decoder.Silent, Is.False, how);
        double power = 0;
        int crossings = 0;
        for (int i = 1; i < decoder.Samples.Length; i++)
        {
            power += decoder.Samples[i] * decoder.Samples[i] / decoder.Samples.Length;
            crossings += decoder.Samples[i] > 0 != decoder.Samples[i - 1] > 0 ? 1 : 0;
        }
        Assert.That(Math.Sqrt(power), Is.GreaterThan(0.005), how); // ffmpeg's sine has 0.088
        Assert.That(crossings, Is.EqualTo(1000).Within(4), how);
    }

    [TestCase("0*random(0)", true)]
    [TestCase("0.00005*sin(3000*t)", true)]
    [TestCase("0.001*sin(3000*t)", false)]
    public void Silence_is_told(string sound, bool silent)
    {
        string film = Path.Combine(folder, "a.mkv");
        TestMedia.Run(["-f", "lavfi", "-i", Clock, "-f", "lavfi", "-i", $"aevalsrc={sound}:duration=6", "-c:v", "libx264", "-preset",
            "ultrafast", "-c:a", "pcm_f32le", film]);
        Assert.That(Decode(new ClipSource(film)).Silent, Is.EqualTo(silent));
    }

    [TestCase("a.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus -f webm -live 1")]
    [TestCase("a.mkv", "-c:v libx264 -c:a aac -f matroska -live 1")]
    [TestCase("a.flv", "-c:v libx264 -c:a aac -ar 44100 -flvflags no_duration_filesize+no_metadata")]
    [TestCase("a.ts", "-c:v libx264 -c:a aac")]
    [TestCase("a.nut", "-c:v mpeg4 -c:a pcm_s16le")]
    [TestCase("fragments.mp4", "-c:v libx264 -c:a aac -movflags +frag_keyframe+empty_moov")]
    public void The_length_is_known_where_the_container_does_not_say_it(string name, string coding)
    {
        string film = Film(name, [.. coding.Split(' '), "-preset", "ultrafast"]);
        Assert.That(MediaInfo.LengthOf(TestMedia.Tool, film), Is.EqualTo(6).Within(0.15));
    }

    [TestCase("a\"b.mp4")]
    [TestCase("\" -version \".mp4")]
    [TestCase("back\\slash\\")]
    [TestCase("both\\\".mp4")]
    [TestCase("end\\\n")]
    public void A_name_with_quotes_is_a_name(string name)
    {
        string clip = TestMedia.Clip(Path.Combine(folder, name), seconds: 1);
        Assert.That(Decode(new ClipSource(clip)).FaceCount, Is.EqualTo(5));
        Assert.That(MediaInfo.LengthOf(TestMedia.Tool, clip), Is.EqualTo(1).Within(0.1));
    }

    private static ClipDecoder Decode(ClipSource source)
    {
        var decoder = new ClipDecoder(TestMedia.Tool, Options);
        decoder.Decode(source);
        return decoder;
    }

    /// <summary>The time that a picture shows.</summary>
    private static double SecondOf(ClipDecoder decoder, int picture)
    {
        double sum = 0;
        foreach (byte pixel in decoder.Faces.Slice(picture * 256, 256))
            sum += pixel;
        return ((sum / 256 * 219 / 255) + 16 - 20) / 30; // grey from 0 to 255 was luminance from 16 to 235
    }

    /// <summary>Seconds from the start of the sound to the first that is loud.</summary>
    private static double Onset(ClipDecoder decoder)
    {
        int first = 0;
        while (first < decoder.Samples.Length && Math.Abs(decoder.Samples[first]) < 0.03)
            first++;
        return first / 16_000.0;
    }

    private static double Difference(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += Math.Abs(a[i] - b[i]);
        return sum / a.Length;
    }

    private static string MatrixOf(string film)
    {
        string text = "";
        Trainer.ChildProgram.Run(TestMedia.Tool.Ffprobe, ["-v", "error", "-show_entries", "stream_side_data=rotation", "-of", "csv=p=0",
            film], TimeSpan.FromMinutes(1),
            readOutput: stream => text = new StreamReader(stream).ReadToEnd());
        return text.Trim();
    }

    private string Film(string name, string[] coding)
    {
        string film = Path.Combine(folder, name);
        TestMedia.Run(["-f", "lavfi", "-i", Clock, "-f", "lavfi", "-i", Tone, .. coding, film]);
        return film;
    }
}
