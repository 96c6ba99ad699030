namespace Avedis.Trainer.Media;

/// <summary>Which part of the picture shows the speaker, where two people were filmed in one.</summary>
public enum PictureRegion
{
    Whole,
    Left,
    Right,
}

/// <summary>Where the picture and the sound of one clip lie.</summary>
/// <param name="Picture">A media file, or a folder of numbered pictures (<see cref="PictureFolder"/>).</param>
/// <param name="Sound">A media file of its own, cut to the clip; null: the sound is in <paramref name="Picture"/>.</param>
/// <param name="Start">Where the clip begins in <paramref name="Picture"/>, in seconds.</param>
/// <param name="End">Where it ends there; null: with the file.</param>
/// <param name="Fps">Pictures per second in a folder of them; a video says so itself.</param>
public sealed record ClipSource(
    string Picture, string? Sound = null, double Start = 0, double? End = null, PictureRegion Region = PictureRegion.Whole, double Fps = PictureFolder.UsualFps)
{
    /// <summary>
    /// Bytes of all its files, and the latest time of change of one of them in UTC ticks: who changes them changes one of the two. (0, 0) if one is missing.
    /// Links count as what they lead to.
    /// </summary>
    public (long Size, long Modified) State()
    {
        IEnumerable<FileSystemInfo> files = Directory.Exists(Picture) ? [new DirectoryInfo(Picture), .. new DirectoryInfo(Picture).EnumerateFiles()] : [new FileInfo(Picture)];
        if (Sound is not null)
            files = files.Append(new FileInfo(Sound));
        var (size, modified) = (0L, 0L);
        foreach (var named in files)
        {
            if (Behind(named) is not { Exists: true } file)
                return (0, 0);
            size += file is FileInfo { Length: var length } ? length : 0;
            modified = Math.Max(modified, file.LastWriteTimeUtc.Ticks);
        }
        return (size, modified);
    }

    /// <summary>What a link leads to in the end, or the file itself; null for links in a circle.</summary>
    public static FileSystemInfo? Behind(FileSystemInfo named)
    {
        try
        {
            return named.LinkTarget is null ? named : named.ResolveLinkTarget(returnFinalTarget: true);
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>
    /// What to say of a file that is not there: a link to nothing, such as those of stores whose files were not fetched, is something else
    /// than no file.
    /// </summary>
    public static string WhyMissing(string path) => new FileInfo(path).LinkTarget is not { } target
        ? $"there is no such file{(File.Exists(path + ".dvc") ? ", only its .dvc; fetch it with dvc pull" : "")}"
        : $"it is a link to {target}, which is not there; fetch it"
            + (target.Contains(".git/annex/", StringComparison.Ordinal) ? " with git annex get" : "");
}
