using System.Reflection;
using System.Runtime.InteropServices;
using Avedis.Bindings.Cpu;
using Avedis.Bindings.Cuda;
using Avedis.Bindings.Faces;
using Avedis.Bindings.Mpi;

namespace Avedis.Bindings;

/// <summary>Where the libraries that this assembly imports come from; .NET asks once for each name.</summary>
internal static partial class NativeLibraries
{
    private const int ResolveNow = 2;

    static NativeLibraries() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, Resolve);

    /// <summary>First line of every class with imports: makes sure that the resolver is there.</summary>
    public static void Register()
    {
    }

    /// <summary>
    /// Loads one of our own libraries: from the folder that AVEDIS_NATIVE_DIR names, or from beside this assembly. 0 if neither has one that loads;
    /// <paramref name="tried"/> then holds what the loader said to each.
    /// </summary>
    public static nint Open(string fileName, out string tried)
    {
        _ = DlError();  // binds it now: binding it behind a failed dlopen would overwrite the reason
        var reasons = new List<string>();
        nint library = 0;
        foreach (string folder in Folders())
        {
            library = DlOpen(Path.Combine(folder, fileName), ResolveNow);
            if (library != 0)
                break;
            reasons.Add(Marshal.PtrToStringUTF8(DlError()) ?? Path.Combine(folder, fileName));
        }
        tried = string.Join("; ", reasons);
        return library;
    }

    private static IEnumerable<string> Folders()
    {
        if (Environment.GetEnvironmentVariable("AVEDIS_NATIVE_DIR") is { Length: > 0 } folder)
            yield return folder;
        yield return AppContext.BaseDirectory;
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) => name switch
    {
        CpuNative.Library => CpuLibrary.Load(),
        CudaLibrary.Name => CudaLibrary.Load(),
        FaceDetectorLibrary.Library => FaceDetectorLibrary.Load(),
        MpiNative.Library => MpiNative.Load(),
        // as the program itself sees it: what is preloaded comes first
        DurableFiles.Library => NativeLibrary.GetMainProgramHandle(),
        _ => 0,
    };

    [LibraryImport("libc", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint DlOpen(string path, int mode);

    [LibraryImport("libc", EntryPoint = "dlerror")]
    private static partial nint DlError();
}
