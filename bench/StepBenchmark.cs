using System.Diagnostics;
using System.Globalization;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench;

/// <summary>What to measure.</summary>
/// <param name="Layouts">Layouts that PyTorch runs in; empty for no peer.</param>
/// <param name="Python">Interpreters to look for PyTorch in, first match wins.</param>
/// <param name="Rounds">Rounds to keep; in a round every engine has one turn.</param>
/// <param name="TurnSeconds">A turn is at least one step and about this long.</param>
/// <param name="ForeignLimit">A round is discarded when others used more than this share of the processors during one of its turns.</param>
/// <param name="Patience">How long an engine may take to warm up.</param>
public sealed record StepOptions(
    string Device, string Preset, int Batch, int Threads, string[] Layouts, string[] Python,
    int Rounds, double TurnSeconds, double ForeignLimit, TimeSpan Patience);

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

    /// <summary>Measures one precision: Avedis first, then the peers in their layouts.</summary>
    /// <exception cref="UserException">Avedis fails, the losses disagree, or the machine is too busy to measure anything.</exception>
    /// <exception cref="DeviceUnavailableException"/>
    public ResultFile Run(string precision)
    {
        // asked here as well as in the engine's process: the reason comes in the right words and with its exit code
        string device;
        using (var backend = AvedisEngine.Open(options.Device, options.Threads, precision))
            device = options.Device == "cpu" ? options.Device : backend.Description;
        return new(device, Machine.Describe(), Machine.Revision, options.ForeignLimit, [.. Measure(precision)]);
    }

    private List<ResultRow> Measure(string precision)
    {
        var engines = new List<EngineProcess>();
        try
        {
            engines.Add(StartAvedis(precision));
            AddPeers(engines, precision);
            foreach (var peer in engines.Skip(1))
                CompareLosses(engines[0].Report, peer.Report);

            var rows = engines.Where(e => e.Report.SecondsPerStep is not null).Select(OneStepRow).ToList();
            foreach (var slow in engines.Where(e => e.Report.SecondsPerStep is not null).ToList())
            {
                engines.Remove(slow);
                slow.Dispose();
            }
            return [.. TakeTurns(engines), .. rows];
        }
        finally
        {
            foreach (var engine in engines)
                engine.Dispose();
        }
    }

    private EngineProcess StartAvedis(string precision)
    {
        // under "dotnet Avedis.Bench.dll" the process is dotnet itself
        string program = Environment.ProcessPath!;
        string[] self = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(StepBenchmark).Assembly.Location] : [];
        try
        {
            return Start("avedis", program, [.. self, "serve", "--device", options.Device], precision);
        }
        catch (EngineAbsentException absent)
        {
            throw new UserException(ExitCode.InternalError, absent.Message, absent);
        }
    }

    private void AddPeers(List<EngineProcess> engines, string precision)
    {
        if (options.Layouts.Length == 0)
            return;
        string? python = options.Python.FirstOrDefault(HasTorch);
        if (python is null)
        {
            log.WriteLine(
                $"pytorch: left out, no interpreter of {string.Join(", ", options.Python)} can import torch (--python names another; Debian: python3-torch)");
            return;
        }
        string script = Path.Combine(AppContext.BaseDirectory, "peers", "pytorch", "step.py");
        foreach (string layout in options.Layouts)
            try
            {
                engines.Add(Start($"pytorch {layout}", python, [script, "--serve", "--device", options.Device, "--layout", layout], precision));
            }
            catch (EngineAbsentException absent)
            {
                log.WriteLine($"{precision}: left out, {absent.Message}");
            }
    }

    private EngineProcess Start(string name, string program, string[] arguments, string precision)
    {
        var engine = EngineProcess.Start(
            name, program,
            [.. arguments, "--preset", options.Preset, "--precision", precision, "--batch", Number(options.Batch), "--threads", Number(options.Threads)],
            options.Patience);
        var report = engine.Report;
        log.WriteLine(Invariant(
            $"{report.Engine} {report.Version} {report.Layout} {precision}, {report.Threads} threads: first losses {string.Join(", ", report.Losses.Select(l => Invariant($"{l:F6}")))}"));
        return engine;
    }

    private static bool HasTorch(string python)
    {
        try
        {
            using var process = Process.Start(
                new ProcessStartInfo(python, ["-c", "import torch"]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false; // no such program
        }
    }

    /// <summary>Speeds of engines that compute different things are not worth writing down.</summary>
    /// <exception cref="UserException"/>
    public static void CompareLosses(EngineReport ours, EngineReport peer)
    {
        double tolerance = ours.Precision switch { "fp32" => Fp32Tolerance, "tf32" => Tf32Tolerance, _ => Bf16Tolerance };
        for (int i = 0; i < Math.Min(ours.Losses.Length, peer.Losses.Length); i++)
            if (!(Math.Abs(ours.Losses[i] - peer.Losses[i]) <= tolerance * Math.Max(1, Math.Abs(peer.Losses[i]))))
                throw new UserException(ExitCode.InternalError, Invariant(
                    $"the engines do different work: loss of step {i + 1} is {ours.Losses[i]:F6} in {ours.Engine}, {peer.Losses[i]:F6} in {peer.Engine} {peer.Layout} ({ours.Precision})"));
    }

    private List<ResultRow> TakeTurns(List<EngineProcess> engines)
    {
        int[] stepsPerTurn = [.. engines.Select(e => Math.Max(1, (int)Math.Ceiling(options.TurnSeconds / e.Run(1).Seconds[0])))];
        var seconds = engines.Select(_ => new List<double>()).ToArray();
        var peaks = new long[engines.Count];
        int kept = 0, discarded = 0;
        while (kept < options.Rounds)
        {
            var round = new Timing[engines.Count];
            double worst = 0;
            for (int i = 0; i < engines.Count; i++)
            {
                (round[i], double foreign) = Watch(engines, () => engines[i].Run(stepsPerTurn[i]));
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
                string.Join(", ", engines.Select((e, i) => Invariant($"{e.Report.Engine} {e.Report.Layout} {TrainingBenchmark.Median(round[i].Seconds):G4} s"))));
            if (discarded >= AttemptsPerRound * options.Rounds)
                throw new UserException(ExitCode.InternalError, Invariant(
                    $"the machine is too busy: only {kept} of {kept + discarded} rounds were quiet (--foreign-limit {options.ForeignLimit:G}); stop other programs and try again"));
        }
        return [.. engines.Select((engine, i) => Row(engine.Report, TrainingBenchmark.Median(seconds[i]), peaks[i], seconds[i].Count, kept, discarded))];
    }

    /// <summary>Runs a turn and tells which share of the processors others used meanwhile.</summary>
    private static (Timing Timing, double Foreign) Watch(List<EngineProcess> engines, Func<Timing> turn)
    {
        double OurSeconds() => Environment.CpuUsage.TotalTime.TotalSeconds + engines.Sum(e => e.ProcessorTime.TotalSeconds);

        double busy = ProcessorLoad.BusySeconds(), ours = OurSeconds();
        var watch = Stopwatch.StartNew();
        var timing = turn();
        double capacity = watch.Elapsed.TotalSeconds * Environment.ProcessorCount;
        double others = ProcessorLoad.BusySeconds() - busy - (OurSeconds() - ours);
        return (timing, Math.Max(0, others / capacity));
    }

    private ResultRow OneStepRow(EngineProcess engine) =>
        Row(engine.Report, engine.Report.SecondsPerStep!.Value, engine.Report.PeakBytes, 1, 1, 0);

    private ResultRow Row(EngineReport report, double secondsPerStep, long peak, int steps, int kept, int discarded) => new(
        report.Engine, report.Version, report.Preset, report.Precision, report.Layout, report.Batch, report.Threads,
        report.Batch / secondsPerStep, secondsPerStep, peak, report.Losses, steps, kept, discarded,
        DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), report.Note);

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
