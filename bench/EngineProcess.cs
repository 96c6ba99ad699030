using System.Diagnostics;
using System.Text.Json;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>
/// One engine that is timed, in a process of its own, so that memory is counted per engine and none warms the other's caches. Every engine speaks the
/// same protocol: it prints its <see cref="EngineReport"/> as one line of JSON after warming up, then answers each line "N" with <see cref="Timing"/>
/// of N steps. bench/peers/pytorch/step.py --serve does, bench/peers/torchsharp, and this program's own command "serve". The first of these
/// also takes a further setting in the same process: <see cref="Switch"/>.
/// </summary>
public sealed class EngineProcess : IDisposable
{
    private readonly Process process;
    private readonly Task<string> errors;

    private EngineProcess(Process process, Task<string> errors, EngineReport report) =>
        (this.process, this.errors, Report) = (process, errors, report);

    public EngineReport Report { get; private set; }

    /// <summary>Processor time of the engine so far, all threads.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            process.Refresh();
            return process.TotalProcessorTime;
        }
    }

    /// <summary>Starts an engine and waits for its report.</summary>
    /// <param name="environment">Variables to set; the others are this process's.</param>
    /// <param name="patience">An engine that has not warmed up by then is ended.</param>
    /// <exception cref="EngineAbsentException">It is not installed, failed, or was too slow; the message is one line.</exception>
    public static EngineProcess Start(
        string name, string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, TimeSpan patience)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (variable, value) in environment)
            start.Environment[variable] = value;
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception failure)
        {
            throw new EngineAbsentException($"{name}: {program} cannot be started ({failure.Message})");
        }
        var errors = process.StandardError.ReadToEndAsync();
        return new EngineProcess(process, errors, ReadReport(name, process, errors, patience));
    }

    /// <summary>Has the process give up its setting for another, and waits for the report of that one: nothing is started or loaded
    /// twice.</summary>
    /// <param name="arguments">Of its command line.</param>
    /// <exception cref="EngineAbsentException">As of <see cref="Start"/>; the process has ended then.</exception>
    public void Switch(string name, IEnumerable<string> arguments, TimeSpan patience)
    {
        process.StandardInput.WriteLine(JsonSerializer.Serialize(arguments));
        process.StandardInput.Flush();
        Report = ReadReport(name, process, errors, patience);
    }

    private static EngineReport ReadReport(string name, Process process, Task<string> errors, TimeSpan patience)
    {
        var line = process.StandardOutput.ReadLineAsync();
        if (!line.Wait(patience))
        {
            End(process);
            throw new EngineAbsentException($"{name}: no first steps within {patience.TotalSeconds:N0} s, given up (--patience waits longer)");
        }
        if (line.Result is null)
        {
            process.WaitForExit();
            throw new EngineAbsentException($"{name}: {LastLine(errors.Result)}");
        }
        return JsonSerializer.Deserialize<EngineReport>(line.Result, BenchJson.Options)!;
    }

    /// <summary>Has the engine take that many steps.</summary>
    /// <exception cref="UserException">The engine died on the way.</exception>
    public Timing Run(int steps)
    {
        process.StandardInput.WriteLine(steps);
        process.StandardInput.Flush();
        string line = process.StandardOutput.ReadLine()
            ?? throw new UserException(ExitCode.InternalError, $"{Report.Engine} stopped in the middle of the benchmark: {LastLine(errors.Result)}");
        return JsonSerializer.Deserialize<Timing>(line, BenchJson.Options)!;
    }

    public void Dispose()
    {
        End(process);
        process.Dispose();
    }

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill(entireProcessTree: true);
        process.WaitForExit();
    }

    // the last line of a traceback says what went wrong
    private static string LastLine(string text) =>
        text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "ended without a word";
}

/// <summary>An engine that cannot take part, and why.</summary>
public sealed class EngineAbsentException(string message) : Exception(message);
