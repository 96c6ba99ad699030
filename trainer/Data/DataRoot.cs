using System.Runtime.CompilerServices;

namespace Avedis.Trainer.Data;

/// <summary>
/// A folder that paths from a stranger's table may not leave, neither by "..", nor absolutely, nor through a symbolic link on the way.
/// </summary>
public sealed class DataRoot
{
    private const int MostLinks = 40, LongestPath = 4096; // as Linux has it

    private readonly Dictionary<string, string> resolvedFolders = new(StringComparer.Ordinal);
    private readonly string prefix;

    public DataRoot(string folder)
    {
        Folder = Canonical(Path.GetFullPath(folder)) ?? Path.GetFullPath(folder);
        prefix = Path.EndsInDirectorySeparator(Folder) ? Folder : Folder + Path.DirectorySeparatorChar;
    }

    /// <summary>The folder, absolute and without links.</summary>
    public string Folder { get; }

    /// <summary>The absolute path without links, or null if it lies outside. The file itself need not exist.</summary>
    public string? Resolve(string path)
    {
        if (path.Contains('\0') || path.Length > LongestPath)
            return null;
        string full = Path.GetFullPath(path, Folder);
        string? real = full.Length > prefix.Length && !Path.EndsInDirectorySeparator(full) ? Canonical(full) : null;
        return real is not null && real.StartsWith(prefix, StringComparison.Ordinal) ? real : null;
    }

    /// <summary>Follows every link of a path that holds no "..", from the left; null if they run in a circle.</summary>
    private string? Canonical(string path, int links = 0)
    {
        string? parent = Path.GetDirectoryName(path);
        if (parent is null)
            return path;
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            return null; // links to links whose targets are as long as a path may be
        if (!resolvedFolders.TryGetValue(parent, out string? realParent))
        {
            realParent = Canonical(parent, links);
            if (realParent is null)
                return null;
            resolvedFolders[parent] = realParent;
        }
        string here = Path.Combine(realParent, Path.GetFileName(path));
        string? target = new FileInfo(here).LinkTarget;
        if (target is null)
            return here;
        return links >= MostLinks ? null : Canonical(Path.GetFullPath(target, realParent), links + 1);
    }
}
