namespace Avedis.Trainer.Media;

/// <summary>
/// A clip's picture as a folder of JPEG or PNG files in the order of <see cref="PictureOrder"/>: how VoxCeleb's face tracks are handed out.
/// </summary>
public sealed class PictureFolder
{
    public const double UsualFps = 25;

    private readonly string[] files;
    private readonly double fps;

    /// <param name="fps">Pictures per second.</param>
    /// <exception cref="MediaException">It cannot be listed, holds no picture, two kinds, a link to nothing, or names that tell no
    /// order.</exception>
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
            files = [.. pictures.Select(file => file.FullName).Order(StringComparer.Ordinal)];
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
        files = PictureOrder.Sort(files);
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
}
