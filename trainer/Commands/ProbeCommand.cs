using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Engine;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Probes;
using Avedis.Trainer.Ranks;

namespace Avedis.Trainer.Commands;

/// <summary>avedis probe: how much each embedding tells of the other factors, by fresh classifiers.</summary>
public static class ProbeCommand
{
    public static Command Create()
    {
        var common = new CommonOptions();
        var data = new Argument<string>("data") { Description = "Folder that avedis prepare wrote." };
        var seeds = new Option<int>("--seeds") { Description = "Probes of each kind.", DefaultValueFactory = _ => ProbeSettings.Full.Seeds };
        var quick = new Option<bool>("--quick") { Description = "One probe of each kind, without online code and controls." };
        var split = new Option<string>("--split") { Description = "test or unheard: the clips that probes are scored on.",
            DefaultValueFactory = _ => "test" };
        split.AcceptOnlyFromAmong("test", "unheard");
        var json = new Option<bool>("--json") { Description = "Prints the results as JSON instead of the table." };
        var command = new Command(
            "probe", "Trains fresh classifiers on frozen embeddings (on Train, chosen on Validation, scored on Test): what of one factor can be read from the embedding of another.");
        command.Arguments.Add(data);
        command.Options.Add(common.Run);
        command.Options.Add(common.Checkpoint);
        command.Options.Add(seeds);
        command.Options.Add(quick);
        command.Options.Add(split);
        command.Options.Add(json);
        common.AddDevice(command);
        command.Options.Add(common.Seed);
        command.SetAction(parsed => RankProcesses.Run(() => "run the same command again", parsed.InvocationConfiguration.Error, processes =>
        {
            var output = processes.Leads ? parsed.InvocationConfiguration.Output : TextWriter.Null;
            var (folder, config) = CommonOptions.OpenRun(parsed.GetRequiredValue(common.Run));
            processes.Expect(TimeSpan.FromSeconds(config.Training.Ranks.SilenceSeconds), patience: null); // one probe may take hours, and ranks wait for the last
            int count = parsed.GetValue(seeds);
            if (count is < 1 or > 100)
                throw new UserException(ExitCode.Usage, $"--seeds is {count}, expected 1 to 100");
            string path = folder.Resolve(parsed.GetRequiredValue(common.Checkpoint));
            using var dataset = PreparedDataset.Open(parsed.GetRequiredValue(data));
            string device = parsed.GetValue(common.Device) ?? "auto";
            int threads = processes.Threads(config.Training.Threads), number = processes.Mpi?.LocalRank ?? 0, batch = config.Training.BatchSize;
            var test = Enum.Parse<Split>(parsed.GetRequiredValue(split), ignoreCase: true);
            bool printJson = parsed.GetValue(json);
            using var model = TrainedModel.Open(path, device, parsed.GetValue(common.Precision), threads, batch, printJson ? null : output.WriteLine, number);
            model.CheckFits(dataset);
            string probes = Path.Combine(folder.Path, "probes.json");
            using var place = processes.Leads ? MadeFolder.Of(common.Run.Name, probes) : null;
            var settings = (parsed.GetValue(quick) ? ProbeSettings.Cheap : ProbeSettings.Full with { Seeds = count }) with { Seed = parsed.GetValue(common.Seed) ?? 1 };
            var ranks = processes.Size > 1 ? processes.Mpi : null;
            var card = JsonNode.Parse(model.Config.ToJson())!.AsObject();
            (card["checkpoint"], card["probes"]) = (Path.GetFileName(path), JsonSerializer.SerializeToNode(settings, Json.Line));
            new Handshake(Machine.Revision, dataset.Hash, model.State.Precision, card).Check(processes.Collective);
            if (ranks is not null && !printJson)
                output.WriteLine($"ranks: {processes.Description}");

            var progress = printJson ? null : new Progress(output, ranks is null ? "embeddings" : "embeddings, the part of rank 0",
                "clips");
            Split[] splits = [Split.Train, Split.Validation, test];
            var leaks = new Leaks(model.Runtime, dataset, batch, splits: splits, progress: (done, all) => progress?.Report(done, all),
                ranks: ranks);
            Leaks? untrained = null;
            if (settings.Controls)
            {
                // the weights are of no more use
                model.Runtime.Network.Initialise(settings.Seed);
                untrained = new Leaks(model.Runtime, dataset, batch, splits: splits, ranks: ranks);
            }
            var found = leaks.Pairs.Select(pair => leaks.Probe(() => BackendFactory.Create(device, threads, number: number),
                pair.Embedding, pair.Factor, settings, untrained, test, ranks)).ToList();
            if (!processes.Leads)
                return ExitCode.Ok;
            string text = JsonSerializer.Serialize(found, Json.Indented);
            WholeFile.Write(probes, text);
            if (printJson)
                output.WriteLine(text);
            else
                Print(output, found, folder.Path);
            return ExitCode.Ok;
        }));
        return command;
    }

    private static void Print(TextWriter output, List<Leak> leaks, string folder)
    {
        var table = Screen.Table("read", "score", "fresh", "balanced", "linear", "head", "untrained", "chance");
        foreach (var leak in leaks)
        {
            static string Number(double? value) => value is { } v ? $"{v:F3}" : "-";
            double? Of(LeakProbeResult? result, ProbeKind kind) => result?.Probes?.First(p => p.Kind == kind && !p.Balanced).Scores
                .Average(s => leak.Score == "accuracy" ? s.Accuracy : s.MacroF1);
            table.Add(
                $"{Printable.Name(leak.Factor)} in {leak.Embedding}", leak.Score == "accuracy" ? "accuracy" : "macro-F",
                    Number(leak.Fresh), Number(leak.Balanced),
                Number(Of(leak.Probes, ProbeKind.Linear)), Number(leak.InTraining), Number(Of(leak.Untrained, ProbeKind.Hidden)),
                    Number(leak.Chance));
        }
        Screen.Write(output, table);
        foreach (var leak in leaks)
        {
            var health = leak.Probes.Health;
            string says = $"{health.DeadShare:P0} of {health.Units} units dead, "
                + $"mean norm {health.MeanNorm:G3}, effective rank {health.EffectiveRank:F1}";
            if (leak.Probes.Codes is { } codes)
                says += $"; {Printable.Name(leak.Factor)} in {codes.Min(code => code.BitsPerClip):F2} bits a clip, "
                    + $"{codes[0].PriorBits / codes[0].Clips:F2} without the embedding";
            if (leak.Probes.OtherFactor is { } other)
                says += $"; the {leak.Embedding} label alone gives {other.First(p => !p.Balanced).Mean:F3} macro-F";
            Screen.WriteFinding(output, $"  {leak.Embedding}", says);
            foreach (string reason in leak.Probes.Missing.Where(m => m.Key == "probes").Select(m => m.Value))
                Screen.WriteFinding(output, "", $"{Printable.Name(leak.Factor)} in {leak.Embedding}: not probed, {reason}");
        }
        foreach (string warning in leaks.Select(leak => leak.Warning).OfType<string>())
            Screen.WriteFinding(output, "  WARNING:", Printable.Line(warning));
        Screen.WriteFinding(output, "  run folder", $"{folder}: probes.json");
    }
}
