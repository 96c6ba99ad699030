using System.Diagnostics;

namespace Avedis.Trainer;

public static class ProcessMemory
{
    /// <summary>Largest resident set of this process so far, in bytes.</summary>
    public static long PeakRssBytes
    {
        get
        {
            using var process = Process.GetCurrentProcess();
            return process.PeakWorkingSet64;
        }
    }
}
