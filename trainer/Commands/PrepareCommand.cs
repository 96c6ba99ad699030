using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using Avedis.Trainer.Ranks;

namespace Avedis.Trainer.Commands;

/// <summary>avedis prepare: decodes the clips of a manifest once, into a folder that training reads.</summary>
public static class PrepareCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var manifest = new Argument<string>("manifest") { Description = "CSV table with the columns path, speaker, emotion, optionally split, and any others." };
        var folder = new Option<string>("--out") { Description = "Folder to make or to go on with.", Required = true, HelpName = "folder" };
        var root = new Option<string?>("--root") { Description = "Folder that the manifest's paths start from. [default: the manifest's]", HelpName = "folder" };
        var jobs = new Option<int?>("--jobs") { Description = "Clips decoded at once, by each process. [default: its share of the machine's processors]", HelpName = "n" };
        var device = new Option<string>("--device")
        {
            Description = "Where log-mels are computed; the folder remembers it, since the two differ in the last digits.",
            DefaultValueFactory = _ => "cpu",
            HelpName = "cpu|cuda",
        };
        device.AcceptOnlyFromAmong("cpu", "cuda");
        var part = new Option<string?>("--part")
        {
            Description = "Decodes only this share of the clips, such as 2/4, so that several processes can work in one folder; the same command without it joins them.",
            HelpName = "k/n",
        };
        var crop = new Option<string?>("--crop")
        {
            Description = "given: the pictures are faces; center: the middle of each; detect: faces are looked for and followed. [default: features.crop, given]",
        };
        crop.AcceptOnlyFromAmong("given", "center", "detect");
        var command = new Command("prepare",
            """
            Decodes every clip of a manifest into grey face pictures and log-mel sound, and writes them with labels and splits into a folder for
            "avedis train". Clips that cannot be used are listed in rejected.csv with the reason and never stop it. Stopped halfway, the same
            command goes on; clips whose file has changed since are decoded again.
            --set features.melPreset=avedis|torchaudio|librosa|kaldi|nwaves chooses the log-mel definition; --set data.variants.copies=2 adds two
            copies of each training clip with another speed, pitch, room and noise. docs/sound.md has the other settings of both.
            """)
        {
            manifest, folder, root, jobs, device, part, crop,
        };
        common.AddConfig(command);
        command.Options.Add(common.Ffmpeg);
        const string GoOn = "finished clips are kept, and the same command goes on from there";
        command.SetAction(parsed => RankProcesses.Run(() => GoOn, parsed.InvocationConfiguration.Error, processes =>
        {
            var config = common.Load(parsed);
            processes.Expect(TimeSpan.FromSeconds(config.Training.Ranks.SilenceSeconds), patience: null); // parts may take hours, and one much longer than another
            if (parsed.GetValue(crop) is { } mode)
                config = config with { Features = config.Features with { Crop = Enum.Parse<CropMode>(mode, ignoreCase: true) } };
            if (parsed.GetValue(part) is not null && processes.Size > 1)
                throw new UserException(ExitCode.Usage, $"--part is for processes that nobody started together; each of these {processes.Size} takes a part by itself: leave --part out");
            var job = new PrepareJob(parsed.GetRequiredValue(manifest), parsed.GetValue(root), parsed.GetRequiredValue(folder), config.Features, config.Data,
                parsed.GetValue(jobs) ?? processes.Processors, parsed.GetRequiredValue(device), parsed.GetValue(part) is { } text ? PreparePart.Parse(text) : null);
            var settings = JsonNode.Parse(config.ToJson())!.AsObject();
            settings["device"] = job.Device;
            new Handshake(Machine.Revision, job.Manifest, "", settings).Check(processes.Collective);
            return Prepare(processes, job, FfmpegTool.Find(parsed.GetValue(common.Ffmpeg)), Of(parsed.InvocationConfiguration.Output), Of(parsed.InvocationConfiguration.Error));

            TextWriter Of(TextWriter writer) => processes.Leads ? writer : TextWriter.Null;
        }));
        return command;
    }

    private static int Prepare(RankProcesses processes, PrepareJob job, FfmpegTool tool, TextWriter output, TextWriter error)
    {
        using var interrupt = new Interrupt();
        if (new LogMel(job.Features).EmptyFilters is > 0 and var empty)
            error.WriteLine($"avedis: warning: {empty} of {job.Features.MelBins} mel bins contain no frequency of the analysis and stay constant; use fewer, or a longer window");
        bool shared = processes.Size > 1;
        if (shared)
            error.WriteLine($"ranks: {processes.Description}");
        var progress = new Progress(error, shared ? "prepare, all ranks" : "prepare", "clips");
        void Report(int done, int total, int before) => progress.Report(done, total, before);
        int code;
        PrepareResult? result;
        try
        {
            (code, result) = shared ? new RankedPreparation(processes, job, tool).Run(Report, interrupt) : (ExitCode.Ok, new Preparer(job, tool).Run(Report, interrupt.Token));
        }
        catch (OperationCanceledException) when (interrupt.Requested)
        {
            (code, result) = (interrupt.ExitCode, null);
        }
        finally
        {
            progress.End();
        }
        if (ExitCode.IsStop(code))
            error.WriteLine($"avedis: stopped; finished clips are kept in {job.Folder}, and the same command goes on from there");
        foreach (string line in result is null ? [] : Summary(job, result))
            output.WriteLine(line);
        return code;
    }

    private static IEnumerable<string> Summary(PrepareJob job, PrepareResult result)
    {
        if (result.Index is { } index)
        {
            string parts = string.Join(", ", index.Counts.Where(part => part.Value > 0).Select(part => $"{part.Key.ToString().ToLowerInvariant()} {part.Value:N0}"));
            yield return $"{job.Folder}: {index.Clips.Count:N0} clips of {index.Speakers.Count:N0} speakers ({parts}){(result.Reused > 0 ? $", {result.Reused:N0} of them decoded before" : "")}";
            if (index.Clips.Count(clip => clip.Speaker < 0 && clip.Split != Split.Unheard) is > 0 and var unknown)
                yield return $"note: {unknown:N0} clips of validation and test are of speakers without a training clip: "
                    + "scored for all but who speaks";
            yield return $"emotions: {string.Join(", ", index.Emotions.Select((name, number) => $"{Printable.Name(name)} {index.Clips.Count(clip => clip.Emotion == number):N0}"))}";
        }
        else
            yield return $"{job.Folder}: part {job.Part!.Number} of {job.Part.Of}, {result.Stored:N0} clips; when all parts are done, the same command without --part joins them";
        if (result.FacesFound is { } share)
            yield return string.Create(CultureInfo.InvariantCulture, $"faces: found in {share:P1} of the pictures of the clips that were kept; look at them with avedis contact-sheet {job.Folder}");
        if (result.Quiet.Count > 0)
            yield return string.Create(CultureInfo.InvariantCulture, $"quiet: {result.Quiet.Count:N0} clips are silent for more than ")
                + $"{1 - Preparer.QuietShare:P0} of their sound ({string.Join(", ", result.Quiet.Take(5).Select(Printable.Name))}"
                + $"{(result.Quiet.Count > 5 ? ", ..." : "")}); they are kept";
        if (result.DroppedRows > 0)
            yield return $"left out by label: {result.DroppedRows:N0} rows";
        if (result.RareSpeakers.Count > 0)
            yield return $"left out for too few clips: {result.RareSpeakers.Count:N0} speakers ({string.Join(", ", result.RareSpeakers.Take(5).Select(Printable.Name))}"
                + $"{(result.RareSpeakers.Count > 5 ? ", ..." : "")})";
        if (result.Silent > 0 && job.Features.Silence == SilenceMode.Warn)
            yield return $"silent: {result.Silent:N0} of the clips that were kept";
        if (result.Rejections.Count > 0)
            yield return $"rejected: {Preparer.Reasons(result.Rejections)}{(job.Part is null ? $"; see {Path.Combine(job.Folder, Preparer.RejectedFileName)}" : "")}";
    }
}
