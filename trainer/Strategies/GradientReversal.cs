using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Gradient reversal (Ganin and Lempitsky 2015), GR in the paper: one pass of L_primary + L_auxiliary in which the auxiliary heads get their full gradient
/// and the embeddings, and all before them, -lambda times it. With k updates of the heads, k - 1 precede the pass, on embeddings that they do not touch.
/// </summary>
public sealed class GradientReversal(TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) : Strategy
{
    private readonly AuxiliaryTraining auxiliary = new(network, optimisers);
    private readonly int last = options.Adversary.Updates - 1;

    public override void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead) =>
        auxiliary.Prepare(options, step, head => AuxiliaryTraining.Against(options.Adversary, progress, head, lossOfHead));

    public override double? Strength(double progress) => options.Adversary.StrengthAt(progress);

    public override void Step(TwoStreamNetwork network)
    {
        network.Forward(Phase.Training);
        auxiliary.Learn(last);
        network.Evaluate();
        auxiliary.Forward(last);
        network.Backward((head, dEmbedding) => head.BackwardAdd(dEmbedding, head.Evaluate(), Gradients.Both), options.Adversary.IntoTrunk);
        optimisers[0].Apply();
        auxiliary.Apply(last);
    }
}
