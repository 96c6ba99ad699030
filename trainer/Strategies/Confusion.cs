using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Confusion loss, CONF in the paper, after Tzeng et al. 2015 and Alvi et al. 2018. Step A, k times: the auxiliary heads learn the true labels on embeddings
/// that they do not touch. Step B, once: all else minimises L_primary + w U, where U is the cross-entropy between the uniform distribution and what the heads,
/// which stay as step A left them, predict. Were the heads to move in step B, they would learn the uniform answer themselves and nothing would
/// leave the embeddings.
/// </summary>
public sealed class Confusion(TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) : Strategy
{
    private readonly AuxiliaryTraining auxiliary = new(network, optimisers);

    // U is to fall: the embedding takes its gradient as it is
    public override void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead) =>
        auxiliary.Prepare(options, step, _ => -options.Adversary.StrengthAt(progress));

    public override double? Strength(double progress) => options.Adversary.StrengthAt(progress);

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        auxiliary.Learn(options.Adversary.Updates);
        network.Evaluate();
        auxiliary.Forward(options.Adversary.Updates);
        network.Backward((head, dEmbedding) => head.BackwardAdd(dEmbedding, head.EvaluateConfusion(), Gradients.Input), options.Adversary.IntoTrunk);
        optimisers[0].Apply();
    }
}
