using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using Avedis.Bindings;
using Avedis.Trainer.Features;

namespace Avedis.Trainer.Media;

/// <summary>
/// Decodes the start of a clip into grey square pictures and mono sound, both from one run of ffmpeg: starting the program costs more than
/// decoding three seconds, so it is started once and sends both streams, wrapped in AVI, down one pipe. Holds the buffers: one object per thread.
/// </summary>
public sealed class ClipDecoder : IDisposable
{
    /// <summary>Longer side of the pictures in which faces are looked for, in pixels; wider videos are shrunk to it.</summary>
    private const int SearchedSide = 640;

    private readonly FfmpegTool tool;
    private readonly FeatureOptions options;
    private readonly FaceDetector? detector;
    private readonly FaceCropper? cropper;
    private readonly byte[] faces;
    private readonly float[] samples;
    private readonly byte[] skipped = new byte[64 * 1024];
    private byte[] pictures; // as ffmpeg sends them: faces, or what they are cut from
    private int width, height, soundBytes;

    /// <exception cref="UserException">Exit code 5: faces are to be found, and there is no detector.</exception>
    public ClipDecoder(FfmpegTool tool, FeatureOptions options)
    {
        this.tool = tool;
        this.options = options;
        faces = new byte[options.FaceBytes];
        samples = new float[(int)Math.Ceiling(options.ClipSeconds * options.SampleRate)];
        if (options.Crop == CropMode.Detect)
            cropper = new FaceCropper(detector = new FaceDetector(), options.FaceSize);
        pictures = cropper is null ? faces : [];
    }

    /// <summary>Pictures decoded last: [FaceFrames, FaceSize, FaceSize] bytes, those from <see cref="FaceCount"/> on hold the pad pixel.</summary>
    public ReadOnlySpan<byte> Faces => faces;

    /// <summary>Pictures that came from the clip.</summary>
    public int FaceCount { get; private set; }

    /// <summary>Of these, the ones in which a face was found; null where none was looked for.</summary>
    public int? Found { get; private set; }

    /// <summary>Sound decoded last, in [-1, 1], at most ClipSeconds of it.</summary>
    public ReadOnlySpan<float> Samples => samples.AsSpan(0, soundBytes / sizeof(float));

    /// <inheritdoc cref="Decode(ClipSource, CancellationToken)"/>
    public void Decode(string path, CancellationToken stop = default) => Decode(new ClipSource(path), stop);

    /// <summary>Decodes a clip. Throws <see cref="MediaException"/> with the reason if it cannot be used.</summary>
    public void Decode(ClipSource source, CancellationToken stop = default)
    {
        var folder = Directory.Exists(source.Picture) ? new PictureFolder(source.Picture, source.Fps) : null;
        if (folder is null)
            RefuseWhatIsNoMedia(source.Picture);
        else if (source.Sound is null)
            throw new MediaException("no sound", "a folder of pictures needs a file of sound beside it: the manifest's column audio");
        if (source.Sound is not null)
            RefuseWhatIsNoMedia(source.Sound);
        (FaceCount, soundBytes, Found, width, height) = (0, 0, null, 0, 0);
        var chosen = folder?.Every(options.ClipSeconds / options.FaceFrames, source.Start, source.End ?? double.MaxValue, options.FaceFrames);
        var result = tool.RunFfmpeg(
            Arguments(source, folder), TimeSpan.FromSeconds(60 + (5 * options.ClipSeconds)), writeInput: chosen is null ? null : pipe => Send(chosen, pipe), readOutput: ReadAvi, stop: stop);
        if (result.TimedOut)
            throw new MediaException("timed out", "decoding needed more than a minute");
        bool full = FaceCount == options.FaceFrames && Samples.Length == samples.Length;
        if (!result.Succeeded || FaceCount == 0 || soundBytes == 0 || (!full && result.Errors.Length > 0))
            Diagnose(source, folder, chosen?.Count, result, stop);
        if (FaceCount == 0 || Math.Min(Pictured + (0.5 * options.ClipSeconds / options.FaceFrames), Heard) < options.MinimumSeconds)
            throw new MediaException("too short", $"{Pictured:0.##} s of picture and {Heard:0.##} s of sound, {options.MinimumSeconds:0.##} s are needed");
        if (cropper is not null)
            Crop(cropper);
        faces.AsSpan(FaceCount * FacePixels).Fill((byte)options.PadPixel);
        foreach (float sample in Samples)
            if (!float.IsFinite(sample))
                throw new MediaException("unreadable sound", "it holds samples that are no numbers");
    }

    public void Dispose() => detector?.Dispose();

    private void Crop(FaceCropper cropper)
    {
        Found = cropper.Crop(pictures.AsSpan(0, FaceCount * width * height), FaceCount, width, height, faces.AsSpan(0, FaceCount * FacePixels));
        if (2 * Found < FaceCount)
            throw new MediaException("no face", $"a face was found in {Found} of {FaceCount} pictures");
    }

    /// <summary>Seconds covered by the pictures; half a step less or more.</summary>
    private double Pictured => FaceCount * options.ClipSeconds / options.FaceFrames;

    private double Heard => (double)Samples.Length / options.SampleRate;

    private int FacePixels => options.FaceSize * options.FaceSize;

    private static string Number(double value) => value.ToString("0.#########", CultureInfo.InvariantCulture);

    private List<string> Arguments(ClipSource source, PictureFolder? folder)
    {
        string rate = Number(options.FaceFrames / options.ClipSeconds);
        double length = Math.Min(options.ClipSeconds, (source.End ?? double.MaxValue) - source.Start);
        // the inputs' -t bound the streams; an output's -frames:v would end the sound with the last picture
        List<string> arguments = folder is null
            ? [.. FfmpegTool.InputGuards, "-max_pixels", "67108864", "-threads", "1",
                .. source.Start > 0 ? (string[])["-ss", Number(source.Start)] : [], "-t", Number(length), "-i", FfmpegTool.FileArgument(source.Picture)]
            : ["-protocol_whitelist", "pipe", "-max_pixels", "67108864", "-threads", "1", "-f", "image2pipe", "-c:v", folder.Codec, "-framerate", rate, "-i", "pipe:0"];
        if (source.Sound is not null)
            arguments.AddRange([.. FfmpegTool.InputGuards, "-threads", "1", "-t", Number(options.ClipSeconds), "-i", FfmpegTool.FileArgument(source.Sound)]);
        return
        [
            .. arguments,
            "-map", "0:V:0", "-map", source.Sound is null ? "0:a:0" : "1:a:0", // V: a picture that moves, not a cover
            // fps takes the picture in the middle of each of FaceFrames equal stretches, as PictureFolder does
            "-vf", (folder is null ? $"fps={rate}:start_time=0," : "") + Filters(source.Region),
            "-ac", "1", "-ar", options.SampleRate.ToString(CultureInfo.InvariantCulture),
            "-c:v", "rawvideo", "-c:a", "pcm_f32le", "-f", "avi", "pipe:1",
        ];
    }

    private string Filters(PictureRegion region)
    {
        string half = region switch { PictureRegion.Left => "crop=iw/2:ih:0:0,", PictureRegion.Right => "crop=iw/2:ih:iw/2:0,", _ => "" };
        // in AVI a row of pixels takes a multiple of four bytes
        string fit = $"*min(1,{SearchedSide}/max(iw,ih))";
        string side = options.Crop == CropMode.Center ? $"min(iw,ih)/{Number(FaceTrack.Margin)}" : "min(iw,ih)";
        // area averaging is what shrinking a photograph wants
        return half + (options.Crop == CropMode.Detect
            ? $"scale=w='max(4,4*trunc(iw{fit}/4))':h='max(4,trunc(ih{fit}))':flags=area,format=gray"
            : $"crop=w='{side}':h='{side}',scale={options.FaceSize}:{options.FaceSize}:flags=area,format=gray");
    }

    private static void Send(IReadOnlyList<string> files, Stream pipe)
    {
        foreach (string path in files)
            using (var file = File.OpenRead(path))
                file.CopyTo(pipe);
    }

    private static void RefuseWhatIsNoMedia(string path)
    {
        try
        {
            RegularFiles.Check(path);
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
            if (file.Length == 0)
                throw new MediaException("empty file", "0 bytes");
            Span<byte> start = stackalloc byte[64];
            start = start[..file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
            if (start.StartsWith("version https://git-lfs"u8))
                throw new MediaException("Git LFS pointer", "the media themselves were not fetched (git lfs pull)");
            if (start.StartsWith("/annex/objects/"u8))
                throw new MediaException("git-annex pointer", "the media themselves were not fetched (git annex get)");
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new MediaException("missing file", ClipSource.WhyMissing(path), failure);
        }
        catch (Exception failure) when (failure is UnauthorizedAccessException or IOException)
        {
            throw new MediaException("unreadable file", failure.Message, failure);
        }
    }

    /// <summary>
    /// A stream gave nothing, or less than the window holds and a complaint. The headers tell what is missing. Probing costs as much as decoding,
    /// and clips without fault are spared it.
    /// </summary>
    private void Diagnose(ClipSource source, PictureFolder? folder, int? sent, ChildResult result, CancellationToken stop)
    {
        var picture = folder is null ? MediaInfo.Probe(tool, source.Picture, stop) : null;
        var sound = source.Sound is null ? picture! : MediaInfo.Probe(tool, source.Sound, stop);
        if (picture is { HasVideo: false })
            throw new MediaException("no picture", "the file has no video stream");
        if (!sound.HasAudio)
            throw new MediaException("no sound", "the file has no audio stream");
        if (FaceCount < sent)
            throw new MediaException("cannot be decoded", $"{FaceCount} of {sent} pictures came out ({result.FirstError})");
        double promised = picture is null ? Pictured : picture.Seconds - source.Start;
        Expect(Math.Min(promised, (source.End ?? double.MaxValue) - source.Start), source.Sound is null ? Math.Max(Pictured, Heard) : Pictured);
        if (source.Sound is not null)
            Expect(sound.Seconds, Heard);
        if (!result.Succeeded)
            throw new MediaException("cannot be decoded", result.FirstError);

        void Expect(double seconds, double got)
        {
            double expected = Math.Min(seconds, options.ClipSeconds);
            if (got < expected - Math.Max(0.25, 0.1 * expected))
                throw new MediaException(MediaInfo.LooksTruncated(result.Errors) || result.Succeeded ? "truncated" : "cannot be decoded",
                    $"its header promises {seconds:0.##} s, {got:0.##} s came out ({result.FirstError})");
        }
    }

    /// <summary>
    /// The part of AVI that ffmpeg writes to a pipe: chunks of a four-letter name, a 32-bit length, the bytes and one more if the length is
    /// odd. LIST and RIFF contain chunks (their lengths are not filled in on a pipe and not used); the first strf starts with the length of its own head, width
    /// and height of the picture, 00d? is the picture, 01wb the sound.
    /// </summary>
    private void ReadAvi(Stream stream)
    {
        var sound = MemoryMarshal.AsBytes(samples.AsSpan());
        Span<byte> head = stackalloc byte[8], format = stackalloc byte[12];
        while (stream.ReadAtLeast(head, 8, throwOnEndOfStream: false) == 8)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(head[4..]);
            var name = head[..4];
            if (name.SequenceEqual("RIFF"u8) || name.SequenceEqual("LIST"u8))
            {
                Skip(stream, 4);
                continue;
            }
            if (length < 0)
                throw new MediaException("cannot be decoded", "ffmpeg's output is not in the expected form");
            int taken = 0;
            if (name.SequenceEqual("strf"u8) && width == 0)
            {
                taken = stream.ReadAtLeast(format, format.Length, throwOnEndOfStream: false);
                (width, height) = (BinaryPrimitives.ReadInt32LittleEndian(format[4..]), Math.Abs(BinaryPrimitives.ReadInt32LittleEndian(format[8..])));
                if (cropper is not null && width is > 0 and <= SearchedSide && height <= SearchedSide && pictures.Length < options.FaceFrames * width * height)
                    pictures = new byte[options.FaceFrames * width * height];
            }
            else if (name.StartsWith("00d"u8) && length == width * height && (FaceCount + 1) * length <= pictures.Length)
            {
                taken = stream.ReadAtLeast(pictures.AsSpan(FaceCount * length, length), length, throwOnEndOfStream: false);
                FaceCount += taken / length;
            }
            else if (name.SequenceEqual("01wb"u8))
            {
                int room = Math.Min(length, sound.Length - soundBytes);
                taken = stream.ReadAtLeast(sound.Slice(soundBytes, room), room, throwOnEndOfStream: false);
                soundBytes += taken;
            }
            Skip(stream, length - taken + (length & 1));
        }
    }

    private void Skip(Stream stream, int count)
    {
        while (count > 0)
        {
            int got = stream.Read(skipped, 0, Math.Min(count, skipped.Length));
            if (got == 0)
                return;
            count -= got;
        }
    }
}
