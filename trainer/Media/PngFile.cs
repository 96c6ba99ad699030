namespace Avedis.Trainer.Media;

/// <summary>Pictures to png, through ffmpeg.</summary>
public static class PngFile
{
    /// <summary>Writes one RGB picture [height, width, 3], whole or not at all.</summary>
    public static void Write(FfmpegTool tool, byte[] rgb, int width, int height, string path, CancellationToken stop)
    {
        string part = path + ".part";
        try
        {
            tool.RunFfmpeg(
                ["-y", "-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", $"{width}x{height}", "-i", "pipe:0", "-frames:v", "1",
                    "-c:v", "png", "-pred", "mixed", "-f", "image2pipe", FfmpegTool.FileArgument(part)],
                TimeSpan.FromMinutes(1), stream => stream.Write(rgb), stop: stop).CheckWritten(path);
            File.Move(part, path, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }
}
