using System.CommandLine;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Commands;

/// <summary>avedis predict: emotion and speaker of media files, with probabilities.</summary>
public static class PredictCommand
{
    private sealed record Job(IReadOnlyList<string> Files, string Format, string? Out, double? Hop, string? Plot);

    public static Command Create()
    {
        var common = new CommonOptions();
        var clips = new Argument<string[]>("clip") { Description = "Media files with a face and a voice, or folders of them.", Arity = ArgumentArity.OneOrMore };
        var format = new Option<string>("--format") { Description = "text, csv (one row per clip, a column per class) or json (one object per line).", DefaultValueFactory = _ => "text" };
        format.AcceptOnlyFromAmong("text", "csv", "json");
        var json = new Option<bool>("--json") { Description = "Short for --format json." };
        var path = new Option<string?>("--out") { Description = "File to write instead of printing." };
        var timeline = new Option<bool>("--timeline") { Description = "Goes through each video to its end, a window every --hop seconds, instead of taking its start alone." };
        var hop = new Option<double>("--hop") { Description = "Seconds from one window of --timeline to the next.", DefaultValueFactory = _ => 1 };
        var plot = new Option<string?>("--plot") { Description = "SVG file to draw the timeline of one video into." };
        var command = new Command("predict", "Says which emotion a clip shows and which of the trained speakers it sounds and looks like.");
        command.Arguments.Add(clips);
        foreach (Option option in (Option[])[common.Run, common.Checkpoint, format, json, path, timeline, hop, plot, common.Ffmpeg])
            command.Options.Add(option);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var (folder, config) = CommonOptions.OpenRun(parsed.GetRequiredValue(common.Run));
            string checkpoint = folder.Resolve(parsed.GetRequiredValue(common.Checkpoint));
            var job = new Job(
                MediaFiles.Find(parsed.GetRequiredValue(clips), parsed.InvocationConfiguration.Error), parsed.GetValue(json) ? "json"
                    : parsed.GetRequiredValue(format), parsed.GetValue(path),
                parsed.GetValue(timeline) ? parsed.GetValue(hop) : null, parsed.GetValue(plot));
            Check(job);
            using var place = job.Out is null ? null : MadeFolder.Of(path.Name, job.Out);
            using var drawing = job.Plot is null ? null : MadeFolder.Of(plot.Name, job.Plot);
            return Predict(
                job, FfmpegTool.Find(parsed.GetValue(common.Ffmpeg)), config,
                batch => TrainedModel.Open(checkpoint, parsed.GetValue(common.Device) ?? "auto", parsed.GetValue(common.Precision), threads: 0, batch),
                parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
        });
        return command;
    }

    private static void Check(Job job)
    {
        if (job.Hop is { } hop && !(hop > 0 && double.IsFinite(hop)))
            throw new UserException(ExitCode.Usage, $"--hop is {hop}, expected seconds above 0");
        if (job.Plot is not null && (job.Hop is null || job.Files.Count != 1))
            throw new UserException(ExitCode.Usage, $"--plot draws the timeline of one video: give --timeline and one file, not {job.Files.Count}");
    }

    // a clip that cannot be read does not stop the others; the exit code tells
    private static int Predict(Job job, FfmpegTool tool, Config config, Func<int, TrainedModel> open, TextWriter output, TextWriter error)
    {
        using var interrupt = new Interrupt();
        int failures = 0;
        var windows = job.Hop is { } hop ? Cut(job.Files, hop) : [.. job.Files.Select(file => new ClipWindow(file))];
        if (windows.Count == 0)
            return ExitCode.BadInput;
        using var model = open(ClipRunner.BatchSize(config, windows.Count));
        using var runner = new ClipRunner(model, tool, error);
        var branches = model.Runtime.Network.Branches;
        using var file = job.Out is null ? null : new StreamWriter(job.Out);
        using var writer = new PredictionWriter(file ?? output, job.Format, [.. branches.Select(branch => branch.Factor)], timeline: job.Hop is not null);
        var progress = file is null ? null : new Progress(output, "predict", job.Hop is null ? "clips" : "windows");
        var drawn = new List<WindowPrediction>();
        try
        {
            failures += runner.Run(
                windows,
                (window, row) =>
                {
                    var prediction = new WindowPrediction(
                        window, [.. branches.Select(branch => model.Runtime.Output(branch.Probabilities).AsSpan(row * branch.Classes, branch.Classes).ToArray())]);
                    writer.Write(prediction);
                    if (job.Plot is not null)
                        drawn.Add(prediction);
                },
                done =>
                {
                    writer.Flush();
                    progress?.Report(done, windows.Count);
                },
                interrupt.Token);
        }
        catch (OperationCanceledException) when (interrupt.Requested)
        {
            return interrupt.ExitCode;
        }
        finally
        {
            progress?.End();
        }
        if (job.Plot is not null && drawn.Count > 0)
            File.WriteAllText(job.Plot, TimelinePlot.Draw(Path.GetFileName(job.Files[0]), drawn, [.. branches.Select(branch => branch.Factor)], job.Hop!.Value));
        return failures == 0 ? ExitCode.Ok : ExitCode.BadInput;

        List<ClipWindow> Cut(IReadOnlyList<string> files, double hop)
        {
            var all = new List<ClipWindow>();
            foreach (string path in files)
                try
                {
                    all.AddRange(Timeline.Windows(tool, path, config.Features, hop, interrupt.Token));
                }
                catch (MediaException problem)
                {
                    error.WriteLine($"avedis: {Printable.Line($"{path}: {problem.Message}")}");
                    failures++;
                }
            return all;
        }
    }
}
