using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Gradient projection (Zhang, Lemoine and Mitchell 2018), which the paper does not have: a yardstick for what it has. Step A, k times: the auxiliary heads
/// learn on embeddings that they do not touch. Step B, once: with P the gradient of L_primary and A that of L_auxiliary, through heads that stay as step A
/// left them, each tensor of all else moves by P - proj_A P - alpha A. The other strategies push against L_auxiliary and may, on balance, still lower
/// it where L_primary gains by that; here no tensor does.
/// <para>
/// The projection is not linear in P and A, so each takes a backward pass of its own. Both go through one forward pass, whose activations a
/// backward pass leaves as they are.
/// </para>
/// </summary>
public sealed class GradientProjection(Device device, TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) : Strategy
{
    private readonly AuxiliaryTraining auxiliary = new(network, optimisers);
    private readonly Engine.GradientProjection projection = new(device, network.Primary);

    // alpha has the strength, so that a tensor's A is that of the weighted loss; a head that is let go of has no part in A, and before the warm-up is over none has
    public override void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead)
    {
        auxiliary.Prepare(
            options, step, head => progress < options.Adversary.WarmUp || AuxiliaryTraining.LetsGo(options.Adversary, head, lossOfHead) ? 0 : -1);
        projection.SetAlpha((float)options.Adversary.StrengthAt(progress));
    }

    public override double? Strength(double progress) => options.Adversary.StrengthAt(progress);

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        auxiliary.Learn(options.Adversary.Updates);
        network.Evaluate();
        auxiliary.Forward(options.Adversary.Updates);
        network.BackwardAuxiliary((head, dEmbedding) => head.BackwardAdd(dEmbedding, head.Evaluate(), Gradients.Input));
        projection.TakeAdversary();
        network.Backward();
        projection.Apply();
        optimisers[0].Apply();
    }
}
