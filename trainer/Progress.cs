using System.Diagnostics;

namespace Avedis.Trainer;

/// <summary>
/// Progress of long work: done, rate and time left. On a terminal one line that is rewritten; elsewhere a plain line every few seconds.
/// </summary>
public sealed class Progress(TextWriter output, string what, string unit, bool terminal)
{
    private static readonly TimeSpan TerminalInterval = TimeSpan.FromSeconds(0.2), PlainInterval = TimeSpan.FromSeconds(10);

    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly Lock gate = new();
    private TimeSpan last;
    private int width;

    /// <param name="done">Units finished, of which <paramref name="before"/> were finished before this started.</param>
    /// <param name="note">Shown at the end of the line.</param>
    public void Report(long done, long total, long before = 0, string note = "")
    {
        lock (gate)
        {
            var now = clock.Elapsed;
            if (done < total && now - last < (terminal ? TerminalInterval : PlainInterval))
                return;
            last = now;
            double rate = (done - before) / Math.Max(now.TotalSeconds, 1e-9);
            string left = done >= total ? $"took {Span(now)}" : rate > 0 ? $"{Span(TimeSpan.FromSeconds((total - done) / rate))} left" : "";
            Show($"{what}: {done:N0}/{total:N0} {unit}, {rate:N1}/s, {left}{(note.Length > 0 ? ", " + note : "")}", done >= total);
        }
    }

    /// <summary>Ends the rewritten line, so that other output starts on one of its own.</summary>
    public void End()
    {
        lock (gate)
            if (width > 0)
            {
                output.WriteLine();
                width = 0;
            }
    }

    private void Show(string line, bool final)
    {
        if (!terminal)
        {
            output.WriteLine(line);
            return;
        }
        output.Write('\r' + line.PadRight(width));
        width = line.Length;
        if (final)
            End();
        output.Flush();
    }

    internal static string Span(TimeSpan time) =>
        time.TotalHours >= 1 ? $"{(int)time.TotalHours} h {time.Minutes:00} min"
        : time.TotalMinutes >= 1 ? $"{time.Minutes} min {time.Seconds:00} s" : $"{time.TotalSeconds:N0} s";
}
