using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;
using Avedis.Trainer.Probes;
using Avedis.Trainer.Ranks;
using Avedis.Trainer.Strategies;

namespace Avedis.Trainer.Training;

/// <summary>
/// Trains a network epoch by epoch: batches in an order that is a pure function of seed, epoch and position, a strategy step each, validation and a
/// checkpoint after each epoch, the best kept apart. Stops on request with a checkpoint; a resumed run continues bit for bit. Of several ranks each has a loop
/// of its own: all train, rank 0 validates, decides, talks and writes, and tells the others what it decided.
/// </summary>
public sealed class TrainingLoop : IDisposable
{
    private const int LogEverySteps = 10;
    private const int Stop = 0, SaveNow = 1; // votes of the ranks

    // after a checkpoint that could not be written
    private static readonly TimeSpan SaveAgain = TimeSpan.FromMinutes(1);

    private readonly Config config;
    private readonly PreparedDataset dataset;
    private readonly RunFolder folder;
    private readonly TextWriter log;
    private readonly Interrupt interrupt;
    private readonly Runtime runtime;
    private readonly PrecisionChoice precision;
    private readonly PooledFeatures? pooled; // of a frozen trunk
    private readonly Func<Action<string>?, IBackend> createBackend;
    private readonly ICollective collective;
    private readonly Stopwatch sinceCheckpoint = Stopwatch.StartNew();
    private readonly Watchdog watchdog;
    private readonly TrainingState beginning;
    private readonly string? start; // checkpoint whose weights a new run starts from
    private string[] batchClips = [], nextClips = []; // of the batch in work, of the one that was sent ahead
    private int failedSaves; // in a row
    private long savedStep; // what LATEST has
    private IReadOnlyDictionary<string, SafeTensor> carried = new Dictionary<string, SafeTensor>(); // a frozen trunk's weights
    private bool stopping; // as all ranks have agreed
    private TrainingState state;

    /// <param name="collective">The ranks that train together; null: one.</param>
    public TrainingLoop(Config config, PreparedDataset dataset, RunFolder folder, TextWriter log, Interrupt interrupt, bool resume, ICollective? collective = null)
        : this(config, dataset, folder, log, interrupt, resume, say => CreateBackend(config.Training, say, collective?.LocalRank ?? 0), collective)
    {
    }

    /// <param name="createBackend">Called for the network, and for the probes of an epoch, with who is to hear of its choice; the loop disposes what it makes.</param>
    internal TrainingLoop(
        Config config, PreparedDataset dataset, RunFolder folder, TextWriter log, Interrupt interrupt, bool resume,
        Func<Action<string>?, IBackend> createBackend, ICollective? collective = null)
    {
        this.collective = collective ??= new SingleRank();
        (this.config, this.dataset, this.folder, this.log, this.interrupt, this.createBackend) = (config, dataset, folder, log, interrupt, createBackend);
        var training = config.Training;
        bool needsStart = Leads || training.Freeze.Contains(TwoStreamNetwork.TrunkName);
        string? start = !needsStart ? null : resume ? folder.ResolveNewest(log) : training.Start.Length > 0 ? RunFolder.ResolveStart(training.Start) : null;
        if (needsStart && start is null && training.Freeze.Count > 0)
            throw new UserException(ExitCode.Usage, "training.freeze keeps what training.start brings: name a run or checkpoint there (--start), or freeze nothing");
        training.Augment.ValidateFor(dataset.Features);
        bool frozenTrunk = training.Freeze.Contains(TwoStreamNetwork.TrunkName);
        var backend = createBackend(log.WriteLine);
        try
        {
            // of all ranks: one of them measures
            precision = collective.Broadcast(Leads ? ChoosePrecision(backend, resume ? start : null) : null, "precision")!;
            if (training.Precision != Precision.Auto)
                precision = new(training.Precision, null);
            new Handshake(Machine.Revision, dataset.Hash, precision.Name, JsonNode.Parse(config.ToJson())!.AsObject()).Check(collective);
            var features = dataset.Features;
            var shape = new NetworkShape(
                training.BatchSize / collective.Size, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames,
                config.Network.Of(dataset.Factors), precision.Act);
            if (Leads && start is not null && !resume)
                CheckStart(start);
            if (frozenTrunk)
            {
                pooled = FrozenTrunk.Pool(backend, config.Network, shape, dataset, start!, log);
                backend = createBackend(null);
            }
            var parts = new NetworkParts(Strategy.PassesOf(training), frozenTrunk, training.Freeze, training.Augment.Enabled);
            runtime = new Runtime(backend, config.Network, shape, training, parts, collective);
            log.WriteLine($"device: {runtime.DeviceDescription}, {precision.Name}");
            if (collective.Size > 1)
                log.WriteLine($"ranks: {collective.Description}");
            log.WriteLine($"network: {runtime.Network.ParameterCount:N0} parameters; {runtime.Memory}");

            int losses = runtime.LossValues.Length;
            state = new TrainingState
            {
                Factors = shape.Factors,
                DataHash = dataset.Hash,
                Precision = precision.Name,
                Rates = precision.Rates,
                Device = runtime.DeviceDescription,
                ScheduleSteps = (long)BatchLoader.TrainingBatches(dataset, training.BatchSize) * training.Epochs,
                StartScore = start is null || resume ? null : ScoreOf(start),
                LastLosses = [.. Enumerable.Repeat(float.NaN, losses)],
                LossSums = new double[losses],
                WindowSums = new double[losses],
            };
            beginning = state;
            this.start = resume ? null : start;
            if (Leads)
            {
                Directory.CreateDirectory(folder.CheckpointsPath);
                Checkpoint.Recover(folder.CheckpointsPath);
            }
            GoOnFrom(resume ? start : null, fresh: !resume);
            if (Leads)
                WholeFile.Write(folder.ConfigPath, file => file.Write(Encoding.UTF8.GetBytes(config.ToJson())));
        }
        catch (Exception failure)
        {
            (runtime as IDisposable ?? backend).Dispose();
            // a network that does not fit says which batch would
            if ((runtime is not null || failure is not OutOfDeviceMemoryException) && Lost(failure) is { } lost)
                throw lost;
            throw;
        }
        watchdog = new Watchdog(TimeSpan.FromSeconds(training.WatchdogSeconds), GiveUp);
    }

    /// <returns>The state at the end; the caller looks at the interrupt for an early one.</returns>
    /// <exception cref="UserException">Exit codes 7 to 9: training diverged, a checkpoint could not be written, the device failed.</exception>
    public TrainingState Run()
    {
        try
        {
            while (true)
                try
                {
                    return TrainEpochs();
                }
                catch (NonFiniteException found)
                {
                    GoBack(found.Failure);
                }
        }
        catch (Exception failure) when (failure is DeviceFailedException or OutOfDeviceMemoryException or DeviceUnavailableException)
        {
            throw Lost(failure)!;
        }
    }

    // of all ranks, the one that talks and writes
    private bool Leads => collective.Rank == 0;

    private bool Stops => stopping || (collective.Size == 1 && interrupt.Requested);

    /// <summary>Number of the step in work, from 1, and its clips.</summary>
    internal long StepInWork => state.Step + 1;

    internal IReadOnlyList<string> ClipsInWork => batchClips;

    /// <summary>Before <see cref="Run"/>: what had been decided in the run that failed.</summary>
    internal void GoOnAs(Failure failure) => state = state with { Skipped = failure.Skipped, RateScale = failure.RateScale };

    public void Dispose()
    {
        watchdog.Dispose();
        runtime.Dispose();
    }

    private TrainingState TrainEpochs()
    {
        var training = config.Training;
        using var metrics = Leads ? new MetricsLog(folder.MetricsPath, state.MetricsBytes) : null;
        var augmentation = training.Augment.Enabled ? new Augmentation(training.Augment, dataset.Features, training.Seed) : null;
        using var loader = BatchLoader.ForTraining(dataset, training.BatchSize, training.Seed, state.Epoch, state.Position, state.Factors, pooled, augmentation, rank: collective.Rank, ranks: collective.Size);
        int steps = loader.BatchesPerEpoch;
        while (state.Epoch < training.Epochs && !Stops && !LimitReached())
        {
            if (!TrainEpoch(loader, steps, metrics))
            {
                Save(StepName(), metrics);
                log.WriteLine($"stopped at step {state.Step}: checkpoint saved, go on with --resume");
                return state;
            }
            watchdog.Rest();
            var before = state;
            bool better = Leads && Validate(metrics!);
            state = state with { Epoch = state.Epoch + 1, Position = 0, LossSums = new double[runtime.LossValues.Length] };
            // what LATEST knows of is there already: an epoch that could not be saved is neither the best nor a candidate
            if (better && !TrySave("best", metrics))
                state = state with { BestScore = before.BestScore, BestEpoch = before.BestEpoch };
            if (Front().FirstOrDefault(candidate => candidate.Epoch == state.Epoch - 1) is { } candidate && !TrySave(Selection.CheckpointName(candidate), metrics))
                state = state with { Candidates = before.Candidates };
            TrySave(StepName(), metrics);
            state = collective.Broadcast(state, "state behind an epoch");
            if (training.Patience > 0 && state.Epoch - 1 - state.BestEpoch >= training.Patience)
            {
                log.WriteLine($"stopped early: no better validation score in {training.Patience} epochs");
                break;
            }
        }
        if (savedStep != state.Step)
            Save(StepName(), metrics);
        return state;
    }

    internal static IBackend CreateBackend(TrainingOptions training, Action<string>? say, int number = 0) =>
        BackendFactory.Create(training.Device, training.Threads, training.Precision == Precision.Tf32, say, number, training.Convolutions);

    // a run keeps what it began with: a machine may be busier when it goes on, or another one
    private PrecisionChoice ChoosePrecision(IBackend backend, string? checkpoint)
    {
        var begun = checkpoint is null ? null : TrainingState.Load(checkpoint);
        // a backend for tf32 is made only where it was named: Load will say so
        if (config.Training.Precision != Precision.Auto || begun is null or { Precision: "tf32" })
            return Precisions.Choose(config.Training.Precision, backend, log.WriteLine);
        log.WriteLine($"precision auto: {begun.Precision}, as the run began");
        return new(Precisions.Named(begun.Precision), begun.Rates);
    }

    private bool LimitReached(int ahead = 0) => config.Training.MaxSteps > 0 && state.Step + ahead >= config.Training.MaxSteps;

    private string StepName() => $"{RunFolder.StepPrefix}{state.Step:D8}";

    private IReadOnlyList<Candidate> Front() => state.Front(config.Training.Selection.Floor);

    /// <summary>Trains the rest of the current epoch; false if it was stopped on the way.</summary>
    private bool TrainEpoch(BatchLoader loader, int steps, MetricsLog? metrics)
    {
        var training = config.Training;
        var progress = new Progress(log, $"epoch {state.Epoch + 1}/{training.Epochs}", "clips");
        long before = (long)state.Position * training.BatchSize;
        var clock = Stopwatch.StartNew();
        double waited = loader.WaitSeconds;
        int first = state.Position;
        bool loaded = false;
        while (state.Position < steps)
        {
            if (Stops || LimitReached())
            {
                progress.End();
                return false;
            }
            watchdog.Begin(() => $"step {state.Step + 1} (epoch {state.Epoch + 1})");
            if (state.Skipped.Contains(state.Step))
            {
                loader.Return(Next(loader));
                state = state with { Step = state.Step + 1, Position = state.Position + 1 };
                continue;
            }
            if (!loaded)
                LoadNext(loader);
            (batchClips, nextClips) = (nextClips, batchClips);
            double rate = training.RateAt(state.Epoch, Passed);
            runtime.Prepare(state.Step, Passed, LastLoss);
            runtime.Advance(
                training.LearningRate * rate * state.RateScale, training.AuxiliaryLearningRate * (training.Adversary.Decay ? rate : 1) * state.RateScale);
            runtime.TrainStep();
            // the next batch is sent while the device works on this one
            loaded = state.Position + 1 < steps && !interrupt.Requested && !LimitReached(ahead: 1) && !state.Skipped.Contains(state.Step + 1);
            if (loaded)
                LoadNext(loader);
            (runtime.Votes[Stop], runtime.Votes[SaveNow]) = (interrupt.Requested ? 1 : 0, CheckpointIsDue() ? 1 : 0);
            if (!runtime.ReadLosses())
                throw NotFinite(string.Join(", ", runtime.LossNames.Zip(runtime.LossValues, (name, loss) => $"{name} loss {loss}")), state.Step + 1);
            state = state with
            {
                Step = state.Step + 1,
                Position = state.Position + 1,
                LastLosses = [.. runtime.LossValues],
                LossSums = Plus(state.LossSums, runtime.LossValues),
                WindowSums = Plus(state.WindowSums, runtime.LossValues),
                WindowBatches = state.WindowBatches + 1,
            };
            stopping = runtime.Votes[Stop] > 0;
            double clips = (double)(state.Position - first) * training.BatchSize / clock.Elapsed.TotalSeconds;
            if (state.Step % LogEverySteps == 0)
            {
                metrics?.Write(new MetricsRecord
                {
                    Step = state.Step,
                    Epoch = state.Epoch,
                    Losses = runtime.LossNames.Zip(state.WindowSums, (name, sum) => (name, sum / state.WindowBatches)).ToDictionary(),
                    LearningRate = training.LearningRate * rate * state.RateScale,
                    Strength = runtime.Strength(Passed),
                    ClipsPerSecond = clips,
                    WaitShare = (loader.WaitSeconds - waited) / clock.Elapsed.TotalSeconds,
                });
                state = state with { WindowSums = new double[runtime.LossValues.Length], WindowBatches = 0 };
            }
            state = state with { TrainClipsPerSecond = clips };
            progress.Report((long)state.Position * training.BatchSize, (long)steps * training.BatchSize, before, LossNote());
            if (state.Position < steps && runtime.Votes[SaveNow] > 0)
                TrySave(StepName(), metrics);
            if (collective.Size > 1 && training.Ranks.CompareEvery > 0 && state.Step % training.Ranks.CompareEvery == 0)
                Compare();
        }
        return true;
    }

    // share of the adversary's schedule; 1 for what a longer run adds
    private double Passed => Math.Min(1, (double)state.Step / state.ScheduleSteps);

    private double LastLoss(AuxiliaryHead head) => state.LastLosses[runtime.LossIndex(head)];

    private static double[] Plus(IReadOnlyList<double> sums, float[] values) => [.. sums.Zip(values, (sum, value) => sum + value)];

    private static Batch Next(BatchLoader loader) =>
        loader.TryNext(out var batch) ? batch : throw new InvalidOperationException("the training loader ended");

    private void LoadNext(BatchLoader loader)
    {
        var batch = Next(loader);
        runtime.Load(batch);
        if (nextClips.Length != batch.Count)
            nextClips = new string[batch.Count];
        batch.Ids.AsSpan(0, batch.Count).CopyTo(nextClips);
        loader.Return(batch);
    }

    /// <summary>Scores the validation split; true if it is the best so far. Without such a split every epoch is.</summary>
    private bool Validate(MetricsLog metrics)
    {
        var training = config.Training;
        if (dataset.Clips(Split.Validation).Count == 0)
        {
            state = state with { BestEpoch = state.Epoch };
            return true;
        }
        // the train clips too where their embeddings are to be probed
        Split[] splits = Probes(state.Epoch) ? [Split.Train, Split.Validation] : [Split.Validation];
        var leaks = new Leaks(runtime, dataset, runtime.Network.Shape.Batch, pooled, splits, training.Selection.Clips);
        var result = leaks.Result(Split.Validation)!;
        var (candidate, reason, read) = splits.Length == 1 ? (null, null, null) : Selection.Judge(state.Epoch, runtime.Network, leaks, () => createBackend(null), ProbeSettings.Epoch with { Seed = training.Seed });
        long peak = ProcessMemory.PeakRssBytes;
        var scored = result.Factors.Concat(result.Auxiliary).Where(factor => factor.Matrix.Total > 0).ToList();
        metrics.Write(new MetricsRecord
        {
            Step = state.Step,
            Epoch = state.Epoch,
            Split = "validation",
            MacroF1 = scored.ToDictionary(factor => factor.Name, factor => factor.Matrix.MacroF1),
            Accuracy = scored.ToDictionary(factor => factor.Name, factor => factor.Matrix.Accuracy),
            Leaks = read,
            ClipsPerSecond = state.TrainClipsPerSecond,
            PeakRssBytes = peak,
        });
        log.WriteLine($"  validation: {Scores(result)}");
        if (read is { Count: > 0 })
            log.WriteLine($"  fresh probes: {string.Join(", ", read.Select(leak => $"{leak.Key} {leak.Value:F3}"))}");
        if (reason is not null)
            log.WriteLine($"  no candidate for the lowest leak: {reason}");
        bool better = result.Score > state.BestScore;
        state = state with
        {
            PeakRssBytes = peak,
            BestScore = better ? result.Score : state.BestScore,
            BestEpoch = better ? state.Epoch : state.BestEpoch,
            Scores = result.Factors.ToDictionary(factor => factor.Name, factor => factor.Score),
            Candidates = candidate is null ? state.Candidates : [.. state.Candidates, candidate],
        };
        return better;
    }

    // an auxiliary head in training is not to be believed
    private bool Probes(int epoch) =>
        runtime.Network.Auxiliary.Count > 0 && config.Training.Selection.ProbeEvery is > 0 and var every && ((epoch + 1) % every == 0 || epoch + 1 == config.Training.Epochs);

    private static string Scores(EvaluationResult result) =>
        string.Join(", ", result.Factors.Where(factor => factor.Matrix.Total > 0).Select(factor => factor.Factor.ByMacroF
        ? $"{factor.Name} macro-F {factor.Score:F3} (majority {factor.Chance:F3})"
        : $"{factor.Name} accuracy {factor.Score:F3} (chance {factor.Chance:F3})"));

    private string LossNote() => string.Join(", ", runtime.LossNames.Zip(state.LossSums, (name, sum) => $"{name} {sum / state.Position:F3}"));

    private string LastGood() => Checkpoint.Latest(folder.CheckpointsPath) ?? "none";

    private string GoOn => Checkpoint.Latest(folder.CheckpointsPath) is { } latest
        ? $"the last good checkpoint is {latest}; go on with --resume"
        : "there is no checkpoint yet; --resume starts afresh";

    // of a training whose device can do no more; null for any other failure
    private UserException? Lost(Exception failure) => failure switch
    {
        // a device that cannot be opened once training has begun, for probes say, has failed
        DeviceFailedException or DeviceUnavailableException => new(ExitCode.DeviceFailed, $"{failure.Message}; {GoOn}", failure),
        OutOfDeviceMemoryException => new(ExitCode.OutOfMemory, $"{failure.Message}; {GoOn}", failure),
        _ => null,
    };

    private void GiveUp(string what)
    {
        log.WriteLine();
        Console.Error.WriteLine(
            $"avedis: {what}: the device or the disk does not answer (training.watchdogSeconds); {GoOn}");
        DurableFiles.ExitNow(ExitCode.DeviceFailed);
    }

    private NonFiniteException NotFinite(string reason, long step) => new(new Failure
    {
        Step = step,
        // the state may be that behind the epoch already
        Epoch = (int)((step - 1) / BatchLoader.TrainingBatches(dataset, config.Training.BatchSize)),
        Reason = reason,
        Tensors = runtime.NonFiniteTensors(),
        Clips = [.. batchClips],
        Data = Path.GetFullPath(dataset.Folder),
        DataHash = dataset.Hash,
        Checkpoint = LoadPoint(),
        Skipped = state.Skipped,
        RateScale = state.RateScale,
    });

    // the same sums move the same weights: where they do not, a machine computes wrongly, or otherwise
    private void Compare()
    {
        if (runtime.Strayed() is { Count: > 0 } strayed)
            throw new UserException(
                ExitCode.RanksLost,
                $"behind step {state.Step} {string.Join(", ", strayed.Select(collective.NameOf))} has other weights than rank 0: its machine computes otherwise; the last good checkpoint is {LastGood()}; go on with --resume on machines of one kind");
    }

    /// <summary>Keeps what is needed to see the failure again, and goes back to the last checkpoint, unless the training is to stop.</summary>
    /// <exception cref="UserException">Exit code 7.</exception>
    private void GoBack(Failure failure)
    {
        var guard = config.Training.Guard;
        var chosen = config with { Training = config.Training with { Precision = precision.Precision } };
        string replay = (Leads ? failure.Keep(folder, chosen) : null) is { } kept ? $"; avedis replay {kept} finds the operation" : "";
        if (guard.OnNonFinite == OnNonFinite.Stop || state.Returns >= guard.Limit)
            throw new UserException(
                ExitCode.Diverged,
                $"training diverged at {failure.Describe()}; the last good checkpoint is {LastGood()}; try a smaller training.learningRate{replay}");
        var (skipped, scale, returns) = (state.Skipped, state.RateScale, state.Returns + 1);
        bool skip = guard.OnNonFinite == OnNonFinite.Skip;
        GoOnFrom(LoadPoint() is { } checkpoint ? Path.Combine(folder.CheckpointsPath, checkpoint) : null, fresh: savedStep == 0);
        state = state with { Skipped = skip ? [.. skipped, failure.Step - 1] : skipped, RateScale = skip ? scale : scale / 2, Returns = returns };
        log.WriteLine(
            $"{failure.Describe()}: back to step {state.Step}, {(skip ? $"without the batch of step {failure.Step}" : $"with learning rates times {state.RateScale}")} " +
            $"({returns} of {guard.Limit} times){replay}");
    }

    /// <summary>Weights, moments and state of a checkpoint, which rank 0 reads for all, or of a run that has not begun.</summary>
    private void GoOnFrom(string? checkpoint, bool fresh)
    {
        if (fresh)
            Begin();
        else if (Leads)
            Load(checkpoint!);
        runtime.Share();
        state = collective.Broadcast(state, "state");
        savedStep = fresh ? 0 : state.Step;
        stopping = false;
    }

    // the checkpoint to go back to, by name; null: the beginning, or another rank's affair
    private string? LoadPoint() => Leads && savedStep > 0 ? Path.GetFileName(Checkpoint.Latest(folder.CheckpointsPath)) : null;

    /// <summary>Weights, moments and state of a run that has not begun.</summary>
    private void Begin()
    {
        runtime.Network.Initialise(config.Training.Seed);
        foreach (var optimiser in runtime.Optimisers)
            optimiser.Reset();
        if (start is not null)
            carried = ModelFile.LoadStart(Path.Combine(start, "model.safetensors"), runtime, config.Training.Renew);
        state = beginning;
    }

    private bool CheckpointIsDue() => interrupt.TakeSaveRequest()
        || (Leads && failedSaves > 0 && sinceCheckpoint.Elapsed > SaveAgain)
        || (Leads && config.Training.CheckpointSeconds > 0 && sinceCheckpoint.Elapsed.TotalSeconds > config.Training.CheckpointSeconds);

    /// <summary>Saves a checkpoint that the training can do without for a while; false if that failed.</summary>
    private bool TrySave(string name, MetricsLog? metrics)
    {
        try
        {
            Save(name, metrics);
            failedSaves = 0;
            return true;
        }
        catch (UserException failure) when (failure.Code == ExitCode.DiskOrIo && failedSaves < config.Training.FailedSaves)
        {
            failedSaves++;
            sinceCheckpoint.Restart();
            log.WriteLine($"{failure.Message} (training goes on and tries again)");
            return false;
        }
    }

    private void Save(string name, MetricsLog? metrics)
    {
        // a step may spoil the weights and have had a good loss before
        if (runtime.CountNonFinite() is > 0 and var count)
            throw NotFinite($"{count} of {runtime.Network.ParameterCount} parameters are not finite", state.Step);
        bool latest = name == StepName();
        if (metrics is null)
        {
            savedStep = latest ? state.Step : savedStep;
            return;
        }
        try
        {
            metrics.Flush();
            state = state with { MetricsBytes = metrics.Bytes, PeakRssBytes = ProcessMemory.PeakRssBytes };
            Checkpoint.Save(folder.CheckpointsPath, name, path =>
            {
                ModelFile.Save(Path.Combine(path, "model.safetensors"), runtime, carried);
                ModelFile.SaveOptimisers(Path.Combine(path, "optim.safetensors"), runtime);
                File.WriteAllText(Path.Combine(path, TrainingState.ConfigFile), config.ToJson());
                state.Save(path);
            }, latest);
            if (latest)
            {
                savedStep = state.Step;
                Checkpoint.Prune(folder.CheckpointsPath, RunFolder.StepPrefix, config.Training.KeepCheckpoints);
                // only when LATEST no longer names the others
                Checkpoint.Keep(folder.CheckpointsPath, Selection.Prefix, [.. Front().Select(Selection.CheckpointName)]);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo,
                $"checkpoint {name} could not be written to {folder.CheckpointsPath}: {error.Message.TrimEnd('.')}; " +
                $"the last good one is {LastGood()}; make room, and if training ended go on with --resume", error);
        }
        sinceCheckpoint.Restart();
    }

    private void Load(string checkpoint)
    {
        var loaded = TrainingState.Load(checkpoint);
        Resumable.Check(checkpoint, config);
        if (loaded.DataHash != dataset.Hash)
            throw new UserException(ExitCode.BadCheckpoint,
                $"{checkpoint} was trained on other data than {dataset.Folder}: use the data it was trained on, or start a new run with --run");
        if (loaded.Precision != precision.Name)
            throw new UserException(ExitCode.BadCheckpoint,
                $"{checkpoint} was trained in {loaded.Precision}, this run would use {precision.Name}: add --precision {loaded.Precision}");
        carried = ModelFile.Load(Path.Combine(checkpoint, "model.safetensors"), runtime);
        ModelFile.LoadOptimisers(Path.Combine(checkpoint, "optim.safetensors"), runtime);
        state = loaded with { Device = runtime.DeviceDescription };
        savedStep = state.Step;
        log.WriteLine(state.Epoch < config.Training.Epochs
            ? $"resumed from {checkpoint}: step {state.Step}, epoch {state.Epoch + 1}"
            : $"{checkpoint} has all {state.Epoch} epochs: nothing left to train (more with --epochs)");
    }

    // of the same factors; null if it has not been scored
    private double? ScoreOf(string checkpoint)
    {
        var scores = TrainingState.Load(checkpoint).Scores;
        return config.Network.Built.All(scores.ContainsKey) ? config.Network.Built.Average(name => scores[name]) : null;
    }

    /// <exception cref="UserException">Exit code 4: the checkpoint to start from knows other classes.</exception>
    private void CheckStart(string checkpoint)
    {
        var known = TrainingState.Load(checkpoint).Factors;
        foreach (string name in config.Network.Built)
            if (known.FirstOrDefault(factor => factor.Name == name) is { } other
                && !other.Classes.SequenceEqual(dataset.Factors.FirstOrDefault(factor => factor.Name == name)?.Classes ?? other.Classes))
                throw new UserException(ExitCode.BadCheckpoint, $"{checkpoint} was trained on other classes of {name} than {dataset.Folder} has: start from a run on the same data");
    }
}
