using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>What the strategies with auxiliary heads have in common: the heads' own updates, and what is set between steps.</summary>
public sealed class AuxiliaryTraining
{
    private readonly List<(Branch Branch, AuxiliaryHead Head, Adam Optimiser)> heads;

    /// <param name="optimisers">One for each of the network's groups, in order.</param>
    public AuxiliaryTraining(TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) =>
        heads = [.. network.Learning.SelectMany(branch => branch.Auxiliary.Select(head => (branch, head))).Zip(
            optimisers.Skip(1), (pair, optimiser) => (pair.branch, pair.head, optimiser))];

    /// <summary>So many updates of every head on the embeddings of this batch, which they do not touch.</summary>
    public void Learn(int updates)
    {
        foreach (var (branch, head, optimiser) in heads)
            for (int i = 0; i < updates; i++)
                head.Learn(branch.Embedding, optimiser, i);
    }

    /// <summary>Update of every head by gradients that are there already.</summary>
    /// <param name="update">Its number within the step.</param>
    public void Apply(int update)
    {
        foreach (var (_, _, optimiser) in heads)
            optimiser.Apply(update);
    }

    /// <summary>Sets lambda of every head, draws its noise, and gives the head whose turn it is new weights.</summary>
    public void Prepare(TrainingOptions options, long step, Func<AuxiliaryHead, double> lambda)
    {
        foreach (var (_, head, _) in heads)
        {
            head.SetLambda((float)lambda(head));
            head.DrawNoise(options.Seed, step);
        }
        int every = options.Adversary.RenewEvery;
        if (every == 0 || step == 0 || step % every != 0)
            return;
        // the heads of one factor in turn, those of different factors at once
        foreach (var group in heads.GroupBy(h => (h.Branch.Name, h.Head.Factor.Name)))
        {
            var list = group.ToList();
            var (_, head, optimiser) = list[(int)(step / every % list.Count)];
            head.Group.Initialise(options.Seed ^ StableHash.Of($"renewed {step}"));
            optimiser.Reset();
        }
    }

    /// <summary>Whether a head's loss was at ln C or above, where it can tell nothing any more, in the batch before.</summary>
    public bool Capped(TrainingOptions options, AuxiliaryHead head, Func<AuxiliaryHead, double> lossOfHead) =>
        options.Adversary.Cap && lossOfHead(head) >= Math.Log(head.Factor.Classes.Count);
}
