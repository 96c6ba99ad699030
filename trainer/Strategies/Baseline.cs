using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Multitask learning without disentanglement, equation (1) of the paper: L = w_em CE(emotion) + w_spk CE(speaker), one step for trunk, embeddings and
/// heads. Auxiliary heads, if the network has them, take no part.
/// </summary>
public sealed class Baseline(TrainingOptions options, IReadOnlyList<Adam> optimisers) : Strategy
{
    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        network.Emotion!.Evaluate(options.EmotionWeight);
        network.Speaker!.Evaluate(options.SpeakerWeight);
        network.Backward();
        optimisers[0].Apply();
    }
}
