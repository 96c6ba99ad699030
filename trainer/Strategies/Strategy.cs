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
    /// <summary>Every strategy by its name in training.strategy.</summary>
    public static IReadOnlyDictionary<string, Func<TrainingOptions, TwoStreamNetwork, IReadOnlyList<Adam>, Strategy>> All { get; } =
        new Dictionary<string, Func<TrainingOptions, TwoStreamNetwork, IReadOnlyList<Adam>, Strategy>>
        {
            ["stl"] = (_, network, optimisers) => new SingleTask(network, optimisers),
            ["baseline"] = (options, network, optimisers) => new Baseline(options, network, optimisers),
        };

    /// <param name="optimisers">One for each of the network's groups, in order.</param>
    public static Strategy Create(TrainingOptions options, TwoStreamNetwork network, IReadOnlyList<Adam> optimisers)
    {
        if (!All.TryGetValue(options.Strategy, out var create))
            throw new UserException(ExitCode.Usage, $"training.strategy is '{options.Strategy}', expected one of {string.Join(", ", All.Keys)}");
        return create(options, network, optimisers);
    }

    /// <summary>Forward, losses, backward and optimiser steps of the batch that <see cref="TwoStreamNetwork.Load"/> has sent.</summary>
    public abstract void Step(TwoStreamNetwork network);
}
