using Avedis.Engine;

namespace Avedis.Trainer.Model;

/// <summary>
/// The network's state and the optimisers' as safetensors files under PyTorch's names and layouts: a PyTorch user's load_state_dict takes
/// model.safetensors as it is.
/// </summary>
public static class ModelFile
{
    public static void Save(string path, Runtime runtime)
    {
        var tensors = runtime.Network.State().ToDictionary(s => s.Name, s => ToFile(runtime, s.Tensor));
        foreach (string norm in runtime.Network.NormNames)
            tensors.Add($"{norm}.num_batches_tracked", SafeTensor.Of(runtime.Network.BatchesTracked));
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["format"] = "pt" });
    }

    /// <exception cref="UserException">Exit code 4: unreadable, or of another network.</exception>
    public static void Load(string path, Runtime runtime)
    {
        var tensors = ReadChecked(path);
        foreach (var (name, tensor) in runtime.Network.State())
            FromFile(path, tensors, name, runtime, tensor);
        runtime.Network.BatchesTracked = Take(path, tensors, $"{runtime.Network.NormNames.First()}.num_batches_tracked").Long();
        foreach (string norm in runtime.Network.NormNames.Skip(1))
            Take(path, tensors, $"{norm}.num_batches_tracked");
        if (tensors.Count > 0)
            throw new UserException(ExitCode.BadCheckpoint, $"{path} holds {tensors.Keys.First()}, which this network does not have: it is of another configuration");
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

    private static Dictionary<string, SafeTensor> ReadChecked(string path)
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
