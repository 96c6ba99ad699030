using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Training;

namespace Avedis.Bench;

/// <summary>One operation at one place of the network.</summary>
/// <param name="Microseconds">Median over the steps.</param>
/// <param name="Gflops">10^9 multiplications and additions a second; null where traffic is what counts.</param>
/// <param name="GigabytesPerSecond">Of its tensors, each counted once: what a single perfect pass would read and write.</param>
public sealed record OpRow(
    string Op, string Tensor, string Shape, double Microseconds, double? Gflops, double GigabytesPerSecond, double ShareOfStep);

/// <summary>The contents of ops.json.</summary>
public sealed record OpFile(
    string Device, string Machine, string Revision, string Backend, string Preset, string Precision, int Batch, int Threads, int Steps, OpRow[] Rows);

/// <summary>Times every operation of the training step where it stands in the step.</summary>
public static class OpBenchmark
{
    // the first steps touch memory for the first time and build kernels
    private const int WarmUpSteps = 2;

    /// <summary>Operations of one training step in their order; the same operation on the same tensor is one row.</summary>
    public static OpFile Run(string device, string preset, string precision, int clips, int threads, int steps)
    {
        var backend = new TimingBackend(BackendFactory.Create(device, threads));
        using var engine = new AvedisEngine(backend, preset, Enum.Parse<Precision>(precision, ignoreCase: true), clips);
        for (int i = 0; i < WarmUpSteps; i++)
            engine.Step();
        var calls = new List<OpCall[]>();
        for (int i = 0; i < steps; i++)
        {
            backend.TakeCalls();
            engine.Step();
            calls.Add([.. backend.TakeCalls()]);
        }
        return new OpFile(
            device, Machine.Describe(), Machine.Revision, backend.Description, preset, precision, clips, threads, steps, Rows(calls));
    }

    /// <summary>Median per call over the steps; every step makes the same calls in the same order.</summary>
    public static OpRow[] Rows(IReadOnlyList<OpCall[]> steps)
    {
        double[] seconds = [.. Enumerable.Range(0, steps[0].Length).Select(i => StepBenchmark.Median(steps.Select(step => step[i].Seconds)))];
        double total = seconds.Sum();
        return
        [
            .. steps[0].Zip(seconds)
                .GroupBy(call => (call.First.Op, call.First.Tensor))
                .Select(group =>
                {
                    double time = group.Sum(call => call.Second), flops = group.Sum(call => call.First.Flops);
                    return new OpRow(
                        group.Key.Op, group.Key.Tensor.Name, group.Key.Tensor.Shape.ToString(), time * 1e6,
                        flops > 0 ? flops / time / 1e9 : null, group.Sum(call => call.First.Bytes) / time / 1e9, time / total);
                }),
        ];
    }

    /// <summary>Writes ops-preset-precision.json and .md.</summary>
    /// <exception cref="UserException">The folder cannot be written.</exception>
    public static void Write(string folder, OpFile results)
    {
        try
        {
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, $"ops-{results.Preset}-{results.Precision}");
            File.WriteAllText(path + ".json", JsonSerializer.Serialize(results, BenchJson.Indented) + "\n");
            File.WriteAllText(path + ".md", Markdown(results));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results cannot be written to {folder}: {failure.Message}", failure);
        }
    }

    /// <summary>Sums per operation, then every call that takes a hundredth of the step or more, slowest first.</summary>
    public static string Markdown(OpFile results)
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"# Operations of a training step: {results.Preset}, {results.Precision}, {results.Batch} clips").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{results.Device}: {results.Machine}. {results.Backend}. Avedis {results.Revision}. Median of {results.Steps} steps.");
        text.AppendLine().AppendLine("| operation | ms | share |").AppendLine("|---|--:|--:|");
        foreach (var op in results.Rows.GroupBy(row => row.Op).OrderByDescending(op => op.Sum(row => row.Microseconds)))
            text.AppendLine(CultureInfo.InvariantCulture, $"| {op.Key} | {op.Sum(row => row.Microseconds) / 1e3:F2} | {op.Sum(row => row.ShareOfStep):P1} |");
        text.AppendLine().AppendLine("| operation | writes | shape | ms | share | GFLOP/s | GB/s |").AppendLine("|---|---|---|--:|--:|--:|--:|");
        foreach (var row in results.Rows.Where(row => row.ShareOfStep >= 0.01).OrderByDescending(row => row.Microseconds))
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {row.Op} | {row.Tensor} | {row.Shape} | {row.Microseconds / 1e3:F2} | {row.ShareOfStep:P1} | {row.Gflops:F0} | {row.GigabytesPerSecond:F1} |");
        return text.ToString();
    }
}
