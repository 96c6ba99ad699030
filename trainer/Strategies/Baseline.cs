using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Multitask learning without disentanglement, equation (1) of the paper: L = w_em CE(emotion) + w_spk CE(speaker), one step for trunk, embeddings and
/// heads. Auxiliary heads, if the network has them, take no part.
/// </summary>
public sealed class Baseline : Strategy
{
    private readonly TrainingOptions options;
    private readonly IReadOnlyList<Adam> optimisers;

    /// <exception cref="UserException">The network has one branch only.</exception>
    public Baseline(TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers)
    {
        if (network.Branches.Count != 2)
            throw new UserException(ExitCode.Usage, "strategy baseline trains both tasks: set network.tasks to both, or take strategy stl");
        (this.options, this.optimisers) = (options, optimisers);
    }

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        network.Emotion!.Evaluate(options.EmotionWeight);
        network.Speaker!.Evaluate(options.SpeakerWeight);
        network.Backward();
        optimisers[0].Apply();
    }
}
