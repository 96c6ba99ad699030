using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Avedis.Bindings;

/// <summary>
/// What .NET does not give of Linux's files: that something is on the disk, checked (FileStream.Flush(true) of .NET 10.0 reports success when fsync fails),
/// for folders too, and two folders that change places at once.
/// </summary>
public static partial class DurableFiles
{
    internal const string Library = "libc";

    private const int ReadOnly = 0, Directory = 0x10000, CloseOnExec = 0x80000, CurrentFolder = -100, Exchange = 2;
    private const int Interrupted = 4, Invalid = 22, NotImplemented = 38;

    static DurableFiles() => NativeLibraries.Register();

    /// <summary>Returns when a file's contents are on the disk.</summary>
    /// <exception cref="IOException">They are not; HResult is the system's error number.</exception>
    public static void Sync(SafeFileHandle file, string path)
    {
        while (FileSync(file) != 0)
            if (Marshal.GetLastPInvokeError() is not Interrupted and var error)
                throw Failure("fsync", path, error);
    }

    /// <summary>Returns when a folder's list of names is on the disk.</summary>
    /// <inheritdoc cref="Sync"/>
    public static void SyncFolder(string path)
    {
        // Linux on ARM has another number for O_DIRECTORY; without it, opening a file here would not be noticed, and does no harm
        int flags = ReadOnly | CloseOnExec | (RuntimeInformation.ProcessArchitecture == Architecture.X64 ? Directory : 0);
        int number = Open(path, flags);
        if (number < 0)
            throw Failure("open", path, Marshal.GetLastPInvokeError());
        using var folder = new SafeFileHandle(number, ownsHandle: true);
        Sync(folder, path);
    }

    /// <summary>Two paths change places: whoever looks sees both as they were or both as they are. False where the file system cannot.</summary>
    /// <exception cref="IOException"/>
    public static bool TryExchange(string one, string other)
    {
        if (RenameAt2(CurrentFolder, one, CurrentFolder, other, Exchange) == 0)
            return true;
        int error = Marshal.GetLastPInvokeError();
        return error is Invalid or NotImplemented ? false : throw Failure("rename", one, error);
    }

    /// <summary>Ends the process at once: nothing more is run, not even what runs at an exit.</summary>
    public static void ExitNow(int code) => ExitProcess(code);

    private static IOException Failure(string what, string path, int error) => new($"{what} of {path}: {Marshal.GetPInvokeErrorMessage(error)}", error);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    private static partial int FileSync(SafeFileHandle file);

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport(Library, EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameAt2(int folder, string path, int newFolder, string newPath, uint flags);

    [LibraryImport(Library, EntryPoint = "_exit")]
    private static partial void ExitProcess(int code);
}
