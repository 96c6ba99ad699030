using System.Globalization;
using System.Runtime.InteropServices;
using Avedis.Bindings;
using Avedis.Trainer.Features;
using FFMpegCore;
using FFMpegCore.Arguments;
using FFMpegCore.Enums;

namespace Avedis.Trainer.Media;

/// <summary>
/// Decodes a part of a clip into grey square pictures and mono sound. One run of ffmpeg sends both streams down one pipe, since two runs
/// take twice as long. docs/media.md says what becomes of media of each kind. Holds the buffers: one object per thread.
/// </summary>
public sealed class ClipDecoder : IDisposable
{
    /// <summary>Longer side of the pictures in which faces are looked for, in pixels; wider videos are shrunk to it.</summary>
    private const int SearchedSide = 640;

    /// <summary>Sound of more channels than this in one clip is refused, in samples of all channels.</summary>
    private const long MostSamples = 1 << 28;

    private const int PictureTrack = 1, LeastSide = 4;
    private const string MostPixels = "-max_pixels 67108864";

    /// <summary>
    /// Seconds before a part from which a file is read, tried in turn until a picture from before the part comes out. Decoders of sound
    /// want some, and containers without an index are entered wherever a packet starts, not where a picture can be decoded.
    /// </summary>
    private static readonly double[] RunUps = [1, 8, 64, double.MaxValue];

    private readonly FfmpegTool tool;
    private readonly FeatureOptions options;
    private readonly FaceDetector? detector;
    private readonly FaceCropper? cropper;
    private readonly byte[] faces;
    private readonly float[] samples;
    private byte[] pictures; // as ffmpeg sends them: faces, or what they are cut from
    private float[] sound = []; // as ffmpeg sends it, channels take turns
    private int width, height, channels, soundBytes, sampleCount;
    private int wantedPictures, wantedSamples; // of the part
    private bool fromFolder;
    private int firstPicture; // the first that came out, counted from the start of the part; below 0: one before it

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

    /// <summary>
    /// Pictures decoded last: [FaceFrames, FaceSize, FaceSize] bytes, those from <see cref="FaceCount"/> on hold the pad pixel.
    /// </summary>
    public ReadOnlySpan<byte> Faces => faces;

    /// <summary>Pictures that came from the clip.</summary>
    public int FaceCount { get; private set; }

    /// <summary>Of these, the ones in which a face was found; null where none was looked for.</summary>
    public int? Found { get; private set; }

    /// <summary>Sound decoded last, in [-1, 1], at most ClipSeconds of it.</summary>
    public ReadOnlySpan<float> Samples => samples.AsSpan(0, sampleCount);

    /// <summary>
    /// Whether nothing is heard in <see cref="Samples"/> (<see cref="SoundMix.SilentPeak"/>), nor in the clip's other tracks of sound.
    /// </summary>
    public bool Silent { get; private set; }

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
        DecodeTracks(source, folder, stop);
        Found = null;
        if (cropper is not null)
            Crop(cropper);
        faces.AsSpan(FaceCount * FacePixels).Fill((byte)options.PadPixel);
    }

    public void Dispose() => detector?.Dispose();

    private void Crop(FaceCropper cropper)
    {
        Found = cropper.Crop(
            pictures.AsSpan(0, FaceCount * width * height), FaceCount, width, height, faces.AsSpan(0, FaceCount * FacePixels));
        if (2 * Found < FaceCount)
            throw new MediaException("no face", $"a face was found in {Found} of {FaceCount} pictures");
    }

    /// <summary>Seconds between pictures.</summary>
    private double Step => options.ClipSeconds / options.FaceFrames;

    /// <summary>Seconds covered by the pictures; half a step less or more.</summary>
    private double Pictured => FaceCount * Step;

    private double Heard => (double)sampleCount / options.SampleRate;

    private int FacePixels => options.FaceSize * options.FaceSize;

    private static string Number(double value) => value.ToString("0.#########", CultureInfo.InvariantCulture);

    /// <summary>With the first track of sound that can be decoded and is not silent in this part; if there is none, the first that can be
    /// decoded.</summary>
    private void DecodeTracks(ClipSource source, PictureFolder? folder, CancellationToken stop)
    {
        MediaException? failure = null;
        int silent = -1;
        for (int track = 0, tracks = 1; track < tracks; track++)
        {
            try
            {
                DecodeTrack(source, folder, track, stop);
                if (!Silent)
                    return;
                silent = silent < 0 ? track : silent;
            }
            catch (MediaException problem)
            {
                stop.ThrowIfCancellationRequested(); // a signal from the terminal also reaches ffmpeg
                failure ??= problem;
            }
            if (track == 0 && failure is not { Reason: "not a media file" or "truncated" or "timed out" })
                tracks = MediaInfo.Probe(tool, source.Sound ?? source.Picture, stop).SoundStarts.Count;
        }
        if (silent < 0)
            throw failure!;
        if (failure is not null || silent > 0)
            DecodeTrack(source, folder, silent, stop);
    }

    private void DecodeTrack(ClipSource source, PictureFolder? folder, int track, CancellationToken stop)
    {
        double length = Math.Min(options.ClipSeconds, (source.End ?? double.MaxValue) - source.Start);
        wantedPictures = Math.Clamp((int)Math.Round(length / Step), 1, options.FaceFrames);
        wantedSamples = Math.Min((int)Math.Ceiling(length * options.SampleRate), samples.Length);
        var chosen = folder?.Every(Step, source.Start, source.End ?? double.MaxValue, options.FaceFrames);
        fromFolder = folder is not null;
        ChildResult result;
        int attempt = 0;
        do
        {
            (FaceCount, soundBytes, width, height, channels, firstPicture) = (0, 0, 0, 0, 0, int.MaxValue);
            double enter = folder is null ? Math.Max(0, Math.Round(source.Start - Math.Max(RunUps[attempt], 2 * Step), 3)) : 0;
            result = tool.RunFfmpeg(
                Command(source, folder, track, enter, length), TimeSpan.FromSeconds(60 + (5 * options.ClipSeconds)),
                writeInput: chosen is null ? null : pipe => Send(chosen, pipe), readOutput: Receive, stop: stop);
            if (result.TimedOut)
                throw new MediaException("timed out", "decoding needed more than a minute");
            attempt = enter == 0 ? RunUps.Length : attempt + 1;
        }
        while (firstPicture >= 0 && attempt < RunUps.Length);
        // what comes before the first picture is that picture, as players show it
        for (int i = 0; i < firstPicture && i < FaceCount; i++)
            pictures.AsSpan(firstPicture * width * height, width * height).CopyTo(pictures.AsSpan(i * width * height));
        Mix();
        bool full = FaceCount == wantedPictures && sampleCount == wantedSamples;
        if (!result.Succeeded || FaceCount == 0 || sampleCount == 0 || (!full && result.Errors.Length > 0))
            Diagnose(source, folder, chosen?.Count, track, result, stop);
        if (FaceCount == 0 || Math.Min(Pictured + (0.5 * Step), Heard) < options.MinimumSeconds)
            throw new MediaException(
                "too short", $"{Pictured:0.##} s of picture and {Heard:0.##} s of sound, {options.MinimumSeconds:0.##} s are needed");
        foreach (float sample in Samples)
            if (!float.IsFinite(sample))
                throw new MediaException("unreadable sound", "it holds samples that are no numbers");
        Silent = SoundMix.IsSilent(Samples);
    }

    /// <summary>
    /// Filters cut both streams to the part, with times from its start. ffmpeg's own cutting drops the picture that stands when the part
    /// begins, and counts the length of a stream from its first packet, however late that is.
    /// </summary>
    private FFMpegArgumentProcessor Command(ClipSource source, PictureFolder? folder, int track, double enter, double length)
    {
        string rate = Number(1 / Step);
        double start = folder is null ? source.Start - enter : 0; // the input's times begin at enter
        var inputs = folder is null
            ? FFMpegArguments.FromFileInput(FfmpegTool.FileArgument(source.Picture, quoted: true), verifyExists: false, input =>
            {
                input.WithCustomArgument(FfmpegTool.QuotedGuards).WithCustomArgument(MostPixels).WithThreads(1);
                if (enter > 0)
                    input.WithCustomArgument("-noaccurate_seek").WithStartTime(TimeSpan.FromSeconds(enter));
            })
            : FFMpegArguments.FromUrlInput("pipe:0", input => input
                .WithCustomArgument("-protocol_whitelist pipe").WithCustomArgument(MostPixels).WithThreads(1)
                .ForceFormat("image2pipe").WithVideoDecoder(folder.Codec).WithCustomArgument($"-framerate {rate}"));
        if (source.Sound is not null)
            inputs.AddFileInput(FfmpegTool.FileArgument(source.Sound, quoted: true), verifyExists: false, input => input
                .WithCustomArgument(FfmpegTool.QuotedGuards).WithThreads(1));
        double soundStart = source.Sound is null ? start : 0; // a file of its own is cut to the clip
        return inputs.OutputToUrl("pipe:1", output => output
            .WithCustomArgument("-map 0:V:0") // V: a picture that moves, not a cover
            .WithMap(source.Sound is null ? 0 : 1, StreamType.Audio, track)
            .WithVideoFilters(filters => Shape(folder is null ? Timing(filters, start, length, rate) : filters, source.Region))
            .WithAudioFilters(filters => filters
                .WithCustomFilter("asetpts", $"PTS-{Number(soundStart)}/TB")
                .WithCustomFilter("atrim", $"end={Number(length + 0.1)}") // more than the resampler holds back
                // silence where there is no sound yet, or none in between
                .WithCustomFilter("aresample", $"{options.SampleRate}:async=1:first_pts=0"))
            .WithVideoCodec("rawvideo").WithAudioCodec("pcm_f32le").ForceFormat("matroska"));
    }

    /// <summary>
    /// fps takes the picture in the middle of each of FaceFrames equal stretches, as PictureFolder does. The stretch before the part is
    /// sent too: whether it has a picture tells whether the file was entered early enough.
    /// </summary>
    private VideoFilterOptions Timing(VideoFilterOptions filters, double start, double length, string rate) => filters
        .WithCustomFilter("setpts", $"PTS-{Number(start)}/TB")
        .WithCustomFilter("trim", $"end={Number(length)}")
        .WithCustomFilter("fps", rate)
        .WithCustomFilter("trim", $"start_pts=-1:end_pts={wantedPictures}") // fps counts in pictures
        .WithCustomFilter("setpts", "PTS+1"); // Matroska has no times below 0

    /// <summary>
    /// The wanted square, or a picture to look for faces in, of square pixels: sar is the width of a stored pixel divided by its height.
    /// ffmpeg has turned the pictures as the file says before these filters.
    /// </summary>
    private void Shape(VideoFilterOptions filters, PictureRegion region)
    {
        if (region != PictureRegion.Whole)
            filters.WithCustomFilter("crop", $"iw/2:ih:{(region == PictureRegion.Left ? "0" : "iw/2")}:0");
        const string pixel = "clip(sar,0.1,10)", wide = $"iw*{pixel}";
        if (options.Crop == CropMode.Detect)
        {
            string fit = $"min(1,{SearchedSide}/max({wide},ih))";
            filters.WithCustomFilter("scale", $"w=max(1,trunc({wide}*{fit})):h=max(1,trunc(ih*{fit})):flags=area");
        }
        else
        {
            string side = $"min({wide},ih)" + (options.Crop == CropMode.Center ? $"/{Number(FaceTrack.Margin)}" : "");
            filters.WithCustomFilter("crop", $"w=min(iw,max({LeastSide},{side}/{pixel})):h=min(ih,max({LeastSide},{side}))")
                .WithCustomFilter("scale", $"{options.FaceSize}:{options.FaceSize}:flags=area"); // area averaging suits shrinking
        }
        filters.WithCustomFilter("format", "gray");
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
    /// A stream gave nothing, or less than the window holds and a complaint. The headers tell what is missing. Probing costs as much as
    /// decoding, so clips without fault are not probed.
    /// </summary>
    private void Diagnose(ClipSource source, PictureFolder? folder, int? sent, int track, ChildResult result, CancellationToken stop)
    {
        var picture = folder is null ? MediaInfo.Probe(tool, source.Picture, stop) : null;
        var heard = source.Sound is null ? picture! : MediaInfo.Probe(tool, source.Sound, stop);
        if (picture is { HasVideo: false })
            throw new MediaException("no picture", "the file has no video stream");
        if (!heard.HasAudio)
            throw new MediaException("no sound", "the file has no audio stream");
        double start = source.Sound is null ? source.Start : 0;
        double end = start + ((double)wantedSamples / options.SampleRate);
        if (result.Succeeded && sampleCount == 0 && track < heard.SoundStarts.Count && heard.SoundStarts[track] >= end)
        {
            // the sound begins after this part
            sampleCount = wantedSamples;
            samples.AsSpan(0, sampleCount).Clear();
        }
        if (FaceCount < sent)
            throw new MediaException("cannot be decoded", $"{FaceCount} of {sent} pictures came out ({result.FirstError})");
        double promised = picture is null ? Pictured : picture.Seconds - source.Start;
        promised = Math.Min(promised, (source.End ?? double.MaxValue) - source.Start);
        Expect(promised, source.Sound is null ? Math.Max(Pictured, Heard) : Pictured);
        if (source.Sound is not null)
            Expect(heard.Seconds, Heard);
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

    /// <summary>Puts what ffmpeg sends into <see cref="pictures"/> and <see cref="sound"/>.</summary>
    private void Receive(Stream stream)
    {
        var pipe = new MatroskaPipe(stream);
        pipe.Read((track, seconds, length) => track == PictureTrack ? RoomForPicture(pipe, seconds, length) : RoomForSound(pipe, length));
    }

    private Span<byte> RoomForPicture(MatroskaPipe pipe, double seconds, int length)
    {
        if (width == 0)
        {
            (width, height) = (pipe.Width, pipe.Height);
            bool searchable = cropper is not null && width is > 0 and <= SearchedSide && height <= SearchedSide;
            if (searchable && pictures.Length < options.FaceFrames * width * height)
                pictures = new byte[options.FaceFrames * width * height];
        }
        // a folder's pictures are sent without the one before
        int picture = (int)Math.Round(seconds / Step) - (fromFolder ? 0 : 1);
        firstPicture = Math.Min(firstPicture, picture);
        if (picture < 0 || picture >= options.FaceFrames || length != width * height || (picture + 1) * length > pictures.Length)
            return [];
        FaceCount = picture + 1;
        return pictures.AsSpan(picture * length, length);
    }

    private Span<byte> RoomForSound(MatroskaPipe pipe, int length)
    {
        if (channels == 0)
        {
            channels = Math.Max(1, pipe.Channels);
            if ((long)channels * wantedSamples > MostSamples)
                throw new MediaException("unreadable sound",
                    $"{channels} channels of {Number((double)wantedSamples / options.SampleRate)} s");
            if (sound.Length < channels * wantedSamples)
                sound = new float[channels * wantedSamples];
        }
        var room = MemoryMarshal.AsBytes(sound.AsSpan(0, channels * wantedSamples))[soundBytes..];
        room = room[..Math.Min(room.Length, length)];
        soundBytes += room.Length;
        return room;
    }

    private void Mix()
    {
        sampleCount = channels == 0 ? 0 : soundBytes / sizeof(float) / channels;
        SoundMix.ToMono(sound, Math.Max(1, channels), samples.AsSpan(0, sampleCount));
    }
}
