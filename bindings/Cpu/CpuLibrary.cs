using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cpu;

/// <summary>libavedis_cpu.so or oneDNN is missing or broken. One line: what was tried, what the loader said, what to do.</summary>
public sealed class CpuLibraryException(string message) : Exception(message);

/// <summary>A call into libavedis_cpu.so failed. The message is the call's name and the library's own text.</summary>
public sealed class CpuCallException(string message, bool outOfMemory) : Exception(message)
{
    /// <summary>Whether memory ran out.</summary>
    public bool OutOfMemory { get; } = outOfMemory;
}

/// <summary>Finds and loads libavedis_cpu.so: in the folder that AVEDIS_NATIVE_DIR names, or beside this assembly.</summary>
internal static partial class CpuLibrary
{
    private const string FileName = "libavedis_cpu.so";

    /// <exception cref="CpuLibraryException"/>
    public static nint Load()
    {
        SpinBriefly();
        nint library = NativeLibraries.Open(FileName, out string tried);
        if (library != 0)
            return library;
        throw new CpuLibraryException(
            $"the processor library {FileName} could not be loaded: {tried}. Build it (cmake -S . -B artifacts/cmake && " +
            "cmake --build artifacts/cmake, then build the solution), install what it needs (apt-get install libdnnl2 libgomp1), " +
            "or name its folder in AVEDIS_NATIVE_DIR");
    }

    /// <summary>
    /// A thread that waits at a barrier spins for some ten microseconds and then sleeps. GNU OpenMP's own choice, spinning for milliseconds,
    /// made a step 1.5 to 2 times as long on a machine with other work: the spinning threads held the cores that the others were waiting
    /// for. Read once when libgomp loads; what the user has set in the environment stays.
    /// </summary>
    private static void SpinBriefly()
    {
        if (Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") is null)
            _ = SetEnv("GOMP_SPINCOUNT", "1000", overwrite: 0);
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnv(string name, string value, int overwrite);
}
