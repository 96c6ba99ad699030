using System.CommandLine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;

namespace Avedis.Trainer.Commands;

/// <summary>avedis export: a trained network for other programs.</summary>
public static class ExportCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var format = new Option<string>("--format") { Description = "onnx (one file, opset 13) or pytorch (a folder with weights, config.json and a script that loads them).", Required = true };
        format.AcceptOnlyFromAmong("onnx", "pytorch");
        var path = new Option<string>("--out") { Description = "File (onnx) or folder (pytorch) to write.", Required = true };
        var command = new Command("export", "Writes a trained network for other programs: faces, mels and their lengths in, embeddings and probabilities out.");
        command.Options.Add(common.Run);
        command.Options.Add(common.Checkpoint);
        command.Options.Add(format);
        command.Options.Add(path);
        command.SetAction(parsed =>
        {
            var (folder, _) = CommonOptions.OpenRun(parsed.GetRequiredValue(common.Run));
            var model = new ExportedModel(folder.Resolve(parsed.GetRequiredValue(common.Checkpoint)));
            string target = parsed.GetRequiredValue(path);
            bool onnx = parsed.GetRequiredValue(format) == "onnx";
            using var place = MadeFolder.Of(path.Name, onnx ? target : Path.Combine(target, PyTorchExport.Script));
            if (onnx)
                OnnxExport.Write(model, target);
            else
                PyTorchExport.Write(model, target);
            parsed.InvocationConfiguration.Output.WriteLine(
                $"{target}: {string.Join(", ", model.Branches.Select(b => $"{b.Name} (embedding {b.Embedding}, {b.Classes.Count} classes)"))}"
                + (onnx ? "" : $"; python3 {Path.Combine(target, PyTorchExport.Script)} says what it is"));
            return ExitCode.Ok;
        });
        return command;
    }
}
