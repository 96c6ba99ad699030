using System.Text.RegularExpressions;
using Avedis.Bindings;

namespace Avedis.Trainer.Data;

/// <summary>
/// A folder that the paths of a table may not leave, neither by ".." nor absolutely. A link inside it is followed wherever it leads: a
/// table cannot make one, and content stores (git-annex, DVC, the cache of Hugging Face) and shared disks keep the files that folders name
/// by links. Paths may be written as other systems write them: what does not exist as it is written is looked for with / for \, without
/// spaces at the ends, in the other Unicode form of its letters, and in other letter case.
/// </summary>
public sealed partial class DataRoot
{
    private const int LongestPath = 4096; // as Linux has it

    private readonly Dictionary<string, ILookup<string, string>> listings = new(StringComparer.Ordinal);
    private readonly string prefix;

    public DataRoot(string folder)
    {
        Folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        prefix = Path.EndsInDirectorySeparator(Folder) ? Folder : Folder + Path.DirectorySeparatorChar;
    }

    /// <summary>The folder, absolute.</summary>
    public string Folder { get; }

    /// <summary>The absolute path as it is on the disk, or null if it lies outside. The file itself need not exist.</summary>
    public string? Resolve(string path) => Find(path)?.Full;

    /// <summary>
    /// A path as a table writes it: its name, which is the path under the root with forward slashes, and its place on the disk; null if it
    /// lies outside.
    /// </summary>
    public (string Name, string Full)? Find(string path)
    {
        if (Under(path) is { } written && IsThere(written))
            return (NameOf(written), written);
        string plain = path.Trim();
        if (plain.StartsWith("file://", StringComparison.OrdinalIgnoreCase) && Uri.TryCreate(plain, UriKind.Absolute, out var address))
            plain = address.LocalPath;
        plain = plain.Replace('\\', '/');
        if (Elsewhere().IsMatch(plain) || Under(plain.TrimEnd('/')) is not { } full)
            return null;
        string name = NameOf(full);
        return (name, IsThere(full) ? full : OnDisk(name) ?? full);
    }

    private string? Under(string path)
    {
        if (path.Length is 0 or > LongestPath || path.Contains('\0'))
            return null;
        string full = Path.GetFullPath(path, Folder);
        if (Path.IsPathRooted(path) && !full.StartsWith(prefix, StringComparison.Ordinal))
            full = ByOtherName(full);
        return full.Length > prefix.Length && full.StartsWith(prefix, StringComparison.Ordinal) && !Path.EndsInDirectorySeparator(full)
            ? full : null;
    }

    // the root may have another name by way of a link: data frames like to write where links end
    private string ByOtherName(string full)
    {
        var own = RegularFiles.Identity(Folder);
        for (string? above = Path.GetDirectoryName(full); own is not null && above is not null; above = Path.GetDirectoryName(above))
            if (RegularFiles.Identity(above) == own)
                return Path.Combine(Folder, Path.GetRelativePath(above, full));
        return full;
    }

    private string NameOf(string full) => full[prefix.Length..];

    // a link that leads nowhere is there
    private static bool IsThere(string full) => Path.Exists(full) || new FileInfo(full).LinkTarget is not null;

    /// <summary>
    /// The file that differs from a name in the Unicode form of its letters alone, or else in letter case; null if there is none, or
    /// several.
    /// </summary>
    private string? OnDisk(string name)
    {
        string at = Folder;
        foreach (string part in name.Split('/'))
        {
            string next = Path.Combine(at, part);
            if (!IsThere(next))
            {
                string composed = TextTable.Composed(part);
                string[] alike = [.. Listing(at)[composed.ToUpperInvariant()]];
                string[] same = [.. alike.Where(other => TextTable.Composed(other) == composed)];
                if ((same.Length == 0 ? alike : same) is not [var only])
                    return null;
                next = Path.Combine(at, only);
            }
            at = next;
        }
        return at;
    }

    private ILookup<string, string> Listing(string folder)
    {
        if (!listings.TryGetValue(folder, out var names))
            listings[folder] = names = Names().ToLookup(name => TextTable.Composed(name).ToUpperInvariant());
        return names;

        IEnumerable<string> Names()
        {
            try
            {
                return [.. Directory.EnumerateFileSystemEntries(folder).Select(entry => Path.GetFileName(entry))];
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                return [];
            }
        }
    }

    // a drive of Windows, or an address of some service
    [GeneratedRegex("^[A-Za-z][A-Za-z0-9+.-]*:/")]
    private static partial Regex Elsewhere();
}
