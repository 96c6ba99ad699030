using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>Mean cross-entropy of each task over a batch, before the weights of the total; NaN where a task is not trained.</summary>
public readonly record struct StepLosses(float Emotion, float Speaker)
{
    /// <summary>Finite exactly if all losses are.</summary>
    public float Sum => (float.IsNaN(Emotion) ? 0 : Emotion) + (float.IsNaN(Speaker) ? 0 : Speaker);
}

/// <summary>
/// A network on a device, planned and ready: trains batches if it was built with a strategy, predicts them in any case. Owns the device.
/// <para>
/// A training step is <see cref="Load"/>, <see cref="TrainStep"/>, which only queues it, and <see cref="Losses"/>, which waits for it. The next batch may be
/// loaded before the losses are read, so that its transfer overlaps the step.
/// </para>
/// </summary>
public sealed class Runtime : IDisposable
{
    private readonly Device device;
    private readonly Strategy? strategy;
    private readonly float[] emotionClassWeights;
    private readonly float[] losses;
    private readonly Tensor nonFinite;
    private readonly Action train, evaluate;

    /// <param name="training">null for a runtime that only predicts; it plans far less memory.</param>
    /// <param name="emotionClassWeights">One per emotion, or empty for all 1.</param>
    /// <exception cref="OutOfDeviceMemoryException">The message says how large a batch would fit.</exception>
    public Runtime(
        IBackend backend, NetworkOptions options, NetworkShape shape, TrainingOptions? training, IReadOnlyList<float> emotionClassWeights)
    {
        device = new Device(backend);
        try
        {
            Network = new TwoStreamNetwork(device, options, shape);
            nonFinite = device.Persistent("nonFinite", new Shape(1), DType.I32);
            evaluate = Evaluate;
            train = () => strategy!.Step(Network);
            this.emotionClassWeights = [.. emotionClassWeights];
            losses = new float[shape.Batch];
            EmotionProbabilities = new float[shape.Batch * (Network.Emotion?.Classes ?? 0)];
            SpeakerProbabilities = new float[shape.Batch * (Network.Speaker?.Classes ?? 0)];

            var blank = new Batch(shape.Batch, shape.FaceFrames, shape.FaceSize, shape.MelBins, shape.MelFrames);
            if (training is null)
            {
                device.Plan(() => Predict(blank));
            }
            else
            {
                Optimisers = [.. Network.Groups.Select(g => new Adam(device, g, new AdamOptions()))];
                strategy = Strategy.Create(training, Network, Optimisers);
                device.Plan(() => Train(blank), () => Predict(blank));
            }
        }
        catch (OutOfDeviceMemoryException failure) when (device.Memory is { } plan)
        {
            string message = TooLarge(plan, shape.Batch, device.Ops.FreeMemory);
            device.Dispose();
            throw new OutOfDeviceMemoryException(message, failure);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    public TwoStreamNetwork Network { get; }

    /// <summary>One for each of the network's groups; empty in a runtime that only predicts.</summary>
    public IReadOnlyList<Adam> Optimisers { get; } = [];

    public MemoryPlan Memory => device.Memory!;

    public string DeviceDescription => device.Description;

    /// <summary>[batch, emotions] of the last <see cref="Predict"/>; empty without that task.</summary>
    public float[] EmotionProbabilities { get; }

    /// <summary>[batch, speakers] of the last <see cref="Predict"/>; empty without that task.</summary>
    public float[] SpeakerProbabilities { get; }

    /// <summary>Moves the optimisers' schedules on by one step at these rates, one per group.</summary>
    public void Advance(params ReadOnlySpan<double> rates)
    {
        for (int i = 0; i < Optimisers.Count; i++)
            Optimisers[i].Advance(rates[i]);
        Network.BatchesTracked++;
    }

    /// <summary>Sends a batch for the next <see cref="TrainStep"/>; until then, no <see cref="Predict"/>. The batch may be reused on return.</summary>
    public void Load(Batch batch) => Network.Load(batch, emotionClassWeights);

    /// <summary>Queues one training step of the loaded batch; call <see cref="Advance"/> before.</summary>
    public void TrainStep() => device.Replay("train", train);

    /// <summary>Losses of the last training step; waits for it.</summary>
    public StepLosses Losses() => new(SumOfLosses(Network.Emotion), SumOfLosses(Network.Speaker));

    /// <summary>Elements of all parameters that are NaN or infinite.</summary>
    public long CountNonFinite()
    {
        long total = 0;
        var count = new int[1];
        foreach (var group in Network.Groups)
        {
            device.Ops.CountNonFinite(nonFinite, group.Values);
            device.Ops.Download<int>(count, nonFinite);
            total += count[0];
        }
        return total;
    }

    /// <summary>Evaluation-mode forward; fills the probabilities.</summary>
    public void Predict(Batch batch)
    {
        Load(batch);
        device.Replay("predict", evaluate);
        if (Network.Emotion is { } emotion)
            device.Ops.Download<float>(EmotionProbabilities, emotion.Probabilities);
        if (Network.Speaker is { } speaker)
            device.Ops.Download<float>(SpeakerProbabilities, speaker.Probabilities);
    }

    /// <summary>Copies a tensor to the host; waits for queued work.</summary>
    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
        return values;
    }

    public void Write(Tensor tensor, ReadOnlySpan<float> values) => device.Ops.Upload(tensor, values);

    public void Dispose() => device.Dispose();

    private void Train(Batch batch)
    {
        Load(batch);
        TrainStep();
        Losses();
    }

    private void Evaluate()
    {
        Network.Forward(Phase.Evaluation);
        foreach (var branch in Network.Branches)
            branch.Evaluate(1);
    }

    // what a clip takes is taken as proportional to the batch; parameters and state are needed once
    private static string TooLarge(MemoryPlan plan, int batch, long free)
    {
        double perClip = (double)(plan.TotalBytes - plan.PersistentBytes) / batch;
        long clips = Math.Min(batch - 1, (long)Math.Floor((free - plan.PersistentBytes) / perClip));
        string advice = clips > 0
            ? $"about {clips} clips fit (--batch-size {clips})"
            : "not one clip fits: the preset is too large for this device";
        return $"out of memory: a batch of {batch} needs {plan.TotalBytes / 1048576.0:N0} MiB, the device has {free / 1048576.0:N0} MiB free; {advice}";
    }

    private float SumOfLosses(Branch? branch)
    {
        if (branch is null)
            return float.NaN;
        device.Ops.Download<float>(losses, branch.Loss);
        float sum = 0;
        foreach (float loss in losses)
            sum += loss;
        return sum;
    }
}
