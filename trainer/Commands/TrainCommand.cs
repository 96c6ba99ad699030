using System.CommandLine;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Ranks;
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
        var strategy = new Option<string?>("--strategy")
        {
            Description = "stl (one task, see --task), baseline (all tasks), or with disentanglement: gr (gradient reversal), alt (alternate training), conf (confusion loss), projected (gradient projection).",
        };
        var task = new Option<string[]>("--task") { Description = "Factor to train, for example emotion; may be repeated. [default: all of network.factors]" };
        var protect = new Option<string?>("--protect")
        {
            Description = "The embedding that is to forget the other factors: speaker, emotion, or both. [default: both]",
        };
        var start = new Option<string?>("--start") { Description = "Run or checkpoint to start from instead of random weights." };
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
        command.Options.Add(task);
        command.Options.Add(protect);
        command.Options.Add(start);
        command.SetAction(parsed =>
            RankProcesses.Run(() => GoOn(parsed), parsed.InvocationConfiguration.Error, processes => Train(parsed, processes)));
        return command;

        string GoOn(ParseResult parsed)
        {
            string folder = new RunFolder(parsed.GetRequiredValue(run)).CheckpointsPath;
            return $"the last good checkpoint is {Checkpoint.Latest(folder) ?? "none"}; go on with --resume";
        }

        int Train(ParseResult parsed, RankProcesses processes)
        {
            var ranks = new RankedTraining(processes);
            var output = processes.Leads ? GuardedWriter.Log(parsed.InvocationConfiguration.Output) : TextWriter.Null;
            var folder = new RunFolder(parsed.GetRequiredValue(run));
            using var claim = processes.Leads ? folder.Claim() : null;
            bool trained = processes.Broadcast(processes.Leads && folder.HasCheckpoint, "whether there is a checkpoint"), resuming = parsed.GetValue(resume) && trained;
            if (parsed.GetValue(resume) && !resuming)
                output.WriteLine($"{folder.Path} has no checkpoint to resume: starting afresh");
            if (!parsed.GetValue(resume) && trained)
                throw new UserException(ExitCode.Usage, $"{folder.Path} holds a run already: continue it with --resume, or choose another --run");
            // a resumed run keeps its own settings unless the command line says otherwise
            var config = common.Load(parsed, resuming && parsed.GetValue(common.ConfigFile) is null ? folder.ConfigPath : null);
            var training = config.Training;
            config = config with
            {
                Network = Protecting(config.Network, parsed.GetValue(protect)) with { Tasks = parsed.GetValue(task) is { Length: > 0 } tasks ? tasks : config.Network.Tasks },
                Training = training with
                {
                    Epochs = parsed.GetValue(epochs) ?? training.Epochs,
                    BatchSize = parsed.GetValue(batch) ?? training.BatchSize,
                    Strategy = parsed.GetValue(strategy) ?? training.Strategy,
                    Start = parsed.GetValue(start) ?? training.Start,
                    Threads = processes.Threads(training.Threads),
                },
            };
            config.Network.Validate();
            config.Training.Validate();
            ranks.Use(config.Training.Ranks);
            return TrainCommand.Train(config, PreparedDataset.Open(parsed.GetRequiredValue(data)), folder, output, resuming, ranks);
        }
    }

    // the embeddings of all other factors have nothing to forget
    private static NetworkOptions Protecting(NetworkOptions network, string? factor)
    {
        if (factor is null or "both")
            return network;
        if (!network.Factors.ContainsKey(factor))
            throw new UserException(ExitCode.Usage, $"--protect {factor}: expected both or one of {string.Join(", ", network.Factors.Keys)}");
        return network with
        {
            Factors = network.Factors.ToDictionary(f => f.Key, f => f.Key == factor ? f.Value : f.Value with { Forget = new Dictionary<string, float>() }),
        };
    }

    private static int Train(Config config, PreparedDataset dataset, RunFolder folder, TextWriter output, bool resume, RankedTraining ranks)
    {
        using (dataset)
        {
            config = config with { Features = dataset.Features };
            using var interrupt = new Interrupt();
            var state = ranks.Run(config.Training.Ranks, config.Training.BatchSize, collective =>
            {
                using var loop = new TrainingLoop(config, dataset, folder, collective.Rank == 0 ? output : TextWriter.Null, interrupt, resume, collective);
                return loop.Run();
            });
            output.WriteLine(
                $"run {folder.Path}: {state.Epoch} epochs, {state.TrainClipsPerSecond:N1} clips/s, peak memory {state.PeakRssBytes / 1048576.0:N0} MiB, " +
                $"best epoch {state.BestEpoch + 1}");
            return interrupt.ExitCode;
        }
    }
}
