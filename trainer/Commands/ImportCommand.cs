using System.CommandLine;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;

namespace Avedis.Trainer.Commands;

/// <summary>avedis import: finds the clips of a published corpus and writes their manifest.</summary>
public static class ImportCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        string[] names = [.. CorpusImport.All.Select(corpus => corpus.Name)];
        var name = new Argument<string>("corpus") { Description = $"One of {string.Join(", ", names)}." };
        name.AcceptOnlyFromAmong(names);
        var folder = new Argument<string>("folder") { Description = "Folder that the corpus was unpacked into; extra levels do no harm." };
        var manifest = new Option<string>("--out") { Description = "The manifest to write; its paths are relative to FOLDER.", Required = true, HelpName = "file" };
        var audit = new Option<string?>("--audit") { Description = "Also writes the account as JSON.", HelpName = "file" };
        var rejected = new Option<string?>("--rejected") { Description = "Also writes the clips that cannot be used, with reasons, as CSV.", HelpName = "file" };
        var check = new Option<bool>("--check-media") { Description = "Reads the headers of every media file (one ffprobe each): missing streams, lengths that do not match." };
        var unheard = new Option<int>("--unheard") { Description = "Speakers, drawn by the seed, who are kept for the split unheard; the others' clips are divided 8 to 1 to 1.", HelpName = "n" };
        var seed = new Option<ulong>("--seed") { Description = "Seed of every split that is made.", DefaultValueFactory = _ => 1, HelpName = "n" };
        var calm = Choice("--calm", "ravdess: the class of calm.", "neutral", "neutral", "other");
        var frustration = Choice("--frustration", "iemocap: the class of frustration.", DataOptions.Drop, DataOptions.Drop, "anger", "other");
        var dominant = Choice("--dominant", "voxceleb: how the emotions of a clip's frames become one.", "max-logit", [.. EmoVoxLabels.Rules.Keys]);
        var swap = new Option<bool>("--swap-halves") { Description = "iemocap: the actor who wears markers is in the right half of the picture." };
        var command = new Command("import",
            """
            Finds the clips of a published corpus in the layout it is distributed in, merges its labels to the five classes, and writes a manifest for
            "avedis prepare". Prints an account of everything found: usable clips, rejected ones by reason, labels, speakers, splits.
            """)
        {
            name, folder, manifest, audit, rejected, check, unheard, seed, calm, frustration, dominant, swap, common.Ffmpeg,
        };
        command.SetAction(parsed =>
        {
            string asked = parsed.GetRequiredValue(name);
            foreach (var (option, owner) in (ReadOnlySpan<(Option, string)>)[(calm, "ravdess"), (frustration, "iemocap"), (swap, "iemocap"), (dominant, "voxceleb")])
                if (owner != asked && parsed.GetResult(option) is { Implicit: false })
                    throw new UserException(ExitCode.Usage, $"{option.Name} is for {owner}; leave it out for {asked}");
            var options = new ImportOptions
            {
                Calm = parsed.GetRequiredValue(calm), Frustration = parsed.GetRequiredValue(frustration), Dominant = EmoVoxLabels.Rules[parsed.GetRequiredValue(dominant)],
                SwapHalves = parsed.GetValue(swap), Unheard = parsed.GetValue(unheard), Seed = parsed.GetValue(seed),
            };
            var corpus = CorpusImport.All.Single(one => one.Name == asked);
            var import = new CorpusImport(corpus, new CorpusFolder(parsed.GetRequiredValue(folder)), options);
            var tool = parsed.GetValue(check) ? FfmpegTool.Find(parsed.GetValue(common.Ffmpeg)) : null;
            var (output, error) = (parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
            using var place = MadeFolder.Of(manifest.Name, parsed.GetRequiredValue(manifest));
            using var auditPlace = parsed.GetValue(audit) is { } auditFile ? MadeFolder.Of(audit.Name, auditFile) : null;
            using var rejectedPlace = parsed.GetValue(rejected) is { } rejectedFile ? MadeFolder.Of(rejected.Name, rejectedFile) : null;
            using var interrupt = new Interrupt();
            var progress = new Progress(error, "check", "clips");
            ImportResult result;
            try
            {
                result = import.Run(tool, (done, total) => progress.Report(done, total), interrupt.Token);
            }
            catch (OperationCanceledException) when (interrupt.Requested)
            {
                progress.End();
                error.WriteLine("avedis: stopped; nothing was written");
                return interrupt.ExitCode;
            }
            progress.End();
            string file = parsed.GetRequiredValue(manifest), root = parsed.GetRequiredValue(folder);
            if (auditPlace is not null)
                WholeFile.Write(parsed.GetValue(audit)!, stream => JsonSerializer.Serialize(stream, result.Audit, Json.Indented));
            if (rejectedPlace is not null)
                Rejection.Write(parsed.GetValue(rejected)!, result.Rejections);
            foreach (string line in result.Audit.Table())
                output.WriteLine(line);
            if (result.Clips.Count == 0)
                throw new UserException(ExitCode.BadInput, $"none of the {result.Audit.Found} clips in {root} can be used ({Preparer.Reasons(result.Rejections)}); "
                    + "--rejected FILE lists them with details");
            CorpusTables.WriteManifest(file, corpus, result.Clips);
            output.WriteLine($"{file}: {result.Clips.Count:N0} clips; next: avedis prepare {Printable.Word(file)} "
                + $"--root {Printable.Word(root)}{(corpus.Cropped ? "" : " --crop detect")} --out data/{asked}");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Option<string> Choice(string name, string description, string value, params string[] among)
    {
        var option = new Option<string>(name) { Description = description, DefaultValueFactory = _ => value, HelpName = string.Join('|', among) };
        option.AcceptOnlyFromAmong(among);
        return option;
    }
}
