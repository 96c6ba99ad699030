using Avedis.Bench;
using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;

namespace Avedis.Tests;

/// <summary>A network with golden weights on golden batches, on any backend, trained by any strategy.</summary>
internal sealed class GoldenRig : IDisposable
{
    /// <summary>Shows each group's gradients before its optimiser takes them, and lets the optimisers be held back.</summary>
    private sealed class OptimiserWatch(IBackend inner) : WatchedBackend(inner)
    {
        public Action<Tensor> BeforeAdam { get; set; } = _ => { };

        public bool OptimisersRest { get; set; }

        protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
        {
            bool adam = operation.Name == "adam";
            if (adam)
                BeforeAdam(tensors[0]!);
            if (!adam || !OptimisersRest)
                call();
        }
    }

    private readonly GoldenSetting setting;
    private readonly Device device;
    private readonly OptimiserWatch watch;
    private readonly Strategy strategy;
    private readonly TrainingOptions training;
    private readonly float[] loss;
    private long steps;

    public GoldenRig(IBackend backend, GoldenSetting setting, string strategy, DType act)
    {
        this.setting = setting;
        var s = setting;
        watch = new OptimiserWatch(backend);
        device = new Device(watch);
        FactorOptions Factor(int width, string other) => new()
        {
            Embedding = width, Weight = s.PrimaryWeight, Forget = new Dictionary<string, float> { [other] = s.AuxiliaryWeight },
        };
        var options = new NetworkOptions
        {
            FaceChannels = s.FaceChannels,
            VoiceChannels = s.VoiceChannels,
            Factors = new Dictionary<string, FactorOptions> { ["emotion"] = Factor(s.EmotionWidth, "speaker"), ["speaker"] = Factor(s.SpeakerWidth, "emotion") },
        };
        training = new TrainingOptions
        {
            Strategy = strategy, LearningRate = s.Rate, AuxiliaryLearningRate = s.AuxiliaryRate, Adversary = new() { Strength = s.Reversal },
        };
        var shape = new NetworkShape(
            s.Clips, s.Frames, s.Pixels, s.Mels, s.MelSteps,
            [Avedis.Trainer.Data.Factor.Numbered("emotion", s.Emotions), Avedis.Trainer.Data.Factor.Numbered("speaker", s.Speakers)], act);
        Network = new TwoStreamNetwork(device, options, shape, new NetworkParts(Strategy.PassesOf(training), false, []));
        Optimisers = Strategy.Optimisers(training, device, Network);
        this.strategy = Strategy.Create(training, device, Network, Optimisers);
        loss = new float[s.Clips];
        device.Plan(() => { Load(s.Batch); this.strategy.Step(Network); ReadAll(); }, () => { Evaluate(); ReadAll(); });
        Network.Initialise(1);
        foreach (var (parameter, values) in AvedisEngine.GoldenWeights(Network))
            device.Ops.Upload<float>(parameter.Value, values);
        watch.BeforeAdam = values =>
        {
            foreach (var p in Network.Groups.First(group => group.Values == values).Parameters)
                Gradients[p.Name] = Read(p.Gradient);
        };
    }

    public TwoStreamNetwork Network { get; }

    public IReadOnlyList<Adam> Optimisers { get; }

    /// <summary>By parameter, in PyTorch's order, as the optimisers found them in the last step.</summary>
    public Dictionary<string, float[]> Gradients { get; } = [];

    public void Load(int number)
    {
        var s = setting;
        var batch = AvedisEngine.GoldenBatch(number, s.Size);
        s.FaceLengths.CopyTo(batch.FaceLengths, 0);
        s.MelLengths.CopyTo(batch.MelLengths, 0);
        Network.Load(batch);
    }

    /// <param name="optimise">Lets the parameters move.</param>
    public void Step(bool optimise)
    {
        watch.OptimisersRest = !optimise;
        for (int i = 0; i < Optimisers.Count; i++)
            Optimisers[i].Advance(i == 0 ? training.LearningRate : training.AuxiliaryLearningRate);
        strategy.Prepare(steps++, progress: 0, _ => double.NaN);
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

    /// <summary>The weighted sum of all cross-entropies of the last step.</summary>
    public double TotalLoss() => PrimaryLoss() + Network.Auxiliary.Sum(head => setting.AuxiliaryWeight * Sum(head.Loss));

    /// <summary>The same without the auxiliary heads.</summary>
    public double PrimaryLoss() => Network.Branches.Sum(branch => setting.PrimaryWeight * Sum(branch.Loss));

    public void Dispose() => device.Dispose();

    // what the tests read stays alive to the end of the step
    private void ReadAll()
    {
        foreach (var branch in Network.Branches)
            foreach (var tensor in new[] { branch.Embedding, branch.Logits, branch.Loss })
                Read(tensor);
        foreach (var head in Network.Auxiliary)
            Read(head.Loss);
    }
}
