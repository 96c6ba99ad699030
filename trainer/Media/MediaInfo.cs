using System.Globalization;
using System.Text.Json;
using Avedis.Bindings;

namespace Avedis.Trainer.Media;

/// <summary>Why one clip cannot be used: a short reason that can be counted, and the detail. Never ends a run by itself.</summary>
public sealed class MediaException(string reason, string detail, Exception? inner = null) : Exception($"{reason}: {detail}", inner)
{
    public string Reason { get; } = reason;

    public string Detail { get; } = detail;
}

/// <summary>What ffprobe reads from a file's headers. Seconds is 0 where the container names no duration; sizes are 0 without a picture.</summary>
public sealed record MediaInfo(double Seconds, bool HasVideo, bool HasAudio, int Width, int Height)
{
    private const int OutputLimit = 1 << 20;

    /// <summary>Reads the headers of a file. Throws <see cref="MediaException"/> for what is no readable media file.</summary>
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
                "format=duration:stream=codec_type,width,height:stream_disposition=attached_pic", FfmpegTool.FileArgument(path)],
            TimeSpan.FromSeconds(60), readOutput: stream => json = ReadBounded(stream), stop: stop);
        if (result.TimedOut)
            throw new MediaException("timed out", "ffprobe needed more than 60 s");
        if (!result.Succeeded)
            throw new MediaException(LooksTruncated(result.Errors) && StartsAsMp4(path) ? "truncated" : "not a media file", result.FirstError);
        try
        {
            using var document = JsonDocument.Parse(json);
            return Read(document.RootElement);
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new MediaException("not a media file", "ffprobe's answer cannot be read", failure);
        }
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

    private static MediaInfo Read(JsonElement root)
    {
        double seconds = 0;
        if (root.TryGetProperty("format", out var format) && format.TryGetProperty("duration", out var duration))
            _ = double.TryParse(duration.GetString(), NumberStyles.Float, CultureInfo.InvariantCulture, out seconds);
        bool audio = false;
        int width = 0, height = 0;
        bool video = false;
        if (root.TryGetProperty("streams", out var streams))
            foreach (var stream in streams.EnumerateArray())
            {
                string? type = stream.TryGetProperty("codec_type", out var text) ? text.GetString() : null;
                audio |= type == "audio";
                bool cover = stream.TryGetProperty("disposition", out var flags) && flags.TryGetProperty("attached_pic", out var flag) && flag.GetInt32() != 0;
                if (type != "video" || cover || video)
                    continue;
                video = true;
                width = stream.TryGetProperty("width", out var w) ? w.GetInt32() : 0;
                height = stream.TryGetProperty("height", out var h) ? h.GetInt32() : 0;
            }
        return new MediaInfo(seconds, video, audio, width, height);
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
