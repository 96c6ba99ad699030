using System.Diagnostics;

namespace Avedis.Tests.Runner;

/// <summary>The functions that Avedis' native libraries export, as nm lists them.</summary>
internal static class NativeFunctions
{
    private static readonly string[] libraries = ["libavedis_cpu.so", "libavedis_faces.so", "libavedis_mpi.so"];

    /// <summary>Those that no test of this program can call.</summary>
    private static readonly string[] elsewhere =
    [
        "avedis_conv2d_describe", // for the native self test, which prints it
        "avedis_mpi_error_text", // MPI says nothing before its network fails
    ];

    public static IEnumerable<string> All() => Exported().Except(elsewhere);

    private static IEnumerable<string> Exported() => libraries.Select(library => Path.Combine(AppContext.BaseDirectory, library)).Where(File.Exists).SelectMany(Exports);

    private static List<string> Exports(string library)
    {
        using var nm = Process.Start(new ProcessStartInfo("nm", ["-D", "--defined-only", library]) { RedirectStandardOutput = true })!;
        var names = nm.StandardOutput.ReadToEnd().Split('\n').Select(line => line.Split(' ')[^1]).Where(name => name.StartsWith("avedis_", StringComparison.Ordinal)).ToList();
        nm.WaitForExit();
        return nm.ExitCode == 0 ? names : throw new InvalidOperationException($"nm could not read {library}");
    }
}
