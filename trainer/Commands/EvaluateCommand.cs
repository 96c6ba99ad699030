using System.CommandLine;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Commands;

/// <summary>avedis evaluate: scores a trained run on a split.</summary>
public static class EvaluateCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var data = new Argument<string>("data") { Description = "Folder that avedis prepare wrote." };
        var split = new Option<string>("--split")
        {
            Description = "train, validation, test, or unheard: speakers that were not trained on; only their emotion is scored.",
            DefaultValueFactory = _ => "test",
        };
        split.AcceptOnlyFromAmong("train", "validation", "test", "unheard");
        var json = new Option<bool>("--json") { Description = "Prints the summary as JSON instead of the table." };
        var command = new Command("evaluate", "Scores a run: macro-F, accuracy, confusion matrices, predictions, a report with pictures.");
        command.Arguments.Add(data);
        command.Options.Add(common.Run);
        command.Options.Add(common.Checkpoint);
        command.Options.Add(split);
        command.Options.Add(json);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            var (folder, config) = CommonOptions.OpenRun(parsed.GetRequiredValue(common.Run));
            string path = folder.Resolve(parsed.GetRequiredValue(common.Checkpoint));
            using var dataset = PreparedDataset.Open(parsed.GetRequiredValue(data));
            var part = Enum.Parse<Split>(parsed.GetRequiredValue(split), ignoreCase: true);
            using var model = TrainedModel.Open(
                path, parsed.GetValue(common.Device) ?? "auto", parsed.GetValue(common.Precision), config.Training.Threads, config.Training.BatchSize,
                parsed.GetValue(json) ? null : output.WriteLine);
            model.CheckFits(dataset);
            using var place = MadeFolder.Of(common.Run.Name, Path.Combine(folder.Path, EvaluationReport.PageName));
            using var loader = BatchLoader.ForEvaluation(dataset, part, config.Training.BatchSize, model.State.Factors);
            if (loader.BatchesPerEpoch == 0)
                throw new UserException(ExitCode.BadInput, $"{dataset.Folder} has no clips in split {part}: choose another with --split");
            var progress = new Progress(parsed.InvocationConfiguration.Error, "evaluate", "clips");
            int done = 0;
            var result = Evaluator.Run(model.Runtime, loader, batch => progress.Report(done += batch.Count, dataset.Clips(part).Count));
            progress.End();
            var report = new EvaluationReport(folder, part, model, result);
            report.Write();
            if (parsed.GetValue(json))
                output.WriteLine(report.ToJson());
            else
                report.Print(output);
            return ExitCode.Ok;
        });
        return command;
    }
}
