using System.CommandLine;
using System.Text.Json;
using Avedis.Bindings.Cpu;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using BenchmarkDotNet.Running;

namespace Avedis.Bench;

/// <summary>The command line of the benchmarks: step, data, host, serve, which step starts, and summary, which check-gpu ends with.</summary>
public static class Commands
{
    private static readonly char[] Blank = [' ', '\t', '\r', '\n'];

    private static readonly Option<string> Device = new("--device")
    {
        Description = "cpu or cuda.",
        DefaultValueFactory = _ => "cpu",
    };

    private static readonly Option<int> Threads = new("--threads")
    {
        Description = "Threads of every engine.",
        DefaultValueFactory = _ => Environment.ProcessorCount,
    };

    private static readonly Option<string> Preset = Choice("--preset", "Size of the network and of its clips.", "demo", "demo", "paper");

    private static readonly Option<int> Batch = new("--batch") { Description = "Clips per step.", DefaultValueFactory = _ => 32 };

    private static readonly Option<int> Rounds = new("--rounds") { Description = "Rounds to keep; everyone has one turn in each.", DefaultValueFactory = _ => 7 };

    private static readonly Option<double> ForeignLimit = new("--foreign-limit")
    {
        Description = "Discard rounds in which others used more than this share of the processors.",
        DefaultValueFactory = _ => 0.1,
    };

    public static int Run(string[] args, TextWriter output, TextWriter error)
    {
        var root = new RootCommand("Benchmarks of Avedis: whole training steps against PyTorch, data against ffmpeg, host work.");
        root.Subcommands.Add(Step());
        root.Subcommands.Add(Data());
        root.Subcommands.Add(Host());
        root.Subcommands.Add(Serve());
        root.Subcommands.Add(Summary());
        root.Subcommands.Add(KernelPrediction.Command());
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
        catch (Exception failure) when (failure is DeviceUnavailableException or CpuLibraryException)
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
        var precision = Choice("--precision", "Number format of activations; tf32 on a GPU only.", "all", "fp32", "tf32", "bf16", "all");
        var peers = Choice("--peers", "What to compare with.", "pytorch", "pytorch", "none");
        var layout = new Option<string[]>("--layout")
        {
            Description = "Memory order of PyTorch's activations; may be repeated. all: both, so that it has its better one. compile: channels-last under torch.compile.",
            DefaultValueFactory = _ => ["all"],
        };
        layout.AcceptOnlyFromAmong("nchw", "channels-last", "compile", "all");
        var python = new Option<string?>("--python") { Description = "Python that has PyTorch. [default: the first of python3, /usr/bin/python3 that has]" };
        var turn = new Option<double>("--turn-seconds") { Description = "About how long a turn is; one step at least.", DefaultValueFactory = _ => 2 };
        var patience = new Option<double>("--patience") { Description = "Seconds an engine may take to warm up.", DefaultValueFactory = _ => 300 };
        var result = new Option<string?>("--out") { Description = "Folder for step.json and step.md, for example bench/results/my-machine." };
        var command = new Command("step", "Times the whole training step of Avedis and of PyTorch, taking turns, from the same weights and clips.")
        {
            Device, Preset, precision, Batch, Threads, peers, layout, python, Rounds, turn, ForeignLimit, patience, result,
        };
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            string device = parsed.GetRequiredValue(Device);
            string[] layouts = [.. parsed.GetRequiredValue(layout).SelectMany(l => All(l, "channels-last", "nchw")).Distinct()];
            var options = new StepOptions(
                device, parsed.GetRequiredValue(Preset), parsed.GetRequiredValue(Batch), parsed.GetRequiredValue(Threads),
                parsed.GetRequiredValue(peers) == "none" ? [] : layouts,
                parsed.GetValue(python) is { } named ? [named] : ["python3", "/usr/bin/python3"],
                parsed.GetRequiredValue(Rounds), parsed.GetRequiredValue(turn), parsed.GetRequiredValue(ForeignLimit),
                TimeSpan.FromSeconds(parsed.GetRequiredValue(patience)));
            var benchmark = new StepBenchmark(options, output);
            string[] formats = device == "cpu" ? ["fp32", "bf16"] : ["fp32", "tf32", "bf16"];
            foreach (string format in All(parsed.GetRequiredValue(precision), formats))
            {
                var results = benchmark.Run(format);
                output.WriteLine();
                output.WriteLine(ResultTable.Markdown(results));
                // what is measured is kept, even if the next precision fails
                if (parsed.GetValue(result) is { } folder)
                    ResultTable.Write(folder, results);
            }
            return ExitCode.Ok;
        });
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
            var summary = BenchmarkRunner.Run<HostBenchmarks>(args: parsed.GetValue(rest));
            return summary.HasCriticalValidationErrors ? ExitCode.InternalError : ExitCode.Ok;
        });
        return command;
    }

    private static Command Serve()
    {
        var precision = Choice("--precision", "Number format of activations; tf32 on a GPU only.", "fp32", "fp32", "tf32", "bf16");
        var command = new Command("serve", "Avedis as one engine of step: warms up, reports, then times as many steps as each line of input says.")
        {
            Device, Preset, precision, Batch, Threads,
        };
        command.SetAction(parsed => AvedisEngine.Serve(
            parsed.GetRequiredValue(Device), parsed.GetRequiredValue(Preset), parsed.GetRequiredValue(precision), parsed.GetRequiredValue(Batch),
            parsed.GetRequiredValue(Threads), Console.In, parsed.InvocationConfiguration.Output));
        return command;
    }

    private static Command Summary()
    {
        var folder = new Argument<string>("folder") { Description = "Folder in which check-gpu left what its parts wrote." };
        var command = new Command("summary", "Sums up a run of check-gpu: writes check-gpu.json and check-gpu.md, prints the table.") { folder };
        command.SetAction(parsed =>
        {
            var check = GpuCheck.Read(parsed.GetRequiredValue(folder));
            check.Write(parsed.GetRequiredValue(folder));
            parsed.InvocationConfiguration.Output.Write(check.Markdown());
            return check.Passed ? ExitCode.Ok : ExitCode.InternalError;
        });
        return command;
    }

    private static string[] All(string choice, params string[] all) => choice == "all" ? all : [choice];

    private static Option<string> Choice(string name, string description, string standard, params string[] choices)
    {
        var option = new Option<string>(name) { Description = description, DefaultValueFactory = _ => standard };
        option.AcceptOnlyFromAmong(choices);
        return option;
    }
}
