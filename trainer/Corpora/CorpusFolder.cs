using System.Text;
using Avedis.Bindings;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// The folder that holds a corpus. Looked through downwards to a fixed depth, in ordinal order, so that extra levels do no harm and every
/// machine finds the same. Links to folders are not entered; links to files count where they stay inside.
/// </summary>
public sealed class CorpusFolder
{
    private const int Depth = 9; // VoxCeleb's faces lie seven levels down
    private const int PointerBytes = 1024; // a Git LFS pointer is shorter, by its specification

    private readonly DataRoot root;

    public CorpusFolder(string path)
    {
        if (!Directory.Exists(path))
            throw new UserException(ExitCode.BadInput, $"{path} is no folder; name the folder that the corpus was unpacked into");
        root = new DataRoot(path);
    }

    /// <summary>Absolute and without links.</summary>
    public string FullPath => root.Folder;

    /// <summary>Links to folders that were passed by in the walks so far.</summary>
    public int LinksPassed { get; private set; }

    /// <summary>Every file below, as a relative path with forward slashes; hidden ones (such as the "._" files of macOS) are passed over.</summary>
    public IEnumerable<string> Files() => Walk("", Depth, _ => true).Where(item => !item.IsFolder).Select(item => item.Path);

    /// <summary>Every folder below; those for which <paramref name="enter"/> says no are listed, but not looked into.</summary>
    public IEnumerable<string> Folders(Func<string, bool> enter) => Walk("", Depth, enter).Where(item => item.IsFolder).Select(item => item.Path);

    /// <summary>Names of the files directly in a folder below ("" is this one), in ordinal order; none if it is not there.</summary>
    public IReadOnlyList<string> FilesIn(string relative)
    {
        string? full = relative.Length == 0 ? FullPath : Resolve(relative);
        return full is null || !Directory.Exists(full) ? []
            : [.. Directory.EnumerateFiles(full).Select(file => Path.GetFileName(file)!).Where(name => name[0] != '.').Order(StringComparer.Ordinal)];
    }

    /// <summary>The absolute path, or null if it leads out of the folder.</summary>
    public string? Resolve(string relative) => root.Resolve(relative);

    /// <summary>The bytes of a table below.</summary>
    public byte[] Read(string relative)
    {
        string full = Resolve(relative) ?? throw new UserException(ExitCode.BadInput, $"{relative} leads out of {FullPath}; copy the file into it");
        try
        {
            return RegularFiles.ReadAllBytes(full, Array.MaxLength);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadInput, $"cannot read {full}: {failure.Message}", failure);
        }
    }

    /// <summary>Why a file, or folder of frames, cannot be opened as what its name says; null if it can.</summary>
    public Rejection? FaultOf(string relative)
    {
        if (Resolve(relative) is not { } full)
            return new Rejection(relative, "outside the folder", "a link leads out of the corpus folder; copy the file into it");
        if (Directory.Exists(full))
            return null;
        var file = new FileInfo(full);
        if (!file.Exists)
            return new Rejection(relative, "missing file", "there is no such file");
        if (file.Length == 0)
            return new Rejection(relative, "empty file", "0 bytes");
        try
        {
            RegularFiles.Check(full);
        }
        catch (IOException failure)
        {
            return new Rejection(relative, "unreadable file", failure.Message);
        }
        return !IsPointer(file) ? null : new Rejection(relative, "Git LFS pointer", "stands for a file that was not fetched; run git lfs pull in the corpus folder");
    }

    /// <summary>Git puts a few lines of text where Git LFS keeps a large file; a plain clone, or a downloaded archive, holds nothing else.</summary>
    private static bool IsPointer(FileInfo file)
    {
        if (file.Length >= PointerBytes)
            return false;
        string firstLine = File.ReadLines(file.FullName, Encoding.Latin1).FirstOrDefault("");
        return firstLine.StartsWith("version ", StringComparison.Ordinal) && firstLine.Contains("git-lfs", StringComparison.Ordinal);
    }

    private IEnumerable<(string Path, bool IsFolder)> Walk(string relative, int depth, Func<string, bool> enter)
    {
        FileSystemInfo[] items = [.. new DirectoryInfo(Path.Combine(FullPath, relative)).EnumerateFileSystemInfos()
            .Where(item => item.Name[0] != '.' && item.Name != "__MACOSX").OrderBy(item => item.Name, StringComparer.Ordinal)];
        foreach (var item in items)
        {
            string path = relative.Length == 0 ? item.Name : $"{relative}/{item.Name}";
            if (item is not DirectoryInfo)
                yield return (path, false);
            else if (item.LinkTarget is not null)
                LinksPassed++;
            else
            {
                yield return (path, true);
                if (depth > 1 && enter(path))
                    foreach (var below in Walk(path, depth - 1, enter))
                        yield return below;
            }
        }
    }
}
