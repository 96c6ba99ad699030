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
/// <param name="TrialSteps">Steps of a peer on the processor with each of <see cref="PeerSettings.All"/>, before it takes part with the
/// fastest; 0: it takes part as it comes.</param>
public sealed record StepOptions(
    string Device, int Threads, IReadOnlyList<Peer> Peers, string IsaCap, int Rounds, double TurnSeconds, double ForeignLimit, TimeSpan Patience, int TrialSteps);

/// <summary>
/// Times the whole training step of Avedis and of its peers in one run: each engine is a process that stays, they take turns (A, B, A, B), and all start from
/// the same weights and clips, so their first losses must agree. On the processor all take turns with all, or in several groups with
/// Avedis in each where memory does not hold all peers at once. On a GPU Avedis is timed first, then takes turns with one peer after the
/// other, so that each has the card's memory to itself, what is measured can be kept before the next begins, and one process of PyTorch
/// does for all its modes.
/// </summary>
public sealed class StepBenchmark(StepOptions options, TextWriter log) : IDisposable
{
    // losses of the first steps may differ by rounding only: 1e-3 of the loss in fp32, what 11 and 8 bits of mantissa leave in tf32 and bf16
    private const double Fp32Tolerance = 1e-3, Tf32Tolerance = 1e-2, Bf16Tolerance = 5e-2;

    // of ten rounds at most nine may be disturbed
    private const int AttemptsPerRound = 10;

    // while a peer is tried, it is there twice; and some memory stays free
    private const double MemoryOfATrial = 2.2;

    private readonly IReadOnlyDictionary<string, string> cap = InstructionSet.Environment(options.IsaCap);
    private readonly Dictionary<Workload, string> batches = [];
    private PeakRates? peak;
    private EngineProcess? shared;

    private bool Gpu => options.Device != "cpu";

    /// <summary>Measures one precision: Avedis first, then its peers.</summary>
    /// <param name="keep">Gets what is measured so far, each time that it is more.</param>
    /// <exception cref="UserException">Avedis fails, the losses disagree, or the machine is too busy to measure anything.</exception>
    /// <exception cref="DeviceUnavailableException"/>
    public ResultFile Run(string preset, int batch, string precision, Action<ResultFile> keep)
    {
        // asked here as well as in the engine's process: the reason comes in the right words and with its exit code
        string device;
        using (var backend = AvedisEngine.Open(options.Device, options.Threads, precision))
            device = Gpu ? backend.Description : options.Device;
        peak ??= Gpu ? PeakRates.OfGpu(device) : MeasurePeak();
        var measured = new ResultFile(device, Machine.Describe(), Machine.Revision, options.ForeignLimit, []);
        Measure(new Workload(preset, batch), precision, rows => keep(measured = measured with { Rows = rows }));
        return measured;
    }

    public void Dispose()
    {
        shared?.Dispose();
        foreach (string file in batches.Values)
            File.Delete(file);
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

    private void Measure(Workload workload, string precision, Action<ResultRow[]> keep)
    {
        double? floor = peak![precision] * 1e9 is { } rate ? StepArithmetic.Flops(workload) / rate : null;
        ResultRow Row(Contestant engine, double seconds) => new(
            engine.Report.Engine, engine.Report.Version, workload.Preset, precision, workload.Clips, engine.Report.Threads,
            workload.Clips / seconds, seconds, engine.PeakBytes, engine.Report.Losses, engine.Steps, engine.Kept, engine.Discarded,
            DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), floor / seconds * 100, peak[precision],
            options.IsaCap == InstructionSet.Native ? null : options.IsaCap,
            string.Join("; ", new[] { engine.Report.Note, engine.Settings }.OfType<string>()) is { Length: > 0 } notes ? notes : null,
            engine.IsPeer && !Gpu ? engine.SecondsAsItComes ?? seconds : null,
            engine.Report.FlopsDone / (peak[precision] * 1e9) / seconds * 100);

        using var ours = new Contestant(StartAvedis(workload, precision));
        var rows = new List<ResultRow>();
        if (Gpu)
        {
            TakeTurns([ours]);
            keep([Row(ours, ours.Median)]);
        }
        UserException? different = null;
        var waiting = new Queue<Peer>(options.Peers.Where(peer => peer.Takes(precision)));
        while (waiting.Count > 0)
        {
            var peers = new List<Contestant>();
            try
            {
                do
                {
                    try
                    {
                        peers.Add(StartAtItsBest(waiting.Dequeue(), workload, precision));
                    }
                    catch (EngineAbsentException absent)
                    {
                        log.WriteLine($"{precision}: left out, {absent.Message}");
                    }
                }
                while (waiting.Count > 0 && !Gpu && FitsBeside(peers));
                foreach (var peer in peers.ToArray())
                    try
                    {
                        CompareLosses(ours.Report, peer.Report);
                    }
                    catch (UserException failure) when (Gpu)
                    {
                        log.WriteLine(failure.Message);
                        different ??= failure;
                        peers.Remove(peer);
                        peer.Dispose();
                    }
                if (Gpu && peers.Count == 0)
                    continue;
                var slow = peers.Where(engine => engine.Report.SecondsPerStep is not null).ToList();
                foreach (var engine in slow)
                {
                    peers.Remove(engine);
                    engine.Dispose();
                }
                if (peers.Count > 0 || ours.Steps == 0)
                    TakeTurns([ours, .. peers]);
                rows.AddRange(peers.Select(engine => Row(engine, engine.Median)));
                rows.AddRange(slow.Select(engine => Row(engine, engine.Report.SecondsPerStep!.Value) with { Steps = 1, RoundsKept = 1 }));
                keep([Row(ours, ours.Median), .. rows]);
            }
            finally
            {
                foreach (var engine in peers)
                    engine.Dispose();
            }
        }
        if (ours.Steps == 0)
        {
            TakeTurns([ours]);
            keep([Row(ours, ours.Median)]);
        }
        if (different is not null)
            throw different;
    }

    /// <summary>Whether memory holds one more peer, as large as the largest so far.</summary>
    private static bool FitsBeside(List<Contestant> peers)
    {
        using var memory = new CpuBackend();
        return peers.Select(peer => peer.PeakBytes).DefaultIfEmpty(0).Max() * MemoryOfATrial < memory.FreeMemory;
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

    /// <summary>A peer with the settings that suit it best, and what it does without any.</summary>
    private Contestant StartAtItsBest(Peer peer, Workload workload, string precision)
    {
        if (Gpu)
        {
            peer = peer.With(PeerSettings.KeepBlocks);
            return peer.Switches
                ? new(StartOrSwitch(peer, workload, precision), isPeer: true, stays: true)
                : new(Start(peer, workload, precision), isPeer: true);
        }
        peer = peer.With(cap);
        var best = Start(peer, workload, precision);
        if (options.TrialSteps == 0 || best.Report.SecondsPerStep is not null)
            return new(best, isPeer: true);
        string? settings = null;
        var asItComes = new List<double>();
        foreach (var setting in PeerSettings.All)
        {
            EngineProcess? other = null;
            try
            {
                other = Start(peer.With(setting), workload, precision);
                var (soFar, now) = (new List<double>(), new List<double>());
                for (int i = 0; i < options.TrialSteps; i++)
                {
                    soFar.AddRange(best.Run(1).Seconds);
                    now.AddRange(other.Run(1).Seconds);
                }
                if (settings is null)
                    asItComes.AddRange(soFar);
                if (TrainingBenchmark.Median(now) < TrainingBenchmark.Median(soFar))
                {
                    (best, other) = (other, best);
                    settings = PeerSettings.Describe(setting);
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
        if (settings is null)
            return new(best, isPeer: true);
        log.WriteLine($"{peer.Name}: faster with {settings}");
        return new(best, isPeer: true) { Settings = settings, SecondsAsItComes = TrainingBenchmark.Median(asItComes) };
    }

    /// <summary>A peer in the process of the one before it, if that is still there, on batches from a file.</summary>
    private EngineProcess StartOrSwitch(Peer peer, Workload workload, string precision)
    {
        if (!batches.TryGetValue(workload, out string? file))
        {
            batches.Add(workload, file = Path.GetTempFileName());
            GoldenFormula.WriteBatches(file, workload.Size);
        }
        peer = peer with { Arguments = [.. peer.Arguments, "--batches", file] };
        try
        {
            if (shared is null)
                return shared = Start(peer, workload, precision);
            shared.Switch(peer.Name, Arguments(peer, workload, precision)[1..], options.Patience);
            LogStart(shared.Report, precision);
            return shared;
        }
        catch (EngineAbsentException)
        {
            shared?.Dispose();
            shared = null;
            throw;
        }
    }

    private EngineProcess Start(Peer peer, Workload workload, string precision)
    {
        var engine = EngineProcess.Start(peer.Name, peer.Program, Arguments(peer, workload, precision), peer.Environment, options.Patience);
        LogStart(engine.Report, precision);
        return engine;
    }

    private string[] Arguments(Peer peer, Workload workload, string precision) =>
    [
        .. peer.Arguments, "--preset", workload.Preset, "--precision", precision, "--batch", Number(workload.Clips),
        "--threads", Number(options.Threads),
    ];

    private void LogStart(EngineReport report, string precision)
    {
        string losses = string.Join(", ", report.Losses.Select(loss => Invariant($"{loss:F6}")));
        log.WriteLine(Invariant($"{report.Engine} {report.Version} {precision}, {report.Threads} threads: first losses {losses}"));
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

    private void TakeTurns(IReadOnlyList<Contestant> engines)
    {
        int Steps(EngineProcess engine) => Math.Max(1, (int)Math.Ceiling(options.TurnSeconds / engine.Run(1).Seconds[0]));
        int[] stepsPerTurn = [.. engines.Select(engine => Steps(engine.Process))];
        int kept = 0, discarded = 0;
        while (kept < options.Rounds)
        {
            var round = new Timing[engines.Count];
            double worst = 0;
            for (int i = 0; i < engines.Count; i++)
            {
                (round[i], double foreign) = ProcessorLoad.Watch(engines[i].Process, stepsPerTurn[i]);
                worst = Math.Max(worst, foreign);
            }
            bool quiet = worst <= options.ForeignLimit;
            if (quiet)
                kept++;
            else
                discarded++;
            for (int i = 0; i < engines.Count; i++)
                engines[i].Add(round[i], quiet);
            log.WriteLine(Invariant($"round {kept + discarded}: {(quiet ? "kept" : "discarded")}, others used up to {worst:P0}; ") +
                string.Join(
                    ", ", engines.Select((e, i) => Invariant($"{e.Report.Engine} {TrainingBenchmark.Median(round[i].Seconds):G4} s"))));
            if (discarded >= AttemptsPerRound * options.Rounds)
                throw ProcessorLoad.TooBusy(kept, discarded, options.ForeignLimit);
        }
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>An engine, and its steps of the rounds so far.</summary>
    /// <param name="stays">The process is not this one's to end.</param>
    private sealed class Contestant(EngineProcess process, bool isPeer = false, bool stays = false) : IDisposable
    {
        private readonly List<double> seconds = [];

        public EngineProcess Process => process;

        public EngineReport Report { get; } = process.Report;

        public bool IsPeer => isPeer;

        /// <summary>Of the environment that it runs in, for people; null as it comes.</summary>
        public string? Settings { get; init; }

        /// <summary>Median of its steps as it comes, in the trial; null where it runs so.</summary>
        public double? SecondsAsItComes { get; init; }

        public long PeakBytes { get; private set; } = process.Report.PeakBytes;

        public int Kept { get; private set; }

        public int Discarded { get; private set; }

        public int Steps => seconds.Count;

        public double Median => TrainingBenchmark.Median(seconds);

        public void Add(Timing round, bool quiet)
        {
            PeakBytes = round.PeakBytes;
            if (quiet)
                seconds.AddRange(round.Seconds);
            (Kept, Discarded) = quiet ? (Kept + 1, Discarded) : (Kept, Discarded + 1);
        }

        public void Dispose()
        {
            if (!stays)
                process.Dispose();
        }
    }
}
