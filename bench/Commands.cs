using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench.Kernels;
using Avedis.Bench.Ranks;
using Avedis.Bindings;
using Avedis.Bindings.Cpu;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using BenchmarkDotNet.Running;

namespace Avedis.Bench;

/// <summary>
/// The command line of the benchmarks: step, operations, cost, ranks, kernels, data, host; tune, which chooses cuts of convolutions by
/// trial; serve and peak, which step and cost start; table, which renews their results; and summary, which check-gpu ends with.
/// Exit codes are those of the program avedis: <see cref="ExitCode"/>.
/// </summary>
public static class Commands
{
    private static readonly char[] Blank = [' ', '\t', '\r', '\n'];

    private static readonly Option<string> Device = new("--device")
    {
        Description = "cpu or cuda.",
        DefaultValueFactory = _ => "cpu",
    };

    private static readonly Option<int> Threads = Positive("--threads", "Threads of every engine.", Environment.ProcessorCount);

    private static readonly Option<string> Preset = Choice("--preset", "Size of the network and of its clips.", "demo", "demo", "paper");

    private static readonly Option<int> Rounds = Positive("--rounds", "Rounds to keep; everyone has one turn in each.", 7);

    private static readonly Option<double> ForeignLimit = new("--foreign-limit")
    {
        Description = "Discard rounds in which others used more than this share of the processors.",
        DefaultValueFactory = _ => 0.1,
    };

    public static int Run(string[] args, TextWriter output, TextWriter error)
    {
        var root = new RootCommand(
            "Benchmarks of Avedis: whole training steps against PyTorch and TorchSharp, single operations against TorchSharp on the " +
            "processor and cuDNN and cuBLAS on a GPU, what a step costs, data against ffmpeg, host work. Exit codes are those of avedis, " +
            "listed in README.md.");
        root.Subcommands.Add(Step());
        root.Subcommands.Add(Operations());
        root.Subcommands.Add(Cost());
        root.Subcommands.Add(RanksBenchmark.Command());
        root.Subcommands.Add(RanksBenchmark.Serve());
        root.Subcommands.Add(Data());
        root.Subcommands.Add(Host());
        root.Subcommands.Add(Serve());
        root.Subcommands.Add(Peak());
        root.Subcommands.Add(Table());
        root.Subcommands.Add(Summary());
        root.Subcommands.Add(KernelPrediction.Command());
        root.Subcommands.Add(KernelCommands.Kernels());
        root.Subcommands.Add(KernelCommands.Tune());
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            error.WriteLine($"bench: {string.Join(' ', parsed.Errors[0].Message.Split(Blank, StringSplitOptions.RemoveEmptyEntries))} (try: {parsed.CommandResult.Command.Name} --help)");
            return ExitCode.Usage;
        }
        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, Output = output, Error = error });
        }
        catch (UserException failure)
        {
            error.WriteLine($"bench: {failure.Message}");
            return failure.Code;
        }
        catch (Exception failure) when (failure is DeviceUnavailableException or CpuLibraryException or CpuCallException)
        {
            error.WriteLine($"bench: {failure.Message}");
            return ExitCode.DeviceUnavailable;
        }
        catch (OutOfDeviceMemoryException failure)
        {
            error.WriteLine($"bench: {failure.Message}");
            return ExitCode.OutOfMemory;
        }
        catch (DeviceFailedException failure)
        {
            error.WriteLine($"bench: {failure.Message}");
            return ExitCode.DeviceFailed;
        }
    }

    private static Command Step()
    {
        var preset = Choice("--preset", "Size of the network and of its clips; all: demo, then paper.", "demo", "demo", "paper", "all");
        var precision = Choice("--precision", "Number format of activations; tf32 on a GPU only.", "all", "fp32", "tf32", "bf16", "all");
        var batch = new Option<int?>("--batch") { Description = "Clips per step. [default: 32 of demo, 2 of paper]" };
        batch.Validators.Add(AtLeast(1));
        var peers = Choices("--peers", "What to compare with, as pytorch,torchsharp; what is not installed is left out.", "pytorch", "torchsharp", "none");
        peers.DefaultValueFactory = _ => ["pytorch", "torchsharp"];
        var modes = Choices(
            "--mode", "Modes of the peers, each a peer of its own. [default: all that the installed versions have]",
            [.. PyTorchPeers.Modes.Union(TorchSharpPeers.Modes)]);
        var isa = Choice("--isa", "Widest vector instructions that any engine may use.", InstructionSet.Native, InstructionSet.Choices);
        var python = new Option<string?>("--python") { Description = "Python that has PyTorch. [default: the first of python3, /usr/bin/python3 that has]" };
        var turn = new Option<double>("--turn-seconds") { Description = "About how long a turn is; one step at least.", DefaultValueFactory = _ => 2 };
        var patience = new Option<double>("--patience") { Description = "Seconds an engine may take to warm up.", DefaultValueFactory = _ => 300 };
        var trial = new Option<int>("--trial-steps")
        {
            Description =
                "Steps of a peer on the processor as it comes and with each setting of glibc's allocator and of waiting threads; " +
                "the fastest takes part. 0: as it comes.",
            DefaultValueFactory = _ => 3,
        };
        trial.Validators.Add(AtLeast(0));
        var result = new Option<string?>("--out") { Description = "Folder for step.json and step.md, for example bench/results/my-machine." };
        var command = new Command("step", "Times the whole training step of Avedis and of its peers, taking turns, from the same weights and clips.")
        {
            Device, preset, precision, batch, Threads, peers, modes, isa, python, Rounds, turn, ForeignLimit, trial, patience, result,
        };
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            string device = parsed.GetRequiredValue(Device);
            var found = FindPeers(
                Words(parsed.GetRequiredValue(peers)), parsed.GetValue(python) is { } named ? [named] : ["python3", "/usr/bin/python3"], Words(parsed.GetValue(modes) ?? []),
                device, output);
            using var benchmark = new StepBenchmark(
                new StepOptions(
                    device, parsed.GetRequiredValue(Threads), found, parsed.GetRequiredValue(isa), parsed.GetRequiredValue(Rounds), parsed.GetRequiredValue(turn),
                    parsed.GetRequiredValue(ForeignLimit), TimeSpan.FromSeconds(parsed.GetRequiredValue(patience)), parsed.GetRequiredValue(trial)),
                output);
            string[] formats = All(parsed.GetRequiredValue(precision), device == "cpu" ? ["fp32", "bf16"] : ["fp32", "tf32", "bf16"]);
            ResultFile? all = null;
            foreach (string size in All(parsed.GetRequiredValue(preset), "demo", "paper"))
                foreach (string format in formats)
                {
                    // what is measured is kept, even if what comes next fails
                    var results = benchmark.Run(size, parsed.GetValue(batch) ?? (size == "paper" ? 2 : 32), format, sofar =>
                    {
                        if (parsed.GetValue(result) is { } folder)
                            ResultTable.Write(folder, sofar);
                    });
                    all = all is null ? results : ResultTable.Merge(all, results, "this run");
                }
            output.WriteLine();
            output.WriteLine(ResultTable.Markdown(all!));
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>Those that are there; of each that is not, a line.</summary>
    private static List<Peer> FindPeers(string[] peers, string[] pythons, string[] modes, string device, TextWriter output)
    {
        var found = new List<Peer>();
        foreach (string peer in peers.Where(peer => peer != "none"))
        {
            string[] its = [.. modes.Intersect(peer == "pytorch" ? PyTorchPeers.Modes : TorchSharpPeers.Modes)];
            if (modes.Length > 0 && its.Length == 0)
                continue;
            try
            {
                found.AddRange(peer == "pytorch" ? PyTorchPeers.Find(pythons, its, device) : TorchSharpPeers.Build(its, device));
            }
            catch (EngineAbsentException absent)
            {
                output.WriteLine($"left out, {absent.Message}");
            }
        }
        return found;
    }

    private static Command Operations()
    {
        var preset = Choice("--preset", "Whose network has the operations; all: demo, then paper.", "all", "demo", "paper", "all");
        var batch = new Option<int?>("--batch") { Description = "Clips. [default: 32 of demo, 1 of paper]" };
        batch.Validators.Add(AtLeast(1));
        var filter = new Option<string?>("--filter")
        {
            Description = "Regular expression: only operations whose preset, name or layer has it, as 'convolution.*face'.",
        };
        filter.Validators.Add(given =>
        {
            if (given.Tokens.Count > 0 && !IsExpression(given.Tokens[0].Value))
                given.AddError($"--filter: '{given.Tokens[0].Value}' is no regular expression.");
        });
        var result = new Option<string?>("--out")
        {
            Description =
                $"File for the table, as Markdown; in a file that has the lines {OperationTable.Begin} and {OperationTable.End}, " +
                "between these.",
        };
        var command = new Command(
            "operations",
            "Times operations of a training step beside TorchSharp's on the processor, by BenchmarkDotNet, once their results agree.")
        {
            preset, batch, Threads, filter, result,
        };
        command.SetAction(parsed =>
        {
            string[] presets = All(parsed.GetRequiredValue(preset), "demo", "paper");
            string[] batches = [.. presets.Select(size => Text(parsed.GetValue(batch) ?? (size == "paper" ? 1 : 32)))];
            List<string> arguments =
            [
                "operations", "--preset", string.Join(',', presets), "--batch", string.Join(',', batches), "--threads",
                Text(parsed.GetRequiredValue(Threads)),
                .. parsed.GetValue(filter) is { } chosen ? ["--filter", chosen] : Array.Empty<string>(),
                .. parsed.GetValue(result) is { } file ? ["--out", Path.GetFullPath(file)] : Array.Empty<string>(),
            ];
            try
            {
                var start = new ProcessStartInfo("dotnet", [TorchSharpPeers.Build([]), .. arguments]);
                foreach (var (variable, value) in PeerSettings.KeepBlocks)
                    start.Environment[variable] = value;
                using var process = Process.Start(start)!;
                process.WaitForExit();
                return process.ExitCode;
            }
            catch (EngineAbsentException absent)
            {
                throw new UserException(ExitCode.DeviceUnavailable, absent.Message, absent);
            }
        });
        return command;

        static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
    }

    private static bool IsExpression(string text)
    {
        try
        {
            _ = new Regex(text);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static Command Cost()
    {
        var precision = Choice("--precision", "Number format of activations; tf32 on a GPU only.", "fp32", "fp32", "tf32", "bf16");
        var axes = Choices("--axis", "Sizes that grow. [default: all]", [.. CostBenchmark.Axes(null).Select(axis => axis.Name)]);
        var doublings = new Option<int?>("--doublings") { Description = "Doublings of each size at most. [default: up to the size that its table says]" };
        doublings.Validators.Add(AtLeast(0));
        var result = new Option<string?>("--out") { Description = "Folder for cost.json and cost.md, for example bench/results/my-machine." };
        var command = new Command("cost", "How time and memory of a training step of Avedis grow with batch, frames, clip length, speakers and embedding.")
        {
            Device, Preset, precision, Threads, axes, doublings, Rounds, ForeignLimit, result,
        };
        command.SetAction(parsed =>
        {
            string[] chosen = Words(parsed.GetValue(axes) ?? []);
            var benchmark = new CostBenchmark(
                parsed.GetRequiredValue(Device), parsed.GetRequiredValue(Preset), parsed.GetRequiredValue(precision), parsed.GetRequiredValue(Threads),
                parsed.GetRequiredValue(Rounds), parsed.GetRequiredValue(ForeignLimit), parsed.InvocationConfiguration.Error);
            var measured = benchmark.Run([.. CostBenchmark.Axes(parsed.GetValue(doublings)).Where(axis => chosen.Length == 0 || chosen.Contains(axis.Name))]);
            parsed.InvocationConfiguration.Output.Write(CostBenchmark.Markdown(measured));
            if (parsed.GetValue(result) is { } folder)
                CostBenchmark.Write(folder, measured);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Peak()
    {
        var command = new Command("peak", "Measures how many multiplications and additions the processor makes at best, in 10^9 a second by precision, as JSON.") { Threads };
        command.SetAction(parsed => parsed.InvocationConfiguration.Output.WriteLine(
            JsonSerializer.Serialize(PeakRates.Measure(parsed.GetRequiredValue(Threads)), BenchJson.Options)));
        return command;
    }

    private static Command Data()
    {
        var result = new Option<string?>("--out") { Description = "Folder for data.json and data.md, for example bench/results/my-machine." };
        var command = new Command("data", "Times the loader beside the page cache and memory, and prepare beside ffmpeg, on clips of the paper preset that it makes.") { Rounds, ForeignLimit, result };
        command.SetAction(parsed =>
        {
            var measured = new DataBenchmark(parsed.GetRequiredValue(Rounds), parsed.GetRequiredValue(ForeignLimit), parsed.InvocationConfiguration.Error).Run();
            string table = DataBenchmark.Markdown(measured);
            parsed.InvocationConfiguration.Output.Write(table);
            if (parsed.GetValue(result) is { } folder)
            {
                Directory.CreateDirectory(folder);
                File.WriteAllText(Path.Combine(folder, "data.json"), JsonSerializer.Serialize(measured, BenchJson.Indented) + "\n");
                File.WriteAllText(Path.Combine(folder, "data.md"), table);
            }
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Host()
    {
        var rest = new Argument<string[]>("arguments") { Description = "Passed to BenchmarkDotNet, after --; for example: host -- --job short." };
        var command = new Command("host", "Times work of the host with BenchmarkDotNet: log-mel features, reading clips.") { rest };
        command.SetAction(parsed =>
        {
            try
            {
                return RunBenchmarkDotNet(parsed.GetValue(rest));
            }
            catch (FileNotFoundException)
            {
                throw new UserException(ExitCode.Usage, "BenchmarkDotNet is not part of a bundle: run this from the repository");
            }
        });
        return command;
    }

    // by itself: what calls it is compiled, and can say so, where a bundle goes without the package
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int RunBenchmarkDotNet(string[]? arguments) =>
        BenchmarkRunner.Run<HostBenchmarks>(args: arguments).HasCriticalValidationErrors ? ExitCode.InternalError : ExitCode.Ok;

    private static Command Serve()
    {
        var precision = Choice("--precision", "Number format of activations; tf32 on a GPU only.", "fp32", "fp32", "tf32", "bf16");
        var batch = Positive("--batch", "Clips per step.", 32);
        var (frames, steps) = (Size("--frames", "Face frames of a clip."), Size("--mel-steps", "Mel steps of a clip."));
        var (speakers, embedding) = (Size("--speakers", "Speakers to tell apart."), Size("--embedding", "Numbers in each embedding."));
        var command = new Command("serve", "Avedis as one engine of step: warms up, reports, then times as many steps as each line of input says.")
        {
            Device, Preset, precision, batch, Threads, frames, steps, speakers, embedding,
        };
        command.SetAction(parsed => AvedisEngine.Serve(
            parsed.GetRequiredValue(Device),
            new Workload(
                parsed.GetRequiredValue(Preset), parsed.GetRequiredValue(batch), parsed.GetValue(frames), parsed.GetValue(steps), parsed.GetValue(speakers),
                parsed.GetValue(embedding)),
            parsed.GetRequiredValue(precision), parsed.GetRequiredValue(Threads), Console.In, parsed.InvocationConfiguration.Output));
        return command;
    }

    private static Command Table()
    {
        var folder = new Argument<string>("folder") { Description = "Folder with a step.json, for example bench/results/my-machine." };
        var command = new Command("table", "Prints the table of a step.json, and writes both files anew: with the names and columns of today.") { folder };
        command.SetAction(parsed => parsed.InvocationConfiguration.Output.Write(ResultTable.Rewrite(parsed.GetRequiredValue(folder))));
        return command;
    }

    private static Command Summary()
    {
        var folder = new Argument<string>("folder") { Description = "Folder in which check-gpu left what its parts wrote." };
        var command = new Command(
            "summary", "Sums up a run of check-gpu, which may still go on: writes check-gpu.json and .md, prints the table of parts last.")
        {
            folder,
        };
        command.SetAction(parsed =>
        {
            var check = GpuCheck.Read(parsed.GetRequiredValue(folder));
            check.Write(parsed.GetRequiredValue(folder));
            parsed.InvocationConfiguration.Output.Write(check.Brief());
            return check.Passed ? ExitCode.Ok : ExitCode.InternalError;
        });
        return command;
    }

    internal static string[] All(string choice, params string[] all) => choice == "all" ? all : [choice];

    /// <summary>Words separated by commas or by repeating the option.</summary>
    private static Option<string[]> Choices(string name, string description, params string[] choices)
    {
        var option = new Option<string[]>(name) { Description = $"{description} Any of: {string.Join(", ", choices)}.", AllowMultipleArgumentsPerToken = true };
        option.Validators.Add(result =>
        {
            foreach (string word in Words(result.Tokens.Select(token => token.Value)).Except(choices))
                result.AddError($"{name}: '{word}' is none of {string.Join(", ", choices)}.");
        });
        return option;
    }

    internal static string[] Words(IEnumerable<string> given) =>
        [.. given.SelectMany(words => words.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)).Distinct()];

    internal static Option<int> Positive(string name, string description, int standard)
    {
        var option = new Option<int>(name) { Description = description, DefaultValueFactory = _ => standard };
        option.Validators.Add(AtLeast(1));
        return option;
    }

    private static Option<int?> Size(string name, string description)
    {
        var option = new Option<int?>(name) { Description = $"{description} [default: the preset's]" };
        option.Validators.Add(AtLeast(1));
        return option;
    }

    internal static Action<OptionResult> AtLeast(int least) => result =>
    {
        if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[^1].Value, CultureInfo.InvariantCulture, out int value) && value < least)
            result.AddError($"{result.Option.Name} is {value}; it has to be {least} or more.");
    };

    internal static Option<string> Choice(string name, string description, string standard, params string[] choices)
    {
        var option = new Option<string>(name) { Description = description, DefaultValueFactory = _ => standard };
        option.AcceptOnlyFromAmong(choices);
        return option;
    }
}
