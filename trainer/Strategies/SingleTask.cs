using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Single-task learning: one embedding, one head, its plain cross-entropy. The paper's yardstick for what the second task adds.
/// </summary>
public sealed class SingleTask(IReadOnlyList<Adam> optimisers) : Strategy
{
    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        network.Branches[0].Evaluate(1);
        network.Backward();
        optimisers[0].Apply();
    }
}
