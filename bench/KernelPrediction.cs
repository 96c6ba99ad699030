using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>What a GPU can do at best: products, and bytes that it really moves, which are fewer than the datasheet's.</summary>
public sealed record GpuCeilings(string Name, double BytesPerSecond)
{
    public static IReadOnlyList<GpuCeilings> Known { get; } = [new("H200", 4.3e12), new("H100", 3.0e12)];

    /// <summary>The one whose name a device's description has; null of others.</summary>
    public static GpuCeilings? Of(string description) => Known.FirstOrDefault(gpu => description.Contains(gpu.Name, StringComparison.Ordinal));

    /// <summary>Multiplications and additions a second.</summary>
    public double Flops(string precision) => PeakRates.OfGpu(Name)[precision]!.Value * 1e9;

    /// <summary>The larger of both.</summary>
    /// <param name="share">Of the products that the GPU can make at best.</param>
    public double Microseconds(string precision, double flops, double bytes, double share = 1) =>
        1e6 * Math.Max(flops / (Flops(precision) * share), bytes / BytesPerSecond);
}

/// <summary>
/// One pass over a layer. Times in microseconds are the larger of products and bytes: at the peak of the matrix units, at what mma.sync reaches of it and at what
/// wgmma does; and Planned, wgmma with the tiles, rounds and slices that the engine chooses, where it multiplies.
/// </summary>
/// <param name="Kernel">Empty where no convolution runs.</param>
/// <param name="Useful">Products of the pass, of those that its rounds of whole tiles have room for.</param>
public sealed record PassPrediction(
    string Layer, string Pass, string Kernel, double Gigaflops, double Megabytes, double Peak, double MmaSync, double Wgmma, double Useful, double Planned);

/// <summary>The contents of prediction.json.</summary>
public sealed record StepPrediction(string Gpu, string Preset, int Batch, double PeakTeraflops, double TerabytesPerSecond, PassPrediction[] Passes)
{
    public double ClipsPerSecond(Func<PassPrediction, double> time) => Batch / (Passes.Sum(time) * 1e-6);
}

/// <summary>
/// Times of a training step as arithmetic has them, without a GPU: bytes of activations and weights that a pass must move, products that it must make, over
/// what the GPU's memory and matrix units can do. To be compared with what is measured.
/// </summary>
public static class KernelPrediction
{
    private const double MmaSyncShare = 0.64, WgmmaShare = 0.75;
    private const int WeightBytes = 4, AdamBytes = 28;

    // conv2d_hopper.cu: the depth of a step
    private const int TileDepth = 64;

    // moments.cuh: a multiprocessor takes 2,000 cycles for the moments of a tile of 128 x 256 (estimate), in which wgmma would make 4,096 * 0.75 flops each
    private const double MomentFlops = 2000.0 / (128 * 256) * 4096 * WgmmaShare;

    public static Command Command()
    {
        var preset = new Option<string>("--preset") { Description = "Size of the network and of its clips.", DefaultValueFactory = _ => "paper" };
        preset.AcceptOnlyFromAmong([.. Config.Presets]);
        var batch = new Option<int>("--batch") { Description = "Clips per step.", DefaultValueFactory = _ => 16 };
        var result = new Option<string?>("--out") { Description = "Folder for predicted-h200 and predicted-h100, for example bench/results." };
        var command = new Command("predict", "Predicts the times of a BF16 step's passes on an H200 and an H100, by arithmetic.") { preset, batch, result };
        command.SetAction(parsed =>
        {
            foreach (var gpu in GpuCeilings.Known)
            {
                var step = Of(gpu, parsed.GetRequiredValue(preset), parsed.GetRequiredValue(batch));
                string table = Markdown(step);
                parsed.InvocationConfiguration.Output.WriteLine(table);
                if (parsed.GetValue(result) is not { } results)
                    continue;
                string folder = Path.Combine(results, $"predicted-{gpu.Name.ToLowerInvariant()}");
                Directory.CreateDirectory(folder);
                File.WriteAllText(Path.Combine(folder, "prediction.json"), JsonSerializer.Serialize(step, BenchJson.Indented) + "\n");
                File.WriteAllText(Path.Combine(folder, "prediction.md"), table);
            }
            return ExitCode.Ok;
        });
        return command;
    }

    public static StepPrediction Of(GpuCeilings gpu, string preset, int batch, string precision = "bf16")
    {
        var passes = new Passes(gpu, precision);
        var layers = StepLayers.Convolutions(preset, batch);
        foreach (var layer in layers)
            if (layer.Stem)
                passes.AddStem(layer);
            else
                passes.AddBlock(layer);
        long parameters = layers.Sum(layer => layer.Geometry.Weight.Count + 2 * layer.Geometry.K);
        long heads = StepLayers.Linears(preset, batch).Sum(layer => (long)layer.Inputs * layer.Outputs);
        passes.Add("heads", "all passes", 6.0 * batch * heads, heads * 3 * WeightBytes);
        passes.Add("parameters", "Adam", 0, (parameters + heads) * AdamBytes);
        return new(gpu.Name, preset, batch, gpu.Flops(precision) / 1e12, gpu.BytesPerSecond / 1e12, [.. passes.All]);
    }

    public static string Markdown(StepPrediction step)
    {
        var text = new StringBuilder();
        text.AppendLine(Text($"# Predicted: {step.Gpu}, {step.Preset}, BF16, {step.Batch} clips"));
        text.AppendLine();
        text.AppendLine(Text($"**Arithmetic, not measurement**: {step.PeakTeraflops:0} TFLOP/s of the matrix units and {step.TerabytesPerSecond:0.0} TB/s of memory, for each"));
        text.AppendLine(Text($"pass the larger of both. mma.sync is taken at {MmaSyncShare:0 %} of that peak and wgmma at {WgmmaShare:0 %}. Planned is wgmma with the tiles and slices of"));
        text.AppendLine("the engine's plan: useful is what whole tiles in whole rounds of 132 multiprocessors leave of the products. Made by `bench predict`.");
        text.AppendLine();
        text.AppendLine("| layer | pass | kernel | GFLOP | MB | peak us | mma.sync us | wgmma us | useful | planned us |");
        text.AppendLine("|---|---|---|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var p in step.Passes)
        {
            string useful = p.Kernel.Length > 0 ? Text($"{p.Useful:0 %}") : "";
            text.Append(Text($"| {p.Layer} | {p.Pass} | {p.Kernel} | {p.Gigaflops:N1} | {p.Megabytes:N0} "));
            text.AppendLine(Text($"| {p.Peak:N0} | {p.MmaSync:N0} | {p.Wgmma:N0} | {useful} | {p.Planned:N0} |"));
        }
        Func<PassPrediction, double>[] times = [p => p.Peak, p => p.MmaSync, p => p.Wgmma, p => p.Planned];
        AppendTotal($"| **step** | | | {step.Passes.Sum(p => p.Gigaflops):N0} | {step.Passes.Sum(p => p.Megabytes):N0} ", [.. times.Select(time => step.Passes.Sum(time))]);
        AppendTotal($"| **clips/s** | | | | ", [.. times.Select(step.ClipsPerSecond)]);
        return text.ToString();

        void AppendTotal(FormattableString front, double[] of) => text.Append(Text(front)).AppendLine(Text($"| {of[0]:N0} | {of[1]:N0} | {of[2]:N0} | | {of[3]:N0} |"));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed class Passes(GpuCeilings gpu, string precision)
    {
        private readonly DType act = precision == "bf16" ? DType.BF16 : DType.F32;

        public List<PassPrediction> All { get; } = [];

        public void Add(string layer, string pass, double flops, double bytes) => Add(layer, pass, "", flops, bytes, flops, bytes);

        /// <summary>stem.cu: statistics from the image's Gram matrix, then everything up to the pooled result in one pass; the image takes no gradient.</summary>
        public void AddStem(ConvolutionLayer layer)
        {
            var g = layer.Geometry;
            double positions = (double)g.N * g.P * g.Q, taps = g.R * g.S * g.C, products = 2 * positions * taps * g.K;
            double image = Bytes(g.Input.Count), z = Pooled(layer);
            Add(layer.Name, "Gram matrix", positions * taps * (taps + 1), image);
            Add(layer.Name, "forward to pool", products, image + z);
            Add(layer.Name, "backward", products, image + z + Bytes(layer.Output.Count));
        }

        public void AddBlock(ConvolutionLayer layer)
        {
            var (name, g) = (layer.Name, layer.Geometry);
            double y = Bytes(g.Output.Count), z = Pooled(layer);
            var plan = new Conv2dPlan(g, act, hopper: true);
            AddGather(name, "forward", g, plan.Forward, plan.MomentRows > 0);
            // from the output, or from the moments that the convolution has written
            double parts = plan.MomentRows == 0 ? 0 : Math.Ceiling((double)g.N * g.P * g.Q / plan.MomentRows);
            Add(name, "batch norm: statistics", 0, parts == 0 ? y : 2 * parts * 2 * sizeof(float) * g.K);
            Add(name, "batch norm: apply, ReLU, pool", 0, y + z);
            Add(name, "batch norm: sums of gradients", 0, y + z);
            Add(name, "batch norm: gradient", 0, 2 * y + z);
            AddWeight(name, "gradient of weights", g, plan);
            AddGather(name, "gradient of x", g, plan.BackwardData);
        }

        private double Bytes(long activations) => (double)activations * act.Bytes();

        /// <summary>Bytes of the layer's output and, where it pools, of which element of the window won.</summary>
        private double Pooled(ConvolutionLayer layer) => Bytes(layer.Output.Count) + (layer.Pool is null ? 0 : layer.Output.Count);

        private void AddGather(string layer, string pass, in Conv2dGeometry g, Conv2dGatherPlan plan, bool moments = false)
        {
            double room = 0, waiting = 0;
            foreach (var each in plan.Classes)
            {
                room += Room(plan.Tiles(each), plan.TileRows * plan.TileColumns, each.Depth, plan.Slices);
                waiting += moments ? MomentFlops * Results(plan.Tiles(each), plan.TileRows * plan.TileColumns) : 0;
            }
            double sums = plan.Slices == 1 ? 0 : 2.0 * sizeof(float) * plan.Slices * plan.Results;
            AddConvolution(layer, pass, g, plan.Hopper ? $"conv2d_hopper_gather_bf16_{plan.TileRows}x{plan.TileColumns}" : $"conv2d_gather_{precision}", room, sums, waiting);
        }

        private void AddWeight(string layer, string pass, in Conv2dGeometry g, Conv2dPlan plan)
        {
            double sums = plan.WeightSlices == 1 ? 0 : 2.0 * sizeof(float) * plan.WeightSlices * g.Weight.Count;
            AddConvolution(
                layer, pass, g, plan.WeightHopper ? $"conv2d_hopper_weight_bf16_128x{plan.WeightTile}" : $"conv2d_weight_{precision}",
                Room(plan.WeightTiles, plan.WeightCut.TileRows * plan.WeightTile, plan.Weight.Pixels, plan.WeightSlices), sums);
        }

        /// <summary>Products that fit into the rounds of a pass while all multiprocessors have one block.</summary>
        private static double Room(long tiles, int sums, int depth, int slices)
        {
            int steps = (depth + TileDepth - 1) / TileDepth;
            return 2.0 * ((steps + slices - 1) / slices) * TileDepth * Results(tiles * slices, sums);
        }

        private static double Results(long tiles, int sums) => (double)((tiles + Conv2dPlan.HopperBlocks - 1) / Conv2dPlan.HopperBlocks) * Conv2dPlan.HopperBlocks * sums;

        /// <param name="waiting">Products for which there would be room while the matrix units wait.</param>
        private void AddConvolution(string layer, string pass, in Conv2dGeometry g, string kernel, double room, double sums, double waiting = 0)
        {
            double flops = 2.0 * g.Output.Count * g.R * g.S * g.C;
            // the weights: read, written in the order of the product and read again, or a gradient that is added to
            double bytes = Bytes(g.Input.Count + g.Output.Count) + g.Weight.Count * 2.0 * WeightBytes;
            Add(layer, pass, kernel, flops, bytes, room, bytes + sums, waiting);
        }

        private void Add(string layer, string pass, string kernel, double flops, double bytes, double plannedFlops, double plannedBytes, double waiting = 0)
        {
            double Time(double products, double moved, double share) => gpu.Microseconds(precision, products, moved, share);
            All.Add(new(
                layer, pass, kernel, flops / 1e9, bytes / 1e6, Time(flops, bytes, 1), Time(flops, bytes, MmaSyncShare), Time(flops, bytes, WgmmaShare),
                plannedFlops == 0 ? 1 : flops / plannedFlops, Time(plannedFlops + waiting, plannedBytes, WgmmaShare)));
        }
    }
}
