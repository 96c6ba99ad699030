using System.Diagnostics;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Training;

/// <summary>
/// Trains a network epoch by epoch: batches in an order that is a pure function of seed, epoch and position, a strategy step each, validation and a
/// checkpoint after each epoch, the best kept apart. Stops on request with a checkpoint; a resumed run continues bit for bit.
/// </summary>
public sealed class TrainingLoop : IDisposable
{
    private const int LogEverySteps = 10;

    private readonly Config config;
    private readonly PreparedDataset dataset;
    private readonly RunFolder folder;
    private readonly TextWriter log;
    private readonly Interrupt interrupt;
    private readonly Runtime runtime;
    private readonly string precision;
    private readonly Stopwatch sinceCheckpoint = Stopwatch.StartNew();
    private TrainingState state;

    public TrainingLoop(Config config, PreparedDataset dataset, RunFolder folder, TextWriter log, Interrupt interrupt, bool resume)
        : this(config, dataset, folder, log, interrupt, resume, CreateBackend(config.Training, log))
    {
    }

    /// <summary>The loop takes over the backend and disposes it.</summary>
    internal TrainingLoop(
        Config config, PreparedDataset dataset, RunFolder folder, TextWriter log, Interrupt interrupt, bool resume, IBackend backend)
    {
        (this.config, this.dataset, this.folder, this.log, this.interrupt) = (config, dataset, folder, log, interrupt);
        var training = config.Training;
        var act = Precisions.Resolve(training.Precision, backend);
        precision = Precisions.Name(training.Precision, act);
        var features = dataset.Features;
        var shape = new NetworkShape(
            training.BatchSize, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames,
            dataset.Emotions.Count, dataset.Speakers.Count, act);
        runtime = new Runtime(backend, config.Network, shape, training, EmotionClassWeights());
        log.WriteLine($"device: {runtime.DeviceDescription}, {precision}");
        log.WriteLine($"network: {runtime.Network.ParameterCount:N0} parameters; {runtime.Memory}");

        state = new TrainingState
        {
            Emotions = dataset.Emotions,
            Speakers = dataset.Speakers,
            DataHash = dataset.Hash,
            Precision = precision,
            Device = runtime.DeviceDescription,
        };
        Directory.CreateDirectory(folder.CheckpointsPath);
        if (resume)
            Load(folder.Resolve("latest"));
        else
            runtime.Network.Initialise(training.Seed);
        File.WriteAllText(folder.ConfigPath, config.ToJson());
    }

    /// <returns>The state at the end; the caller looks at the interrupt for an early one.</returns>
    /// <exception cref="UserException">Exit codes 7 to 9: training diverged, a checkpoint could not be written, the device failed.</exception>
    public TrainingState Run()
    {
        try
        {
            return TrainEpochs();
        }
        catch (DeviceFailedException failure)
        {
            throw new UserException(
                ExitCode.DeviceFailed, $"{failure.Message}; the last good checkpoint is {LastGood()}; go on with --resume", failure);
        }
    }

    public void Dispose() => runtime.Dispose();

    private TrainingState TrainEpochs()
    {
        var training = config.Training;
        using var metrics = new MetricsLog(folder.MetricsPath, state.MetricsBytes);
        using var loader = BatchLoader.ForTraining(dataset, training.BatchSize, training.Seed, state.Epoch, state.Position);
        int steps = loader.BatchesPerEpoch;
        while (state.Epoch < training.Epochs && !interrupt.Requested && !LimitReached())
        {
            if (!TrainEpoch(loader, steps, metrics))
            {
                Save(StepName(), metrics);
                log.WriteLine($"stopped at step {state.Step}: checkpoint saved, go on with --resume");
                return state;
            }
            bool better = Validate(metrics);
            state = state with { Epoch = state.Epoch + 1, Position = 0, EmotionLossSum = 0, SpeakerLossSum = 0 };
            Save(StepName(), metrics);
            if (better)
                Save("best", metrics);
            if (training.Patience > 0 && state.Epoch - 1 - state.BestEpoch >= training.Patience)
            {
                log.WriteLine($"stopped early: no better validation score in {training.Patience} epochs");
                break;
            }
        }
        return state;
    }

    private static IBackend CreateBackend(TrainingOptions training, TextWriter log) =>
        BackendFactory.Create(training.Device, training.Threads, training.Precision == Precision.Tf32, log.WriteLine);

    private bool LimitReached(int ahead = 0) => config.Training.MaxSteps > 0 && state.Step + ahead >= config.Training.MaxSteps;

    private string StepName() => $"step-{state.Step:D8}";

    /// <summary>Trains the rest of the current epoch; false if it was stopped on the way.</summary>
    private bool TrainEpoch(BatchLoader loader, int steps, MetricsLog metrics)
    {
        var training = config.Training;
        double decay = Math.Pow(training.Decay, state.Epoch);
        var progress = new Progress(log, $"epoch {state.Epoch + 1}/{training.Epochs}", "clips", terminal: log == Console.Out && !Console.IsOutputRedirected);
        long before = (long)state.Position * training.BatchSize;
        var clock = Stopwatch.StartNew();
        double waited = loader.WaitSeconds;
        int first = state.Position;
        bool loaded = false;
        while (state.Position < steps)
        {
            if (interrupt.Requested || LimitReached())
            {
                progress.End();
                return false;
            }
            if (!loaded)
                LoadNext(loader);
            runtime.Advance(training.LearningRate * decay, training.AuxiliaryLearningRate * decay);
            runtime.TrainStep();
            // the next batch is sent while the device works on this one
            loaded = state.Position + 1 < steps && !interrupt.Requested && !LimitReached(ahead: 1);
            if (loaded)
                LoadNext(loader);
            var losses = runtime.Losses();
            if (!float.IsFinite(losses.Sum))
                throw Diverged($"emotion loss {losses.Emotion}, speaker loss {losses.Speaker}", state.Step + 1);
            state = state with
            {
                Step = state.Step + 1,
                Position = state.Position + 1,
                EmotionLossSum = state.EmotionLossSum + losses.Emotion,
                SpeakerLossSum = state.SpeakerLossSum + losses.Speaker,
                EmotionWindowSum = state.EmotionWindowSum + losses.Emotion,
                SpeakerWindowSum = state.SpeakerWindowSum + losses.Speaker,
                WindowBatches = state.WindowBatches + 1,
            };
            double clips = (double)(state.Position - first) * training.BatchSize / clock.Elapsed.TotalSeconds;
            if (state.Step % LogEverySteps == 0)
            {
                metrics.Write(new MetricsRecord
                {
                    Step = state.Step,
                    Epoch = state.Epoch,
                    EmotionLoss = Finite(state.EmotionWindowSum / state.WindowBatches),
                    SpeakerLoss = Finite(state.SpeakerWindowSum / state.WindowBatches),
                    LearningRate = training.LearningRate * decay,
                    ClipsPerSecond = clips,
                    WaitShare = (loader.WaitSeconds - waited) / clock.Elapsed.TotalSeconds,
                });
                state = state with { EmotionWindowSum = 0, SpeakerWindowSum = 0, WindowBatches = 0 };
            }
            state = state with { TrainClipsPerSecond = clips };
            progress.Report((long)state.Position * training.BatchSize, (long)steps * training.BatchSize, before, LossNote());
            if (training.CheckpointSeconds > 0 && sinceCheckpoint.Elapsed.TotalSeconds > training.CheckpointSeconds && state.Position < steps)
                Save(StepName(), metrics);
        }
        return true;
    }

    private void LoadNext(BatchLoader loader)
    {
        if (!loader.TryNext(out var batch))
            throw new InvalidOperationException("the training loader ended");
        runtime.Load(batch);
        loader.Return(batch);
    }

    /// <summary>Scores the validation split; true if it is the best so far. Without such a split every epoch is.</summary>
    private bool Validate(MetricsLog metrics)
    {
        using var loader = BatchLoader.ForEvaluation(dataset, Split.Validation, config.Training.BatchSize);
        if (loader.BatchesPerEpoch == 0)
        {
            state = state with { BestEpoch = state.Epoch };
            return true;
        }
        var result = Evaluator.Run(runtime, loader);
        long peak = ProcessMemory.PeakRssBytes;
        metrics.Write(new MetricsRecord
        {
            Step = state.Step,
            Epoch = state.Epoch,
            Split = "validation",
            EmotionMacroF1 = result.Emotion?.MacroF1,
            EmotionAccuracy = result.Emotion?.Accuracy,
            SpeakerAccuracy = result.Speaker?.Accuracy,
            ClipsPerSecond = state.TrainClipsPerSecond,
            PeakRssBytes = peak,
        });
        log.WriteLine($"  validation: {Scores(result)}");
        bool better = result.Score > state.BestScore;
        state = state with
        {
            PeakRssBytes = peak,
            BestScore = better ? result.Score : state.BestScore,
            BestEpoch = better ? state.Epoch : state.BestEpoch,
        };
        return better;
    }

    private static string Scores(EvaluationResult result) => string.Join(", ", new[]
    {
        result.Emotion is { } e ? $"emotion macro-F {e.MacroF1:F3} (majority {e.MajorityMacroF1:F3})" : null,
        result.Speaker is { } s ? $"speaker accuracy {s.Accuracy:F3} (chance {1.0 / s.Classes:F3})" : null,
    }.OfType<string>());

    private string LossNote() => string.Join(", ", new[]
    {
        runtime.Network.Emotion is null ? null : $"emotion loss {state.EmotionLossSum / state.Position:F3}",
        runtime.Network.Speaker is null ? null : $"speaker loss {state.SpeakerLossSum / state.Position:F3}",
    }.OfType<string>());

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

    private string LastGood() => Checkpoint.Latest(folder.CheckpointsPath) ?? "none";

    private UserException Diverged(string what, long step) => new(
        ExitCode.Diverged,
        $"training diverged at step {step}: {what}; the last good checkpoint is {LastGood()}; try a smaller training.learningRate");

    private void Save(string name, MetricsLog metrics)
    {
        // a step may spoil the weights and have had a good loss before
        if (runtime.CountNonFinite() is > 0 and var count)
            throw Diverged($"{count} of {runtime.Network.ParameterCount} parameters are not finite", state.Step);
        state = state with { MetricsBytes = metrics.Bytes, PeakRssBytes = ProcessMemory.PeakRssBytes };
        try
        {
            Checkpoint.Save(folder.CheckpointsPath, name, path =>
            {
                ModelFile.Save(Path.Combine(path, "model.safetensors"), runtime);
                ModelFile.SaveOptimisers(Path.Combine(path, "optim.safetensors"), runtime);
                File.WriteAllText(Path.Combine(path, "config.json"), config.ToJson());
                state.Save(path);
            }, latest: name != "best");
            Checkpoint.Prune(folder.CheckpointsPath, "step-", config.Training.KeepCheckpoints);
        }
        catch (IOException error)
        {
            throw new UserException(ExitCode.DiskOrIo,
                $"checkpoint {name} could not be written to {folder.CheckpointsPath}: {error.Message} " +
                $"The last good one is {LastGood()}; make room and go on with --resume", error);
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
        if (loaded.Precision != precision)
            throw new UserException(ExitCode.BadCheckpoint,
                $"{checkpoint} was trained in {loaded.Precision}, this run would use {precision}: add --precision {loaded.Precision}");
        ModelFile.Load(Path.Combine(checkpoint, "model.safetensors"), runtime);
        ModelFile.LoadOptimisers(Path.Combine(checkpoint, "optim.safetensors"), runtime);
        state = loaded with { Device = runtime.DeviceDescription };
        log.WriteLine(state.Epoch < config.Training.Epochs
            ? $"resumed from {checkpoint}: step {state.Step}, epoch {state.Epoch + 1}"
            : $"{checkpoint} has all {state.Epoch} epochs: nothing left to train (more with --epochs)");
    }

    /// <summary>One weight per emotion class from its count in the training split; mean over clips 1.</summary>
    private float[] EmotionClassWeights()
    {
        if (config.Training.ClassWeights == ClassWeights.None)
            return [];
        var counts = new long[dataset.Emotions.Count];
        foreach (var clip in dataset.Clips(Split.Train))
            if (clip.Emotion >= 0)
                counts[clip.Emotion]++;
        double power = config.Training.ClassWeights == ClassWeights.Balanced ? 1 : 0.5;
        return [.. counts.Select(c => c == 0 ? 0 : (float)Math.Pow((double)counts.Sum() / (counts.Length * c), power))];
    }
}
