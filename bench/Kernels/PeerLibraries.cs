using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>A library that Avedis is compared with refuses a call, or lacks a function.</summary>
internal sealed class PeerException(string message) : Exception(message);

/// <summary>
/// NVIDIA's libraries as peers of single operations: loaded if this machine has them, bound by hand (Cudnn.cs, Cublas.cs), and never needed. They join the stream
/// of the backend, so that one clock times all.
/// </summary>
internal sealed class PeerLibraries : IDisposable
{
    /// <summary>Folders with the libraries, or Python's site-packages with them inside, separated by colons.</summary>
    public const string Variable = "AVEDIS_PEER_LIBRARIES";

    private static readonly string[] cudnnNames = ["libcudnn.so.9", "libcudnn.so.8"],
        cublasNames = ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11"],
        cublasLtNames = ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"];

    /// <summary>Where pip's packages keep them, from site-packages on.</summary>
    private static readonly string[] wheels = ["nvidia/cudnn/lib", "nvidia/cublas/lib", "nvidia/cu13/lib", "torch/lib"];

    private PeerLibraries()
    {
    }

    public Cudnn? Cudnn { get; private set; }

    public Cublas? Cublas { get; private set; }

    /// <summary>None at all.</summary>
    public static PeerLibraries None { get; } = new();

    /// <param name="folders">As in <see cref="Variable"/>, which stands in for null; the loader's own search comes last.</param>
    /// <param name="log">Takes a line about each library that is left out.</param>
    public static PeerLibraries Open(string? folders, CudaBackend backend, TextWriter log)
    {
        string[] named = (folders ?? Environment.GetEnvironmentVariable(Variable) ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string[] searched = [.. named.SelectMany(folder => wheels.Select(wheel => Path.Combine(folder, wheel)).Prepend(folder))];
        var found = new PeerLibraries();
        // cuBLAS first: cuDNN asks for it by its name, and takes what is loaded already
        Load(cublasLtNames, searched);
        found.Cublas = Try("cuBLAS", cublasNames, searched, log, library => new Cublas(library, backend.Stream));
        found.Cudnn = Try("cuDNN", cudnnNames, searched, log, library => new Cudnn(library, backend.Stream));
        return found;
    }

    public void Dispose()
    {
        Cudnn?.Dispose();
        Cublas?.Dispose();
    }

    /// <summary>The function of that name.</summary>
    /// <exception cref="PeerException">There is none.</exception>
    public static nint Function(nint library, string name) =>
        NativeLibrary.TryGetExport(library, name, out nint function) ? function : throw new PeerException($"it has no function {name}");

    private static T? Try<T>(string name, string[] files, string[] folders, TextWriter log, Func<nint, T> bind)
        where T : class
    {
        try
        {
            nint library = Load(files, folders);
            if (library != 0)
                return bind(library);
            log.WriteLine($"left out, {name}: the loader finds none of {string.Join(", ", files)} by name{(folders.Length > 0 ? $" or in {string.Join(", ", folders)}" : "")}; " +
                $"--libraries or {Variable} names a folder, such as Python's site-packages with PyTorch's");
        }
        catch (PeerException failure)
        {
            log.WriteLine($"left out, {name}: {failure.Message}");
        }
        return null;
    }

    private static nint Load(string[] files, string[] folders)
    {
        foreach (string path in folders.SelectMany(folder => files.Select(file => Path.GetFullPath(Path.Combine(folder, file)))).Where(File.Exists).Concat(files))
            if (NativeLibrary.TryLoad(path, out nint library))
                return library;
        return 0;
    }
}
