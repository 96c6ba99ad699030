using System.Text;
using Avedis.Bindings;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Corpora;

/// <summary>
/// The folder that holds a corpus. Looked through downwards to a fixed depth (<see cref="FolderWalk"/>), so that extra levels do no harm
/// and every machine finds the same.
/// </summary>
public sealed class CorpusFolder
{
    private const int Depth = 9; // VoxCeleb's faces lie seven levels down
    private const int PointerBytes = 1024; // a Git LFS pointer is shorter, by its specification

    private readonly DataRoot root;
    private readonly List<string> notes = [];

    public CorpusFolder(string path)
    {
        if (!Directory.Exists(path))
            throw new UserException(ExitCode.BadInput, $"{path} is no folder; name the folder that the corpus was unpacked into");
        root = new DataRoot(path);
    }

    /// <summary>Absolute.</summary>
    public string FullPath => root.Folder;

    /// <summary>A line for each folder that could not be listed in the walks so far.</summary>
    public IReadOnlyList<string> Notes => notes;

    /// <summary>Every file below, as a relative path with forward slashes; hidden ones (such as the "._" files of macOS) are passed over.</summary>
    public IReadOnlyList<string> Files() => Walk(_ => true, folders: false);

    /// <summary>Every folder below; those for which <paramref name="enter"/> says no are listed, but not looked into.</summary>
    public IReadOnlyList<string> Folders(Func<string, bool> enter) => Walk(enter, folders: true);

    /// <summary>Names of the files directly in a folder below ("" is this one), in ordinal order; none if it is not there.</summary>
    public IReadOnlyList<string> FilesIn(string relative)
    {
        string? full = relative.Length == 0 ? FullPath : Resolve(relative);
        return full is null || !Directory.Exists(full) ? []
            : [.. new FolderWalk(full, 1).Below(_ => false).Where(item => !item.IsFolder).Select(item => item.Path)];
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
            return new Rejection(relative, "outside the folder", "the name leads out of the corpus folder");
        if (Directory.Exists(full))
            return null;
        try
        {
            using var file = RegularFiles.OpenRead(full);
            return file.Length == 0 ? new Rejection(relative, "empty file", "0 bytes") : PointerFault(relative, file);
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            return new Rejection(relative, "missing file", ClipSource.WhyMissing(full));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return new Rejection(relative, "unreadable file", failure.Message);
        }
    }

    /// <summary>
    /// Git puts a line of text where Git LFS or git-annex keeps a large file; a plain clone, or a downloaded archive, holds nothing else.
    /// </summary>
    private static Rejection? PointerFault(string relative, FileStream file)
    {
        if (file.Length >= PointerBytes)
            return null;
        string firstLine = new StreamReader(file, Encoding.Latin1).ReadLine() ?? "";
        if (firstLine.StartsWith("version ", StringComparison.Ordinal) && firstLine.Contains("git-lfs", StringComparison.Ordinal))
            return new Rejection(relative, "Git LFS pointer",
                "stands for a file that was not fetched; run git lfs pull in the corpus folder");
        return firstLine.StartsWith("/annex/objects/", StringComparison.Ordinal)
            ? new Rejection(relative, "git-annex pointer", "stands for a file that was not fetched; run git annex get in the corpus folder")
                : null;
    }

    private string[] Walk(Func<string, bool> enter, bool folders)
    {
        var walk = new FolderWalk(FullPath, Depth);
        string[] found = [.. walk.Below(enter).Where(item => item.IsFolder == folders).Select(item => item.Path)];
        notes.AddRange(walk.Notes);
        return found;
    }
}
