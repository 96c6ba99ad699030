using System.Globalization;
using System.Text;
using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Bench.Ranks;

/// <summary>ranks.md: what was measured, what the model makes of it, and what the model says of clusters that nobody here has.</summary>
public static class RanksTable
{
    // of a step of the paper network: the gradients of data and weights, of three passes over the convolutions
    private static readonly ScalingModel model = new(BackwardShare: 0.6);

    // clips that an H200 is given; the time predicted for them is that of bench/results/predicted-h200
    private const int ClipsPerGpu = 16;

    private static readonly Cluster cluster = new("8 H200 a machine (NVLink), a 400 Gbit/s port for each GPU", 8, new(3e-6, 350e9), new(8e-6, 45e9));

    public static string Markdown(RanksResult result)
    {
        var text = new StringBuilder();
        var one = result.Points[0];
        text.AppendLine(CultureInfo.InvariantCulture, $"""
            # Ranks

            One training step of the preset {result.Preset}, {result.Precision}, {one.Clips} clips in all, on 1 to {result.Points.Length} processes of one machine with one thread each; sums by MPI in buckets of {result.BucketBytes / 1048576.0:F1} MiB.
            {result.Machine}. Avedis {result.Revision}.

            | ranks | ms per step | speed-up | MB summed a step | buckets | sums, ms a step | of that hidden | waited for, ms |
            |--:|--:|--:|--:|--:|--:|--:|--:|
            """);
        foreach (var p in result.Points)
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {p.Ranks} | {p.SecondsPerStep * 1e3:F1} | {one.SecondsPerStep / p.SecondsPerStep:F2} | {p.BytesPerStep / 1e6:F2} | {p.Buckets} | {p.SumSeconds * 1e3:F2} | {(p.SumSeconds > 0 ? $"{Math.Max(0, 1 - (p.WaitSeconds / p.SumSeconds)):P0}" : "")} | {p.WaitSeconds * 1e3:F2} |");
        text.AppendLine().AppendLine("A sum takes from when this rank comes to it, so it includes waiting for ranks that come later: where there are more ranks than cores, that is most of it.").AppendLine();

        text.AppendLine("## The model beside what was measured").AppendLine();
        text.AppendLine("A sum takes 2 (n-1) messages and 2 (n-1)/n of its bytes at the rate of the line (a ring); the backward pass, 60 % of a step's work, hides sums, but not the last bucket's. Latency and rate are those of the smallest and the largest sum by itself; the work of a rank is that of one rank alone on as many clips, times ranks over cores where there are more ranks. How ranks that share a core get in each other's way is not in the model, so it holds for as many ranks as there are cores.").AppendLine();
        text.AppendLine("| ranks | latency, us | GB/s | sums, ms: model | measured | step, ms: model | measured |").AppendLine("|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var p in result.Points.Skip(1))
        {
            var line = Line.Of(p.Sums[0], p.Sums[^1], p.Ranks);
            double each = (double)p.BytesPerStep / p.Buckets, sums = p.Buckets * line.Seconds(each, p.Ranks);
            double work = result.Alone[p.Ranks - 2].SecondsPerStep * Math.Max(1, (double)p.Ranks / Environment.ProcessorCount);
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {p.Ranks} | {line.Latency * 1e6:F1} | {line.BytesPerSecond / 1e9:F2} | {sums * 1e3:F2} | {p.SumSeconds * 1e3:F2} | {model.Seconds(work, sums, line.Seconds(each, p.Ranks)) * 1e3:F1} | {p.SecondsPerStep * 1e3:F1} |");
        }

        var predicted = KernelPrediction.Of(GpuCeilings.Of("H200")!, "paper", ClipsPerGpu);
        double gradient = PaperBytes(), own = ClipsPerGpu / predicted.ClipsPerSecond(pass => pass.Planned);
        int buckets = (int)Math.Ceiling(gradient / GradientReduction.DefaultBucketBytes);
        text.AppendLine().AppendLine("## Predicted: GPUs").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture,
            $"**Arithmetic, not measurement.** The preset paper, {ClipsPerGpu} clips for each GPU, {gradient / 1e6:F1} MB of gradients in {buckets} bucket{(buckets == 1 ? "" : "s")}. Assumed: {cluster.Name}: {cluster.Inside.BytesPerSecond / 1e9:F0} GB/s and {cluster.Inside.Latency * 1e6:F0} us inside a machine, {cluster.Between.BytesPerSecond / 1e9:F0} GB/s and {cluster.Between.Latency * 1e6:F0} us between machines (rings; NCCL's trees have fewer messages); {own * 1e3:F1} ms of own work a step, which is the prediction for one H200 (bench/results/predicted-h200); no rank later than the others, data as fast as the GPUs take it.").AppendLine();
        text.AppendLine("| GPUs | sum, ms | hidden | step, ms | clips/s | efficiency |").AppendLine("|--:|--:|--:|--:|--:|--:|");
        for (int gpus = 8; gpus <= 1024; gpus *= 2)
        {
            double sum = buckets * cluster.Seconds(gradient / buckets, gpus), last = sum / buckets, step = model.Seconds(own, sum, last);
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {gpus} | {sum * 1e3:F2} | {Math.Max(0, 1 - ((step - own) / sum)):P0} | {step * 1e3:F2} | {gpus * ClipsPerGpu / step:N0} | {own / step:P0} |");
        }
        return text.ToString();
    }

    /// <summary>Bytes of the paper network's gradients.</summary>
    private static double PaperBytes()
    {
        using var device = new Device(new CpuBackend(1));
        var work = new Workload("paper", 1);
        return sizeof(float) * new TwoStreamNetwork(device, work.Network, work.Shape(DType.F32)).ParameterCount;
    }
}
