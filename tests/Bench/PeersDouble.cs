using System.Runtime.InteropServices;
using NUnit.Framework;

namespace Avedis.Tests.Bench;

/// <summary>
/// A folder that holds libpeers_double.so (tests/native) under the names of NVIDIA's libraries: cuDNN and cuBLAS as far as the benchmarks call them, on the
/// emulated driver's memory.
/// </summary>
internal sealed class PeersDouble : IDisposable
{
    public enum Fault
    {
        None,

        /// <summary>Channels first, and rows as columns.</summary>
        OtherLayout,
        NoAlgorithm,
    }

    private static readonly string library = Path.Combine(AppContext.BaseDirectory, "libpeers_double.so");

    public PeersDouble(params string[] names)
    {
        if (!File.Exists(library))
            Assert.Ignore($"{library} has not been built (cmake --build artifacts/cmake --target peers_double)");
        foreach (string name in names)
            File.CreateSymbolicLink(Path.Combine(Folder, name), library);
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("avedis-peers").FullName;

    public static void Set(Fault fault) => Marshal.GetDelegateForFunctionPointer<SetFault>(
        NativeLibrary.GetExport(NativeLibrary.Load(library), "peers_double_set_fault"))((int)fault);

    public void Dispose()
    {
        Set(Fault.None);
        Directory.Delete(Folder, recursive: true);
    }

    private delegate void SetFault(int fault);
}
