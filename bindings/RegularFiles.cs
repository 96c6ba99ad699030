using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Avedis.Bindings;

/// <summary>
/// Files of strangers. Opening a named pipe waits for its other end, reading a device may never end: what is no regular file, by itself or behind links, is
/// refused before it is opened. What is read at once has a limit.
/// </summary>
public static partial class RegularFiles
{
    private const int CurrentFolder = -100, WantType = 1, WantNumber = 0x100, StatusBytes = 256, ModeAt = 28, NumberAt = 32, DeviceAt = 136;
    private const int TypeMask = 0xF000, RegularType = 0x8000, FolderType = 0x4000;

    static RegularFiles() => NativeLibraries.Register();

    /// <exception cref="IOException">It is not there, cannot be read, or is no regular file.</exception>
    /// <exception cref="UnauthorizedAccessException"/>
    public static FileStream OpenRead(string path)
    {
        Check(path);
        return File.OpenRead(path);
    }

    /// <param name="most">Bytes; a longer file is refused before anything is read.</param>
    /// <inheritdoc cref="OpenRead"/>
    public static byte[] ReadAllBytes(string path, long most)
    {
        using var file = OpenRead(path);
        if (file.Length > most)
            throw new IOException($"it has {file.Length} bytes; {most} is the most that is read");
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>A file in UTF-8.</summary>
    /// <inheritdoc cref="ReadAllBytes"/>
    public static string ReadAllText(string path, long most)
    {
        var bytes = ReadAllBytes(path, most).AsSpan();
        var preamble = System.Text.Encoding.UTF8.Preamble;
        return System.Text.Encoding.UTF8.GetString(bytes.StartsWith(preamble) ? bytes[preamble.Length..] : bytes);
    }

    /// <exception cref="IOException">Something is there that is neither a regular file nor a folder.</exception>
    public static void Check(string path)
    {
        // of what is not there, who opens it gets the system's reason
        if (TypeOf(path) is not (null or RegularType or FolderType))
            throw new IOException("it is a named pipe, socket or device, not a file");
    }

    /// <summary>
    /// What tells a file or folder from every other one, whatever names and links lead to it: disk and number; null if it is not there.
    /// </summary>
    public static (ulong Device, ulong Number)? Identity(string path)
    {
        Span<byte> status = stackalloc byte[StatusBytes];
        if (Status(CurrentFolder, path, 0, WantNumber, status) != 0)
            return null;
        return (BinaryPrimitives.ReadUInt64LittleEndian(status[DeviceAt..]), BinaryPrimitives.ReadUInt64LittleEndian(status[NumberAt..]));
    }

    /// <summary>Whether a regular file is there, by itself or behind links.</summary>
    public static bool IsRegular(string path) => TypeOf(path) == RegularType;

    private static int? TypeOf(string path)
    {
        Span<byte> status = stackalloc byte[StatusBytes]; // struct statx, the same on all processors
        return Status(CurrentFolder, path, 0, WantType, status) == 0 ? BinaryPrimitives.ReadUInt16LittleEndian(status[ModeAt..]) & TypeMask
            : null;
    }

    [LibraryImport(DurableFiles.Library, EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int folder, string path, int flags, uint mask, Span<byte> status);
}
