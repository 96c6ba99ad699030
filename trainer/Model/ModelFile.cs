using Avedis.Engine;

namespace Avedis.Trainer.Model;

/// <summary>
/// The network's state and the optimisers' as safetensors files under PyTorch's names and layouts: a PyTorch user's load_state_dict takes
/// model.safetensors as it is.
/// </summary>
public static class ModelFile
{
    /// <param name="carried">What the file is to hold besides the network's own: the trunk of a network that takes pooled features.</param>
    public static void Save(string path, Runtime runtime, IReadOnlyDictionary<string, SafeTensor> carried)
    {
        var tensors = new Dictionary<string, SafeTensor>(carried);
        foreach (var (name, tensor) in runtime.Network.State())
            tensors.Add(name, ToFile(runtime, tensor));
        foreach (string norm in runtime.Network.NormNames)
            tensors.Add($"{norm}.num_batches_tracked", SafeTensor.Of(runtime.Network.BatchesTracked));
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["format"] = "pt" });
    }

    /// <summary>Loads every tensor of the network.</summary>
    /// <returns>The tensors that the network does not have: a trunk's, where it takes pooled features.</returns>
    /// <exception cref="UserException">Exit code 4: unreadable, or of another network.</exception>
    public static IReadOnlyDictionary<string, SafeTensor> Load(string path, Runtime runtime)
    {
        var tensors = ReadChecked(path);
        foreach (var (name, tensor) in runtime.Network.State())
            FromFile(path, tensors, name, runtime, tensor);
        foreach (string norm in runtime.Network.NormNames)
            runtime.Network.BatchesTracked = Take(path, tensors, $"{norm}.num_batches_tracked").Long();
        if (tensors.Count > 0 && !runtime.Network.TakesPooled)
            throw new UserException(ExitCode.BadCheckpoint, $"{path} holds {tensors.Keys.First()}, which this network does not have: it is of another configuration");
        return tensors;
    }

    /// <summary>
    /// Loads what a network is to start from: every tensor that both have, but no auxiliary head and nothing of the factors to renew.
    /// </summary>
    /// <returns>As <see cref="Load"/>.</returns>
    /// <exception cref="UserException">Exit code 4: unreadable, or a part to keep is missing or of another size.</exception>
    public static IReadOnlyDictionary<string, SafeTensor> LoadStart(string path, Runtime runtime, IReadOnlyList<string> renew)
    {
        bool Renewed(string name) => name.Contains(".auxiliary.", StringComparison.Ordinal) || renew.Any(factor => name.StartsWith($"{factor}.", StringComparison.Ordinal));
        var tensors = ReadChecked(path).Where(t => !Renewed(t.Key)).ToDictionary();
        foreach (var (name, tensor) in runtime.Network.State().Where(s => !Renewed(s.Name)))
            FromFile(path, tensors, name, runtime, tensor);
        var norms = runtime.Network.NormNames.Where(name => !Renewed(name)).ToList();
        foreach (string norm in norms)
            runtime.Network.BatchesTracked = Take(path, tensors, $"{norm}.num_batches_tracked").Long();
        return runtime.Network.TakesPooled ? tensors : new Dictionary<string, SafeTensor>();
    }

    /// <summary>Moments and step counts: NAME.exp_avg, NAME.exp_avg_sq and GROUP.step.</summary>
    public static void SaveOptimisers(string path, Runtime runtime)
    {
        var tensors = new Dictionary<string, SafeTensor>();
        foreach (var optimiser in runtime.Optimisers)
        {
            tensors.Add($"{optimiser.Group.Name}.step", SafeTensor.Of(optimiser.Step));
            foreach (var (name, tensor) in Moments(optimiser))
                tensors.Add(name, ToFile(runtime, tensor));
        }
        Safetensors.Write(path, tensors);
    }

    /// <inheritdoc cref="Load"/>
    public static void LoadOptimisers(string path, Runtime runtime)
    {
        var tensors = ReadChecked(path);
        foreach (var optimiser in runtime.Optimisers)
        {
            optimiser.Step = Take(path, tensors, $"{optimiser.Group.Name}.step").Long();
            foreach (var (name, tensor) in Moments(optimiser))
                FromFile(path, tensors, name, runtime, tensor);
        }
    }

    private static IEnumerable<(string Name, Tensor Tensor)> Moments(Adam optimiser)
    {
        long start = optimiser.Group.Values.Address;
        foreach (var p in optimiser.Group.Parameters)
        {
            long offset = (p.Value.Address - start) / sizeof(float);
            yield return ($"{p.Name}.exp_avg", optimiser.FirstMoment.Part(p.Name, p.Shape, offset));
            yield return ($"{p.Name}.exp_avg_sq", optimiser.SecondMoment.Part(p.Name, p.Shape, offset));
        }
    }

    private static SafeTensor ToFile(Runtime runtime, Tensor tensor) =>
        SafeTensor.Of(PyTorchLayout.FileShape(tensor.Shape), PyTorchLayout.ToFile(tensor.Shape, runtime.Read(tensor)));

    private static void FromFile(string path, Dictionary<string, SafeTensor> tensors, string name, Runtime runtime, Tensor tensor)
    {
        var source = Take(path, tensors, name);
        if (source.DType != "F32" || !source.Shape.SequenceEqual(PyTorchLayout.FileShape(tensor.Shape)))
            throw new UserException(ExitCode.BadCheckpoint,
                $"{path}: {name} is {source.DType} [{string.Join(", ", source.Shape)}], this network has F32 " +
                $"[{string.Join(", ", PyTorchLayout.FileShape(tensor.Shape))}]: the checkpoint is of another configuration");
        runtime.Write(tensor, PyTorchLayout.FromFile(tensor.Shape, source.Floats()));
    }

    private static SafeTensor Take(string path, Dictionary<string, SafeTensor> tensors, string name) =>
        tensors.Remove(name, out var tensor)
            ? tensor
            : throw new UserException(ExitCode.BadCheckpoint, $"{path} has no {name}: the checkpoint is of another configuration");

    /// <exception cref="UserException">Exit code 4: unreadable.</exception>
    public static Dictionary<string, SafeTensor> ReadChecked(string path)
    {
        try
        {
            return Safetensors.Read(path);
        }
        catch (InvalidDataException error)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{error.Message}; use an older checkpoint of the run", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadCheckpoint, $"{path} cannot be read: {error.Message}", error);
        }
    }
}
