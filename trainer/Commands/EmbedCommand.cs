using System.CommandLine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Export;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Commands;

/// <summary>avedis embed: the embeddings of clips as arrays.</summary>
public static class EmbedCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var clips = new Argument<string[]>("clip") { Description = "Media files or folders of them, instead of --data.", Arity = ArgumentArity.ZeroOrMore };
        var data = new Option<string?>("--data") { Description = "Folder that avedis prepare wrote." };
        var split = new Option<string[]>("--split") { Description = "train, validation, test or unheard; may be repeated. [default: all]" };
        split.AcceptOnlyFromAmong("train", "validation", "test", "unheard");
        var format = new Option<string>("--format") { Description = "npy (a file per factor, and ids.csv) or safetensors (one file).", DefaultValueFactory = _ => "npy" };
        format.AcceptOnlyFromAmong("npy", "safetensors");
        var path = new Option<string>("--out") { Description = "Folder (npy) or file (safetensors) to write.", Required = true };
        var command = new Command("embed", "Writes the embeddings of clips, one row per clip and one table per factor, with names and labels.");
        command.Arguments.Add(clips);
        foreach (Option option in (Option[])[common.Run, common.Checkpoint, data, split, format, path, common.Ffmpeg])
            command.Options.Add(option);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var (folder, config) = CommonOptions.OpenRun(parsed.GetRequiredValue(common.Run));
            string checkpoint = folder.Resolve(parsed.GetRequiredValue(common.Checkpoint)), target = parsed.GetRequiredValue(path);
            var files = MediaFiles.Find(parsed.GetValue(clips) ?? [], parsed.InvocationConfiguration.Error);
            string? prepared = parsed.GetValue(data);
            if (prepared is null == (files.Count == 0))
                throw new UserException(ExitCode.Usage, "embed takes either --data or media files");
            bool npy = parsed.GetRequiredValue(format) == "npy";
            using var place = MadeFolder.Of(path.Name, npy ? Path.Combine(target, EmbeddingTable.IdsFile) : target);
            using var interrupt = new Interrupt();
            using var model = TrainedModel.Open(
                checkpoint, parsed.GetValue(common.Device) ?? "auto", parsed.GetValue(common.Precision), config.Training.Threads,
                prepared is null ? ClipRunner.BatchSize(config, files.Count) : config.Training.BatchSize);
            var table = new EmbeddingTable(model.Runtime, prepared is null ? [] : model.State.Factors);
            var progress = new Progress(parsed.InvocationConfiguration.Error, "embed", "clips");
            int failures = 0;
            try
            {
                if (prepared is not null)
                    AddPrepared(table, model, prepared, parsed.GetValue(split) ?? [], progress, interrupt.Token);
                else
                {
                    using var runner = new ClipRunner(model, FfmpegTool.Find(parsed.GetValue(common.Ffmpeg)), parsed.InvocationConfiguration.Error);
                    failures = runner.Run([.. files.Select(file => new ClipWindow(file))],
                        (window, row) => table.Add(row, window.Path, "", []),
                        done => progress.Report(done, files.Count), interrupt.Token);
                }
            }
            catch (OperationCanceledException) when (interrupt.Requested)
            {
                return interrupt.ExitCode;
            }
            finally
            {
                progress.End();
            }
            if (table.Count == 0 && failures == 0)
                throw new UserException(ExitCode.BadInput, $"{prepared} has no clips in split {string.Join(", ", parsed.GetValue(split) ?? [])}: choose another with --split");
            if (table.Count > 0)
            {
                if (npy)
                    table.WriteNpy(target);
                else
                    table.WriteSafetensors(target);
                parsed.InvocationConfiguration.Output.WriteLine(
                    $"{target}: {table.Count:N0} clips, {string.Join(", ", model.Runtime.Network.Branches.Select(b => $"{b.Name} [{table.Count}, {b.Embedding.Shape[1]}]"))}");
            }
            return failures == 0 ? ExitCode.Ok : ExitCode.BadInput;
        });
        return command;
    }

    private static void AddPrepared(EmbeddingTable table, TrainedModel model, string folder, string[] names, Progress progress,
        CancellationToken stop)
    {
        using var dataset = PreparedDataset.Open(folder);
        model.CheckFits(dataset);
        var splits = names.Length == 0 ? Enum.GetValues<Split>() : [.. names.Select(name => Enum.Parse<Split>(name, ignoreCase: true)).Distinct().Order()];
        int done = 0, total = splits.Sum(split => dataset.Clips(split).Count);
        foreach (var split in splits.Where(split => dataset.Clips(split).Count > 0))
        {
            using var loader = BatchLoader.ForEvaluation(dataset, split, model.Runtime.Network.Shape.Batch, model.State.Factors);
            Evaluator.Run(model.Runtime, loader, batch =>
            {
                stop.ThrowIfCancellationRequested();
                for (int row = 0; row < batch.Count; row++)
                    table.Add(row, batch.Ids[row], split.ToString().ToLowerInvariant(), [.. batch.Labels.Select(labels => labels[row])]);
                progress.Report(done += batch.Count, total);
            });
        }
    }
}
