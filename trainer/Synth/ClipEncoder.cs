using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Synth;

/// <summary>Clips to mp4 (H.264 + AAC), through ffmpeg.</summary>
public static class ClipEncoder
{
    // a process of its own would take as long to start as a short clip takes to encode; what is stopped halfway loses so many at most
    private const int ClipsOfAProcess = 8;
    private const double SecondsOfAProcess = 24;

    private static readonly string[] RawFrames = ["-f", "rawvideo", "-pixel_format", "rgb24"];

    // one thread and no dates or version strings: the same pixels give the same file with the same ffmpeg
    private static readonly string[] Output =
    [
        "-c:v", "libx264", "-preset", "superfast", "-crf", "23", "-pix_fmt", "yuv420p", "-threads:v", "1", "-c:a", "aac", "-b:a", "64k",
        "-threads:a", "1",
        "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-f", "mp4",
    ];

    /// <summary>How many clips of a length one process may encode.</summary>
    public static int Together(double seconds) => Math.Clamp((int)(SecondsOfAProcess / seconds), 1, ClipsOfAProcess);

    /// <summary>Writes clips of one length by one process, each under a temporary name beside its path, and renames them when all are
    /// whole. A file holds the same whichever others are written with it.</summary>
    public static void Write(FfmpegTool tool, IReadOnlyList<(Clip Clip, string Path)> clips, CancellationToken stop)
    {
        string sound = clips[0].Path + ".pcm";
        try
        {
            using (var samples = File.Create(sound))
                foreach (var (clip, _) in clips)
                    samples.Write(MemoryMarshal.AsBytes(clip.Speak().AsSpan()));
            tool.RunFfmpeg(
                [
                    "-y", "-filter_complex_threads", "1", .. RawFrames, "-video_size", $"{Clip.Size}x{Clip.Size}",
                    "-framerate", $"{Clip.FramesPerSecond}", "-i", "pipe:0",
                    "-f", "s16le", "-ar", $"{Voice.SampleRate}", "-ac", "1", "-i", FfmpegTool.FileArgument(sound),
                    "-filter_complex", Cut(clips),
                    // -r: ffmpeg 7 does not know the rate of a trimmed stream, and would drop its last picture
                    .. clips.SelectMany((clip, i) => (string[])["-map", $"[v{i}]", "-map", $"[a{i}]", "-r", $"{Clip.FramesPerSecond}",
                        .. Output, FfmpegTool.FileArgument(Part(clip.Path))]),
                ],
                TimeSpan.FromMinutes(5 * clips.Count),
                stream =>
                {
                    var frame = new byte[Clip.Size * Clip.Size * 3];
                    foreach (var (clip, _) in clips)
                        for (int i = 0; i < clip.FrameCount; i++)
                        {
                            clip.Render(i, frame);
                            stream.Write(frame);
                        }
                },
                stop: stop).CheckWritten(clips[0].Path);
            foreach (var (_, path) in clips)
                File.Move(Part(path), path, overwrite: true);
        }
        finally
        {
            File.Delete(sound);
            foreach (var (_, path) in clips)
                File.Delete(Part(path));
        }
    }

    private static string Part(string path) => path + ".part";

    /// <summary>The graph that cuts pictures and sound, which arrive one clip behind the other, into clips that begin at 0.</summary>
    private static string Cut(IReadOnlyList<(Clip Clip, string Path)> clips)
    {
        string All(string kind) => string.Concat(Enumerable.Range(0, clips.Count).Select(i => $"[{kind}{i}]"));
        var graph = new StringBuilder();
        graph.Append(CultureInfo.InvariantCulture, $"[0:v]split={clips.Count}{All("pictures")};[1:a]asplit={clips.Count}{All("sound")}");
        int frames = 0, samples = 0;
        for (int i = 0; i < clips.Count; i++)
        {
            int framesEnd = frames + clips[i].Clip.FrameCount, samplesEnd = samples + clips[i].Clip.SampleCount;
            graph.Append(CultureInfo.InvariantCulture,
                $";[pictures{i}]trim=start_frame={frames}:end_frame={framesEnd},setpts=PTS-STARTPTS[v{i}]");
            graph.Append(CultureInfo.InvariantCulture,
                $";[sound{i}]atrim=start_sample={samples}:end_sample={samplesEnd},asetpts=PTS-STARTPTS[a{i}]");
            (frames, samples) = (framesEnd, samplesEnd);
        }
        return graph.ToString();
    }
}
