using System.CommandLine;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>avedis replay: trains up to a step that failed once more, and looks at what every operation writes.</summary>
public static class ReplayCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var failed = new Argument<string>("failure") { Description = "Folder that a failed step left: RUN/failures/step-N." };
        var data = new Option<string?>("--data") { Description = "Folder that avedis prepare wrote, if it is no longer where it was." };
        var command = new Command("replay", "Finds the operation that first wrote a number that is not finite, in a training that stopped because of one.");
        command.Arguments.Add(failed);
        command.Options.Add(data);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            string folder = parsed.GetRequiredValue(failed);
            var failure = Failure.Load(folder);
            var config = common.Load(parsed, Path.Combine(folder, TrainingState.ConfigFile));
            using var dataset = PreparedDataset.Open(parsed.GetValue(data) ?? failure.Data);
            if (dataset.Hash != failure.DataHash)
                throw new UserException(ExitCode.BadCheckpoint, $"{folder} was trained on other data than {dataset.Folder}: name the data with --data");
            return Replay(failure, folder, config with { Features = dataset.Features }, dataset, output);
        });
        return command;
    }

    private static int Replay(Failure failure, string folder, Config config, PreparedDataset dataset, TextWriter output)
    {
        string scratch = Directory.CreateTempSubdirectory("avedis-replay").FullName;
        try
        {
            var run = new RunFolder(scratch);
            if (failure.Checkpoint is { } checkpoint)
                Checkpoint.Save(Directory.CreateDirectory(run.CheckpointsPath).FullName, checkpoint, path =>
                {
                    foreach (string file in TrainingState.Files.Append(TrainingState.ConfigFile))
                        File.Copy(Path.Combine(folder, file), Path.Combine(path, file));
                });
            config = config with { Training = config.Training with { MaxSteps = failure.Step, CheckpointSeconds = 0, Guard = new() } };
            using var interrupt = new Interrupt();
            using var loop = new TrainingLoop(
                config, dataset, run, GuardedWriter.Log(output), interrupt, resume: failure.Checkpoint is not null,
                    say => new FiniteWatch(TrainingLoop.CreateBackend(config.Training, say)));
            loop.GoOnAs(failure);
            try
            {
                loop.Run();
            }
            catch (NonFiniteResultException found)
            {
                output.WriteLine((failure with { Step = loop.StepInWork, Reason = found.Message, Tensors = new Dictionary<string, long>(), Clips = loop.ClipsInWork }).Describe());
                return ExitCode.Diverged;
            }
            output.WriteLine(interrupt.Requested ? "stopped" : $"every number up to step {failure.Step} was finite this time: look at the device and its memory");
            return interrupt.ExitCode;
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
    }
}
