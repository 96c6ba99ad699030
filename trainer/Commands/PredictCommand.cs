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
    private const int SpeakersShown = 3;

    public static Command Create()
    {
        var common = new CommonOptions();
        var clips = new Argument<string[]>("clip") { Description = "Media files with a face and a voice.", Arity = ArgumentArity.OneOrMore };
        var run = new Option<string>("--run") { Description = "Run folder that avedis train wrote.", Required = true };
        var checkpoint = new Option<string>("--checkpoint") { Description = "best, latest, or a checkpoint folder.", DefaultValueFactory = _ => "best" };
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
        var decoder = new ClipDecoder(tool, features);
        var logMel = new LogMel(features);
        var batch = new Batch(1, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames) { Count = 1 };
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
            (batch.Emotions[0], batch.Speakers[0], batch.Weights[0]) = (-1, -1, 1);
            model.Runtime.Predict(batch);
            output.WriteLine(json ? ToJson(clip, model) : ToText(clip, model));
        }
        return failures == 0 ? ExitCode.Ok : ExitCode.BadInput;
    }

    private static string ToText(string clip, TrainedModel model)
    {
        var (emotions, speakers) = Ranked(model);
        string text = $"{clip}:";
        if (emotions.Count > 0)
            text += $" {emotions[0].Name} ({string.Join(", ", emotions.Select(e => $"{e.Name} {e.Probability:P0}"))});";
        if (speakers.Count > 0)
            text += $" speaker {speakers[0].Name} ({string.Join(", ", speakers.Take(SpeakersShown).Select(s => $"{s.Name} {s.Probability:P0}"))})";
        return text;
    }

    private static string ToJson(string clip, TrainedModel model)
    {
        var (emotions, speakers) = Ranked(model);
        return JsonSerializer.Serialize(new Dictionary<string, object?>
        {
            ["path"] = clip,
            ["emotion"] = emotions.Count == 0 ? null : emotions[0].Name,
            ["emotions"] = emotions.ToDictionary(e => e.Name, e => e.Probability),
            ["speaker"] = speakers.Count == 0 ? null : speakers[0].Name,
            ["speakers"] = speakers.ToDictionary(s => s.Name, s => s.Probability),
        }, Json.Line);
    }

    private static (List<(string Name, float Probability)> Emotions, List<(string Name, float Probability)> Speakers) Ranked(TrainedModel model) =>
        (Rank(model.State.Emotions, model.Runtime.EmotionProbabilities), Rank(model.State.Speakers, model.Runtime.SpeakerProbabilities));

    // a single-task network has no probabilities of the other factor
    private static List<(string Name, float Probability)> Rank(IReadOnlyList<string> names, float[] probabilities) =>
        [.. names.Zip(probabilities).OrderByDescending(p => p.Second)];
}
