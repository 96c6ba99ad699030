using Avedis.Bench;
using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Tests;

/// <summary>A network with golden weights on golden batches, on any backend and in any setting.</summary>
internal sealed class GoldenRig : IDisposable
{
    /// <summary>Evaluates exactly the golden case: all four losses where the network has auxiliary heads.</summary>
    private sealed class GoldenStrategy(GoldenSetting setting, IReadOnlyList<Adam> optimisers, bool auxiliary)
    {
        public bool ApplyOptimisers { get; set; }

        public void Step(TwoStreamNetwork network)
        {
            network.Forward(Phase.Training);
            network.Emotion!.Evaluate(setting.PrimaryWeight);
            network.Speaker!.Evaluate(setting.PrimaryWeight);
            if (auxiliary)
            {
                network.Emotion.EvaluateAuxiliary(network.Speaker, setting.AuxiliaryWeight);
                network.Speaker.EvaluateAuxiliary(network.Emotion, setting.AuxiliaryWeight);
            }
            network.Backward(auxiliary);
            if (ApplyOptimisers)
                foreach (var optimiser in optimisers)
                    optimiser.Apply();
        }
    }

    private readonly GoldenSetting setting;
    private readonly Device device;
    private readonly GoldenStrategy strategy;
    private readonly float[] loss;

    public GoldenRig(IBackend backend, GoldenSetting setting, bool auxiliary, DType act)
    {
        this.setting = setting;
        var s = setting;
        device = new Device(backend);
        var options = new NetworkOptions
        {
            FaceChannels = s.FaceChannels,
            VoiceChannels = s.VoiceChannels,
            EmotionEmbedding = s.EmotionWidth,
            SpeakerEmbedding = s.SpeakerWidth,
            Auxiliary = auxiliary,
        };
        Network = new TwoStreamNetwork(device, options, new NetworkShape(s.Clips, s.Frames, s.Pixels, s.Mels, s.MelSteps, s.Emotions, s.Speakers, act));
        Optimisers = [.. Network.Groups.Select(g => new Adam(device, g, new AdamOptions()))];
        strategy = new GoldenStrategy(s, Optimisers, auxiliary) { ApplyOptimisers = true };
        loss = new float[s.Clips];
        device.Plan(() => { Load(s.Batch); strategy.Step(Network); ReadAll(); }, () => { Evaluate(); ReadAll(); });
        strategy.ApplyOptimisers = false;
        Network.Initialise(1);
        foreach (var (parameter, values) in AvedisEngine.GoldenWeights(Network))
            device.Ops.Upload<float>(parameter.Value, values);
        if (auxiliary)
            foreach (var branch in Network.Branches)
                branch.SetLambda(s.Reversal);
    }

    public TwoStreamNetwork Network { get; }

    public IReadOnlyList<Adam> Optimisers { get; }

    public void Load(int number)
    {
        var s = setting;
        var batch = AvedisEngine.GoldenBatch(number, s.Size);
        s.FaceLengths.CopyTo(batch.FaceLengths, 0);
        s.MelLengths.CopyTo(batch.MelLengths, 0);
        Network.Load(batch, []);
    }

    /// <summary>One step; the optimisers move only if asked.</summary>
    public void Step(bool optimise = false)
    {
        strategy.ApplyOptimisers = optimise;
        if (optimise)
            for (int i = 0; i < Optimisers.Count; i++)
                Optimisers[i].Advance(i == 0 ? setting.Rate : setting.AuxiliaryRate);
        strategy.Step(Network);
    }

    public void Evaluate()
    {
        Load(setting.Batch);
        Network.Forward(Phase.Evaluation);
    }

    public float[] Read(Tensor tensor)
    {
        var values = new float[tensor.Count];
        device.Ops.Download<float>(values, tensor);
        return PyTorchLayout.ToFile(tensor.Shape, values);
    }

    public double Sum(Tensor tensor)
    {
        device.Ops.Download<float>(loss, tensor);
        return loss.Sum(l => (double)l);
    }

    /// <summary>The weighted sum of all losses of the last step.</summary>
    public double TotalLoss() => Network.Branches.Sum(branch =>
        setting.PrimaryWeight * Sum(branch.Loss) + (branch.AuxiliaryLoss is { } auxiliary ? setting.AuxiliaryWeight * Sum(auxiliary) : 0));

    public void Dispose() => device.Dispose();

    // what the tests read stays alive to the end of the step
    private void ReadAll()
    {
        foreach (var branch in Network.Branches)
            foreach (var tensor in new[] { branch.Embedding, branch.Logits, branch.Loss, branch.AuxiliaryLoss }.OfType<Tensor>())
                Read(tensor);
    }
}
