using System.CommandLine;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Commands;

/// <summary>avedis predict: emotion and speaker of media files, with probabilities.</summary>
public static class PredictCommand
{
    private const int ClassesShown = 5;

    public static Command Create()
    {
        var common = new CommonOptions();
        var clips = new Argument<string[]>("clip") { Description = "Media files with a face and a voice.", Arity = ArgumentArity.OneOrMore };
        var run = new Option<string>("--run") { Description = "Run folder that avedis train wrote.", Required = true };
        var checkpoint = new Option<string>("--checkpoint") { Description = "best (primary score), clean (lowest leak), latest, or a checkpoint folder.", DefaultValueFactory = _ => "best" };
        var json = new Option<bool>("--json") { Description = "Prints one JSON object per clip." };
        var command = new Command("predict", "Says which emotion a clip shows and which of the trained speakers it sounds and looks like.");
        command.Arguments.Add(clips);
        command.Options.Add(run);
        command.Options.Add(checkpoint);
        command.Options.Add(json);
        command.Options.Add(common.Ffmpeg);
        common.AddDevice(command);
        command.SetAction(parsed =>
        {
            var (folder, _) = CommonOptions.OpenRun(parsed.GetRequiredValue(run));
            var tool = FfmpegTool.Find(parsed.GetValue(common.Ffmpeg));
            using var model = TrainedModel.Open(
                folder.Resolve(parsed.GetRequiredValue(checkpoint)), parsed.GetValue(common.Device) ?? "auto", parsed.GetValue(common.Precision), threads: 0, batch: 1);
            return Predict(model, tool, parsed.GetRequiredValue(clips), parsed.GetValue(json), parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
        });
        return command;
    }

    // a clip that cannot be read does not stop the others; the exit code tells
    private static int Predict(TrainedModel model, FfmpegTool tool, string[] clips, bool json, TextWriter output, TextWriter error)
    {
        FeatureOptions features = model.Config.Features;
        using var decoder = new ClipDecoder(tool, features);
        var logMel = new LogMel(features);
        var batch = new Batch(1, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames, model.State.Factors.Count) { Count = 1 };
        int failures = 0;
        foreach (string clip in clips)
        {
            try
            {
                decoder.Decode(clip);
            }
            catch (MediaException failure)
            {
                error.WriteLine($"avedis: {clip}: {failure.Message}");
                failures++;
                continue;
            }
            decoder.Faces.CopyTo(batch.Faces);
            batch.FaceLengths[0] = decoder.FaceCount;
            batch.MelLengths[0] = logMel.Compute(decoder.Samples, batch.Mels);
            foreach (int[] labels in batch.Labels)
                labels[0] = -1;
            batch.Weights[0] = 1;
            model.Runtime.Predict(batch);
            output.WriteLine(json ? ToJson(clip, model) : ToText(clip, model));
        }
        return failures == 0 ? ExitCode.Ok : ExitCode.BadInput;
    }

    private static string ToText(string clip, TrainedModel model) => $"{clip}: " + string.Join("; ", model.Runtime.Network.Branches.Select(branch =>
    {
        var ranked = Rank(branch, model);
        return $"{branch.Name} {ranked[0].Name} ({string.Join(", ", ranked.Take(ClassesShown).Select(c => $"{c.Name} {c.Probability:P0}"))})";
    }));

    private static string ToJson(string clip, TrainedModel model)
    {
        var fields = new Dictionary<string, object> { ["path"] = clip };
        foreach (var branch in model.Runtime.Network.Branches)
        {
            var ranked = Rank(branch, model);
            fields[branch.Name] = ranked[0].Name;
            fields[$"{branch.Name}s"] = ranked.ToDictionary(c => c.Name, c => c.Probability);
        }
        return JsonSerializer.Serialize(fields, Json.Line);
    }

    private static List<(string Name, float Probability)> Rank(Branch branch, TrainedModel model) =>
        [.. branch.Factor.Classes.Zip(model.Runtime.Output(branch.Probabilities)).OrderByDescending(p => p.Second)];
}
