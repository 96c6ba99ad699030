using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Benchmark;

/// <summary>What avedis bench measured.</summary>
/// <param name="Device">What ran the steps: processor or GPU, libraries, threads.</param>
/// <param name="SecondsPerStep">Median.</param>
/// <param name="PeakRssBytes">Largest resident set of the process.</param>
/// <param name="ArenaBytes">Memory on the device: parameters, activations, workspace.</param>
/// <param name="Ops">The operations of a step, if they were asked for, and the log-mels of one clip.</param>
public sealed record BenchReport(
    string Device, string Machine, string Revision, string Preset, string Precision, int Batch, int Steps,
    double ClipsPerSecond, double SecondsPerStep, long PeakRssBytes, long ArenaBytes, OpRow[]? Ops = null)
{
    public string ToJson() => JsonSerializer.Serialize(this, BenchJson.Indented);

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"# Training step: {Preset}, {Precision}, {Batch} clips").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{Device}. {Machine}. Avedis {Revision}. Random clips, median of {Steps} steps.").AppendLine();
        text.AppendLine("| clips/s | s per step | on the device, MiB | peak of the process, MiB |").AppendLine("|--:|--:|--:|--:|");
        text.AppendLine(CultureInfo.InvariantCulture,
            $"| {ClipsPerSecond:G4} | {SecondsPerStep:G4} | {ArenaBytes / 1048576.0:N0} | {PeakRssBytes / 1048576.0:N0} |");
        if (Ops is not null)
            text.AppendLine().Append(OpTable.Markdown(Ops));
        return text.ToString();
    }

    /// <summary>Writes bench-PRESET-PRECISION.json and .md.</summary>
    /// <exception cref="UserException">Exit code 8: the folder cannot be written.</exception>
    public void Write(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, $"bench-{Preset}-{Precision}");
            WholeFile.Write(path + ".json", ToJson() + "\n");
            WholeFile.Write(path + ".md", ToMarkdown());
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.DiskOrIo, $"results cannot be written to {folder}: {failure.Message}", failure);
        }
    }
}

/// <summary>Times training steps on random clips in memory, so that neither data nor disk plays a part.</summary>
public static class TrainingBenchmark
{
    // the first steps touch memory for the first time, build kernels and record what is replayed
    private const int WarmUpSteps = 3;

    // a GPU that has idled takes as long to reach its clocks
    private static readonly TimeSpan warmUp = TimeSpan.FromMilliseconds(100);

    // with as many speakers as the corpora of this size have
    private const int Emotions = 5, PaperSpeakers = 1251, DemoSpeakers = 24;

    private const ulong BatchStream = 0x4245_4E43UL; // "BENC"

    /// <param name="config">Network, clips and strategy; training.batchSize, device, precision and threads count.</param>
    /// <param name="ops">Times every operation as well, in further steps that wait for nothing but are not replayed.</param>
    /// <exception cref="DeviceUnavailableException"/>
    /// <exception cref="OutOfDeviceMemoryException"/>
    /// <exception cref="DeviceFailedException"/>
    public static BenchReport Run(Config config, int steps, bool ops)
    {
        var precision = Choose(config);
        config = config with { Training = config.Training with { Precision = precision.Precision } };
        BenchReport report;
        using (var session = new Session(config, CreateBackend(config)))
        {
            double[] seconds = [.. Enumerable.Range(0, WarmUpSteps + steps).Select(_ => session.Step())];
            double median = Median(seconds.Skip(WarmUpSteps));
            int batch = config.Training.BatchSize;
            report = new BenchReport(
                session.Runtime.DeviceDescription, Machine.Describe(), Machine.Revision, config.Preset, precision.Name, batch, steps,
                batch / median, median, ProcessMemory.PeakRssBytes, session.Runtime.Memory.TotalBytes);
        }
        return ops ? report with { Ops = TimeOps(config, steps) } : report;
    }

    /// <summary>Middle value; of an even number the mean of the middle two.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    private static IBackend CreateBackend(Config config) =>
        TrainingLoop.CreateBackend(config.Training, say: null);

    private static PrecisionChoice Choose(Config config)
    {
        using var backend = CreateBackend(config);
        return Precisions.Choose(config.Training.Precision, backend);
    }

    private static OpRow[] TimeOps(Config config, int steps)
    {
        var backend = new TimingBackend(CreateBackend(config));
        using var session = new Session(config, backend);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < WarmUpSteps || Stopwatch.GetElapsedTime(start) < warmUp; i++)
        {
            session.Step();
            backend.TakeCalls();
        }
        var calls = new List<IReadOnlyList<OpCall>>();
        for (int i = 0; i < steps; i++)
        {
            session.Step();
            calls.Add(backend.TakeCalls());
        }
        return [.. OpTable.Rows(calls), TimeLogMel(config.Features, backend, steps)];
    }

    /// <summary>The log-mels of one clip, which prepare computes on a device that it is told to use.</summary>
    private static OpRow TimeLogMel(FeatureOptions features, TimingBackend backend, int times)
    {
        using var logMel = new DeviceLogMel(backend, features);
        var (clip, mels) = (new float[(int)(features.ClipSeconds * features.SampleRate)], new float[features.MelCount]);
        var calls = new List<IReadOnlyList<OpCall>>();
        for (int i = 0; i < WarmUpSteps + times; i++)
        {
            logMel.Compute(clip, mels);
            calls.Add([.. backend.TakeCalls().Where(call => call.Op == "log_mel")]);
        }
        return OpTable.Rows(calls[WarmUpSteps..]).Single() with { ShareOfStep = 0 };
    }

    /// <summary>A network in training on two batches in turn.</summary>
    private sealed class Session : IDisposable
    {
        private readonly TrainingOptions training;
        private readonly Batch[] batches;
        private int loaded;

        /// <summary>The session takes over the backend and disposes it.</summary>
        public Session(Config config, IBackend backend)
        {
            training = config.Training;
            var features = config.Features;
            int speakers = config.Preset == "paper" ? PaperSpeakers : DemoSpeakers;
            var act = new PrecisionChoice(training.Precision, null).Act;
            var shape = new NetworkShape(
                training.BatchSize, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames,
                [Factor.Numbered(Factor.Emotion, Emotions), Factor.Numbered(Factor.Speaker, speakers)], act);
            Runtime = new Runtime(backend, config.Network, shape, training);
            Runtime.Network.Initialise(training.Seed);
            batches = [RandomBatch(shape, training.Seed, 0), RandomBatch(shape, training.Seed, 1)];
            LoadNext();
        }

        public Runtime Runtime { get; }

        /// <summary>One step as the training loop takes it; its seconds.</summary>
        public double Step()
        {
            long start = Stopwatch.GetTimestamp();
            Runtime.Prepare(loaded, progress: 1, _ => double.NaN);
            Runtime.Advance(training.LearningRate, training.AuxiliaryLearningRate);
            Runtime.TrainStep();
            LoadNext();
            Runtime.ReadLosses();
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        public void Dispose() => Runtime.Dispose();

        private void LoadNext() => Runtime.Load(batches[loaded++ % batches.Length]);
    }

    /// <summary>Clips of full length: uniform pixels, normal log-mels, any labels.</summary>
    internal static Batch RandomBatch(NetworkShape shape, ulong seed, uint number)
    {
        var random = new Philox(seed, BatchStream << 32 | number);
        var batch = new Batch(shape.Batch, shape.FaceFrames, shape.FaceSize, shape.MelBins, shape.MelFrames, shape.Factors.Count) { Count = shape.Batch };
        for (int i = 0; i < batch.Faces.Length; i++)
            batch.Faces[i] = (byte)random.NextUInt();
        for (int i = 0; i < batch.Mels.Length; i++)
            batch.Mels[i] = (float)random.NextGaussian();
        for (int n = 0; n < shape.Batch; n++)
            for (int factor = 0; factor < shape.Factors.Count; factor++)
                batch.Labels[factor][n] = random.Next(shape.Factors[factor].Classes.Count);
        Array.Fill(batch.FaceLengths, shape.FaceFrames);
        Array.Fill(batch.MelLengths, shape.MelFrames);
        Array.Fill(batch.Weights, 1f);
        return batch;
    }
}
