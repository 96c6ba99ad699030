using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;
using FFMpegCore;
using FFMpegCore.Exceptions;

namespace Avedis.Trainer.Media;

/// <summary>Why one clip cannot be used: a short reason that can be counted, and the detail. Never ends a run by itself.</summary>
public sealed class MediaException(string reason, string detail, Exception? inner = null) : Exception($"{reason}: {detail}", inner)
{
    public string Reason { get; } = reason;

    public string Detail { get; } = detail;
}

/// <summary>What ffprobe reads from a file's headers, and of its packets.</summary>
/// <param name="Seconds">0 where the container names no duration.</param>
/// <param name="SoundStarts">When each track of sound begins, in seconds behind the first stream of the file.</param>
public sealed record MediaInfo(double Seconds, bool HasVideo, IReadOnlyList<double> SoundStarts)
{
    private const int OutputLimit = 1 << 20;

    public bool HasAudio => SoundStarts.Count > 0;

    /// <summary>Reads the headers of a file. Throws <see cref="MediaException"/> for what is no readable media file.</summary>
    /// <remarks>
    /// FFMpegCore gives the answer its types. It does not run ffprobe: its FFProbe holds however much that prints, asks for every tag and
    /// chapter, ends with
    /// the program alone and not with what that started, and puts a name between quotes whatever it holds.
    /// </remarks>
    public static MediaInfo Probe(FfmpegTool tool, string path, CancellationToken stop = default)
    {
        try
        {
            RegularFiles.Check(path);
        }
        catch (IOException failure)
        {
            throw new MediaException("unreadable file", failure.Message, failure);
        }
        byte[] json = [];
        var result = ChildProgram.Run(tool.Ffprobe,
            ["-hide_banner", "-loglevel", "error", .. FfmpegTool.InputGuards, "-of", "json", "-show_entries",
                "format=duration,start_time:stream=codec_type,start_time:stream_disposition=attached_pic", FfmpegTool.FileArgument(path)],
            TimeSpan.FromSeconds(60), readOutput: stream => json = ReadBounded(stream), stop: stop);
        if (result.TimedOut)
            throw new MediaException("timed out", "ffprobe needed more than 60 s");
        if (!result.Succeeded)
            throw new MediaException(LooksTruncated(result.Errors) && StartsAsMp4(path) ? "truncated" : "not a media file", result.FirstError);
        try
        {
            return Read(FFProbe.FromJson(Encoding.UTF8.GetString(json)).Raw);
        }
        catch (Exception failure) when (failure is JsonException or FFMpegException)
        {
            throw new MediaException("not a media file", "ffprobe's answer cannot be read", failure);
        }
    }

    /// <summary>
    /// Length of a file in seconds, also where its container does not say it, as those that a browser recorded: then all packets are read
    /// and none decoded.
    /// </summary>
    /// <exception cref="MediaException">It is no readable media file, or there is nothing in it.</exception>
    public static double LengthOf(FfmpegTool tool, string path, CancellationToken stop = default)
    {
        double seconds = Probe(tool, path, stop).Seconds;
        if (seconds > 0)
            return seconds;
        var result = tool.RunFfmpeg(
            FFMpegArguments.FromFileInput(FfmpegTool.FileArgument(path, quoted: true), verifyExists: false,
                input => input.WithCustomArgument(FfmpegTool.QuotedGuards))
                .OutputToNull(output => output.WithCustomArgument("-map 0:V? -map 0:a? -progress pipe:1").CopyStreams()),
            TimeSpan.FromMinutes(10),
            readOutput: stream =>
            {
                using var reader = new StreamReader(stream);
                while (reader.ReadLine() is { } line)
                    if (line.StartsWith("out_time_us=", StringComparison.Ordinal)
                        && long.TryParse(line.AsSpan("out_time_us=".Length), NumberStyles.Integer, CultureInfo.InvariantCulture,
                            out long microseconds))
                        seconds = microseconds / 1e6;
            },
            stop: stop);
        return seconds > 0 ? seconds : throw new MediaException("no length", result.FirstError);
    }

    /// <summary>An mp4 whose index at the end is missing, or a file that ends before its last packet, in ffmpeg's words.</summary>
    internal static bool LooksTruncated(string errors) => errors.Contains("moov atom not found", StringComparison.Ordinal)
        || errors.Contains("partial file", StringComparison.Ordinal) || errors.Contains("truncat", StringComparison.OrdinalIgnoreCase);

    /// <summary>ffmpeg takes any file for an mp4 that is named so; a real one starts with the length and one of these names of its first box.</summary>
    private static bool StartsAsMp4(string path)
    {
        Span<byte> start = stackalloc byte[8];
        using var file = File.OpenRead(path);
        if (file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) < start.Length)
            return false;
        var box = start[4..];
        return box.SequenceEqual("ftyp"u8) || box.SequenceEqual("moov"u8) || box.SequenceEqual("mdat"u8)
            || box.SequenceEqual("free"u8) || box.SequenceEqual("skip"u8) || box.SequenceEqual("wide"u8);
    }

    private static MediaInfo Read(FFProbeAnalysis answer)
    {
        var streams = answer.Streams ?? [];
        double start = Seconds(answer.Format?.StartTime);
        return new MediaInfo(
            Seconds(answer.Format?.Duration),
            streams.Any(stream => stream.CodecType == "video" && (stream.Disposition?.GetValueOrDefault("attached_pic") ?? 0) == 0),
            [.. streams.Where(stream => stream.CodecType == "audio").Select(stream => Seconds(stream.StartTime) - start)]);

        // "N/A" and nothing at all are 0
        static double Seconds(string? text) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds)
            ? seconds : 0;
    }

    private static byte[] ReadBounded(Stream stream)
    {
        var kept = new MemoryStream();
        var scratch = new byte[16 * 1024];
        for (int got; (got = stream.Read(scratch)) > 0;)
            if (kept.Length + got <= OutputLimit)
                kept.Write(scratch, 0, got);
        return kept.ToArray();
    }
}
