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

    /// <summary>A pass of the embeddings through every head, for the adversary.</summary>
    /// <param name="pass">Its number within the step; the first moves the running statistics, which see each batch once.</param>
    public void Forward(int pass)
    {
        foreach (var (branch, head, _) in heads)
            head.Forward(branch.Embedding, pass == 0 ? Phase.Training : Phase.Repeat, pass);
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

    /// <summary>Strength against a head whose loss is to rise: 0 where the cap lets go of it.</summary>
    public static double Against(AdversaryOptions options, double progress, AuxiliaryHead head, Func<AuxiliaryHead, double> lossOfHead) =>
        LetsGo(options, head, lossOfHead) ? 0 : options.StrengthAt(progress);

    /// <summary>Whether the cap holds and the loss was at ln C or above in the batch before.</summary>
    public static bool LetsGo(AdversaryOptions options, AuxiliaryHead head, Func<AuxiliaryHead, double> lossOfHead) =>
        options.Cap && lossOfHead(head) >= Math.Log(head.Factor.Classes.Count);
}
