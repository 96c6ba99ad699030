using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Single-task learning: one embedding, one head, its cross-entropy. The paper's yardstick for what the second task adds.
/// </summary>
public sealed class SingleTask : Strategy
{
    private readonly IReadOnlyList<Adam> optimisers;

    /// <exception cref="UserException">The network has several branches.</exception>
    public SingleTask(TwoStreamNetwork network, IReadOnlyList<Adam> optimisers)
    {
        if (network.Branches.Count != 1)
            throw new UserException(ExitCode.Usage, "strategy stl trains one task: name it with --task (network.tasks)");
        this.optimisers = optimisers;
    }

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        network.Evaluate();
        network.Backward();
        optimisers[0].Apply();
    }
}
