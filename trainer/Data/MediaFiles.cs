namespace Avedis.Trainer.Data;

/// <summary>What a user means by files and folders of media.</summary>
public static class MediaFiles
{
    // of containers that the decoder opens, those with a picture
    private static readonly HashSet<string> extensions = new(
        [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".ogv", ".3gp", ".3g2", ".asf",
            ".wmv", ".nut", ".mxf"],
        StringComparer.OrdinalIgnoreCase);

    // and those of sound alone
    private static readonly HashSet<string> sounds = new([".wav", ".mp3", ".flac", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".aif",
        ".aiff"], StringComparer.OrdinalIgnoreCase);

    /// <summary>Whether the name is that of a video.</summary>
    public static bool IsVideo(string path) => extensions.Contains(Path.GetExtension(path));

    /// <summary>Whether the name is that of a file of sound.</summary>
    public static bool IsSound(string path) => sounds.Contains(Path.GetExtension(path));

    /// <summary>The files, and of each folder the videos in it and below, by name.</summary>
    /// <param name="notes">Takes a line for each folder that could not be listed.</param>
    /// <exception cref="UserException">Exit code 3: a folder without any.</exception>
    public static IReadOnlyList<string> Find(IEnumerable<string> paths, TextWriter notes)
        => [.. paths.SelectMany(path => Directory.Exists(path) ? InFolder(path, notes) : [path])];

    private static string[] InFolder(string folder, TextWriter notes)
    {
        var walk = new FolderWalk(Path.GetFullPath(folder), int.MaxValue);
        string[] found = [.. walk.Below(_ => true).Where(item => !item.IsFolder && IsVideo(item.Path))
            .Select(item => Path.Combine(folder, item.Path)).Order(StringComparer.Ordinal)];
        foreach (string note in walk.Notes)
            notes.WriteLine($"avedis: warning: {note}");
        return found.Length > 0 ? found : throw new UserException(ExitCode.BadInput,
            $"{folder} holds no media files ({string.Join(", ", extensions.Order(StringComparer.Ordinal))})");
    }
}
