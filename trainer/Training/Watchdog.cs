using System.Diagnostics;

namespace Avedis.Trainer.Training;

/// <summary>
/// Ends the process when a step never ends, because a device or a disk does not answer: one line, and the exit code of a device that failed. The thread that
/// is stuck cannot do it itself.
/// </summary>
public sealed class Watchdog : IDisposable
{
    private readonly TimeSpan limit;
    private readonly Action<string> giveUp;
    private readonly Timer? timer;
    private readonly Lock gate = new();
    private readonly Stopwatch clock = new();
    private Func<string>? working;

    /// <param name="limit">Longest that a step may take; none if zero.</param>
    /// <param name="giveUp">Told what was being done and for how long; does not return in earnest.</param>
    public Watchdog(TimeSpan limit, Action<string> giveUp)
    {
        (this.limit, this.giveUp) = (limit, giveUp);
        if (limit > TimeSpan.Zero)
            timer = new Timer(_ => Look(), null, limit / 4, limit / 4);
    }

    /// <summary>A step begins.</summary>
    /// <param name="what">Says which, for a message.</param>
    public void Begin(Func<string> what)
    {
        lock (gate)
        {
            working = what;
            clock.Restart();
        }
    }

    /// <summary>What is done now may take as long as it likes.</summary>
    public void Rest()
    {
        lock (gate)
            working = null;
    }

    public void Dispose() => timer?.Dispose();

    private void Look()
    {
        string what;
        lock (gate)
        {
            if (working is null || clock.Elapsed < limit)
                return;
            what = $"{working()} has taken {clock.Elapsed.TotalSeconds:N0} s";
            working = null;
        }
        giveUp(what);
    }
}
