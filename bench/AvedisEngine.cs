using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Bench;

/// <summary>
/// Avedis as an engine under test: the other side of <see cref="EngineProcess"/>, and the counterpart of bench/peers/pytorch/step.py. Multitask training
/// without auxiliary heads, from golden weights, on golden batches 0, 1, 0, ...
/// </summary>
public sealed class AvedisEngine : IDisposable
{
    private const int FingerprintSteps = 3;

    private readonly Runtime runtime;
    private readonly TrainingOptions training;
    private readonly Batch[] batches;
    private int loaded;

    /// <summary>The engine takes over the backend and disposes it.</summary>
    public AvedisEngine(IBackend backend, Workload workload, Precision precision)
    {
        var size = workload.Size;
        training = TrainingOptions.Paper with { Strategy = "baseline" };
        runtime = new Runtime(backend, workload.Network, workload.Shape(new PrecisionChoice(precision, null).Act), training);
        runtime.Network.Initialise(seed: 0); // running statistics; the parameters are overwritten
        foreach (var (parameter, values) in GoldenWeights(runtime.Network))
            runtime.Write(parameter.Value, values);
        batches = [.. Enumerable.Range(0, 2).Select(number => GoldenBatch(number, size))];
        LoadNext();
    }

    /// <summary>The device in the mode that a precision of the command line (fp32, tf32, bf16) asks of it.</summary>
    /// <exception cref="DeviceUnavailableException"/>
    public static IBackend Open(string device, int threads, string precision) => BackendFactory.Create(device, threads, tf32: precision == "tf32");

    /// <summary>What that precision stores activations as: tf32 differs from fp32 in the multiplications only.</summary>
    public static Precision Activations(string precision) => precision == "bf16" ? Precision.Bf16 : Precision.Fp32;

    /// <summary>Largest resident set of this process; on a GPU what the network's plan takes there.</summary>
    private long PeakBytes(string device) => device == "cpu" ? ProcessMemory.PeakRssBytes : runtime.Memory.TotalBytes;

    /// <summary>Every parameter of a network with its golden values, in the engine's layout.</summary>
    public static IEnumerable<(Parameter Parameter, float[] Values)> GoldenWeights(TwoStreamNetwork network)
    {
        var parameters = network.Groups.SelectMany(group => group.Parameters).ToDictionary(p => p.Name);
        foreach (var (name, parameter) in parameters)
        {
            // a bias is as wide as its layer's weight
            var weight = parameters[Path.ChangeExtension(name, "weight")].Shape;
            float[] values = GoldenFormula.Parameter(name, parameter.Shape.Count, (int)(weight.Count / weight[0]));
            yield return (parameter, PyTorchLayout.FromFile(parameter.Shape, values));
        }
    }

    /// <summary>Golden batch with all clips at full length.</summary>
    public static Batch GoldenBatch(int number, in GoldenBatchSize size)
    {
        var batch = new Batch(size.Clips, size.Frames, size.Pixels, size.Mels, size.MelSteps, factors: 2) { Count = size.Clips };
        GoldenFormula.Faces(number, size).CopyTo(batch.Faces, 0);
        GoldenFormula.Mels(number, size).CopyTo(batch.Mels, 0);
        GoldenFormula.EmotionLabels(number, size).CopyTo(batch.Labels[0], 0);
        GoldenFormula.SpeakerLabels(number, size).CopyTo(batch.Labels[1], 0);
        Array.Fill(batch.FaceLengths, size.Frames);
        Array.Fill(batch.MelLengths, size.MelSteps);
        Array.Fill(batch.Weights, 1f);
        return batch;
    }

    /// <summary>One training step, and meanwhile the transfer of the next batch: its total loss and seconds.</summary>
    public (double Loss, double Seconds) Step()
    {
        var watch = Stopwatch.StartNew();
        runtime.Advance(training.LearningRate, training.AuxiliaryLearningRate);
        runtime.TrainStep();
        LoadNext();
        runtime.ReadLosses();
        double total = runtime.Network.Branches.Zip(runtime.LossValues, (branch, loss) => branch.Weight * loss).Sum();
        return (total, watch.Elapsed.TotalSeconds);
    }

    /// <summary>Speaks the protocol of <see cref="EngineProcess"/> until the input ends.</summary>
    /// <exception cref="DeviceUnavailableException"/>
    public static void Serve(string device, Workload workload, string precision, int threads, TextReader input, TextWriter output)
    {
        var backend = Open(device, threads, precision);
        using var engine = new AvedisEngine(backend, workload, Activations(precision));
        double[] losses = [.. Enumerable.Range(0, FingerprintSteps).Select(_ => engine.Step().Loss)];
        var report = new EngineReport(
            "avedis", Machine.Revision, workload.Preset, precision, workload.Clips, threads, losses, engine.PeakBytes(device),
            PlannedBytes: engine.runtime.Memory.TotalBytes,
            FlopsDone: backend is CpuBackend processor
                ? StepArithmetic.FlopsDone(workload, processor, precision == "bf16" ? DType.BF16 : DType.F32)
                : null);
        output.WriteLine(JsonSerializer.Serialize(report, BenchJson.Options));
        while (input.ReadLine() is { } line)
        {
            double[] seconds = [.. Enumerable.Range(0, int.Parse(line, CultureInfo.InvariantCulture)).Select(_ => engine.Step().Seconds)];
            output.WriteLine(JsonSerializer.Serialize(new Timing(seconds, engine.PeakBytes(device)), BenchJson.Options));
        }
    }

    public void Dispose() => runtime.Dispose();

    private void LoadNext() => runtime.Load(batches[loaded++ % batches.Length]);
}
