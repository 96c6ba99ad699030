using System.CommandLine;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Commands;

namespace Avedis.Trainer;

/// <summary>The program avedis: one subcommand per verb, each in Commands/.</summary>
public static class Program
{
    public static int Main(string[] args) => Run(args, new GuardedWriter(Console.Out, mayLose: false), GuardedWriter.Log(Console.Error));

    /// <summary>Parses and runs one command line; every failure ends in one line on <paramref name="error"/> and an exit code.</summary>
    public static int Run(string[] args, TextWriter output, TextWriter error)
    {
        var root = new RootCommand("Trains and measures disentangled emotion and speaker embeddings from voice and face.")
        {
            SynthCommand.Create(),
            ImportCommand.Create(),
            PrepareCommand.Create(),
            ContactSheetCommand.Create(),
            TrainCommand.Create(),
            EvaluateCommand.Create(),
            ProbeCommand.Create(),
            ReproduceCommand.Create(),
            PredictCommand.Create(),
            EmbedCommand.Create(),
            ExportCommand.Create(),
            ReplayCommand.Create(),
            BenchCommand.Create(),
            DoctorCommand.Create(),
            CheckHdf5Command.Create(),
        };
        var parsed = CommandLine.Parse(root, args);
        if (CommandLine.Fault(parsed, root, args) is { } fault)
        {
            string command = parsed.CommandResult.Command == root ? "" : $" {parsed.CommandResult.Command.Name}";
            error.WriteLine($"avedis: {Printable.Line(fault)}{(fault.EndsWith('?') ? "" : ";")} try: avedis{command} --help");
            return ExitCode.Usage;
        }
        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, Output = output, Error = error });
        }
        catch (Exception failure)
        {
            return Report(failure, error);
        }
    }

    /// <summary>Says what went wrong, in one line if the user can act on it.</summary>
    /// <returns>The exit code.</returns>
    internal static int Report(Exception failure, TextWriter error)
    {
        int? code = Known(failure);
        if (failure is OutOfMemoryException)
            failure = new UserException(ExitCode.OutOfMemory,
                "out of memory: use a smaller batch (training.batchSize), fewer classes, or a larger machine");
        error.WriteLine(code is null ? $"avedis: internal error, please report it with this text: {failure}" : $"avedis: {Printable.Line(failure.Message)}");
        return code ?? ExitCode.InternalError;
    }

    /// <summary>Exit code of a failure.</summary>
    internal static int CodeOf(Exception failure) => Known(failure) ?? ExitCode.InternalError;

    // what a user can act on; anything else is our fault
    private static int? Known(Exception failure) => failure switch
    {
        UserException user => user.Code,
        DeviceUnavailableException => ExitCode.DeviceUnavailable,
        OutOfDeviceMemoryException or OutOfMemoryException => ExitCode.OutOfMemory,
        DeviceFailedException => ExitCode.DeviceFailed,
        IOException or UnauthorizedAccessException => ExitCode.DiskOrIo,
        _ => null,
    };
}
