using System.Runtime.InteropServices;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Synth;

/// <summary>Clips to mp4 (H.264 + AAC), through ffmpeg.</summary>
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
            tool.RunFfmpeg(
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
                stop: stop).CheckWritten(path);
            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(sound);
            File.Delete(part);
        }
    }
}
