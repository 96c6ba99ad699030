using System.Globalization;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>How to measure.</summary>
/// <param name="Peers">To compare with, in this order.</param>
/// <param name="IsaCap">Of <see cref="InstructionSet.Choices"/>.</param>
/// <param name="Rounds">Rounds to keep; in a round every engine has one turn.</param>
/// <param name="TurnSeconds">A turn is at least one step and about this long.</param>
/// <param name="ForeignLimit">A round is discarded when others used more than this share of the processors during one of its turns.</param>
/// <param name="Patience">How long an engine may take to warm up.</param>
/// <param name="TrialSteps">Steps of a peer in each way that its threads may wait, before the faster one takes part; 0 leaves them as they are.</param>
public sealed record StepOptions(
    string Device, int Threads, IReadOnlyList<Peer> Peers, string IsaCap, int Rounds, double TurnSeconds, double ForeignLimit, TimeSpan Patience, int TrialSteps);

/// <summary>
/// Times the whole training step of Avedis and of its peers in one run: each engine is a process that stays, they take turns (A, B, A, B), and all start from
/// the same weights and clips, so their first losses must agree.
/// </summary>
public sealed class StepBenchmark(StepOptions options, TextWriter log)
{
    // losses of the first steps may differ by rounding only: 1e-3 of the loss in fp32, what 11 and 8 bits of mantissa leave in tf32 and bf16
    private const double Fp32Tolerance = 1e-3, Tf32Tolerance = 1e-2, Bf16Tolerance = 5e-2;

    // of ten rounds at most nine may be disturbed
    private const int AttemptsPerRound = 10;

    // GNU OpenMP's own choice, and what Avedis chooses (bindings/Cpu/CpuLibrary.cs): which is faster depends on the machine and on what else it does
    private static readonly Dictionary<string, string>[] ThreadSettings = [[], new() { ["GOMP_SPINCOUNT"] = "1000" }];

    private readonly IReadOnlyDictionary<string, string> cap = InstructionSet.Environment(options.IsaCap);
    private PeakRates? peak;

    /// <summary>Measures one precision: Avedis first, then its peers.</summary>
    /// <exception cref="UserException">Avedis fails, the losses disagree, or the machine is too busy to measure anything.</exception>
    /// <exception cref="DeviceUnavailableException"/>
    public ResultFile Run(string preset, int batch, string precision)
    {
        // asked here as well as in the engine's process: the reason comes in the right words and with its exit code
        string device;
        using (var backend = AvedisEngine.Open(options.Device, options.Threads, precision))
            device = options.Device == "cpu" ? options.Device : backend.Description;
        peak ??= options.Device == "cpu" ? MeasurePeak() : PeakRates.OfGpu(device);
        return new(device, Machine.Describe(), Machine.Revision, options.ForeignLimit, [.. Measure(new Workload(preset, batch), precision)]);
    }

    /// <summary>This program as another process.</summary>
    /// <param name="arguments">Of its command line.</param>
    public static (string Program, string[] Arguments) Self(params string[] arguments) => OwnProgram.Command(typeof(StepBenchmark).Assembly, arguments);

    // in a process of its own, which the cap holds for
    private PeakRates MeasurePeak()
    {
        var (program, arguments) = Self("peak", "--threads", Number(options.Threads));
        var (code, output, errors) = Tool.Run(program, arguments, cap);
        if (code == 0)
            return JsonSerializer.Deserialize<PeakRates>(output, BenchJson.Options)!;
        log.WriteLine($"no floor: {errors.Trim()}");
        return new();
    }

    private List<ResultRow> Measure(Workload workload, string precision)
    {
        var engines = new List<(EngineProcess Process, string? Note)>();
        try
        {
            engines.Add((StartAvedis(workload, precision), null));
            foreach (var peer in options.Peers)
                try
                {
                    engines.Add(StartAtItsBest(peer, workload, precision));
                }
                catch (EngineAbsentException absent)
                {
                    log.WriteLine($"{precision}: left out, {absent.Message}");
                }
            foreach (var (peer, _) in engines.Skip(1))
                CompareLosses(engines[0].Process.Report, peer.Report);

            double? floor = peak![precision] * 1e9 is { } rate ? StepArithmetic.Flops(workload) / rate : null;
            ResultRow Row(EngineProcess engine, string? note, double seconds, long peakBytes, int steps, int kept, int discarded) => new(
                engine.Report.Engine, engine.Report.Version, workload.Preset, precision, workload.Clips, engine.Report.Threads,
                workload.Clips / seconds, seconds, peakBytes, engine.Report.Losses, steps, kept, discarded,
                DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), floor / seconds * 100, peak[precision],
                options.IsaCap == InstructionSet.Native ? null : options.IsaCap,
                string.Join("; ", new[] { engine.Report.Note, note }.OfType<string>()) is { Length: > 0 } notes ? notes : null);

            var slow = engines.Where(engine => engine.Process.Report.SecondsPerStep is not null).ToList();
            List<ResultRow> rows = [.. slow.Select(engine => Row(engine.Process, engine.Note, engine.Process.Report.SecondsPerStep!.Value, engine.Process.Report.PeakBytes, 1, 1, 0))];
            foreach (var engine in slow)
            {
                engines.Remove(engine);
                engine.Process.Dispose();
            }
            return [.. TakeTurns(engines, Row), .. rows];
        }
        finally
        {
            foreach (var (engine, _) in engines)
                engine.Dispose();
        }
    }

    private EngineProcess StartAvedis(Workload workload, string precision)
    {
        var (program, arguments) = Self("serve", "--device", options.Device);
        try
        {
            return Start(new Peer("avedis", program, arguments, cap), workload, precision);
        }
        catch (EngineAbsentException absent)
        {
            throw new UserException(ExitCode.InternalError, absent.Message, absent);
        }
    }

    /// <summary>A peer with the thread settings that suit it, and which these are if not its own.</summary>
    private (EngineProcess Process, string? Note) StartAtItsBest(Peer peer, Workload workload, string precision)
    {
        EngineProcess StartWith(Dictionary<string, string> setting) => Start(
            peer with { Environment = new Dictionary<string, string>(peer.Environment.Concat(cap).Concat(setting)) }, workload, precision);

        var best = StartWith(ThreadSettings[0]);
        if (options.Device != "cpu" || options.TrialSteps == 0 || best.Report.SecondsPerStep is not null)
            return (best, null);
        string? note = null;
        foreach (var setting in ThreadSettings.Skip(1))
        {
            EngineProcess? other = null;
            try
            {
                other = StartWith(setting);
                var (ours, theirs) = (new List<double>(), new List<double>());
                for (int i = 0; i < options.TrialSteps; i++)
                {
                    ours.AddRange(best.Run(1).Seconds);
                    theirs.AddRange(other.Run(1).Seconds);
                }
                if (TrainingBenchmark.Median(theirs) < TrainingBenchmark.Median(ours))
                {
                    (best, other) = (other, best);
                    note = string.Join(' ', setting.Select(variable => $"{variable.Key}={variable.Value}"));
                }
            }
            catch
            {
                best.Dispose();
                throw;
            }
            finally
            {
                other?.Dispose();
            }
        }
        if (note is not null)
            log.WriteLine($"{peer.Name}: faster with {note}");
        return (best, note);
    }

    private EngineProcess Start(Peer peer, Workload workload, string precision)
    {
        var engine = EngineProcess.Start(
            peer.Name, peer.Program,
            [
                .. peer.Arguments, "--preset", workload.Preset, "--precision", precision, "--batch", Number(workload.Clips), "--threads", Number(options.Threads),
            ],
            peer.Environment, options.Patience);
        var report = engine.Report;
        log.WriteLine(Invariant(
            $"{report.Engine} {report.Version} {precision}, {report.Threads} threads: first losses {string.Join(", ", report.Losses.Select(l => Invariant($"{l:F6}")))}"));
        return engine;
    }

    /// <summary>Speeds of engines that compute different things are not worth writing down.</summary>
    /// <exception cref="UserException"/>
    public static void CompareLosses(EngineReport ours, EngineReport peer)
    {
        double tolerance = ours.Precision switch { "fp32" => Fp32Tolerance, "tf32" => Tf32Tolerance, _ => Bf16Tolerance };
        for (int i = 0; i < Math.Min(ours.Losses.Length, peer.Losses.Length); i++)
            if (!(Math.Abs(ours.Losses[i] - peer.Losses[i]) <= tolerance * Math.Max(1, Math.Abs(peer.Losses[i]))))
                throw new UserException(ExitCode.InternalError, Invariant(
                    $"the engines do different work: loss of step {i + 1} is {ours.Losses[i]:F6} in {ours.Engine}, {peer.Losses[i]:F6} in {peer.Engine} ({ours.Precision})"));
    }

    private List<ResultRow> TakeTurns(
        List<(EngineProcess Process, string? Note)> engines, Func<EngineProcess, string?, double, long, int, int, int, ResultRow> row)
    {
        EngineProcess[] processes = [.. engines.Select(engine => engine.Process)];
        int[] stepsPerTurn = [.. processes.Select(engine => Math.Max(1, (int)Math.Ceiling(options.TurnSeconds / engine.Run(1).Seconds[0])))];
        var seconds = engines.Select(_ => new List<double>()).ToArray();
        var peaks = new long[engines.Count];
        int kept = 0, discarded = 0;
        while (kept < options.Rounds)
        {
            var round = new Timing[engines.Count];
            double worst = 0;
            for (int i = 0; i < engines.Count; i++)
            {
                (round[i], double foreign) = ProcessorLoad.Watch(processes[i], stepsPerTurn[i]);
                worst = Math.Max(worst, foreign);
            }
            bool quiet = worst <= options.ForeignLimit;
            if (quiet)
                kept++;
            else
                discarded++;
            for (int i = 0; i < engines.Count; i++)
            {
                if (quiet)
                    seconds[i].AddRange(round[i].Seconds);
                peaks[i] = round[i].PeakBytes;
            }
            log.WriteLine(Invariant($"round {kept + discarded}: {(quiet ? "kept" : "discarded")}, others used up to {worst:P0}; ") +
                string.Join(", ", processes.Select((e, i) => Invariant($"{e.Report.Engine} {TrainingBenchmark.Median(round[i].Seconds):G4} s"))));
            if (discarded >= AttemptsPerRound * options.Rounds)
                throw ProcessorLoad.TooBusy(kept, discarded, options.ForeignLimit);
        }
        return [.. engines.Select((engine, i) => row(engine.Process, engine.Note, TrainingBenchmark.Median(seconds[i]), peaks[i], seconds[i].Count, kept, discarded))];
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
