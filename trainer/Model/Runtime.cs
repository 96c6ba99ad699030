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
/// </summary>
public sealed class Runtime : IDisposable
{
    private readonly Device device;
    private readonly Strategy? strategy;
    private readonly float[] emotionClassWeights;
    private readonly float[] losses;

    /// <param name="training">null for a runtime that only predicts; it plans far less memory.</param>
    /// <param name="emotionClassWeights">One per emotion, or empty for all 1.</param>
    public Runtime(
        IBackend backend, NetworkOptions options, NetworkShape shape, TrainingOptions? training, IReadOnlyList<float> emotionClassWeights)
    {
        device = new Device(backend);
        try
        {
            Network = new TwoStreamNetwork(device, options, shape);
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
                device.Plan(() => TrainStep(blank), () => Predict(blank));
            }
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

    /// <summary>One training step; call <see cref="Advance"/> before.</summary>
    public StepLosses TrainStep(Batch batch)
    {
        Network.Load(batch, emotionClassWeights);
        strategy!.Step(Network);
        return new StepLosses(SumOfLosses(Network.Emotion), SumOfLosses(Network.Speaker));
    }

    /// <summary>Evaluation-mode forward; fills the probabilities.</summary>
    public void Predict(Batch batch)
    {
        Network.Load(batch, emotionClassWeights);
        Network.Forward(Phase.Evaluation);
        foreach (var branch in Network.Branches)
            branch.Evaluate(1);
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
