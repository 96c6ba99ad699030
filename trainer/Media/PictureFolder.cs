using System.Globalization;

namespace Avedis.Trainer.Media;

/// <summary>
/// A clip's picture as a folder of JPEG or PNG files in the order of the numbers in their names: how VoxCeleb's face tracks are handed out.
/// </summary>
public sealed class PictureFolder
{
    public const double UsualFps = 25;

    private readonly string[] files;
    private readonly double fps;

    /// <param name="fps">Pictures per second.</param>
    /// <exception cref="MediaException">It cannot be listed, holds no picture, two kinds, or a link to nothing.</exception>
    public PictureFolder(string path, double fps)
    {
        this.fps = fps;
        try
        {
            var pictures = new DirectoryInfo(path).EnumerateFiles().Where(file => CodecOf(file.Name) is not null).ToList();
            if (pictures.FirstOrDefault(file => ClipSource.Behind(file) is not { Exists: true }) is { } link)
                throw new MediaException("missing file",
                    $"{Path.GetFileName(path)}/{link.Name} is a link to {link.LinkTarget}, which is not there");
            // a named pipe has no length either, and reading it would wait for its other end
            if (pictures.FirstOrDefault(file => ClipSource.Behind(file) is not FileInfo { Length: > 0 }) is { } empty)
                throw new MediaException("empty file", $"{Path.GetFileName(path)}/{empty.Name} has 0 bytes");
            files = [.. pictures.Select(file => file.FullName).OrderBy(NumberOf).ThenBy(file => file, StringComparer.Ordinal)];
        }
        catch (Exception failure) when (failure is UnauthorizedAccessException or IOException)
        {
            throw new MediaException("unreadable file", failure.Message, failure);
        }
        if (files.Length == 0)
            throw new MediaException("no picture", "the folder has no .jpg and no .png");
        Codec = CodecOf(files[0])!;
        if (files.Any(file => CodecOf(file) != Codec))
            throw new MediaException("cannot be decoded", "the folder has .jpg and .png");
    }

    /// <summary>What ffmpeg calls the pictures' format.</summary>
    public string Codec { get; }

    /// <summary>
    /// The pictures in the middle of each of the steps of <paramref name="step"/> seconds between two times, at most <paramref name="most"/>: those that ffmpeg's
    /// filter fps would take from a video.
    /// </summary>
    public IReadOnlyList<string> Every(double step, double start, double end, int most)
    {
        var taken = new List<string>();
        for (int k = 0; taken.Count < most; k++)
        {
            double time = start + ((k + 0.5) * step);
            int picture = (int)Math.Floor(time * fps);
            if (time >= end || picture >= files.Length)
                break;
            taken.Add(files[picture]);
        }
        return taken;
    }

    private static string? CodecOf(string name) => Path.GetExtension(name).ToLowerInvariant() switch
    {
        ".jpg" or ".jpeg" => "mjpeg",
        ".png" => "png",
        _ => null,
    };

    // 2.jpg comes before 10.jpg; names without a number come last, by name
    private static long NumberOf(string file)
    {
        string name = Path.GetFileNameWithoutExtension(file);
        int digits = name.Reverse().TakeWhile(char.IsAsciiDigit).Count();
        return long.TryParse(name.AsSpan(name.Length - digits), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : long.MaxValue;
    }
}
