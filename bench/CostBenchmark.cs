using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>One size that grows while the others stay as they are.</summary>
/// <param name="Start">Its smallest value, which is its value on the other axes.</param>
/// <param name="Last">Doubling goes on while the value is not above this.</param>
/// <param name="Set">The workload with that value.</param>
public sealed record CostAxis(string Name, string Unit, int Start, int Last, Func<Workload, int, Workload> Set)
{
    /// <summary>Start, twice that, and so on.</summary>
    public IEnumerable<int> Values
    {
        get
        {
            for (long value = Start; value <= Last; value *= 2)
                yield return (int)value;
        }
    }
}

/// <summary>One point of an axis.</summary>
/// <param name="SecondsPerStep">Median.</param>
/// <param name="PeakBytes">Largest resident set of the process.</param>
/// <param name="PlannedBytes">Of that what the network's tensors take: parameters, activations, workspace.</param>
public sealed record CostPoint(int Value, double SecondsPerStep, long PeakBytes, long PlannedBytes, int Steps);

/// <summary>How the cost of a step grows along an axis: cost ~ value^exponent over the last two doublings; null where there are not so many points.</summary>
public sealed record CostGrowth(string Axis, string Unit, CostPoint[] Points, double? TimeExponent, double? PeakExponent, double? PlannedExponent);

/// <summary>The contents of cost.json.</summary>
public sealed record CostResult(string Device, string Machine, string Revision, string Preset, string Precision, int Threads, double ForeignLimit, int Discarded, CostGrowth[] Axes);

/// <summary>
/// How time and memory of a training step of Avedis grow with batch, frames, clip length, speakers and embedding: each is doubled from a small base, the
/// others staying there. Every point is a process of its own, so that memory is counted per point.
/// </summary>
public sealed class CostBenchmark(string device, string preset, string precision, int threads, int rounds, double foreignLimit, TextWriter log)
{
    // the exponent is taken over this many doublings, the last ones: what does not grow has the least part there
    private const int Doublings = 2;

    private const int AttemptsPerRound = 10;

    // the system counts processor time in hundredths of a second: a turn has to last many
    private const double TurnSeconds = 0.5;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    private int discarded;

    /// <summary>The axes; <paramref name="doublings"/>, if given, ends each earlier.</summary>
    public static IReadOnlyList<CostAxis> Axes(int? doublings)
    {
        CostAxis[] whole =
        [
            new("batch", "clips", 2, 128, (work, value) => work with { Clips = value }),
            new("frames", "face frames per clip", 2, 128, (work, value) => work with { Frames = value }),
            new("clip length", "mel steps", 75, 9600, (work, value) => work with { MelSteps = value }),
            new("speakers", "classes", 100, 102_400, (work, value) => work with { Speakers = value }),
            new("embedding", "numbers in each", 32, 8192, (work, value) => work with { Embedding = value }),
        ];
        return doublings is not { } limit ? whole : [.. whole.Select(axis => axis with { Last = (int)Math.Min(axis.Last, (long)axis.Start << limit) })];
    }

    /// <exception cref="UserException">Avedis fails, or the machine is too busy.</exception>
    /// <exception cref="Engine.DeviceUnavailableException"/>
    public CostResult Run(IReadOnlyList<CostAxis> axes)
    {
        string name;
        using (var backend = AvedisEngine.Open(device, threads, precision))
            name = backend.Description;
        var smallest = axes.Aggregate(new Workload(preset, 1), (work, axis) => axis.Set(work, axis.Start));
        CostGrowth[] growths = [.. axes.Select(axis => Growth(axis, [.. axis.Values.Select(value => Measure(axis, value, smallest))]))];
        return new(device == "cpu" ? device : name, Machine.Describe(), Machine.Revision, preset, precision, threads, foreignLimit, discarded, growths);
    }

    /// <summary>The growth that points show.</summary>
    public static CostGrowth Growth(CostAxis axis, CostPoint[] points)
    {
        double? Exponent(Func<CostPoint, double> cost) => points.Length > Doublings
            ? Math.Log2(cost(points[^1]) / cost(points[^(Doublings + 1)])) / Doublings
            : null;

        return new(axis.Name, axis.Unit, points, Exponent(p => p.SecondsPerStep), Exponent(p => p.PeakBytes), Exponent(p => p.PlannedBytes));
    }

    private CostPoint Measure(CostAxis axis, int value, Workload smallest)
    {
        var size = axis.Set(smallest, value);
        var (program, arguments) = StepBenchmark.Self(
        [
            "serve", "--device", device, "--preset", preset, "--precision", precision, "--threads", Number(threads), "--batch", Number(size.Clips),
            .. Sizes(size).Where(option => option.Value is not null).SelectMany(option => new[] { option.Name, Number(option.Value!.Value) }),
        ]);
        try
        {
            using var engine = EngineProcess.Start($"avedis, {axis.Name} {value}", program, arguments, new Dictionary<string, string>(), Patience);
            var seconds = new List<double>();
            long peak = 0;
            int kept = 0, lost = 0, steps = Math.Max(1, (int)Math.Ceiling(TurnSeconds / engine.Run(1).Seconds[0]));
            while (kept < rounds)
            {
                var (timing, foreign) = ProcessorLoad.Watch(engine, steps);
                peak = timing.PeakBytes;
                if (foreign <= foreignLimit)
                {
                    seconds.AddRange(timing.Seconds);
                    kept++;
                }
                else
                {
                    lost++;
                }
                if (lost >= AttemptsPerRound * rounds)
                    throw ProcessorLoad.TooBusy(kept, lost, foreignLimit);
            }
            discarded += lost;
            var point = new CostPoint(value, TrainingBenchmark.Median(seconds), peak, engine.Report.PlannedBytes!.Value, seconds.Count);
            log.WriteLine(Text($"{axis.Name} {value} {axis.Unit}: {point.SecondsPerStep:G4} s, {peak / 1048576.0:F0} MiB"));
            return point;
        }
        catch (EngineAbsentException absent)
        {
            throw new UserException(ExitCode.InternalError, absent.Message, absent);
        }
    }

    private static (string Name, int? Value)[] Sizes(Workload work) =>
        [("--frames", work.Frames), ("--mel-steps", work.MelSteps), ("--speakers", work.Speakers), ("--embedding", work.Embedding)];

    /// <summary>Writes cost.json and cost.md.</summary>
    /// <exception cref="UserException">The folder cannot be written.</exception>
    public static void Write(string folder, CostResult result)
    {
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(Path.Combine(folder, "cost.json"), JsonSerializer.Serialize(result, BenchJson.Indented) + "\n");
            File.WriteAllText(Path.Combine(folder, "cost.md"), Markdown(result));
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results cannot be written to {folder}: {failure.Message}", failure);
        }
    }

    /// <summary>The table for people: growth first, then every point.</summary>
    public static string Markdown(CostResult result)
    {
        var text = new StringBuilder();
        text.AppendLine("# What a training step costs").AppendLine();
        text.AppendLine(Text(
            $"Network of the preset {result.Preset}, {result.Precision}, {result.Threads} threads. Each size is doubled from its smallest value, the others staying at theirs: {string.Join(", ", result.Axes.Select(axis => Text($"{axis.Axis} {axis.Points[0].Value}")))}."));
        text.AppendLine().AppendLine($"{result.Device}: {result.Machine}. Avedis {result.Revision}.").AppendLine();
        text.AppendLine(Text($"Exponent: cost grows as size^exponent over the last {Doublings} doublings; 1 is linear.")).AppendLine();
        text.AppendLine("| size | from | to | exponent of time | of peak memory | of planned memory |").AppendLine("|---|--:|--:|--:|--:|--:|");
        foreach (var axis in result.Axes)
            text.AppendLine(Text(
                $"| {axis.Axis}, {axis.Unit} | {axis.Points[0].Value} | {axis.Points[^1].Value} | {axis.TimeExponent:F2} | {axis.PeakExponent:F2} | {axis.PlannedExponent:F2} |"));
        foreach (var axis in result.Axes)
        {
            text.AppendLine().AppendLine($"| {axis.Axis}, {axis.Unit} | ms per step | peak memory, MiB | planned, MiB |").AppendLine("|--:|--:|--:|--:|");
            foreach (var point in axis.Points)
                text.AppendLine(Text(
                    $"| {point.Value} | {point.SecondsPerStep * 1e3:G4} | {point.PeakBytes / 1048576.0:F0} | {point.PlannedBytes / 1048576.0:F1} |"));
        }
        text.AppendLine().AppendLine(Text(
            $"Turns in which other programs used more than {result.ForeignLimit:P0} of the processors do not count: {result.Discarded}."));
        return text.ToString();
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
