using System.Diagnostics;
using System.Globalization;
using Avedis.Trainer;

namespace Avedis.Bench;

/// <summary>
/// How busy the processors that this process may use are, from /proc/stat, in clock ticks. The share that is neither ours nor of the engine at work is
/// foreign: one busy foreign thread can make a step three times slower, because every parallel region waits for its slowest thread.
/// </summary>
public static class ProcessorLoad
{
    // USER_HZ of every Linux that .NET runs on
    private const double TicksPerSecond = 100;

    /// <summary>Processor seconds spent since boot by anyone on the processors that we may use.</summary>
    public static double BusySeconds() => BusySeconds(File.ReadLines("/proc/stat"), Allowed(File.ReadLines("/proc/self/status")));

    /// <summary>Processor seconds of this process and of its descendants that have ended.</summary>
    public static double FamilySeconds()
    {
        // behind the name in brackets, which may hold anything, utime, stime, cutime and cstime are fields 12 to 15
        string[] fields = File.ReadAllText("/proc/self/stat").Split(')')[^1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields[11..15].Sum(field => double.Parse(field, CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>
    /// Has an engine take a turn, and tells which share of the processors others than it and this process used meanwhile: other programs, and engines whose
    /// turn it is not, if their threads do not wait quietly.
    /// </summary>
    public static (Timing Timing, double Foreign) Watch(EngineProcess engine, int steps)
    {
        double OurSeconds() => (Environment.CpuUsage.TotalTime + engine.ProcessorTime).TotalSeconds;

        double busy = BusySeconds(), ours = OurSeconds();
        var watch = Stopwatch.StartNew();
        var timing = engine.Run(steps);
        double capacity = watch.Elapsed.TotalSeconds * Environment.ProcessorCount;
        double others = BusySeconds() - busy - (OurSeconds() - ours);
        return (timing, Math.Max(0, others / capacity));
    }

    /// <summary>What to say when most rounds were disturbed.</summary>
    public static UserException TooBusy(int kept, int discarded, double foreignLimit) => new(ExitCode.InternalError, string.Create(
        CultureInfo.InvariantCulture,
        $"the machine is too busy: only {kept} of {kept + discarded} rounds were quiet (--foreign-limit {foreignLimit:G}); stop other programs and try again"));

    /// <summary>user + nice + system + irq + softirq + steal of the given processors' lines of /proc/stat.</summary>
    public static double BusySeconds(IEnumerable<string> stat, IReadOnlySet<int> processors)
    {
        double ticks = 0;
        foreach (string line in stat)
        {
            // cpu3 user nice system idle iowait irq softirq steal guest guest_nice; guest time is part of user
            if (!line.StartsWith("cpu", StringComparison.Ordinal) || !char.IsAsciiDigit(line[3]))
                continue;
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (!processors.Contains(int.Parse(fields[0].AsSpan(3), CultureInfo.InvariantCulture)))
                continue;
            foreach (int i in (ReadOnlySpan<int>)[1, 2, 3, 6, 7, 8])
                ticks += long.Parse(fields[i], CultureInfo.InvariantCulture);
        }
        return ticks / TicksPerSecond;
    }

    /// <summary>Processor numbers from a list like "0-3,8" in the line Cpus_allowed_list of /proc/self/status.</summary>
    public static IReadOnlySet<int> Allowed(IEnumerable<string> status)
    {
        const string Key = "Cpus_allowed_list:";
        string list = status.First(line => line.StartsWith(Key, StringComparison.Ordinal))[Key.Length..].Trim();
        var processors = new HashSet<int>();
        foreach (string range in list.Split(','))
        {
            string[] ends = range.Split('-');
            for (int i = int.Parse(ends[0], CultureInfo.InvariantCulture); i <= int.Parse(ends[^1], CultureInfo.InvariantCulture); i++)
                processors.Add(i);
        }
        return processors;
    }
}
