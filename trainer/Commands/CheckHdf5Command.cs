using System.CommandLine;
using Avedis.Bindings;
using Avedis.Trainer.Corpora;

namespace Avedis.Trainer.Commands;

/// <summary>avedis check-hdf5, which the program calls by itself: reads a MATLAB file of version 7.3 in a process that a damaged one may end.</summary>
internal static class CheckHdf5Command
{
    public const string Name = "check-hdf5";

    public static Command Create()
    {
        var file = new Argument<string>("file");
        var budget = new Argument<long>("budget") { Description = "Bytes that values may fill." };
        var names = new Argument<string[]>("names") { Description = "What is read; all if there are none.", Arity = ArgumentArity.ZeroOrMore };
        var command = new Command(Name, "Says what is wrong with a MATLAB file of version 7.3.") { Hidden = true };
        command.Arguments.Add(file);
        command.Arguments.Add(budget);
        command.Arguments.Add(names);
        command.SetAction(parsed =>
        {
            string[] wanted = parsed.GetValue(names) ?? [];
            string path = parsed.GetRequiredValue(file);
            CpuTime.Limit(MatFile73.LongestReading(new FileInfo(path).Length, start: Environment.CpuUsage.TotalTime));
            try
            {
                MatFile73.ReadHere(path, wanted.Length > 0 ? wanted.ToHashSet() : null, parsed.GetValue(budget));
                return ExitCode.Ok;
            }
            catch (InvalidDataException failure)
            {
                parsed.InvocationConfiguration.Output.WriteLine(failure.Message);
                return ExitCode.BadInput;
            }
        });
        return command;
    }
}
