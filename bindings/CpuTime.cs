using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Avedis.Bindings;

/// <summary>Time that this process computes, in all its threads, the system's work for them included.</summary>
public static partial class CpuTime
{
    /// <summary>The signal that ends a process whose time is over.</summary>
    public const int EndsWith = 27; // SIGPROF

    private const int ProfilingTimer = 2; // ITIMER_PROF

    /// <summary>From now on, so much of it: then the system ends the process.</summary>
    public static void Limit(TimeSpan time)
    {
        var timer = new IntervalTimer { Seconds = (nint)time.TotalSeconds, Microseconds = time.Milliseconds * 1000 };
        if (SetTimer(ProfilingTimer, timer, 0) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    [LibraryImport(DurableFiles.Library, EntryPoint = "setitimer", SetLastError = true)]
    private static partial int SetTimer(int which, in IntervalTimer value, nint old);

    /// <summary>struct itimerval: the interval between signals, which there is none of, then the time to the first.</summary>
    private struct IntervalTimer
    {
        public nint IntervalSeconds, IntervalMicroseconds, Seconds, Microseconds;
    }
}
