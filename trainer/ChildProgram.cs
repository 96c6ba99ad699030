using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Avedis.Trainer;

/// <summary>How a child process ended. Errors holds the first 4 KiB of what it wrote to stderr.</summary>
public sealed record ChildResult(int ExitCode, string Errors, bool TimedOut)
{
    public bool Succeeded => ExitCode == 0 && !TimedOut;

    /// <summary>First line of its complaint, without control characters, at most 200 characters: safe for a terminal and a table.</summary>
    public string FirstError
    {
        get
        {
            string line = Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).FirstOrDefault() ?? "no message";
            var clean = new StringBuilder();
            foreach (char c in line.AsSpan(0, Math.Min(line.Length, 200)))
                clean.Append(char.IsControl(c) ? ' ' : c);
            return clean.ToString();
        }
    }
}

/// <summary>One way to run another program that cannot hang or fill memory. Thread-safe.</summary>
public static class ChildProgram
{
    private const int ErrorLimit = 4096;

    /// <inheritdoc cref="Run(string, string, TimeSpan, Action{Stream}?, Action{Stream}?, CancellationToken)"/>
    public static ChildResult Run(
        string program, IEnumerable<string> arguments, TimeSpan limit, Action<Stream>? writeInput = null,
            Action<Stream>? readOutput = null, CancellationToken stop = default)
        => Run(new ProcessStartInfo(program, arguments), limit, writeInput, readOutput, stop);

    /// <summary>
    /// Runs a program to its end, with arguments one by one or in one line, where quotes hold one together. <paramref name="writeInput"/>
    /// fills its stdin (closed afterwards, or at once if null) while
    /// <paramref name="readOutput"/> drains its stdout, both on threads of this call, which therefore must not wait for each other.
    /// After <paramref name="limit"/> the process tree is killed and the result says TimedOut; cancelling <paramref name="stop"/> kills it and
    /// throws <see cref="OperationCanceledException"/>. An exception of either callback kills it and is thrown on.
    /// </summary>
    public static ChildResult Run(
        string program, string arguments, TimeSpan limit, Action<Stream>? writeInput = null, Action<Stream>? readOutput = null,
            CancellationToken stop = default)
        => Run(new ProcessStartInfo(program, arguments), limit, writeInput, readOutput, stop);

    private static ChildResult Run(ProcessStartInfo start, TimeSpan limit, Action<Stream>? writeInput, Action<Stream>? readOutput,
        CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = start.CreateNoWindow = true;
        start.UseShellExecute = false;
        using var process = new Process { StartInfo = start };
        try
        {
            process.Start();
        }
        catch (Win32Exception failure)
        {
            throw new UserException(ExitCode.DeviceUnavailable, $"cannot start {start.FileName}: {failure.Message}", failure);
        }
        using var watchdog = new CancellationTokenSource(limit);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(watchdog.Token, stop);
        using var registration = either.Token.Register(() => Kill(process));
        var errors = Task.Factory.StartNew(() => ReadBounded(process.StandardError.BaseStream), TaskCreationOptions.LongRunning);
        var input = writeInput is null ? Task.CompletedTask : Task.Factory.StartNew(() => Write(process, writeInput), TaskCreationOptions.LongRunning);
        try
        {
            if (writeInput is null)
                process.StandardInput.Close();
            if (readOutput is null)
                Drain(process.StandardOutput.BaseStream);
            else
                readOutput(process.StandardOutput.BaseStream);
            input.GetAwaiter().GetResult();
            process.WaitForExit();
        }
        catch
        {
            Kill(process);
            process.WaitForExit();
            errors.Wait(CancellationToken.None);
            stop.ThrowIfCancellationRequested();
            throw;
        }
        stop.ThrowIfCancellationRequested();
        return new ChildResult(process.ExitCode, errors.Result, watchdog.IsCancellationRequested);
    }

    /// <summary>A program that stops reading early (such as ffmpeg after its last frame) breaks the pipe; its exit code tells whether that was right.</summary>
    private static void Write(Process process, Action<Stream> writeInput)
    {
        try
        {
            writeInput(process.StandardInput.BaseStream);
            process.StandardInput.Close();
        }
        catch (IOException) when (BrokenPipe(process))
        {
        }
    }

    private static bool BrokenPipe(Process process) => process.WaitForExit(TimeSpan.FromSeconds(5));

    private static string ReadBounded(Stream stream)
    {
        var kept = new byte[ErrorLimit];
        var scratch = new byte[ErrorLimit];
        int count = 0;
        for (int got; (got = stream.Read(scratch)) > 0;)
        {
            int take = Math.Min(got, kept.Length - count);
            scratch.AsSpan(0, take).CopyTo(kept.AsSpan(count));
            count += take;
        }
        return Encoding.UTF8.GetString(kept, 0, count);
    }

    private static void Drain(Stream stream)
    {
        Span<byte> scratch = stackalloc byte[4096];
        while (stream.Read(scratch) > 0)
        {
        }
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill(entireProcessTree: true);
        }
        catch (Exception failure) when (failure is InvalidOperationException or Win32Exception or AggregateException)
        {
            // it has ended already
        }
    }
}
