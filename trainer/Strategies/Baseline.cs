using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Multitask learning without disentanglement, equation (1) of the paper: the weighted sum of the factors' cross-entropies, one step for trunk, embeddings
/// and heads. Auxiliary heads, if there are any, only watch: they learn from the embeddings and give nothing back.
/// </summary>
public sealed class Baseline(TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) : Strategy
{
    private readonly AuxiliaryTraining watching = new(network, optimisers);

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        network.Evaluate();
        watching.Learn(updates: 1);
        network.Backward();
        optimisers[0].Apply();
    }
}
