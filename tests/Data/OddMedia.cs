using System.Buffers.Binary;
using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>A damaged or odd file in the data root.</summary>
/// <param name="Name">Path under the root.</param>
/// <param name="Outcome"><see cref="OddMedia.Accepted"/>, or the reason for which it is to be rejected; null where either is right.</param>
internal sealed record OddFile(string Name, string? Outcome = null);

/// <summary>
/// Some three hundred files that a corpus of strangers may hold, made of a few clips of a second: cut short, with flipped bits, of odd shapes, with odd
/// names, and some that try to make ffmpeg open other files. Those lie outside the root and are called canary: nobody may open them.
/// </summary>
internal sealed class OddMedia
{
    public const string Accepted = "accepted";

    private const string NoMedia = "not a media file";
    private const int Seed = 1, FlipsPerFormat = 6;

    /// <summary>Containers of the same clip; each is cut, flipped and overwritten.</summary>
    private static readonly (string Name, string[] Arguments)[] formats =
    [
        ("plain.mp4", ["-c", "copy"]),
        ("index-first.mp4", ["-c", "copy", "-movflags", "+faststart"]),
        ("fragments.mp4", ["-c", "copy", "-movflags", "+frag_keyframe+empty_moov"]),
        ("quicktime.mov", ["-c", "copy"]),
        ("matroska.mkv", ["-c", "copy"]),
        ("flash.flv", ["-c:v", "copy", "-c:a", "aac", "-ar", "22050"]),
        ("transport.ts", ["-c", "copy"]),
        ("jpeg-and-wave.avi", ["-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
        ("windows.asf", ["-c:v", "wmv2", "-c:a", "wmav2"]),
        ("vp8.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis"]),
        ("raw-sound.nut", ["-c:v", "mpeg4", "-c:a", "pcm_f32le"]),
    ];

    private readonly string root, outside;
    private readonly List<OddFile> files = [];

    private OddMedia(string root, string outside) => (this.root, this.outside) = (root, outside);

    /// <summary>Fills two new folders.</summary>
    public static IReadOnlyList<OddFile> Make(string root, string outside)
    {
        Directory.CreateDirectory(root);
        Directory.CreateDirectory(outside);
        var media = new OddMedia(root, outside);
        media.MakeFormats();
        media.Damage();
        media.MakeShapes();
        media.PatchHeaders();
        media.MakeWhatIsNoClip();
        media.MakeNames();
        media.MakeTricks();
        return media.files;
    }

    private string Canary(string extension) => Path.Combine(outside, "canary" + extension);

    private string Base => Path.Combine(root, formats[0].Name);

    private void MakeFormats()
    {
        string source = Canary(".mp4");
        TestMedia.Run([
            "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=12:duration=1.2", "-f", "lavfi", "-i", "sine=sample_rate=16000:duration=1.2",
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "6", source, "-frames:v", "1", Canary(".png"),
        ]);
        TestMedia.Run(["-i", source, .. formats.SelectMany(format => (string[])[.. format.Arguments, Path.Combine(root, format.Name)])]);
        File.Copy(Path.Combine(root, "transport.ts"), Canary(".ts"));
        files.AddRange(formats.Select(format => new OddFile(format.Name, Accepted)));
    }

    private void Damage()
    {
        var random = new Random(Seed);
        foreach (var (name, _) in formats)
        {
            byte[] whole = File.ReadAllBytes(Path.Combine(root, name));
            for (int tenths = 1; tenths < 10; tenths++)
                Write($"cut/{tenths}-{name}", whole[..(whole.Length * tenths / 10)]);
            for (int i = 0; i < FlipsPerFormat; i++)
            {
                // one in the headers, three times; then more and more anywhere
                bool header = i < 3;
                byte[] flipped = [.. whole];
                for (int flip = 0; flip < (header ? 1 : 1 << i); flip++)
                    flipped[random.Next(header ? Math.Min(1024, whole.Length) : whole.Length)] ^= (byte)(1 << random.Next(8));
                Write($"flipped/{i}-{name}", flipped);
            }
            byte[] hole = [.. whole];
            hole.AsSpan(whole.Length / 3, whole.Length / 4).Clear();
            Write("hole/" + name, hole);
            int half = whole.Length / 2;
            Write("halves-exchanged/" + name, [.. whole[half..], .. whole[..half]]);
            var rubbish = new byte[4096];
            random.NextBytes(rubbish);
            Write("rubbish-behind/" + name, [.. whole, .. rubbish]);
        }
        byte[] transport = File.ReadAllBytes(Path.Combine(root, "transport.ts"));
        Write("twice.ts", [.. transport, .. transport]);
    }

    /// <summary>What ffmpeg writes when it is told to: all in one call.</summary>
    private void MakeShapes()
    {
        string subtitles = Write("text.srt", "1\n00:00:00,000 --> 00:00:01,000\nhello\n", NoMedia);
        string[] both = ["-map", "0:v", "-map", "1:a"], small = ["-c:v", "ffv1", "-c:a", "pcm_s16le"];
        List<string> arguments =
        [
            "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=12:duration=1.2", "-f", "lavfi", "-i", "sine=sample_rate=16000:duration=1.2",
            "-itsoffset", "0.6", "-f", "lavfi", "-i", "sine=frequency=880:sample_rate=16000:duration=0.6",
            "-itsoffset", "0.6", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=12:duration=0.6", "-i", subtitles,
        ];
        void Add(string name, string? outcome, params string[] options)
        {
            arguments.AddRange([.. options, Path.Combine(root, name)]);
            files.Add(new OddFile(name, outcome));
        }
        Add("no-sound.mp4", "no sound", "-map", "0:v", "-c:v", "mpeg4");
        Add("no-sound.mkv", "no sound", "-map", "0:v", "-c:v", "ffv1");
        Add("no-picture.m4a", "no picture", "-map", "1:a");
        Add("no-picture.mkv", "no picture", "-map", "1:a", "-c:a", "pcm_s16le");
        Add("no-picture.wav", "no picture", "-map", "1:a");
        Add("no-picture.mp3", "no picture", "-map", "1:a");
        Add("no-picture.flac", "no picture", "-map", "1:a");
        Add("cover-only.m4a", "no picture", [.. both, "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v:0", "attached_pic"]);
        Add("cover-only.mp3", "no picture", [.. both, "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v:0", "attached_pic"]);
        Add("cover-first.mp4", Accepted, "-map", "0:v", "-map", "0:v", "-map", "1:a", "-c:v:0", "mjpeg", "-frames:v:0", "1", "-c:v:1", "mpeg4", "-disposition:v:0", "attached_pic");
        Add("short.mkv", "too short", [.. both, .. small, "-t", "0.2"]);
        Add("variable-rate.mkv", Accepted, [.. both, .. small, "-vf", "select='lt(n,4)+not(mod(n,5))'", "-vsync", "vfr"]);
        Add("one-picture.mkv", null, [.. both, .. small, "-vf", "select='eq(n,0)'", "-vsync", "vfr"]);
        Add("gap-of-ten-hours.mkv", null, [.. both, .. small, "-vf", "setpts='PTS+gte(N,7)*36000/TB'", "-vsync", "vfr"]);
        Add("one-a-second.mkv", null, [.. both, .. small, "-r", "1"]);
        Add("240-a-second.mkv", Accepted, [.. both, .. small, "-r", "240"]);
        Add("late-sound.mkv", null, ["-map", "0:v", "-map", "2:a", .. small]);
        Add("late-picture.mkv", null, ["-map", "3:v", "-map", "1:a", .. small]);
        Add("several-streams.mkv", Accepted, ["-map", "0:v", "-map", "3:v", "-map", "1:a", "-map", "2:a", .. small]);
        Add("sound-first.mkv", Accepted, ["-map", "1:a", "-map", "0:v", .. small]);
        Add("subtitles.mp4", Accepted, [.. both, "-map", "4:s", "-c:v", "mpeg4", "-c:s", "mov_text"]);
        Add("subtitles-only.mp4", "no picture", "-map", "4:s", "-c:s", "mov_text");
        foreach (string size in (string[])["1:1", "1:64", "33:47", "2000:2", "2:2000", "1918:1078"])
            Add($"size-{size.Replace(':', 'x')}.mkv", size.StartsWith("1:", StringComparison.Ordinal) ? null : Accepted, [.. both, .. small, "-vf", $"scale={size}"]);
        foreach (string format in (string[])["yuv444p", "yuv420p10le", "gray16le", "bgra", "yuv410p"])
            Add($"pixels-{format}.mkv", Accepted, [.. both, .. small, "-pix_fmt", format]);
        foreach (int rate in (int[])[4000, 8000, 96000, 192000])
            Add($"rate-{rate}.mkv", Accepted, [.. both, .. small, "-ar", $"{rate}"]);
        foreach (int channels in (int[])[2, 6, 8])
            Add($"channels-{channels}.mkv", Accepted, [.. both, .. small, "-ac", $"{channels}"]);
        Add("8-bit-sound.avi", Accepted, [.. both, "-c:v", "mjpeg", "-c:a", "pcm_u8"]);
        Add("picture.png.mp4", NoMedia, "-map", "0:v", "-frames:v", "1", "-f", "image2", "-c:v", "png");
        Add("picture.gif", NoMedia, "-map", "0:v");
        TestMedia.Run(arguments);
        Write("other-size-halfway.ts", [.. File.ReadAllBytes(Path.Combine(root, "transport.ts")), .. Remade("-vf", "scale=48:80", "-f", "mpegts")]);
    }

    /// <summary>The base clip, coded again.</summary>
    private byte[] Remade(params string[] options)
    {
        string path = Path.Combine(outside, "remade");
        TestMedia.Run(["-y", "-i", Base, .. options, path]);
        byte[] bytes = File.ReadAllBytes(path);
        File.Delete(path);
        return bytes;
    }

    private void PatchHeaders()
    {
        byte[] clip = File.ReadAllBytes(Base);
        byte[] Patched(Action<byte[]> patch)
        {
            byte[] patched = [.. clip];
            patch(patched);
            return patched;
        }
        foreach (var (name, seconds) in ((string, double)[])[("ten-hours.mp4", 36_000), ("no-duration.mp4", 0), ("a-tenth.mp4", 0.1)])
            Write(name, Patched(file =>
            {
                // each box counts in its own unit: mvhd and mdhd name it, tkhd takes that of mvhd
                foreach (string path in (string[])["moov/mvhd", "moov/trak/mdia/mdhd"])
                    foreach (int box in Mp4.Find(file, path))
                        Mp4.Put(file, box + 24, (uint)(seconds * Mp4.Get(file, box + 20)));
                foreach (int box in Mp4.Find(file, "moov/trak/tkhd"))
                    Mp4.Put(file, box + 28, (uint)(seconds * Mp4.Get(file, Mp4.Find(file, "moov/mvhd")[0] + 20)));
            }));
        foreach (var (degrees, cosine, sine) in ((int, int, int)[])[(90, 0, 1), (180, -1, 0), (270, 0, -1)])
            Write($"rotated-{degrees}.mp4", Patched(file =>
            {
                uint[] matrix = [(uint)(cosine << 16), (uint)(sine << 16), 0, (uint)(-sine << 16), (uint)(cosine << 16), 0, 0, 0, 1u << 30];
                for (int i = 0; i < matrix.Length; i++)
                    Mp4.Put(file, Mp4.Find(file, "moov/trak/tkhd")[0] + 48 + (4 * i), matrix[i]);
            }), Accepted);
        Write("no-timescale.mp4", Patched(file => Mp4.Put(file, Mp4.Find(file, "moov/trak/mdia/mdhd")[0] + 20, 0)));
        Write("endless-table.mp4", Patched(file => Mp4.Put(file, Mp4.Find(file, "moov/trak/mdia/minf/stbl/stsz")[0] + 16, 0x7fff_ffff)));
        Write("box-in-itself.mp4", Patched(file => Mp4.Put(file, Mp4.Find(file, "moov/trak")[0], 0)));
        Write("endless-box.mp4", [0, 0, 0, 1, .. "moov"u8, 0x7f, 255, 255, 255, 255, 255, 255, 255]);

        byte[] jpegs = File.ReadAllBytes(Path.Combine(root, "jpeg-and-wave.avi"));
        for (int at = 0; at + 9 < jpegs.Length; at++)
            if (jpegs.AsSpan(at).StartsWith((ReadOnlySpan<byte>)[0xff, 0xc0, 0, 17, 8]))
                jpegs.AsSpan(at + 5, 4).Fill(0xfe); // height and width of each picture: 65,278
        Write("gigantic.avi", jpegs);

        byte[] sound = File.ReadAllBytes(Path.Combine(root, "raw-sound.nut"));
        byte[] numbers = Remade("-c:v", "mjpeg", "-c:a", "pcm_f32le", "-f", "avi");
        var data = numbers.AsSpan(numbers.AsSpan().IndexOf("movi"u8));
        data.Slice(data.IndexOf("01wb"u8) + 8 + 64, 4).Fill(0xff); // a sample of the first chunk of sound
        Write("not-a-number.avi", numbers, "unreadable sound");
        Write("sound-of-another.mp4", [.. clip[..(clip.Length / 2)], .. sound[(sound.Length / 2)..]]);
    }

    private void MakeWhatIsNoClip()
    {
        Write("empty.mp4", [], "empty file");
        Write("pointer.mp4", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer");
        Write("diary.mp4", "dear diary, this is no film\n", NoMedia);
        Write("page.mp4", "<!doctype html><title>404</title><img src=canary.png>", NoMedia);
        Write("zeros.mp4", new byte[8192]);
        Write("packed.mkv", [0x1f, 0x8b, 8, 0, .. new byte[100]], NoMedia);
        foreach (string extension in (string[])["mp4", "mkv", "avi", "flv", "ts"])
        {
            var noise = new byte[10_000];
            new Random(Seed).NextBytes(noise);
            Write("noise." + extension, noise);
        }
        Directory.CreateDirectory(Path.Combine(root, "folder.mp4"));
        files.Add(new OddFile("folder.mp4", "no picture"));
        files.Add(new OddFile("gone.mp4", "missing file"));
        // whoever opens a pipe waits for its other end
        Assert.That(ChildProgram.Run("mkfifo", [Path.Combine(root, "pipe.mp4")], TimeSpan.FromMinutes(1)).Succeeded);
        files.Add(new OddFile("pipe.mp4", "unreadable file"));
    }

    private void MakeNames()
    {
        byte[] clip = File.ReadAllBytes(Base);
        foreach (string name in (string[])["-y.mp4", "--help", "-i", "%03d.mp4", "*.mp4", "[a-z]?.mp4", "concat:a|b", "file:a.mp4", "http:a.mp4", "pipe:0", "data:,a",
            "subfile,,start,0,end,9,,:a", "a b'\"c;$(x)`y`.mp4", "it's \\ here.mp4", "ünïcödé 脸 🙂.mp4", "\u202egpj.mp4", "tab\there.mp4", "bell\u0007.mp4",
            "a, b.mp4", "no extension", ".hidden", new string('n', 250), "a/b/../c.mp4", "#.mp4", "NUL", "=1+1.mp4"])
            Write(name, clip, Accepted);
        Write("%d.png", clip, NoMedia); // ffmpeg takes it for a sequence of pictures, which are no clips
    }

    /// <summary>Each would play a canary, or look for one, had ffmpeg been let.</summary>
    private void MakeTricks()
    {
        foreach (string canary in (string[])[Canary(".ts"), "../outside/canary.ts", "file:" + Canary(".ts"), "http://127.0.0.1:9/canary.ts"])
            foreach (string extension in (string[])["m3u8", "mp4", "ts"])
            {
                string number = $"{files.Count}.{extension}";
                Write("playlist-" + number, $"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{canary}\n#EXT-X-ENDLIST\n", NoMedia);
                Write("script-" + number, $"ffconcat version 1.0\nfile '{canary}'\n", NoMedia);
            }
        Write("map.mp4", $"#EXTM3U\n#EXT-X-MAP:URI=\"{Canary(".mp4")}\"\n#EXTINF:1,\n{Canary(".mp4")}\n", NoMedia);
        Write("manifest.mpd", $"<MPD><Period><AdaptationSet><Representation><BaseURL>{Canary(".mp4")}</BaseURL></Representation></AdaptationSet></Period></MPD>", NoMedia);
        Write("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n", NoMedia);
        Write("list.pls", $"[playlist]\nFile1={Canary(".ts")}\nLength1=1\n", NoMedia);
        Write("list.asx", $"<asx version=\"3.0\"><entry><ref href=\"{Canary(".ts")}\"/></entry></asx>", NoMedia);
        Write("list.sub", $"# VobSub index file, v7\nid: en, index: 0\n", NoMedia);
        Write("drawing.svg", $"<svg xmlns:x=\"http://www.w3.org/1999/xlink\"><image x:href=\"{Canary(".png")}\"/></svg>", NoMedia);
        Write("page-%d.mp4", "an image sequence by its name", NoMedia);
        File.Copy(Canary(".png"), Path.Combine(root, "page-1.png"));
        byte[] clip = File.ReadAllBytes(Base);
        // QuickTime's ways of saying that the samples of a track, or the whole film, lie in another file
        foreach (int track in (int[])[0, 1])
        {
            Write($"alias-{track}.mp4", Mp4.Replace(clip, "moov/trak/mdia/minf/dinf/dref", track, Mp4.Reference("alis", Mp4.Alias(Canary(".mp4")))));
            Write($"address-{track}.mp4", Mp4.Replace(clip, "moov/trak/mdia/minf/dinf/dref", track, Mp4.Reference("url ", Encoding.UTF8.GetBytes("file://" + Canary(".mp4") + "\0"))));
        }
        byte[] address = Encoding.UTF8.GetBytes(Canary(".mp4") + "\0");
        byte[] length = new byte[4];
        Mp4.Put(length, 0, (uint)address.Length);
        Write("film-elsewhere.mov", [.. Mp4.Box("ftyp", "qt  \0\0\0\0qt  "u8), .. Mp4.Box("moov", Mp4.Box("rmra", Mp4.Box("rmda", Mp4.Box("rdrf", [0, 0, 0, 0, .. "url "u8, .. length, .. address]))))]);
    }

    private string Write(string name, string text, string? outcome = null) => Write(name, Encoding.UTF8.GetBytes(text), outcome);

    private string Write(string name, byte[] bytes, string? outcome = null)
    {
        string path = Path.GetFullPath(name, root);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        files.Add(new OddFile(Path.GetRelativePath(root, path), outcome));
        return path;
    }

    /// <summary>The boxes of an mp4: a length of 32 bits, which counts itself, a name of four letters, the content. Numbers are big-endian.</summary>
    private static class Mp4
    {
        public static uint Get(byte[] file, int at) => BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at));

        public static void Put(byte[] file, int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan(at), value);

        /// <summary>Where the boxes of this path start.</summary>
        public static int[] Find(byte[] file, string path) => [.. Chains(file, path.Split('/'), 0, file.Length).Select(chain => chain[^1])];

        /// <summary>The file with another box in place of one; the boxes that it lies in are made to fit.</summary>
        public static byte[] Replace(byte[] file, string path, int number, byte[] replacement)
        {
            int[] chain = [.. Chains(file, path.Split('/'), 0, file.Length).ElementAt(number)];
            int start = chain[^1], end = start + (int)Get(file, start);
            byte[] replaced = [.. file[..start], .. replacement, .. file[end..]];
            foreach (int box in chain[..^1])
                Put(replaced, box, Get(file, box) + (uint)(replacement.Length - (end - start)));
            return replaced;
        }

        public static byte[] Box(string name, ReadOnlySpan<byte> content)
        {
            byte[] box = [0, 0, 0, 0, .. Encoding.ASCII.GetBytes(name), .. content];
            Put(box, 0, (uint)box.Length);
            return box;
        }

        /// <summary>A dref of one entry whose flags do not say that the samples are in this file.</summary>
        public static byte[] Reference(string kind, byte[] place) => Box("dref", [0, 0, 0, 0, 0, 0, 0, 1, .. Box(kind, [0, 0, 0, 0, .. place])]);

        /// <summary>The record of a Macintosh alias as ffmpeg reads it: nothing but an absolute path, item 2 of the list at its end.</summary>
        public static byte[] Alias(string path)
        {
            byte[] name = Encoding.UTF8.GetBytes(path.PadRight(path.Length + (path.Length % 2), '\0'));
            return [.. new byte[150], 0, 2, 0, (byte)name.Length, .. name, 255, 255, 0, 0];
        }

        private static IEnumerable<int[]> Chains(byte[] file, string[] path, int from, int to)
        {
            for (int at = from; at + 8 <= to && Get(file, at) >= 8; at += (int)Get(file, at))
                if (Encoding.ASCII.GetString(file, at + 4, 4) != path[0])
                    continue;
                else if (path.Length == 1)
                    yield return [at];
                else
                    foreach (int[] inner in Chains(file, path[1..], at + 8, at + (int)Get(file, at)))
                        yield return [at, .. inner];
        }
    }
}
