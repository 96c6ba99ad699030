using System.CommandLine;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;

namespace Avedis.Trainer.Commands;

/// <summary>avedis bench: how fast this machine trains.</summary>
public static class BenchCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var batch = new Option<int?>("--batch-size") { Description = "Clips per step. [default: the preset's]" };
        var threads = new Option<int?>("--threads") { Description = "Threads of the processor; 0 for all cores. [default: 0]" };
        var steps = new Option<int>("--steps") { Description = "Steps to take the median of.", DefaultValueFactory = _ => 10 };
        var ops = new Option<bool>("--ops") { Description = "Times every operation of a step as well, where it stands in the step." };
        var json = new Option<bool>("--json") { Description = "Prints the figures as JSON instead of the tables." };
        var folder = new Option<string?>("--out") { Description = "Folder for bench-PRESET-PRECISION.json and .md.", HelpName = "folder" };
        var command = new Command("bench", "Times training steps on random clips in memory: clips per second, memory, and the operations of a step.");
        common.AddConfig(command);
        common.AddDevice(command);
        foreach (Option option in new Option[] { batch, threads, steps, ops, json, folder })
            command.Options.Add(option);
        command.SetAction(parsed =>
        {
            int count = parsed.GetRequiredValue(steps);
            if (count < 1)
                throw new UserException(ExitCode.Usage, $"--steps is {count}; it has to be at least 1");
            using var place = parsed.GetValue(folder) is { } target ? MadeFolder.Of(folder.Name, Path.Combine(target, "bench.json")) : null;
            var config = common.Load(parsed);
            config = config with
            {
                Training = config.Training with
                {
                    BatchSize = parsed.GetValue(batch) ?? config.Training.BatchSize,
                    Threads = parsed.GetValue(threads) ?? config.Training.Threads,
                },
            };
            config.Training.Validate();
            var report = TrainingBenchmark.Run(config, count, parsed.GetValue(ops));
            parsed.InvocationConfiguration.Output.WriteLine(parsed.GetValue(json) ? report.ToJson() : report.ToMarkdown().TrimEnd());
            if (parsed.GetValue(folder) is { } path)
                report.Write(path);
            return ExitCode.Ok;
        });
        return command;
    }
}
