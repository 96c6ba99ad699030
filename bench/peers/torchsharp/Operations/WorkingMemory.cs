using System.Globalization;
using System.Runtime.InteropServices;

namespace Avedis.Bench.Peers.TorchSharp.Operations;

/// <summary>How much memory some work takes, whoever allocates it: the largest resident set of this process meanwhile, by Linux' own
/// account.</summary>
internal static partial class WorkingMemory
{
    /// <summary>Pages of the allocator that nobody uses are given back first, so that the work has to take its memory anew.</summary>
    /// <returns>Bytes above what was resident before; null where the system does not tell.</returns>
    public static long? Of(Action work)
    {
        const string ForgetLargest = "5"; // what clear_refs takes for it
        GC.Collect();
        GC.WaitForPendingFinalizers();
        _ = malloc_trim(0);
        try
        {
            File.WriteAllText("/proc/self/clear_refs", ForgetLargest);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            work();
            return null;
        }
        long before = Status("VmRSS:");
        work();
        return Math.Max(0, Status("VmHWM:") - before);
    }

    // in KiB
    private static long Status(string name)
    {
        string line = File.ReadLines("/proc/self/status").Single(line => line.StartsWith(name, StringComparison.Ordinal));
        return 1024 * long.Parse(line[name.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
    }

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);
}
