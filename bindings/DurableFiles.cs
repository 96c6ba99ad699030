using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Avedis.Bindings;

/// <summary>
/// What .NET does not give of Linux's files: that something is on the disk, checked (FileStream.Flush(true) of .NET 10.0 reports success
/// when fsync fails), for folders too, two folders that change places at once, and a file that takes the place of another.
/// </summary>
public static partial class DurableFiles
{
    internal const string Library = "libc";

    private const int ReadOnly = 0, Directory = 0x10000, CloseOnExec = 0x80000, CurrentFolder = -100, Exchange = 2;
    private const int NotPermitted = 1, Interrupted = 4, BadDescriptor = 9, NoAccess = 13, Exists = 17, OtherDevice = 18, Invalid = 22,
        ReadOnlyDisk = 30;
    private const int NotImplemented = 38, NotSupported = 95;

    // of a disk that fails or is full there are other answers; these come from file systems on networks and in user space, which do without
    private static readonly HashSet<int> cannot = [NotPermitted, BadDescriptor, NoAccess, Invalid, ReadOnlyDisk, NotImplemented,
        NotSupported];

    static DurableFiles() => NativeLibraries.Register();

    /// <summary>Returns when a file's contents are on the disk, as far as its file system says so.</summary>
    /// <exception cref="IOException">They are not; HResult is the system's error number.</exception>
    public static void Sync(SafeFileHandle file, string path) =>
        Sync(file, path, error => error is Invalid or NotImplemented or NotSupported);

    /// <summary>
    /// Returns when a folder's list of names is on the disk; at once where a file system keeps folders in its own way, and cannot be asked.
    /// </summary>
    /// <inheritdoc cref="Sync(SafeFileHandle, string)"/>
    public static void SyncFolder(string path)
    {
        // Linux on ARM has another number for O_DIRECTORY; without it, opening a file here would not be noticed, and does no harm
        int flags = ReadOnly | CloseOnExec | (RuntimeInformation.ProcessArchitecture == Architecture.X64 ? Directory : 0);
        int number = Open(path, flags);
        if (number < 0 && Marshal.GetLastPInvokeError() is var error)
        {
            if (cannot.Contains(error))
                return;
            throw Failure("open", path, error);
        }
        using var folder = new SafeFileHandle(number, ownsHandle: true);
        Sync(folder, path, cannot.Contains);
    }

    /// <summary>Gives a finished file its name, in place of a file that may have it; returns when the name is on the disk.</summary>
    /// <exception cref="IOException">As <see cref="Sync(SafeFileHandle, string)"/>; the finished file is still there.</exception>
    public static void Replace(string finished, string path)
    {
        if (Rename(finished, path) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error is not Exists && !cannot.Contains(error))
                throw Failure("rename", finished, error);
            // a file system that gives no file the name of another: for a moment there is neither, but the finished one has all
            File.Delete(path);
            if (Rename(finished, path) != 0)
                throw Failure("rename", finished, Marshal.GetLastPInvokeError());
        }
        SyncFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>
    /// Two paths change places: whoever looks sees both as they were or both as they are. False where the file system cannot.
    /// </summary>
    /// <exception cref="IOException"/>
    public static bool TryExchange(string one, string other)
    {
        if (RenameAt2(CurrentFolder, one, CurrentFolder, other, Exchange) == 0)
            return true;
        int error = Marshal.GetLastPInvokeError();
        return error is OtherDevice || cannot.Contains(error) ? false : throw Failure("rename", one, error);
    }

    private static void Sync(SafeFileHandle file, string path, Func<int, bool> mayFail)
    {
        while (FileSync(file) != 0)
            if (Marshal.GetLastPInvokeError() is not Interrupted and var error)
            {
                if (mayFail(error))
                    return;
                throw Failure("fsync", path, error);
            }
    }

    /// <summary>Ends the process at once: nothing more is run, not even what runs at an exit.</summary>
    public static void ExitNow(int code) => ExitProcess(code);

    private static IOException Failure(string what, string path, int error) => new($"{what} of {path}: {Marshal.GetPInvokeErrorMessage(error)}", error);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    private static partial int FileSync(SafeFileHandle file);

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport(Library, EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename(string path, string newPath);

    [LibraryImport(Library, EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameAt2(int folder, string path, int newFolder, string newPath, uint flags);

    [LibraryImport(Library, EntryPoint = "_exit")]
    private static partial void ExitProcess(int code);
}
