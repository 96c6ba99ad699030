using System.CommandLine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;
using Avedis.Trainer.Synth;

namespace Avedis.Trainer.Commands;

/// <summary>avedis synth: makes a labelled corpus of talking faces to train and test on.</summary>
public static class SynthCommand
{
    public static Command Create()
    {
        var defaults = new SynthOptions();
        var folder = new Option<string>("--out")
        {
            Description = "Folder to make or to go on with.", DefaultValueFactory = _ => "data/synth", HelpName = "folder",
        };
        var speakers = Value("--speakers", "People in the cast, women and men in turn.", defaults.Speakers);
        var clips = Value("--clips", "Clips in total; every speaker gets the same number (one more or less where it does not divide).",
            defaults.Clips);
        var seconds = Value("--seconds", "Length of each clip.", defaults.Seconds);
        var neutral = Value("--neutral-share", "Share of neutral clips; the other seven emotions share the rest.", defaults.NeutralShare);
        var affinity = Value("--affinity", "How strongly each speaker prefers some emotions; 0: emotion says nothing about the speaker.",
            defaults.Affinity);
        var noise = Value("--noise", "Scale of camera noise, background sound and echo; 0: a studio.", defaults.Noise);
        var seed = Value("--seed", "Same seed and options, same corpus.", defaults.Seed);
        var jobs = Value("--jobs", "Clips made at once; has no influence on what they hold.", Environment.ProcessorCount);
        var ffmpeg = new Option<string?>("--ffmpeg")
        {
            Description = $"The ffmpeg program, or the folder that holds ffmpeg and ffprobe [default: {FfmpegTool.Variable}, else PATH].",
            HelpName = "path",
        };
        var picture = new Option<string?>("--contact-sheet")
        {
            Description = "Write only the picture of four speakers with all eight emotions to this png, and no corpus.", HelpName = "file",
        };
        var command = new Command(
            "synth",
            """
            Makes a corpus of talking faces (mp4, H.264 and AAC, 224x224 at 25 frames a second, 16 kHz mono) with a manifest.csv
            that "avedis prepare" reads. Eight emotions show in face and voice. 600 clips of 3 s take a minute or two on two cores
            and 60 MB. Stopped halfway, the same command goes on; a finished corpus is left as it is.
            """)
        {
            folder, speakers, clips, seconds, neutral, affinity, noise, seed, jobs, ffmpeg, picture,
        };
        command.SetAction(parsed =>
        {
            var options = new SynthOptions
            {
                Speakers = parsed.GetValue(speakers), Clips = parsed.GetValue(clips), Seconds = parsed.GetValue(seconds),
                NeutralShare = parsed.GetValue(neutral),
                Affinity = parsed.GetValue(affinity), Noise = parsed.GetValue(noise), Seed = parsed.GetValue(seed),
            };
            int parallel = parsed.GetValue(jobs);
            if (parallel < 1)
                throw new UserException(ExitCode.Usage, $"--jobs is {parallel}; it has to be at least 1");
            options.Validate();
            var tool = FfmpegTool.Find(parsed.GetValue(ffmpeg));
            var (output, error) = (parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
            using var interrupt = new Interrupt();
            if (parsed.GetValue(picture) is { } path)
            {
                using var place = MadeFolder.Of(picture.Name, path);
                ContactSheet.Write(tool, options, path, interrupt.Token);
                output.WriteLine($"{path}: {string.Join(", ", Enum.GetNames<Emotion>()).ToLowerInvariant()} from left to right");
                return ExitCode.Ok;
            }
            string target = parsed.GetValue(folder)!;
            int made;
            try
            {
                made = Corpus.Make(options, target, tool, parallel, error, interrupt.Token);
            }
            catch (OperationCanceledException) when (interrupt.Requested)
            {
                error.WriteLine($"avedis: stopped; finished clips are kept in {target}, and the same command goes on from there");
                return interrupt.ExitCode;
            }
            output.WriteLine(made == 0
                ? $"{target}: {options.Clips} clips with these options are there already; reused"
                : $"{target}: {options.Clips} clips of {options.Speakers} speakers, listed in {Path.Combine(target, "manifest.csv")}");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Option<T> Value<T>(string name, string description, T value) =>
        new(name) { Description = description, DefaultValueFactory = _ => value, HelpName = "n" };
}
