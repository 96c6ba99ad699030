using System.Diagnostics;
using System.Text;
using Spectre.Console;

namespace Avedis.Trainer;

/// <summary>
/// Progress of long work: done, rate and time left. On a terminal a bar in one line that is rewritten and fits; elsewhere a plain line
/// every few seconds.
/// </summary>
public sealed class Progress(TextWriter output, string what, string unit)
{
    private const int ShortestBar = 10, LongestBar = 40; // columns

    private static readonly TimeSpan TerminalInterval = TimeSpan.FromSeconds(0.2), PlainInterval = TimeSpan.FromSeconds(10);

    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly Lock gate = new();
    private readonly bool live = Screen.IsLive(output);
    private TimeSpan next = Screen.IsLive(output) ? TimeSpan.Zero : PlainInterval; // a terminal shows the beginning too

    /// <param name="done">Units finished, of which <paramref name="before"/> were finished before this started.</param>
    /// <param name="note">Shown at the end of the line.</param>
    public void Report(long done, long total, long before = 0, string note = "")
    {
        lock (gate)
        {
            var now = clock.Elapsed;
            bool final = done >= total;
            if (!final && now < next)
                return;
            next = now + (live ? TerminalInterval : PlainInterval);
            double speed = (done - before) / Math.Max(now.TotalSeconds, 1e-9);
            string count = $"{done:N0}/{total:N0}", rate = $"{speed:N1}/s";
            string left = final ? $"took {Span(now)}" : speed > 0 ? $"{Span(TimeSpan.FromSeconds((total - done) / speed))} left" : "";
            if (!live)
                output.WriteLine($"{what}: {count} {unit}, {rate}, {left}{(note.Length > 0 ? ", " + note : "")}");
            else
                Screen.Rewrite(output, Line(count, rate, left, note, (double)done / Math.Max(1, total)), final);
        }
    }

    /// <summary>Ends the rewritten line, so that other output starts on one of its own.</summary>
    public void End()
    {
        if (live)
            Screen.EndLine();
    }

    private string Line(string count, string rate, string left, string note, double share)
    {
        // the last column is left free: some terminals begin a new line when it is filled
        int room = Screen.Width(output)!.Value - 1;
        string units = $"{count} {unit}";
        // the first that leaves room for a bar, else the first that fits without one
        string[][] choices = [[units, rate, left, note], [units, left, note], [units, rate, left], [units, left], [count, left], [count]];
        string[] texts = [.. choices.Select(parts => Printable.Line(string.Join(", ", parts.Where(part => part.Length > 0))))];
        int names = what.GetCellWidth() + 1;
        // with the time left a line is worth more than with a bar
        if (texts.Take(4).FirstOrDefault(text => names + ShortestBar + 1 + text.GetCellWidth() <= room) is { } behind)
            return $"{what} {Bar(share, Math.Min(LongestBar, room - names - 1 - behind.GetCellWidth()))} {behind}";
        return Cut($"{what}: {texts.Skip(3).FirstOrDefault(text => names + 1 + text.GetCellWidth() <= room) ?? texts[^1]}", room);
    }

    private string Bar(double share, int columns)
    {
        var task = new ProgressTask(0, what, 1) { Value = Math.Clamp(share, 0, 1) };
        return Screen.Draw(output, options => new ProgressBarColumn { Width = columns }.Render(options, task, TimeSpan.Zero));
    }

    private static string Cut(string text, int room)
    {
        if (text.GetCellWidth() <= room)
            return text;
        var cut = new StringBuilder();
        foreach (var rune in text.EnumerateRunes())
            if ((cut.ToString() + rune).GetCellWidth() <= room)
                cut.Append(rune);
            else
                break;
        return cut.ToString();
    }

    internal static string Span(TimeSpan time) =>
        time.TotalHours >= 1 ? $"{(int)time.TotalHours} h {time.Minutes:00} min"
        : time.TotalMinutes >= 1 ? $"{time.Minutes} min {time.Seconds:00} s" : $"{time.TotalSeconds:N0} s";
}
