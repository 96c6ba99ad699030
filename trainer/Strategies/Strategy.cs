using Avedis.Engine;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Strategies;

/// <summary>
/// Decides which loss moves which part of the network. One method: the device's work for one loaded batch, the same sequence of operations every
/// time. The training loop knows none of the strategies by name.
/// </summary>
public abstract class Strategy
{
    /// <summary>A strategy's maker, and how often a step passes through each auxiliary head and updates it.</summary>
    private sealed record Kind(
        Func<Device, TrainingOptions, TwoStreamNetwork, IReadOnlyList<Adam>, Strategy> Create,
        Func<TrainingOptions, int> Passes, Func<TrainingOptions, int> Updates);

    private static readonly Dictionary<string, Kind> kinds = new()
    {
        ["stl"] = new((_, _, network, optimisers) => new SingleTask(network, optimisers), _ => 0, _ => 0),
        ["baseline"] = new(
            (_, _, network, optimisers) => new Baseline(network, optimisers), options => options.Monitor ? 1 : 0, options => options.Monitor ? 1 : 0),
        ["gr"] = new(
            (_, options, network, optimisers) => new GradientReversal(options, network, optimisers),
            options => options.Adversary.Updates, options => options.Adversary.Updates),
        ["alt"] = new(
            (_, options, network, optimisers) => new AlternateTraining(options, network, optimisers),
            options => options.Adversary.Updates + 1, options => options.Adversary.Updates),
        ["conf"] = new(
            (_, options, network, optimisers) => new Confusion(options, network, optimisers),
            options => options.Adversary.Updates + 1, options => options.Adversary.Updates),
        ["projected"] = new(
            (device, options, network, optimisers) => new GradientProjection(device, options, network, optimisers),
            options => options.Adversary.Updates + 1, options => options.Adversary.Updates),
    };

    /// <summary>Every strategy by its name in training.strategy.</summary>
    public static IReadOnlyCollection<string> Names => kinds.Keys;

    /// <summary>Passes of a step through each auxiliary head; 0 where the strategy has no use for them.</summary>
    public static int PassesOf(TrainingOptions options) => Find(options).Passes(options);

    /// <summary>An optimiser for each of the network's groups, in order.</summary>
    public static IReadOnlyList<Adam> Optimisers(TrainingOptions options, Device device, TwoStreamNetwork network)
    {
        int updates = Find(options).Updates(options);
        return
        [
            new Adam(device, network.Primary, new AdamOptions()),
            .. network.Auxiliary.Select(head => new Adam(device, head.Group, new AdamOptions() with { Beta1 = options.Adversary.Beta1 }, updates)),
        ];
    }

    /// <param name="optimisers">One for each of the network's groups, in order.</param>
    public static Strategy Create(TrainingOptions options, Device device, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers) =>
        Find(options).Create(device, options, network, optimisers);

    /// <summary>The host's part of a step, before the device's: sets what changes from step to step.</summary>
    /// <param name="step">Batches trained on before this one.</param>
    /// <param name="progress">Share of the training that lies behind, 0 to 1.</param>
    /// <param name="lossOfHead">Mean cross-entropy of an auxiliary head in the batch before; NaN in the first.</param>
    public virtual void Prepare(long step, double progress, Func<AuxiliaryHead, double> lossOfHead)
    {
    }

    /// <summary>The adversary's strength at that share of the training; null for a strategy without one.</summary>
    public virtual double? Strength(double progress) => null;

    /// <summary>Forward, losses, backward and optimiser steps of the batch that <see cref="TwoStreamNetwork.Load"/> has sent.</summary>
    public abstract void Step(TwoStreamNetwork network);

    private static Kind Find(TrainingOptions options) =>
        kinds.TryGetValue(options.Strategy, out var kind)
            ? kind
            : throw new UserException(ExitCode.Usage, $"training.strategy is '{options.Strategy}', "
                + $"expected one of {string.Join(", ", kinds.Keys)}{Spelling.Hint(options.Strategy, kinds.Keys)}");
}
