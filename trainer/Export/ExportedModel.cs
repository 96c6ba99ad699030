using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Export;

/// <summary>A convolution with batch norm and ReLU, and the max pooling behind it if there is one; windows are final, nothing stands for "all that is left".</summary>
/// <param name="Number">From 1: its parameters are STREAM.convNUMBER and STREAM.bnNUMBER.</param>
public sealed record ExportedBlock(int Number, int Channels, Window Conv, Window? Pool);

/// <summary>What one factor has behind the pooled features.</summary>
/// <param name="Hidden">Units of the layer in front of the embedding; 0 for none.</param>
public sealed record ExportedBranch(string Name, int Hidden, int Embedding, IReadOnlyList<string> Classes);

/// <summary>
/// A checkpoint as other programs are to run it: what the network computes at use, its tensors under PyTorch's names and in its layouts, and no more: auxiliary
/// heads and gradient reversal serve the training alone.
/// </summary>
public sealed class ExportedModel
{
    private readonly string path;
    private readonly Dictionary<string, SafeTensor> tensors;

    /// <exception cref="UserException">Exit code 4: damaged, or of another configuration.</exception>
    public ExportedModel(string checkpoint)
    {
        Checkpoint = checkpoint;
        Config = Config.Load(null, Path.Combine(checkpoint, "config.json"), []);
        var state = TrainingState.Load(checkpoint);
        path = Path.Combine(checkpoint, "model.safetensors");
        tensors = ModelFile.ReadChecked(path).Where(tensor => !tensor.Key.Contains(".auxiliary.", StringComparison.Ordinal)).ToDictionary();
        var (network, features) = (Config.Network, Config.Features);
        Face = Blocks(ConvStack.FaceRows, network.FaceChannels, features.FaceSize, features.FaceSize);
        Voice = Blocks(ConvStack.VoiceRows, network.VoiceChannels, features.MelBins, features.MelFrames);
        Branches = [.. network.Built.Select(name => new ExportedBranch(
            name, network.Factors[name].Hidden, network.Factors[name].Embedding, state.Factors.First(factor => factor.Name == name).Classes))];
    }

    public string Checkpoint { get; }

    public Config Config { get; }

    /// <summary>Over [N * frames, 1, size, size].</summary>
    public IReadOnlyList<ExportedBlock> Face { get; }

    /// <summary>Over [N, 1, mel bins, mel frames].</summary>
    public IReadOnlyList<ExportedBlock> Voice { get; }

    public IReadOnlyList<ExportedBranch> Branches { get; }

    public IReadOnlyDictionary<string, SafeTensor> Tensors => tensors;

    /// <exception cref="UserException">Exit code 4: the file lacks it, or has it in another shape.</exception>
    public SafeTensor Take(string name, params ReadOnlySpan<int> shape) =>
        tensors.TryGetValue(name, out var tensor) && tensor.DType == "F32" && shape.SequenceEqual(tensor.Shape)
            ? tensor
            : throw new UserException(ExitCode.BadCheckpoint, $"{path} has no {name} of F32 [{string.Join(", ", shape.ToArray())}]: the checkpoint is of another configuration");

    // the time axis of the voice keeps its window, so that longer clips can be given
    private static List<ExportedBlock> Blocks(IReadOnlyList<ConvRow> rows, IReadOnlyList<int> channels, int height, int width)
    {
        var blocks = new List<ExportedBlock>();
        for (int i = 0; i < rows.Count; i++)
        {
            var conv = rows[i].Conv with { R = rows[i].Conv.R == 0 ? height : rows[i].Conv.R, S = rows[i].Conv.S == 0 ? width : rows[i].Conv.S };
            blocks.Add(new ExportedBlock(i + 1, channels[i], conv, rows[i].Pool));
            Shrink(conv);
            if (rows[i].Pool is { } pool)
                Shrink(pool);
        }
        return blocks;

        void Shrink(Window w) => (height, width) = (Conv2dGeometry.Extent(height, w.R, w.StrideH, w.PadH), Conv2dGeometry.Extent(width, w.S, w.StrideW, w.PadW));
    }
}
