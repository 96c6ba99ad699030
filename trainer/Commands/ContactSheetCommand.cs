using System.CommandLine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Commands;

/// <summary>avedis contact-sheet: faces of a prepared folder as one picture, for a person to look over.</summary>
public static class ContactSheetCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var folder = new Argument<string>("prepared") { Description = "Folder that avedis prepare wrote." };
        var picture = new Option<string>("--out") { Description = "The png to write.", Required = true, HelpName = "file" };
        var clips = new Option<int>("--clips") { Description = "Clips to show, evenly over the manifest.", DefaultValueFactory = _ => 24, HelpName = "n" };
        var command = new Command("contact-sheet",
            """
            Shows what the network will see: some clips of a prepared folder with six faces each, as one png. Prints which clips stand in which row,
            from left to right.
            """)
        {
            folder, picture, clips, common.Ffmpeg,
        };
        command.SetAction(parsed =>
        {
            int count = parsed.GetValue(clips);
            if (count is < 1 or > 1000)
                throw new UserException(ExitCode.Usage, $"--clips is {count}; it has to be between 1 and 1000");
            var tool = FfmpegTool.Find(parsed.GetValue(common.Ffmpeg));
            string path = parsed.GetRequiredValue(picture);
            using var dataset = PreparedDataset.Open(parsed.GetRequiredValue(folder));
            using var place = MadeFolder.Of(picture.Name, path);
            using var interrupt = new Interrupt();
            FaceContactSheet sheet;
            try
            {
                sheet = FaceContactSheet.Write(tool, dataset, count, path, interrupt.Token);
            }
            catch (OperationCanceledException) when (interrupt.Requested)
            {
                return interrupt.ExitCode;
            }
            var output = parsed.InvocationConfiguration.Output;
            foreach (var (number, row) in sheet.Clips.Chunk(sheet.ClipsPerRow).Index())
                output.WriteLine($"row {number + 1}: {string.Join(", ", row.Select(clip => Printable.Name(clip.Id)))}");
            output.WriteLine($"{path}: {sheet.Clips.Count} of {dataset.Index.Clips.Count} clips, {sheet.Width}x{sheet.Height} pixels");
            return ExitCode.Ok;
        });
        return command;
    }
}
