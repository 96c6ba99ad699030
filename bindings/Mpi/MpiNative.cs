using System.Runtime.InteropServices;

namespace Avedis.Bindings.Mpi;

/// <summary>libavedis_mpi.so is missing, or MPI failed. One line.</summary>
public sealed class MpiException(string message, bool missing = false) : Exception(message)
{
    /// <summary>Whether there is no library at all.</summary>
    public bool Missing { get; } = missing;
}

/// <summary>The functions of libavedis_mpi.so; bindings/native/mpi.cpp says what each does.</summary>
internal static unsafe partial class MpiNative
{
    internal const string Library = "avedis_mpi";
    private const string FileName = "libavedis_mpi.so";
    private const int TextBytes = 512;

    static MpiNative() => NativeLibraries.Register();

    /// <exception cref="MpiException"/>
    public static nint Load()
    {
        nint library = NativeLibraries.Open(FileName, out string tried);
        return library != 0 ? library : throw new MpiException(
            $"{FileName}, which several processes meet by, could not be loaded: {tried}. Install MPI's development files (apt-get install " +
            "libopenmpi-dev openmpi-bin), and build again (cmake -S . -B artifacts/cmake && cmake --build artifacts/cmake, then the solution)", missing: true);
    }

    /// <exception cref="MpiException"/>
    public static void Check(int code, string what)
    {
        if (code != 0)
            throw new MpiException($"MPI failed in {what}: {Text((text, bytes) => ErrorText(code, text, bytes))}");
    }

    /// <summary>Name and version of the MPI that is loaded.</summary>
    /// <exception cref="MpiException"/>
    public static string Version => Text(LibraryVersion).Split('\n', ',')[0].Trim();

    [LibraryImport(Library, EntryPoint = "avedis_mpi_init")]
    public static partial int Init(out int rank, out int size, out int localRank, out int localSize);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_all_reduce")]
    public static partial int AllReduce(float* values, long count);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_all_to_all")]
    public static partial int AllToAll(float* send, int* sendCounts, float* receive, int* receiveCounts);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_all_gather")]
    public static partial int AllGather(void* mine, void* all, int* counts);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_broadcast")]
    public static partial int Broadcast(void* bytes, long count);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_beat")]
    public static partial int Beat(long* mine, long* all, int words);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_abort")]
    public static partial void Abort(int code);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_finalize")]
    public static partial int Finalise();

    [LibraryImport(Library, EntryPoint = "avedis_mpi_error_text")]
    private static partial void ErrorText(int code, byte* text, int capacity);

    [LibraryImport(Library, EntryPoint = "avedis_mpi_library")]
    private static partial void LibraryVersion(byte* text, int capacity);

    private delegate void Writer(byte* text, int capacity);

    private static string Text(Writer write)
    {
        byte* text = stackalloc byte[TextBytes];
        write(text, TextBytes);
        return Marshal.PtrToStringUTF8((nint)text)!;
    }
}
