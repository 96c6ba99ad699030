using System.IO.Enumeration;
using Avedis.Bindings;

namespace Avedis.Trainer.Data;

/// <summary>
/// What lies in a folder and below, to a depth, in ordinal order. Links to folders are followed after everything else, but never upwards,
/// and every folder is looked into once, whatever names lead to it. Hidden files and folders are passed over, and so are those in which
/// systems keep what they have thrown away or made themselves. A folder that cannot be listed is passed by and told in <see cref="Notes"/>.
/// </summary>
public sealed class FolderWalk
{
    private static readonly HashSet<string> OfSystems = new(["__MACOSX", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle"],
        StringComparer.Ordinal);

    private readonly HashSet<(ulong, ulong)> entered = [];
    private readonly Queue<(string Path, int Depth)> links = [];
    private readonly List<string> notes = [];
    private readonly string root;
    private readonly int depth;

    /// <param name="root">An absolute path.</param>
    public FolderWalk(string root, int depth)
    {
        (this.root, this.depth) = (root, depth);
        for (string? above = root; above is not null; above = Path.GetDirectoryName(above))
            Enters(above);
    }

    /// <summary>A line for each folder that could not be listed.</summary>
    public IReadOnlyList<string> Notes => notes;

    /// <summary>
    /// Everything below, as relative paths with forward slashes; a folder for which <paramref name="enter"/> says no is listed, but not
    /// looked into.
    /// </summary>
    public IEnumerable<(string Path, bool IsFolder)> Below(Func<string, bool> enter)
    {
        foreach (var item in In("", depth, enter))
            yield return item;
        while (links.TryDequeue(out var link))
            if (Enters(Path.Combine(root, link.Path)))
                foreach (var item in Folder(link.Path, link.Depth, enter))
                    yield return item;
    }

    private bool Enters(string folder) => RegularFiles.Identity(folder) is not { } identity || entered.Add(identity);

    private IEnumerable<(string Path, bool IsFolder)> In(string relative, int left, Func<string, bool> enter)
    {
        foreach (var (name, isFolder) in List(relative))
        {
            string path = relative.Length == 0 ? name : $"{relative}/{name}", full = Path.Combine(root, path);
            if (!isFolder)
                yield return (path, false);
            else if (new DirectoryInfo(full).LinkTarget is not null)
                links.Enqueue((path, left));
            else if (Enters(full))
                foreach (var below in Folder(path, left, enter))
                    yield return below;
        }
    }

    private IEnumerable<(string Path, bool IsFolder)> Folder(string path, int left, Func<string, bool> enter)
        => left > 1 && enter(path) ? In(path, left - 1, enter).Prepend((path, true)) : [(path, true)];

    // by what the folder itself says of its entries: asking a mount that is gone would fail
    private (string Name, bool IsFolder)[] List(string relative)
    {
        string folder = Path.Combine(root, relative);
        try
        {
            var entries = new FileSystemEnumerable<(string Name, bool IsFolder)>(
                folder, (ref entry) => (entry.FileName.ToString(), entry.IsDirectory), new EnumerationOptions { AttributesToSkip = 0,
                    IgnoreInaccessible = false });
            return [.. entries.Where(entry => entry.Name[0] != '.' && !OfSystems.Contains(entry.Name)).OrderBy(entry => entry.Name,
                StringComparer.Ordinal)];
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            notes.Add($"{Printable.Line(folder)} cannot be listed and was passed by: {Printable.Line(failure.Message)}");
            return [];
        }
    }
}
