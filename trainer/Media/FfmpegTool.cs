using System.Text.RegularExpressions;
using FFMpegCore;

namespace Avedis.Trainer.Media;

internal static class FfmpegOutputs
{
    /// <summary>For an ffmpeg that was to write <paramref name="path"/>.</summary>
    /// <exception cref="UserException">It did not.</exception>
    public static void CheckWritten(this ChildResult result, string path)
    {
        if (result.Succeeded)
            return;
        string said = result.TimedOut ? "it took longer than its limit" : result.FirstError;
        bool encoder = said.Contains("encoder", StringComparison.OrdinalIgnoreCase);
        throw encoder
            ? new UserException(ExitCode.DeviceUnavailable, $"ffmpeg cannot encode {path}: {said}; install an ffmpeg with libx264 and aac")
            : new UserException(ExitCode.DiskOrIo,
                $"ffmpeg could not write {path}: {said}; check free space and permissions, then run the same command again");
    }
}

/// <summary>
/// The programs ffmpeg and ffprobe: where they are, and one way to run them that cannot hang, fill memory or reach the network. Thread-safe.
/// </summary>
public sealed class FfmpegTool
{
    /// <summary>Names a file (ffmpeg itself) or the folder that holds both programs.</summary>
    public const string Variable = "AVEDIS_FFMPEG";

    private static readonly string[] ProcessGuards = ["-nostdin", "-hide_banner", "-loglevel", "error", "-max_alloc", "1073741824",
        "-filter_threads", "1"];

    private FfmpegTool(string ffmpeg, string ffprobe) => (Ffmpeg, Ffprobe) = (ffmpeg, ffprobe);

    /// <summary>Full path of ffmpeg.</summary>
    public string Ffmpeg { get; }

    /// <summary>Full path of ffprobe.</summary>
    public string Ffprobe { get; }

    /// <summary>
    /// Options of both programs before the file of a stranger: no network, and containers only. Playlists, patterns and scripts name further files
    /// to open, and a file that is called a.mp4 can be one.
    /// </summary>
    public static IReadOnlyList<string> InputGuards { get; } =
    [
        "-protocol_whitelist", "file,pipe",
        "-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,ogg,asf,nut,mxf,wav,mp3,flac,aac",
    ];

    /// <summary><see cref="InputGuards"/> as FFMpegCore takes them.</summary>
    public static string QuotedGuards { get; } = string.Join(' ', InputGuards);

    /// <summary>
    /// Looks for both programs: at <paramref name="option"/> (of --ffmpeg) if given, else at the environment variable AVEDIS_FFMPEG if set,
    /// else on PATH. A place that was named and lacks them is an error, never a reason to look further.
    /// </summary>
    public static FfmpegTool Find(string? option = null)
    {
        var looked = new List<string>();
        string? named = option ?? NullIfEmpty(Environment.GetEnvironmentVariable(Variable));
        IEnumerable<string> folders = (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        if (named is not null)
            folders = [File.Exists(named) ? Path.GetDirectoryName(Path.GetFullPath(named))! : named];
        foreach (string folder in folders)
        {
            string ffmpeg = named is not null && File.Exists(named) ? Path.GetFullPath(named) : Path.GetFullPath(Path.Combine(folder, Program("ffmpeg")));
            string ffprobe = Path.GetFullPath(Path.Combine(folder, Program("ffprobe")));
            if (File.Exists(ffmpeg) && File.Exists(ffprobe))
                return new FfmpegTool(ffmpeg, ffprobe);
            looked.Add(folder);
        }
        string where = option is not null ? "--ffmpeg" : named is not null ? Variable : "PATH";
        throw new UserException(ExitCode.DeviceUnavailable,
            $"ffmpeg and ffprobe not found (looked in {where}: {string.Join(", ", looked)}); "
            + $"install it (apt-get install ffmpeg) or name it with --ffmpeg or {Variable}");

        static string Program(string name) => OperatingSystem.IsWindows() ? name + ".exe" : name;
        static string? NullIfEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;
    }

    /// <summary>A path as ffmpeg takes it whatever its name is: "-y.mp4" is no option, "concat:a" no address.</summary>
    /// <param name="quoted">For FFMpegCore, which puts quotes around it and does not see to those in it, nor to a backslash at the
    /// end.</param>
    public static string FileArgument(string path, bool quoted = false)
        => "file:" + (quoted ? Regex.Replace(path, @"(\\*)(""|\z)", "$1$1$2").Replace("\"", "\\\"", StringComparison.Ordinal) : path);

    /// <summary>First line of "ffmpeg -version", for doctor and run records.</summary>
    public string Version()
    {
        string text = "";
        var result = ChildProgram.Run(Ffmpeg, ["-version"], TimeSpan.FromSeconds(20), readOutput: stream => text = new StreamReader(stream).ReadLine() ?? "");
        return result.Succeeded ? text : throw new UserException(ExitCode.DeviceUnavailable, $"{Ffmpeg} does not run: {result.FirstError}");
    }

    /// <summary>
    /// Runs ffmpeg with the guards that concern the process: no reading of the terminal, errors only, one filter thread.
    /// <paramref name="arguments"/> holds inputs (a stranger's with <see cref="InputGuards"/> in front), filters and outputs.
    /// </summary>
    public ChildResult RunFfmpeg(IEnumerable<string> arguments, TimeSpan limit, Action<Stream>? writeInput = null, Action<Stream>? readOutput = null,
        CancellationToken stop = default)
        => ChildProgram.Run(Ffmpeg, [.. ProcessGuards, .. arguments], limit, writeInput, readOutput, stop);

    /// <inheritdoc cref="RunFfmpeg(IEnumerable{string}, TimeSpan, Action{Stream}?, Action{Stream}?, CancellationToken)"/>
    /// <remarks>
    /// FFMpegCore writes the command line and does not run it: it keeps all that ffmpeg says, stops it by typing q, which -nostdin
    /// forbids, and kills it without its
    /// children; its pipes are sockets with names in the folder for temporary files, which others may open.
    /// </remarks>
    public ChildResult RunFfmpeg(FFMpegArgumentProcessor command, TimeSpan limit, Action<Stream>? writeInput = null,
        Action<Stream>? readOutput = null,
        CancellationToken stop = default)
        => ChildProgram.Run(Ffmpeg, $"{string.Join(' ', ProcessGuards)} {command.Arguments}", limit, writeInput, readOutput, stop);
}
