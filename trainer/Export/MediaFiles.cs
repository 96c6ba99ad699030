namespace Avedis.Trainer.Export;

/// <summary>What a user means by files and folders of media.</summary>
public static class MediaFiles
{
    // of containers that the decoder opens, those with a picture
    private static readonly HashSet<string> extensions = new(
        [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".ogv", ".3gp", ".3g2", ".asf", ".wmv", ".nut", ".mxf"],
        StringComparer.OrdinalIgnoreCase);

    /// <summary>The files, and of each folder the media files in it and below, by name.</summary>
    /// <exception cref="UserException">Exit code 3: a folder without any.</exception>
    public static IReadOnlyList<string> Find(IEnumerable<string> paths) => [.. paths.SelectMany(path => Directory.Exists(path) ? InFolder(path) : [path])];

    private static string[] InFolder(string folder)
    {
        var options = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.Hidden };
        string[] found = [.. Directory.EnumerateFiles(folder, "*", options).Where(file => extensions.Contains(Path.GetExtension(file))).Order(StringComparer.Ordinal)];
        return found.Length > 0 ? found : throw new UserException(ExitCode.BadInput, $"{folder} holds no media files ({string.Join(", ", extensions.Order(StringComparer.Ordinal))})");
    }
}
