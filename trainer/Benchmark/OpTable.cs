using System.Globalization;
using System.Text;
using Avedis.Engine;

namespace Avedis.Trainer.Benchmark;

/// <summary>One operation at one place of the network.</summary>
/// <param name="Microseconds">Median over the steps.</param>
/// <param name="ShareOfStep">Of the sum of all operations; 0 for one that is no part of a step.</param>
/// <param name="Gflops">10^9 multiplications and additions a second; null where traffic is what counts.</param>
/// <param name="GigabytesPerSecond">
/// Of all tensors that it reads and of all that it writes: what a single perfect pass would read and write. This and Gflops are null where the clock is too coarse.
/// </param>
/// <param name="Launches">What it launched on the device, in order; null where that is not told.</param>
public sealed record OpRow(
    string Op, string Tensor, string Shape, double Microseconds, double ShareOfStep, double? Gflops = null, double? GigabytesPerSecond = null, string? Launches = null);

/// <summary>The operations of a training step as rows, and as a table for people.</summary>
public static class OpTable
{
    /// <summary>
    /// Median per call over the steps; every step makes the same calls in the same order. The same operation on the same tensor is one row.
    /// </summary>
    public static OpRow[] Rows(IReadOnlyList<IReadOnlyList<OpCall>> steps)
    {
        double[] seconds = [.. Enumerable.Range(0, steps[0].Count).Select(i => TrainingBenchmark.Median(steps.Select(step => step[i].Seconds)))];
        double total = seconds.Sum();
        return
        [
            .. steps[0].Zip(seconds)
                .GroupBy(call => (call.First.Op, call.First.Tensor))
                .Select(group =>
                {
                    double time = group.Sum(call => call.Second), flops = group.Sum(call => call.First.Flops);
                    string launches = string.Join(", ", group.SelectMany(call => call.First.Launches));
                    return new OpRow(
                        group.Key.Op, group.Key.Tensor.Name, group.Key.Tensor.Shape.ToString(), time * 1e6,
                        time / total, flops > 0 && time > 0 ? flops / time / 1e9 : null, time > 0 ? group.Sum(call => call.First.Bytes) / time / 1e9 : null,
                        launches.Length > 0 ? launches : null);
                }),
        ];
    }

    /// <summary>Sums per operation, then every row that takes a hundredth of the step or more, slowest first.</summary>
    public static string Markdown(IReadOnlyList<OpRow> rows)
    {
        var text = new StringBuilder();
        text.AppendLine("| operation | ms | share |").AppendLine("|---|--:|--:|");
        foreach (var op in rows.GroupBy(row => row.Op).OrderByDescending(op => op.Sum(row => row.Microseconds)))
            text.AppendLine(CultureInfo.InvariantCulture, $"| {op.Key} | {op.Sum(row => row.Microseconds) / 1e3:F3} | {op.Sum(row => row.ShareOfStep):P1} |");
        bool launches = rows.Any(row => row.Launches is not null);
        text.AppendLine().Append("| operation | writes | shape | ms | share | GFLOP/s | GB/s |").AppendLine(launches ? " launches |" : "");
        text.Append("|---|---|---|--:|--:|--:|--:|").AppendLine(launches ? "---|" : "");
        foreach (var row in rows.Where(row => row.ShareOfStep >= 0.01).OrderByDescending(row => row.Microseconds))
        {
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Op} | {row.Tensor} | {row.Shape} | {row.Microseconds / 1e3:F3} | {row.ShareOfStep:P1} | {row.Gflops:F0} | {row.GigabytesPerSecond:F1} |");
            text.AppendLine(launches ? $" {row.Launches} |" : "");
        }
        return text.ToString();
    }
}
