using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using Avedis.Trainer.Features;

namespace Avedis.Trainer.Media;

/// <summary>
/// Decodes the start of a clip into grey square pictures and mono sound, both from one run of ffmpeg: starting the program costs more than
/// decoding three seconds, so it is started once and sends both streams, wrapped in AVI, down one pipe. Holds the buffers: one object per thread.
/// </summary>
public sealed class ClipDecoder
{
    private readonly FfmpegTool tool;
    private readonly FeatureOptions options;
    private readonly string[] outputArguments;
    private readonly byte[] faces;
    private readonly float[] samples;
    private readonly byte[] skipped = new byte[64 * 1024];
    private int soundBytes;

    public ClipDecoder(FfmpegTool tool, FeatureOptions options)
    {
        this.tool = tool;
        this.options = options;
        faces = new byte[options.FaceBytes];
        samples = new float[(int)Math.Ceiling(options.ClipSeconds * options.SampleRate)];
        string rate = Number(options.FaceFrames / options.ClipSeconds);
        // the input's -t bounds both streams; an output's -frames:v would end the sound with the last picture
        outputArguments =
        [
            "-map", "0:V:0", "-map", "0:a:0", // V: a picture that moves, not a cover
            // fps takes the picture in the middle of each of FaceFrames equal stretches; area averaging is what shrinking a photograph wants
            "-vf", $"fps={rate}:start_time=0,crop=w='min(iw,ih)':h='min(iw,ih)',scale={options.FaceSize}:{options.FaceSize}:flags=area,format=gray",
            "-ac", "1", "-ar", options.SampleRate.ToString(CultureInfo.InvariantCulture),
            "-c:v", "rawvideo", "-c:a", "pcm_f32le", "-f", "avi", "pipe:1",
        ];
    }

    /// <summary>Pictures decoded last: [FaceFrames, FaceSize, FaceSize] bytes, those from <see cref="FaceCount"/> on hold the pad pixel.</summary>
    public ReadOnlySpan<byte> Faces => faces;

    /// <summary>Pictures that came from the clip.</summary>
    public int FaceCount { get; private set; }

    /// <summary>Sound decoded last, in [-1, 1], at most ClipSeconds of it.</summary>
    public ReadOnlySpan<float> Samples => samples.AsSpan(0, soundBytes / sizeof(float));

    /// <summary>Decodes the start of a file. Throws <see cref="MediaException"/> with the reason if the clip cannot be used.</summary>
    public void Decode(string path, CancellationToken stop = default) => Decode(path, 0, stop);

    /// <summary>The same from a place within the file on.</summary>
    /// <param name="start">Seconds.</param>
    public void Decode(string path, double start, CancellationToken stop = default)
    {
        RefuseWhatIsNoMedia(path);
        FaceCount = 0;
        soundBytes = 0;
        string[] seek = start > 0 ? ["-ss", Number(start)] : [];
        var result = tool.RunFfmpeg(
            [.. FfmpegTool.InputGuards, "-max_pixels", "67108864", "-threads", "1", .. seek, "-t", Number(options.ClipSeconds), "-i", FfmpegTool.FileArgument(path), .. outputArguments],
            TimeSpan.FromSeconds(60 + (5 * options.ClipSeconds)), readOutput: ReadAvi, stop: stop);
        if (result.TimedOut)
            throw new MediaException("timed out", "decoding needed more than a minute");
        bool full = FaceCount == options.FaceFrames && Samples.Length == samples.Length;
        if (!result.Succeeded || FaceCount == 0 || soundBytes == 0 || (!full && result.Errors.Length > 0))
            Diagnose(path, start, result, stop);
        if (FaceCount == 0 || Math.Min(Pictured + (0.5 * options.ClipSeconds / options.FaceFrames), Heard) < options.MinimumSeconds)
            throw new MediaException("too short", $"{Pictured:0.##} s of picture and {Heard:0.##} s of sound, {options.MinimumSeconds:0.##} s are needed");
        faces.AsSpan(FaceCount * FacePixels).Fill((byte)options.PadPixel);
        foreach (float sample in Samples)
            if (!float.IsFinite(sample))
                throw new MediaException("unreadable sound", "it holds samples that are no numbers");
    }

    /// <summary>Seconds covered by the pictures; half a step less or more.</summary>
    private double Pictured => FaceCount * options.ClipSeconds / options.FaceFrames;

    private double Heard => (double)Samples.Length / options.SampleRate;

    private int FacePixels => options.FaceSize * options.FaceSize;

    private static string Number(double value) => value.ToString("0.#########", CultureInfo.InvariantCulture);

    private static void RefuseWhatIsNoMedia(string path)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
            if (file.Length == 0)
                throw new MediaException("empty file", "0 bytes");
            Span<byte> start = stackalloc byte[64];
            start = start[..file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
            if (start.StartsWith("version https://git-lfs"u8))
                throw new MediaException("Git LFS pointer", "the media themselves were not fetched (git lfs pull)");
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new MediaException("missing file", "there is no such file", failure);
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
    private void Diagnose(string path, double start, ToolResult result, CancellationToken stop)
    {
        var info = MediaInfo.Probe(tool, path, stop);
        if (!info.HasVideo)
            throw new MediaException("no picture", "the file has no video stream");
        if (!info.HasAudio)
            throw new MediaException("no sound", "the file has no audio stream");
        double expected = Math.Min(info.Seconds - start, options.ClipSeconds), got = Math.Max(Pictured, Heard);
        if (got < expected - Math.Max(0.25, 0.1 * expected))
            throw new MediaException(MediaInfo.LooksTruncated(result.Errors) || result.Succeeded ? "truncated" : "cannot be decoded",
                $"its header promises {info.Seconds:0.##} s, {got:0.##} s came out ({FfmpegTool.FirstLine(result.Errors)})");
        if (!result.Succeeded)
            throw new MediaException("cannot be decoded", FfmpegTool.FirstLine(result.Errors));
    }

    /// <summary>
    /// The part of AVI that ffmpeg writes to a pipe: chunks of a four-letter name, a 32-bit length, the bytes and one more if the length is
    /// odd. LIST and RIFF contain chunks (their lengths are not filled in on a pipe and not used); 00d? is the picture, 01wb the sound.
    /// </summary>
    private void ReadAvi(Stream stream)
    {
        var sound = MemoryMarshal.AsBytes(samples.AsSpan());
        Span<byte> head = stackalloc byte[8];
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
            if (name.StartsWith("00d"u8) && length == FacePixels && FaceCount < options.FaceFrames)
            {
                taken = stream.ReadAtLeast(faces.AsSpan(FaceCount * FacePixels, length), length, throwOnEndOfStream: false);
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
