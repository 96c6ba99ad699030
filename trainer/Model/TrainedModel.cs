using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Strategies;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Model;

/// <summary>A checkpoint opened for use: the network with its weights, how its inputs were made, and what its outputs are called.</summary>
public sealed class TrainedModel : IDisposable
{
    private TrainedModel(string checkpoint, Config config, TrainingState state, Runtime runtime)
    {
        (Checkpoint, Config, State, Runtime) = (checkpoint, config, state, runtime);
    }

    public string Checkpoint { get; }

    public Config Config { get; }

    public TrainingState State { get; }

    public Runtime Runtime { get; }

    /// <param name="precision">null for the one that it was trained in; instead of tf32 that is fp32 on the processor, the weights being the same.</param>
    /// <param name="number">As <see cref="BackendFactory.Create"/>.</param>
    /// <exception cref="UserException">Exit code 4: cut short, changed, or of another configuration.</exception>
    public static TrainedModel Open(string checkpoint, string device, string? precision, int threads, int batch, Action<string>? say = null, int number = 0)
    {
        var config = Config.Load(null, Path.Combine(checkpoint, "config.json"), precision is null ? [] : [$"training.precision={precision}"]);
        var state = TrainingState.Load(checkpoint);
        var backend = precision is null && state.Precision == "tf32"
            ? CreateForTf32(device, threads, say, number, config.Training.Convolutions)
            : BackendFactory.Create(
                device, threads, precision is not null && config.Training.Precision == Precision.Tf32, say, number,
                config.Training.Convolutions);
        var choice = Precisions.Choose(
            precision is null ? Precisions.Named(state.Precision) : config.Training.Precision, backend, say);
        FeatureOptions f = config.Features;
        var shape = new NetworkShape(batch, f.FaceFrames, f.FaceSize, f.MelBins, f.MelFrames, state.Factors, choice.Act);
        var parts = new NetworkParts(Strategy.PassesOf(config.Training), Pooled: false, config.Training.Freeze);
        var runtime = new Runtime(backend, config.Network, shape, training: null, parts);
        try
        {
            ModelFile.Load(Path.Combine(checkpoint, "model.safetensors"), runtime);
        }
        catch
        {
            runtime.Dispose();
            throw;
        }
        return new TrainedModel(checkpoint, config, state, runtime);
    }

    /// <summary>Refuses data whose inputs or labels are not what the network was trained on.</summary>
    /// <exception cref="UserException">Exit code 3.</exception>
    public void CheckFits(PreparedDataset dataset)
    {
        string? what =
            dataset.Features != Config.Features with { Silence = dataset.Features.Silence } ? "was prepared with other feature settings"
            : Different(dataset) is { } factor ? $"has other classes of {factor}"
            : null;
        if (what is not null)
            throw new UserException(ExitCode.BadInput, $"{dataset.Folder} {what} than {Checkpoint} was trained on: prepare it with the run's config.json, or choose the data of the run");
    }

    public void Dispose() => Runtime.Dispose();

    // of the factors that the network recognises
    private string? Different(PreparedDataset dataset) => Runtime.Network.Branches.FirstOrDefault(branch =>
        !branch.Factor.Classes.SequenceEqual(dataset.Factors.FirstOrDefault(factor => factor.Name == branch.Name)?.Classes ?? []))?.Name;

    private static IBackend CreateForTf32(string device, int threads, Action<string>? say, int number, ConvolutionAlgorithm convolutions)
    {
        try
        {
            return BackendFactory.Create(device, threads, tf32: true, say, number, convolutions);
        }
        catch (DeviceUnavailableException) when (device != "cuda")
        {
            return BackendFactory.Create(device, threads, say: say, number: number, convolutions: convolutions);
        }
    }
}
