using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Features;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Export;

/// <summary>
/// A trained network as a folder that PyTorch runs without Avedis: model.safetensors, config.json with everything that its Python needs to build the network,
/// and load_in_pytorch.py, which does so.
/// </summary>
public static class PyTorchExport
{
    public const string Script = "load_in_pytorch.py";

    /// <exception cref="IOException">The folder cannot be written.</exception>
    public static void Write(ExportedModel model, string folder)
    {
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), model.Tensors, new Dictionary<string, string> { ["format"] = "pt" });
        File.WriteAllText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(Describe(model), Json.Indented) + "\n");
        using var script = typeof(PyTorchExport).Assembly.GetManifestResourceStream(Script)!;
        using var copy = File.Create(Path.Combine(folder, Script));
        script.CopyTo(copy);
    }

    private static Description Describe(ExportedModel model) => new(
        Path.GetFileName(model.Checkpoint), model.Config.Features, Trunk.PixelScale, Trunk.PixelShift, BatchNorm.DefaultEpsilon,
        [.. model.Face.Select(Describe)], [.. model.Voice.Select(Describe)], model.Branches);

    private static Block Describe(ExportedBlock block) => new(block.Channels, Describe(block.Conv), block.Pool is { } pool ? Describe(pool) : null);

    private static Sliding Describe(Window w) => new([w.R, w.S], [w.StrideH, w.StrideW], [w.PadH, w.PadW]);

    // config.json; each pair is rows, columns
    private sealed record Description(
        string Checkpoint, FeatureOptions Features, float PixelScale, float PixelShift, float BatchNormEpsilon, IReadOnlyList<Block> Face, IReadOnlyList<Block> Voice,
        IReadOnlyList<ExportedBranch> Factors);

    private sealed record Block(int Channels, Sliding Conv, Sliding? Pool);

    private sealed record Sliding(int[] Kernel, int[] Stride, int[] Padding);
}
