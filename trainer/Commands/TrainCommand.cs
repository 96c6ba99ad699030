using System.CommandLine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>avedis train: trains a network on prepared data into a run folder.</summary>
public static class TrainCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var data = new Argument<string>("data") { Description = "Folder that avedis prepare wrote." };
        var run = new Option<string>("--run") { Description = "Run folder to write.", Required = true };
        var resume = new Option<bool>("--resume") { Description = "Continue the run from its latest checkpoint; starts afresh, and says so, if it has none." };
        var epochs = new Option<int?>("--epochs") { Description = "Passes over the training clips." };
        var batch = new Option<int?>("--batch-size") { Description = "Clips per step." };
        var strategy = new Option<string?>("--strategy") { Description = "baseline (emotion and speaker together) or stl (one task: add --set network.tasks=emotion)." };
        var command = new Command("train", "Trains the two-stream network on prepared data. Stops with a checkpoint on Ctrl-C.");
        command.Arguments.Add(data);
        command.Options.Add(run);
        command.Options.Add(resume);
        common.AddConfig(command);
        common.AddDevice(command);
        command.Options.Add(common.Seed);
        command.Options.Add(epochs);
        command.Options.Add(batch);
        command.Options.Add(strategy);
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            var folder = new RunFolder(parsed.GetRequiredValue(run));
            bool resuming = parsed.GetValue(resume) && folder.HasCheckpoint;
            if (parsed.GetValue(resume) && !resuming)
                output.WriteLine($"{folder.Path} has no checkpoint to resume: starting afresh");
            if (!parsed.GetValue(resume) && folder.HasCheckpoint)
                throw new UserException(ExitCode.Usage, $"{folder.Path} holds a run already: continue it with --resume, or choose another --run");
            // a resumed run keeps its own settings unless the command line says otherwise
            var config = common.Load(parsed, resuming && parsed.GetValue(common.ConfigFile) is null ? folder.ConfigPath : null);
            var training = config.Training;
            config = config with
            {
                Training = training with
                {
                    Epochs = parsed.GetValue(epochs) ?? training.Epochs,
                    BatchSize = parsed.GetValue(batch) ?? training.BatchSize,
                    Strategy = parsed.GetValue(strategy) ?? training.Strategy,
                },
            };
            config.Training.Validate();
            return Train(config, PreparedDataset.Open(parsed.GetRequiredValue(data)), folder, output, resuming);
        });
        return command;
    }

    private static int Train(Config config, PreparedDataset dataset, RunFolder folder, TextWriter output, bool resume)
    {
        using (dataset)
        {
            config = config with { Features = dataset.Features };
            using var interrupt = new Interrupt();
            using var loop = new TrainingLoop(config, dataset, folder, output, interrupt, resume);
            var state = loop.Run();
            output.WriteLine(
                $"run {folder.Path}: {state.Epoch} epochs, {state.TrainClipsPerSecond:N1} clips/s, peak memory {state.PeakRssBytes / 1048576.0:N0} MiB, " +
                $"best epoch {state.BestEpoch + 1}");
            return interrupt.ExitCode;
        }
    }
}
