using System.CommandLine;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench.Kernels;

/// <summary>The commands kernels and tune.</summary>
internal static class KernelCommands
{
    private static readonly Option<string> device = Commands.Choice("--device", "These commands are for a GPU.", "cuda", "cuda");
    private static readonly Option<string> preset = Commands.Choice("--preset", "Size of the network and of its clips; all: demo, then paper.", "paper", "demo", "paper", "all");
    private static readonly Option<string> precision = Commands.Choice("--precision", "What the convolutions multiply.", "bf16", "fp32", "tf32", "bf16", "all");
    private static readonly Option<string[]> pass = Parts("--pass", "Operations whose names contain one of these, as forward,adam. [default: all]");
    private static readonly Option<string[]> layer = Parts("--layer", "Layers whose names contain one of these, as face.conv3,speaker. [default: all]");
    private static readonly Option<int?> batch = BatchOption();

    public static Command Kernels()
    {
        var rounds = Commands.Positive("--rounds", "Fewest runs of each operation and library in 50 ms or longer; 1 is a trial.", 7);
        var libraries = new Option<string?>("--libraries")
        {
            Description = $"Folders with cuDNN and cuBLAS, or Python's site-packages with PyTorch's, separated by colons. [default: {PeerLibraries.Variable}, then the loader's own search]",
        };
        var workspace = Commands.Positive("--workspace", "MiB that cuDNN may use besides its operands.", 1024);
        var result = new Option<string?>("--out") { Description = "Folder for kernels.json and kernels.md, for example bench/results/my-machine." };
        var command = new Command("kernels", "Checks and times every operation of a training step by itself, convolutions beside cuDNN and linear layers beside cuBLAS.")
        {
            device, preset, precision, batch, pass, layer, rounds, libraries, workspace, result,
        };
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            var options = new KernelOptions(
                parsed.GetRequiredValue(rounds), Commands.Words(parsed.GetValue(pass) ?? []), Commands.Words(parsed.GetValue(layer) ?? []),
                (long)parsed.GetRequiredValue(workspace) << 20);
            var wrong = new List<KernelRow>();
            foreach (string format in Commands.All(parsed.GetRequiredValue(precision), "fp32", "tf32", "bf16"))
            {
                using var backend = (CudaBackend)AvedisEngine.Open("cuda", threads: 0, format);
                using var processor = AvedisEngine.Open("cpu", threads: 0, "fp32");
                var leftOut = new StringWriter();
                using var peers = PeerLibraries.Open(parsed.GetValue(libraries), backend, leftOut);
                output.Write(leftOut);
                using var benchmark = new KernelBenchmark(backend, processor, peers, options, output);
                foreach (string size in Commands.All(parsed.GetRequiredValue(preset), "demo", "paper"))
                {
                    var measured = new KernelFile(
                        backend.Description, Machine.Describe(), Machine.Revision, DateTime.UtcNow.ToString("yyyy-MM-dd"), options.Rounds,
                        leftOut.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries), []);
                    // what is measured is kept, even if what comes next fails
                    var rows = benchmark.Run(size, Batch(parsed.GetValue(batch), size), format, sofar =>
                    {
                        if (parsed.GetValue(result) is { } folder)
                            KernelTable.Write(folder, measured with { Rows = [.. sofar] });
                    });
                    output.WriteLine();
                    output.WriteLine(KernelTable.Markdown(measured with { Rows = [.. rows] }));
                    wrong.AddRange(rows.Where(row => row.Failure is not null));
                }
            }
            return wrong.Count == 0 ? ExitCode.Ok : throw new UserException(
                ExitCode.InternalError,
                $"{wrong.Count} operations gave a wrong result, the first {wrong[0].Layer} {wrong[0].Operation} in {wrong[0].Precision}: {wrong[0].Failure}");
        });
        return command;
    }

    public static Command Tune()
    {
        var rounds = Commands.Positive("--rounds", "Fewest runs of each candidate in 50 ms or longer; 1 is a trial.", 7);
        var result = new Option<string>("--out") { Description = "Folder for the table, conv2d-tuning-ARCHITECTURE.json.", Required = true };
        var command = new Command("tune", "Finds the fastest tiles and slices of each convolution pass by trial. The table takes effect when it is committed in engine/Backends/Cuda.")
        {
            device, preset, precision, batch, pass, layer, rounds, result,
        };
        command.SetAction(parsed =>
        {
            var output = parsed.InvocationConfiguration.Output;
            var options = new KernelOptions(
                parsed.GetRequiredValue(rounds), Commands.Words(parsed.GetValue(pass) ?? []), Commands.Words(parsed.GetValue(layer) ?? []));
            foreach (string format in Commands.All(parsed.GetRequiredValue(precision), "fp32", "tf32", "bf16"))
            {
                using var backend = (CudaBackend)AvedisEngine.Open("cuda", threads: 0, format);
                using var tuner = new ConvolutionTuner(backend, options.Rounds, output);
                foreach (string size in Commands.All(parsed.GetRequiredValue(preset), "demo", "paper"))
                    foreach (var each in StepLayers.Convolutions(size, Batch(parsed.GetValue(batch), size)).Where(each => !each.Stem))
                    {
                        Conv2dPass[] passes = [.. Enum.GetValues<Conv2dPass>().Where(kind => options.Wants(each.Name, ConvolutionRig.NameOf(kind)))];
                        if (passes.Length == 0)
                            continue;
                        var rows = tuner.Tune(each.Name, each.Geometry, format, passes).ToList();
                        output.WriteLine(tuner.Write(
                            parsed.GetRequiredValue(result), [.. passes.Select(kind => (kind, format, each.Geometry))], rows));
                    }
            }
            return ExitCode.Ok;
        });
        return command;
    }

    private static int Batch(int? given, string preset) => given ?? (preset == "paper" ? 16 : 32);

    private static Option<int?> BatchOption()
    {
        var option = new Option<int?>("--batch") { Description = "Clips per step. [default: 32 of demo, 16 of paper]" };
        option.Validators.Add(Commands.AtLeast(1));
        return option;
    }

    private static Option<string[]> Parts(string name, string description) => new(name) { Description = description, AllowMultipleArgumentsPerToken = true };
}
