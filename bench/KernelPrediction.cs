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

    private const double CyclesPerSecond = 1.755e9;

    /// <summary>Multiplications and additions a second.</summary>
    public double Flops(string precision) => PeakRates.OfGpu(Name)[precision]!.Value * 1e9;

    /// <summary>The larger of both.</summary>
    /// <param name="share">Of the products that the GPU can make at best.</param>
    public double Microseconds(string precision, double flops, double bytes, double share = 1) =>
        1e6 * Math.Max(flops / (Flops(precision) * share), bytes / BytesPerSecond);

    /// <summary>Of cycles that the multiprocessors of an SXM board, 132 at 1.755 GHz, share among them.</summary>
    public static double Microseconds(double cycles) => 1e6 * cycles / (Conv2dPlan.HopperBlocks * CyclesPerSecond);
}

/// <summary>
/// One pass over a layer. Times in microseconds are the larger of products and bytes: at the peak of the units that multiply, at what
/// mma.sync reaches of the matrix units' and at what wgmma does; and Planned, what the kernels as they are written should take: with the
/// tiles, rounds and slices that the engine chooses, with what they fetch from the level-2 cache and from shared memory, and with the
/// instructions that they issue.
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
/// Times of a training step as arithmetic has them, without a GPU: bytes of activations and weights that a pass must move, products that it
/// must make, over what the GPU's memory and units can do; and instructions and accesses to shared memory, counted in the kernels' machine
/// code. To be compared with what is measured.
/// </summary>
public static class KernelPrediction
{
    private const double MmaSyncShare = 0.64, WgmmaShare = 0.75;
    private const int WeightBytes = 4, AdamBytes = 28;

    private const int IssuedPerCycle = 4, WarpSize = 32;

    // conv2d_hopper.cu: the depth of a step, and multiplications a cycle of the matrix units of a multiprocessor
    private const int TileDepth = 64, ProductsPerCycle = 2048;

    // what a multiprocessor fetches from the level-2 cache while all do, some 7 TB/s together (estimate)
    private const double CacheBytesPerCycle = 30;

    // the threads of a weight pass that copy: instructions of a step, and for each 64 columns of it, at one every so many cycles (estimate)
    private const int CopyInstructions = 103, CopyInstructionsOfColumns = 169;
    private const double CyclesPerCopyInstruction = 1.54;

    // a tile of 128 x 256 that is stored, with and without its moments: 8 warps, which multiply nothing meanwhile
    private const int StoreCycles = 1200, StoreAndMomentsCycles = 4300, StoredSums = 128 * 256;

    // stem.cu: a warp that adds the products of two groups of seven taps at 32 positions; a position in 32 channels (estimate);
    // a gradient and its place
    private const int GramInstructions = 124, GramLoads = 14, GroupTaps = 7, StemCyclesOfPosition = 8, GradientLoads = 2;
    private const int StemWarps = 8, StemChannels = 32;

    // pool_window.cuh: instructions for 32 vectors of 8 elements of what is pooled
    private const int PoolApply = 220, PoolSums = 180, PoolGradient = 400, PoolVector = 8;

    // of a step, with the gaps in front of them and sums that one thread makes alone (estimate)
    private const int Launches = 200;
    private const double MicrosecondsOfLaunch = 2.5;

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
        passes.Add("step", "launches", 0, 0, Launches * MicrosecondsOfLaunch);
        return new(gpu.Name, preset, batch, gpu.Flops(precision) / 1e12, gpu.BytesPerSecond / 1e12, [.. passes.All]);
    }

    public static string Markdown(StepPrediction step)
    {
        var text = new StringBuilder();
        text.AppendLine(Text($"# Predicted: {step.Gpu}, {step.Preset}, BF16, {step.Batch} clips"));
        text.AppendLine();
        string rates = Text($"{step.PeakTeraflops:0} TFLOP/s of the matrix units and {step.TerabytesPerSecond:0.0} TB/s of memory");
        text.AppendLine($"**Arithmetic, not measurement**: {rates}, for each pass the larger of both.");
        text.AppendLine(Text($"mma.sync is taken at {MmaSyncShare:0 %} of that peak and wgmma at {WgmmaShare:0 %}; Gram matrices and"));
        text.AppendLine("backward passes of the first blocks multiply in FP32. Planned is the kernels as they are written: tiles and");
        text.AppendLine("slices of the engine's plan (useful is what whole tiles in whole rounds of 132 multiprocessors leave of the");
        text.AppendLine(Text($"products), at 1.755 GHz, with {CacheBytesPerCycle:0} bytes a cycle and multiprocessor from level 2,"));
        text.AppendLine("and with instructions and accesses to shared memory as counted in the machine code. Made by `bench predict`.");
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

        /// <param name="planned">Microseconds that the kernels take at least.</param>
        public void Add(string layer, string pass, double flops, double bytes, double planned = 0) =>
            Add(layer, pass, "", flops, bytes, 1, planned, precision);

        /// <summary>
        /// stem.cu: statistics from the image's Gram matrix, then everything up to the pooled result in one pass; the image takes no
        /// gradient. The Gram matrix and the gradient, of which only the winners of the pool carry one, are products in FP32.
        /// </summary>
        public void AddStem(ConvolutionLayer layer)
        {
            var g = layer.Geometry;
            double positions = (double)g.N * g.P * g.Q, outputs = (double)layer.Output.Count / g.K;
            double chunks = Math.Ceiling((double)g.K / StemChannels);
            double image = Bytes(g.Input.Count), z = Pooled(layer);
            int taps = g.R * g.S, groups = (taps + GroupTaps - 1) / GroupTaps;
            double pairs = groups * (groups + 1) / 2.0, warps = positions / WarpSize * pairs;
            int conflicts = g.StrideW % 2 == 0 ? 2 : 1; // of lanes that read every second pixel
            Add(layer.Name, "Gram matrix", "", positions * taps * (taps + 1), image, 1,
                GpuCeilings.Microseconds(warps * Math.Max((double)GramInstructions / IssuedPerCycle, GramLoads * conflicts)), "fp32");
            Add(layer.Name, "forward to pool", 2 * positions * taps * g.K, image + z,
                GpuCeilings.Microseconds(positions * chunks * StemCyclesOfPosition));
            int tapsOfWarp = (taps + StemWarps - 1) / StemWarps;
            Add(layer.Name, "backward", "", 2 * outputs * taps * g.K, image + z + Bytes(layer.Output.Count), 1,
                GpuCeilings.Microseconds(outputs * chunks * StemWarps * (tapsOfWarp + GradientLoads)), "fp32");
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
            Add(name, "batch norm: apply, ReLU, pool", 0, y + z, Pooling(PoolApply));
            Add(name, "batch norm: sums of gradients", 0, y + z, Pooling(PoolSums));
            Add(name, "batch norm: gradient", 0, 2 * y + z, Pooling(PoolGradient));
            AddWeight(name, "gradient of weights", g, plan);
            AddGather(name, "gradient of x", g, plan.BackwardData);

            double Pooling(int instructions) => layer.Pool is null
                ? 0
                : GpuCeilings.Microseconds((double)g.Output.Count / (PoolVector * WarpSize) * instructions / IssuedPerCycle);
        }

        private double Bytes(long activations) => (double)activations * act.Bytes();

        /// <summary>Bytes of the layer's output and, where it pools, of which element of the window won.</summary>
        private double Pooled(ConvolutionLayer layer) => Bytes(layer.Output.Count) + (layer.Pool is null ? 0 : layer.Output.Count);

        private void AddGather(string layer, string pass, in Conv2dGeometry g, Conv2dGatherPlan plan, bool moments = false)
        {
            double room = 0, cycles = 0;
            foreach (var each in plan.Classes)
            {
                room += Room(plan.Tiles(each), plan.TileRows * plan.TileColumns, each.Depth, plan.Slices);
                int stored = moments ? StoreAndMomentsCycles : StoreCycles;
                cycles += Cycles(plan.Tiles(each), plan.TileRows, plan.TileColumns, each.Depth, plan.Slices, stored);
            }
            double sums = plan.Slices == 1 ? 0 : 2.0 * sizeof(float) * plan.Slices * plan.Results;
            string kernel = plan.Hopper ? $"conv2d_hopper_gather_bf16_{plan.TileRows}x{plan.TileColumns}" : $"conv2d_gather_{precision}";
            AddConvolution(layer, pass, g, kernel, room, sums, plan.Hopper ? cycles : 0);
        }

        private void AddWeight(string layer, string pass, in Conv2dGeometry g, Conv2dPlan plan)
        {
            double sums = plan.WeightSlices == 1 ? 0 : 2.0 * sizeof(float) * plan.WeightSlices * g.Weight.Count;
            double copies = (CopyInstructions + CopyInstructionsOfColumns * plan.WeightTile / 64.0) * CyclesPerCopyInstruction;
            var (rows, columns) = (plan.WeightCut.TileRows, plan.WeightTile);
            double cycles = Cycles(plan.WeightTiles, rows, columns, plan.Weight.Pixels, plan.WeightSlices, StoreCycles, copies);
            AddConvolution(
                layer, pass, g, plan.WeightHopper ? $"conv2d_hopper_weight_bf16_128x{columns}" : $"conv2d_weight_{precision}",
                Room(plan.WeightTiles, rows * columns, plan.Weight.Pixels, plan.WeightSlices), sums, plan.WeightHopper ? cycles : 0);
        }

        /// <summary>Products that fit into the rounds of a pass while all multiprocessors have one block.</summary>
        private static double Room(long tiles, int sums, int depth, int slices) =>
            2.0 * Steps(depth, slices) * TileDepth * Rounds(tiles * slices) * Conv2dPlan.HopperBlocks * sums;

        /// <summary>
        /// Cycles of all multiprocessors in these rounds: a step takes as long as its products, what it fetches or its copies.
        /// </summary>
        private static double Cycles(long tiles, int rows, int columns, int depth, int slices, int stored, double copies = 0)
        {
            double products = (double)rows * columns * TileDepth / ProductsPerCycle;
            double fetched = (rows + columns) * Conv2dPlan.HopperStepBytes / CacheBytesPerCycle;
            double step = Math.Max(products, Math.Max(fetched, copies)), end = (double)stored * rows * columns / StoredSums;
            return Rounds(tiles * slices) * Conv2dPlan.HopperBlocks * (Steps(depth, slices) * step + end);
        }

        private static int Steps(int depth, int slices) => ((depth + TileDepth - 1) / TileDepth + slices - 1) / slices;

        private static long Rounds(long blocks) => (blocks + Conv2dPlan.HopperBlocks - 1) / Conv2dPlan.HopperBlocks;

        /// <param name="cycles">Of all multiprocessors.</param>
        private void AddConvolution(string layer, string pass, in Conv2dGeometry g, string kernel, double room, double sums, double cycles)
        {
            double flops = 2.0 * g.Output.Count * g.R * g.S * g.C;
            // the weights: read, written in the order of the product and read again, or a gradient that is added to
            double bytes = Bytes(g.Input.Count + g.Output.Count) + g.Weight.Count * 2.0 * WeightBytes;
            Add(layer, pass, kernel, flops, bytes, flops / room,
                Math.Max(gpu.Microseconds(precision, room, bytes + sums, WgmmaShare), GpuCeilings.Microseconds(cycles)), precision);
        }

        /// <param name="planned">Microseconds that the kernels take at least.</param>
        /// <param name="units">The precision of the units that multiply; shares of a peak are those of the matrix units.</param>
        private void Add(string layer, string pass, string kernel, double flops, double bytes, double useful, double planned, string units)
        {
            double Time(double share) => gpu.Microseconds(units, flops, bytes, units == "fp32" ? 1 : share);
            double wgmma = Time(WgmmaShare);
            All.Add(new(
                layer, pass, kernel, flops / 1e9, bytes / 1e6, Time(1), Time(MmaSyncShare), wgmma, useful, Math.Max(wgmma, planned)));
        }
    }
}
