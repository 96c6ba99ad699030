using System.Runtime.InteropServices;

namespace Avedis.Bindings.Cuda;

/// <summary>No CUDA driver could be loaded. One line: what was tried, what the loader said to each, what to do.</summary>
public sealed class CudaLibraryException(string message) : Exception(message);

/// <summary>
/// Finds the CUDA driver, libcuda.so.1, which comes with NVIDIA's kernel driver: nothing else of CUDA is needed. AVEDIS_CUDA_LIBRARY names another
/// file instead and is then the only one tried.
/// </summary>
public static partial class CudaLibrary
{
    internal const string Name = "cuda";
    private const string Variable = "AVEDIS_CUDA_LIBRARY";
    private const int ResolveNow = 2;

    private static readonly Lock loading = new();
    private static nint library;

    /// <summary>Whether the user has named the driver to load.</summary>
    public static bool Named => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 };

    /// <summary>Where the driver is looked for, in order: the loader's own search first, then where containers and WSL keep it.</summary>
    public static IReadOnlyList<string> Candidates =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named
            ? [named]
            : ["libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1"];

    /// <summary>The file that was loaded; null before <see cref="Load"/> has succeeded.</summary>
    public static string? Path { get; private set; }

    /// <exception cref="CudaLibraryException">None could be loaded.</exception>
    internal static nint Load()
    {
        lock (loading)
        {
            if (library != 0)
                return library;
            LoadKernelsWhenUsed();
            _ = DlError();  // binds it now: binding it behind a failed dlopen would overwrite the reason
            var tried = new List<string>();
            foreach (string candidate in Candidates)
            {
                library = DlOpen(candidate, ResolveNow);
                if (library != 0)
                {
                    Path = candidate;
                    return library;
                }
                string reason = Marshal.PtrToStringUTF8(DlError()) ?? "unknown reason";
                tried.Add(reason.StartsWith(candidate, StringComparison.Ordinal) ? reason : $"{candidate}: {reason}");
            }
            throw new CudaLibraryException($"no CUDA driver could be loaded; tried {string.Join("; ", tried)}");
        }
    }

    /// <summary>
    /// Lets the driver load a kernel when it is first asked for, not with its module: libraries such as NCCL and cuDNN bring thousands.
    /// Drivers before CUDA 12.2 do so only if they are told. What a recorded step launches has been loaded by then: the step runs once as
    /// it is. The driver reads this once, when it starts; what the user has set stays.
    /// </summary>
    private static void LoadKernelsWhenUsed() => _ = SetEnv("CUDA_MODULE_LOADING", "LAZY", overwrite: 0);

    [LibraryImport("libc", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint DlOpen(string path, int mode);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnv(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "dlerror")]
    private static partial nint DlError();
}
