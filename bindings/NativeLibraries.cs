using System.Reflection;
using System.Runtime.InteropServices;
using Avedis.Bindings.Cpu;
using Avedis.Bindings.Cuda;

namespace Avedis.Bindings;

/// <summary>Where the libraries that this assembly imports come from; .NET asks once for each name.</summary>
internal static class NativeLibraries
{
    static NativeLibraries() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, Resolve);

    /// <summary>First line of every class with imports: makes sure that the resolver is there.</summary>
    public static void Register()
    {
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) => name switch
    {
        CpuNative.Library => CpuLibrary.Load(),
        CudaLibrary.Name => CudaLibrary.Load(),
        _ => 0,
    };
}
