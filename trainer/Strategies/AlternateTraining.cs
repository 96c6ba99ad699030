using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Alternate training, ALT in the paper, a minimax game after Goodfellow et al. 2014. Step A, k times: the auxiliary heads minimise L_auxiliary on embeddings
/// that they do not touch. Step B, once: all else minimises L_primary - lambda L_auxiliary, through heads that stay as step A left them. L_auxiliary has no
/// upper bound, hence the cap.
/// </summary>
public sealed class AlternateTraining(TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) : Strategy
{
    private readonly AuxiliaryTraining auxiliary = new(network, optimisers);

    public override void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead) =>
        auxiliary.Prepare(options, step, head => AuxiliaryTraining.Against(options.Adversary, progress, head, lossOfHead));

    public override double? Strength(double progress) => options.Adversary.StrengthAt(progress);

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        auxiliary.Learn(options.Adversary.Updates);
        network.Evaluate();
        auxiliary.Forward(options.Adversary.Updates);
        network.Backward((head, dEmbedding) => head.BackwardAdd(dEmbedding, head.Evaluate(), Gradients.Input), options.Adversary.IntoTrunk);
        optimisers[0].Apply();
    }
}
