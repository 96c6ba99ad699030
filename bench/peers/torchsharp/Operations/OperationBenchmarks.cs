using System.Globalization;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Perfolizer.Horology;
using TorchSharp;

namespace Avedis.Bench.Peers.TorchSharp.Operations;

/// <summary>
/// Operations of a training step, ours and TorchSharp's, in one run of BenchmarkDotNet and one process, whose inputs are the same. Nothing
/// is timed before all results have been compared. TorchSharp has its images in the memory order in which it is faster.
/// </summary>
public class OperationBenchmarks
{
    /// <summary>Of the largest element of a result. Sums of some hundred thousand products in FP32, added up in another order, differ by a
    /// tenth of it.</summary>
    private const double Tolerance = 1e-4;

    /// <summary>Root mean square of the difference, relative to that of the result, where rounding may decide which element of a window
    /// wins: few windows differ, but each then sends its whole gradient elsewhere.</summary>
    private const double DecidedOtherwise = 5e-3;

    private static readonly Dictionary<string, OperationCase> cases = [];
    private static readonly Dictionary<string, Facts> facts = [];
    private static int threads;
    private static CpuBackend backend = null!;

    private Action run = null!, giveBack = null!;

    /// <summary>What is known of a case besides its times.</summary>
    private sealed record Facts(Layout Layout, string Way, long? OurBytes, long? TheirBytes);

    public static IEnumerable<string> Operations => cases.Keys;

    /// <summary>Name of the case.</summary>
    [ParamsSource(nameof(Operations))]
    public string Operation { get; set; } = "";

    private OperationCase Case => cases[Operation];

    [Benchmark(Baseline = true)]
    public void TorchSharp() => run();

    [Benchmark]
    public void Avedis() => run();

    [GlobalSetup(Target = nameof(TorchSharp))]
    public void SetUpTheirs()
    {
        // libtorch counts threads for each thread that calls it
        torch.set_num_threads(threads);
        var side = new TheirSide(facts[Operation].Layout, Case.Theirs);
        (run, giveBack) = (side.Run, side.Dispose);
    }

    [GlobalSetup(Target = nameof(Avedis))]
    public void SetUpOurs()
    {
        var side = new OurSide(backend, Case.Ours);
        side.Ready();
        (run, giveBack) = (side.Run, side.Dispose);
    }

    [GlobalCleanup]
    public void CleanUp() => giveBack();

    /// <summary>Runs what the options say, prints BenchmarkDotNet's summary, and writes the table where --out says.</summary>
    /// <param name="options">--preset and --batch with commas between several, --threads, --filter (a regular expression) and --out, the
    /// last two optional.</param>
    /// <returns>Exit code.</returns>
    public static int Run(IReadOnlyDictionary<string, string> options)
    {
        threads = int.Parse(options["--threads"], CultureInfo.InvariantCulture);
        using var opened = backend = new CpuBackend(threads);
        var filter = new Regex(options.GetValueOrDefault("--filter") ?? "", RegexOptions.IgnoreCase);
        foreach (var (preset, batch) in options["--preset"].Split(',').Zip(options["--batch"].Split(',')))
            foreach (var one in OperationCase.Of(preset, int.Parse(batch, CultureInfo.InvariantCulture))
                .Where(one => filter.IsMatch(one.Name)))
                cases.Add(one.Name, one);
        if (cases.Count == 0)
        {
            Console.Error.WriteLine($"bench: no operation is called {filter}");
            return ExitCode.Usage;
        }
        torch.set_num_threads(threads);
        int wrong = 0;
        foreach (var one in cases.Values.ToArray())
            if (!Prepare(one))
            {
                wrong++;
                cases.Remove(one.Name);
            }
        if (cases.Count == 0)
            return ExitCode.InternalError;
        var summary = BenchmarkRunner.Run<OperationBenchmarks>(Configuration());
        MarkdownExporter.Console.ExportToLog(summary, ConsoleLogger.Default);
        var failed = summary.Reports.Where(report => !report.Success).ToList();
        foreach (var report in failed)
            Console.Error.WriteLine($"bench: failed: {report.BenchmarkCase.DisplayInfo}");
        var rows =
            from one in cases.Values
            let ours = Seconds(summary, one.Name, nameof(Avedis))
            let theirs = Seconds(summary, one.Name, nameof(TorchSharp))
            where ours is not null && theirs is not null
            let known = facts[one.Name]
            select new OperationRow(
                one.Preset, one.Batch, one.Operation, one.Layer, one.Shape, ours.Value, theirs.Value, known.Way, known.OurBytes,
                known.TheirBytes);
        string version = typeof(torch).Assembly.GetName().Version!.ToString(3), libtorch = Version.Parse(torch.__version__).ToString(3);
        string about = $"{Machine.Describe()}, {threads} threads. Avedis {Machine.Revision}; TorchSharp {version}, libtorch {libtorch}. " +
            $"{DateTime.UtcNow:yyyy-MM-dd}.";
        if (options.GetValueOrDefault("--out") is { } file)
            OperationTable.Write(file, OperationTable.Markdown(about, [.. rows]));
        return wrong == 0 && failed.Count == 0 && summary.Reports.Length == 2 * cases.Count ? ExitCode.Ok : ExitCode.InternalError;
    }

    /// <summary>Compares both sides' results, and finds out what the table says besides times.</summary>
    /// <returns>Whether the results agree; if not, a line says where.</returns>
    private static bool Prepare(OperationCase one)
    {
        using var theirs = TheirSide.Fastest(one.Layouts, one.Theirs);
        using var ours = new OurSide(backend, one.Ours);
        ours.Ready();
        if (Difference(one, ours.Results(), theirs.Results()) is { } difference)
        {
            Console.Error.WriteLine($"bench: {one.Name}: {difference}");
            return false;
        }
        string way = string.Join(", ", new[] { Name(theirs.Layout), one.Autograd ? "autograd" : "a direct call" }.OfType<string>());
        facts.Add(one.Name, new(theirs.Layout, way, Memory(ours), Memory(theirs)));
        return true;
    }

    private static string? Name(Layout layout) =>
        layout switch { Layout.ChannelsFirst => "NCHW", Layout.ChannelsLast => "channels-last", _ => null };

    /// <summary>Of a side that has run before: what is built in the first call stays.</summary>
    private static long? Memory(ISide side)
    {
        side.Release();
        return WorkingMemory.Of(() =>
        {
            side.Ready();
            side.Run();
        });
    }

    /// <summary>Null, or how the results differ by more than rounding.</summary>
    private static string? Difference(OperationCase one, float[][] ours, float[][] theirs)
    {
        // parameters are one run of memory of ours
        if (ours.Length == 1)
            theirs = [[.. theirs.SelectMany(values => values)]];
        if (ours.Length != theirs.Length)
            return $"{ours.Length} results, {theirs.Length} of TorchSharp";
        for (int i = 0; i < ours.Length; i++)
        {
            // a mean over the batch: ours has the parts of each clip
            float[] values = theirs[i].Length == 1 ? [ours[i].Sum()] : ours[i];
            if (values.Length != theirs[i].Length)
                return Text($"result {i + 1} has {values.Length} elements, TorchSharp's {theirs[i].Length}");
            double error = Math.Sqrt(values.Zip(theirs[i]).Sum(pair => Square(pair.First - pair.Second)) / theirs[i].Sum(Square));
            double allowed = Tolerance * theirs[i].Max(Math.Abs);
            long wrong = values.Zip(theirs[i]).LongCount(pair => !(Math.Abs(pair.First - pair.Second) <= allowed));
            if (one.Decides ? !(error <= DecidedOtherwise) : wrong > 0)
                return Text($"result {i + 1} differs from TorchSharp's in {wrong} of {values.Length} elements ") +
                    Text($"by more than {allowed:G3}, by {error:G3} of their root mean square in all");
        }
        return null;
    }

    private static double Square(float value) => (double)value * value;

    private static double? Seconds(Summary summary, string operation, string method) => summary.Reports
        .SingleOrDefault(report => report.BenchmarkCase.Descriptor.WorkloadMethod.Name == method
            && CaseOf(report.BenchmarkCase) == operation)
        ?.ResultStatistics?.Median / 1e9;

    private static ManualConfig Configuration() => ManualConfig.CreateEmpty()
        .AddLogger(NullLogger.Instance) // its lines for every iteration; the summary is printed by itself
        .AddJob(Job.Default
            .WithToolchain(new InProcessNoEmitToolchain(TimeSpan.FromMinutes(10), logOutput: false))
            .WithWarmupCount(1).WithIterationCount(5).WithIterationTime(TimeInterval.FromMilliseconds(40)).WithUnrollFactor(1)
            .WithEvaluateOverhead(false))
        .AddDiagnoser(new MemoryDiagnoser(new MemoryDiagnoserConfig(displayGenColumns: false)))
        .AddColumn(TargetMethodColumn.Method, StatisticColumn.Median, StatisticColumn.Min, StatisticColumn.Max)
        .AddColumn(new Column("Ratio", "Ours to TorchSharp's, medians", (summary, benchmark) =>
        {
            double? own = Seconds(summary, CaseOf(benchmark), benchmark.Descriptor.WorkloadMethod.Name);
            return own / Seconds(summary, CaseOf(benchmark), nameof(TorchSharp)) is { } ratio ? Text($"{ratio:F2}") : "?";
        }))
        .AddColumn(new Column("Working MiB", "Memory that a call takes beside its inputs, results included, native too", (_, benchmark) =>
            Of(benchmark) is { } known ? Text($"{(IsOurs(benchmark) ? known.OurBytes : known.TheirBytes) / 1048576.0:F1}") : "?"))
        .AddColumn(new Column("TorchSharp by", "Its memory order, and how it is called", (_, benchmark) =>
            IsOurs(benchmark) ? "" : Of(benchmark)?.Way ?? "?"))
        .AddColumnProvider(DefaultColumnProviders.Params, DefaultColumnProviders.Metrics)
        .WithSummaryStyle(SummaryStyle.Default.WithMaxParameterColumnWidth(80))
        .WithOptions(ConfigOptions.JoinSummary);

    private static string CaseOf(BenchmarkCase benchmark) => (string)benchmark.Parameters[nameof(Operation)];

    private static bool IsOurs(BenchmarkCase benchmark) => benchmark.Descriptor.WorkloadMethod.Name == nameof(Avedis);

    private static Facts? Of(BenchmarkCase benchmark) => facts.GetValueOrDefault(CaseOf(benchmark));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed class Column(string name, string legend, Func<Summary, BenchmarkCase, string> value) : IColumn
    {
        public string Id => name;

        public string ColumnName => name;

        public string Legend => legend;

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase) => value(summary, benchmarkCase);

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => value(summary, benchmarkCase);

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;
    }
}
