using System.Runtime.InteropServices;

namespace Avedis.Bench.Peers.TorchSharp;

/// <summary>
/// TorchSharp's native library, which the build has copied beside the program and TorchSharp itself loads from there.
/// <para>
/// It was built with GCC 13 and demands version GLIBCXX_3.4.32 of libstdc++; that of Debian 12 ends with 3.4.30, and the loader refuses. All that the library
/// has of that version is a mark: GCC 13's iostream names the symbol below, so that a program which lets the library set up cout and its like cannot start
/// beside a libstdc++ that leaves this to each program. Nothing calls it, and nothing is lost here: libtorch was built by an older GCC and sets them up
/// when it is loaded, in front of TorchSharp's. So where the system lacks the version, the demand is marked weak in the copy beside the program. Debian 13 has
/// the version, and the copy stays as it came.
/// </para>
/// </summary>
internal static class TorchLibrary
{
    private const string Version = "GLIBCXX_3.4.32", Symbol = "_ZSt21ios_base_library_initv";

    private static string File => Path.Combine(AppContext.BaseDirectory, "libLibTorchSharp.so");

    /// <summary>Call before anything of TorchSharp's. Null, or in one line why libtorch cannot be had.</summary>
    public static string? Load()
    {
        try
        {
            if (!NativeLibrary.TryGetExport(NativeLibrary.Load("libstdc++.so.6"), Symbol, out _))
                MarkWeak();
            NativeLibrary.Load(File);
            Quieten();
        }
        catch (Exception missing) when (missing is DllNotFoundException or EntryPointNotFoundException)
        {
            // the loader's reason is the last of the many lines that .NET makes of it
            return missing.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)[^1];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            return $"{File}: {error.Message}";
        }
        return null;
    }

    /// <summary>Errors only: where there is no NNPACK libtorch would say so, as a warning, in front of every convolution.</summary>
    private static void Quieten()
    {
        const int Error = 2; // of glog's levels
        nint level = NativeLibrary.GetExport(NativeLibrary.Load(Path.Combine(AppContext.BaseDirectory, "libc10.so")), "FLAGS_caffe2_log_level");
        Marshal.WriteInt32(level, Error);
    }

    private static void MarkWeak()
    {
        byte[] library = System.IO.File.ReadAllBytes(File);
        if (!WeakVersion.Mark(library, Version, Symbol))
            return;
        // another file under the name: what the name stood for, should it be the package's own file, stays as it is
        string changed = $"{File}.{Environment.ProcessId}";
        System.IO.File.WriteAllBytes(changed, library);
        System.IO.File.Move(changed, File, overwrite: true);
    }
}
