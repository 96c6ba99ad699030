using Avedis.Trainer.Data;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Training;

/// <summary>
/// Named settings for a strategy. "paper" is what the paper states: all at once from random weights, linear auxiliary heads, both directions at
/// weight 0.3, k = 1. "strong" is what was found to lower the leak that a fresh probe sees, for the speaker embedding only: staged training.
/// </summary>
public static class Recipe
{
    public const string Paper = "paper";
    public const string Strong = "strong";

    public static IReadOnlyList<string> Names { get; } = [Paper, Strong];

    /// <summary>
    /// The settings of a recipe for the strategy of the config. Strong needs a baseline to start from: its trunk and its emotion branch stay, a new speaker
    /// branch is trained on the pooled features against auxiliary heads that read emotion from it.
    /// </summary>
    /// <param name="start">Checkpoint of the baseline; the paper's way has no use for it.</param>
    public static Config Apply(string recipe, Config config, string start)
    {
        var training = config.Training;
        if (recipe != Strong || training.Strategy is not ("gr" or "alt" or "conf" or "projected"))
            return config;
        // heads of 256 hidden units behind a batch norm, each emotion as heavy as the others; Adam's beta1 0.5 and no decay for them; strength from 0 to full over the first half
        var adversary = new AdversaryOptions { Schedule = Schedule.Ramp, Beta1 = 0.5f, Decay = false };
        var auxiliary = new AuxiliaryOptions { Hidden = 256, Normalise = true, ClassWeights = ClassWeights.Balanced };
        bool confusion = training.Strategy == "conf";
        var network = config.Network;
        return config with
        {
            Network = network with
            {
                // one layer above a trunk that keeps emotion cannot take it away; with a second one confusion can, while the others lose speakers to it
                Factors = network.Factors.ToDictionary(
                    f => f.Key,
                    f => f.Key == Factor.Speaker
                        ? f.Value with { Hidden = confusion ? 256 : f.Value.Hidden }
                        : f.Value with { Forget = new Dictionary<string, float>() }),
                // confusion's gradient is largest where a head is sure, so its heads are renewed in turn; the others need a head that is never sure: noise
                Auxiliary = confusion ? auxiliary with { Heads = 6 } : auxiliary with { Noise = 0.5f },
            },
            Training = training with
            {
                Start = start,
                Freeze = [TwoStreamNetwork.TrunkName, .. network.Built.Where(name => name != Factor.Speaker)],
                Renew = [Factor.Speaker],
                Augment = new(), // nothing to vary behind a frozen trunk
                AuxiliaryLearningRate = 3e-3,
                LearningRate = 3e-4,
                Decay = confusion ? 0.99 : 0.97,
                Annealing = Annealing.None,
                BatchSize = confusion ? 144 : 32,
                Epochs = confusion ? 400 : 120,
                Selection = training.Selection with { ProbeEvery = confusion ? 20 : 6 },
                Adversary = adversary with
                {
                    Updates = confusion ? 20 : 10,
                    Strength = training.Strategy switch { "gr" => 30, "alt" => 3, _ => 1 },
                    Cap = training.Strategy == "alt",
                    RenewEvery = confusion ? 60 : 0,
                },
            },
        };
    }
}
