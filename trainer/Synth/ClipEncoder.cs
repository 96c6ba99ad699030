using System.Runtime.InteropServices;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Synth;

/// <summary>Clips to mp4 (H.264 + AAC) and pictures to png, through ffmpeg.</summary>
public static class ClipEncoder
{
    private static readonly string[] RawFrames = ["-f", "rawvideo", "-pixel_format", "rgb24"];

    // one thread and no dates or version strings: the same pixels give the same file with the same ffmpeg
    private static readonly string[] Output =
    [
        "-c:v", "libx264", "-preset", "superfast", "-crf", "23", "-pix_fmt", "yuv420p", "-threads:v", "1", "-c:a", "aac", "-b:a", "64k",
        "-threads:a", "1",
        "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-f", "mp4",
    ];

    /// <summary>Writes a clip under a temporary name beside <paramref name="path"/> and renames it when it is whole.</summary>
    public static void Write(FfmpegTool tool, Clip clip, string path, CancellationToken stop)
    {
        string sound = path + ".pcm", part = path + ".part";
        try
        {
            File.WriteAllBytes(sound, MemoryMarshal.AsBytes(clip.Speak().AsSpan()).ToArray());
            var result = tool.RunFfmpeg(
                [
                    "-y", .. RawFrames, "-video_size", $"{Clip.Size}x{Clip.Size}", "-framerate", $"{Clip.FramesPerSecond}", "-i", "pipe:0",
                    "-f", "s16le", "-ar", $"{Voice.SampleRate}", "-ac", "1", "-i", FfmpegTool.FileArgument(sound), "-map", "0:v:0", "-map",
                    "1:a:0",
                    .. Output, FfmpegTool.FileArgument(part),
                ],
                TimeSpan.FromMinutes(5),
                stream =>
                {
                    var frame = new byte[Clip.Size * Clip.Size * 3];
                    for (int i = 0; i < clip.FrameCount; i++)
                    {
                        clip.Render(i, frame);
                        stream.Write(frame);
                    }
                },
                stop: stop);
            Check(result, path);
            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(sound);
            File.Delete(part);
        }
    }

    /// <summary>Writes one RGB picture as png, whole or not at all.</summary>
    public static void WritePng(FfmpegTool tool, byte[] rgb, int width, int height, string path, CancellationToken stop)
    {
        string part = path + ".part";
        try
        {
            var result = tool.RunFfmpeg(
                ["-y", .. RawFrames, "-video_size", $"{width}x{height}", "-i", "pipe:0", "-frames:v", "1", "-c:v", "png", "-pred", "mixed",
                    "-f", "image2pipe", FfmpegTool.FileArgument(part)],
                TimeSpan.FromMinutes(1), stream => stream.Write(rgb), stop: stop);
            Check(result, path);
            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }

    private static void Check(ToolResult result, string path)
    {
        if (result.Succeeded)
            return;
        string said = result.TimedOut ? "it took longer than its limit" : FfmpegTool.FirstLine(result.Errors);
        bool encoder = said.Contains("encoder", StringComparison.OrdinalIgnoreCase);
        throw encoder
            ? new UserException(ExitCode.DeviceUnavailable, $"ffmpeg cannot encode {path}: {said}; install an ffmpeg with libx264 and aac")
            : new UserException(ExitCode.DiskOrIo,
                $"ffmpeg could not write {path}: {said}; check free space and permissions, then run the same command again");
    }
}
