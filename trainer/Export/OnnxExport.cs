using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Model;

namespace Avedis.Trainer.Export;

/// <summary>
/// A trained network as one ONNX file, FP32 whatever it was trained in. N clips, F pictures and T mel frames are free when the model runs:
/// <code>
/// faces         [N, F, size, size] U8     grey pictures; those behind face_lengths are not looked at
/// face_lengths  [N] I64                   1..F
/// mels          [N, mel bins, T] F32
/// mel_lengths   [N] I64                   1..T
/// FACTOR_embedding [N, width], FACTOR_probabilities [N, classes]
/// </code>
/// Settings of the features and names of the classes are in the file's metadata.
/// </summary>
public static class OnnxExport
{
    private const long LargestMessage = int.MaxValue; // of protocol buffers; our largest network has a tenth of it

    /// <exception cref="UserException">Exit codes 4 and 8: not this network's checkpoint, or the file cannot be written.</exception>
    public static void Write(ExportedModel model, string path)
    {
        if (model.Tensors.Values.Sum(tensor => (long)tensor.Data.Length) > LargestMessage / 2)
            throw new UserException(ExitCode.Usage, $"{model.Checkpoint} is too large for one ONNX file: use --format pytorch");
        string version = typeof(OnnxExport).Assembly.GetName().Version!.ToString(3);
        File.WriteAllBytes(path, Build(model).ToBytes(version, $"two-stream network of voice and face, from {Path.GetFileName(model.Checkpoint)}"));
    }

    private static OnnxGraph Build(ExportedModel model)
    {
        var features = model.Config.Features;
        string size = $"{features.FaceSize}";
        var g = new OnnxGraph("avedis");
        string faces = g.Input("faces", OnnxGraph.U8, "N", "F", size, size), faceLengths = g.Input("face_lengths", OnnxGraph.I64, "N");
        string mels = g.Input("mels", OnnxGraph.F32, "N", $"{features.MelBins}", "T"), melLengths = g.Input("mel_lengths", OnnxGraph.I64, "N");

        // bytes to -1..1, then every picture for itself
        string x = g.Add("Cast", "face.float", [faces], ("to", (long)OnnxGraph.F32));
        x = g.Add("Mul", "face.scaled", [x, g.Number("face.scale", Trunk.PixelScale)]);
        x = g.Add("Add", "face.input", [x, g.Number("face.shift", Trunk.PixelShift)]);
        x = g.Add("Reshape", "face.pictures", [x, g.Integers("face.pictures.shape", -1, 1, features.FaceSize, features.FaceSize)]);
        x = Stack(g, model, "face", model.Face, x);
        string counts = g.Add("Slice", "face.counts", [g.Add("Shape", "face.shape", [faces]), g.Integers("from", 0), g.Integers("to", 2)]);
        string stepsShape = g.Add("Concat", "face.steps.shape", [counts, g.Integers("face.channels", model.Face[^1].Channels)], ("axis", 0L));
        string faceMean = MaskedMean(g, "face", g.Add("Reshape", "face.steps", [x, stepsShape]), faceLengths);

        x = g.Add("Unsqueeze", "voice.input", [mels, g.Integers("axis1", 1)]);
        x = Stack(g, model, "voice", model.Voice, x);
        x = g.Add("Squeeze", "voice.columns", [x, g.Integers("axis2", 2)]);
        x = g.Add("Transpose", "voice.steps", [x], ("perm", (long[])[0, 2, 1]));
        string voiceMean = MaskedMean(g, "voice", x, ValidSteps(g, melLengths, model.Voice));

        string pooled = g.Add("Concat", "pooled", [faceMean, voiceMean], ("axis", 1L));
        foreach (var branch in model.Branches)
            Branch(g, model, branch, pooled, model.Face[^1].Channels + model.Voice[^1].Channels);
        g.Describe("avedis.features", JsonSerializer.Serialize(features, Json.Line));
        foreach (var branch in model.Branches)
            g.Describe($"avedis.classes.{branch.Name}", JsonSerializer.Serialize(branch.Classes, Json.Line));
        return g;
    }

    private static string Stack(OnnxGraph g, ExportedModel model, string stream, IReadOnlyList<ExportedBlock> blocks, string x)
    {
        int inputs = 1;
        foreach (var block in blocks)
        {
            string conv = $"{stream}.conv{block.Number}", norm = $"{stream}.bn{block.Number}";
            var (w, channels) = (block.Conv, block.Channels);
            x = g.Add("Conv", conv, [x, g.Weight($"{conv}.weight", model.Take($"{conv}.weight", channels, inputs, w.R, w.S))], Sliding(w));
            x = g.Add("BatchNormalization", norm, [x, .. new[] { "weight", "bias", "running_mean", "running_var" }
                .Select(part => g.Weight($"{norm}.{part}", model.Take($"{norm}.{part}", channels)))], ("epsilon", BatchNorm.DefaultEpsilon));
            x = g.Add("Relu", $"{stream}.relu{block.Number}", [x]);
            if (block.Pool is { } pool)
                x = g.Add("MaxPool", $"{stream}.pool{block.Number}", [x], Sliding(pool));
            inputs = channels;
        }
        return x;
    }

    private static (string, object)[] Sliding(Window w) =>
    [
        ("kernel_shape", (long[])[w.R, w.S]), ("strides", (long[])[w.StrideH, w.StrideW]), ("pads", (long[])[w.PadH, w.PadW, w.PadH, w.PadW]),
    ];

    // x [N, steps, C]: the sum over the steps below each clip's length, by that length
    private static string MaskedMean(OnnxGraph g, string stream, string x, string lengths)
    {
        string steps = g.Add("Gather", $"{stream}.count", [g.Add("Shape", $"{stream}.extents", [x]), g.Integer("one", 1)], ("axis", 0L));
        string numbers = g.Add("Range", $"{stream}.numbers", [g.Integer("zero", 0), steps, g.Integer("one", 1)]);
        string column = g.Add("Unsqueeze", $"{stream}.lengths", [lengths, g.Integers("axis1", 1)]); // [N, 1] beside [steps]
        string valid = g.Add("Cast", $"{stream}.mask", [g.Add("Less", $"{stream}.valid", [numbers, column])], ("to", (long)OnnxGraph.F32));
        string kept = g.Add("Mul", $"{stream}.kept", [x, g.Add("Unsqueeze", $"{stream}.weights", [valid, g.Integers("axis2", 2)])]);
        string sum = g.Add("ReduceSum", $"{stream}.sum", [kept, g.Integers("axis1", 1)], ("keepdims", 0L));
        return g.Add("Div", $"{stream}.mean", [sum, g.Add("Cast", $"{stream}.divisor", [column], ("to", (long)OnnxGraph.F32))]);
    }

    // ConvStack.ValidSteps: how often each window fits, max(0, columns + 2 pad - window + stride) / stride; at least one
    private static string ValidSteps(OnnxGraph g, string columns, IReadOnlyList<ExportedBlock> blocks)
    {
        foreach (var block in blocks)
        {
            columns = Fit($"voice.conv{block.Number}", block.Conv);
            if (block.Pool is { } pool)
                columns = Fit($"voice.pool{block.Number}", pool);
        }
        return g.Add("Max", "voice.validSteps", [columns, g.Integer("one", 1)]);

        string Fit(string layer, Window w)
        {
            string room = g.Add("Add", $"{layer}.room", [columns, g.Integer($"{layer}.reach", 2 * w.PadW - w.S + w.StrideW)]);
            string most = g.Add("Max", $"{layer}.most", [room, g.Integer("zero", 0)]);
            return g.Add("Div", $"{layer}.steps", [most, g.Integer($"{layer}.stride", w.StrideW)]);
        }
    }

    private static void Branch(OnnxGraph g, ExportedModel model, ExportedBranch branch, string x, int inputs)
    {
        if (branch.Hidden > 0)
        {
            x = g.Add("Relu", $"{branch.Name}.hidden.relu", [Linear("hidden", branch.Hidden)]);
            inputs = branch.Hidden;
        }
        x = g.Add("Relu", $"{branch.Name}_embedding", [Linear("embedding", branch.Embedding)]);
        g.Output(x, OnnxGraph.F32, "N", $"{branch.Embedding}");
        inputs = branch.Embedding;
        string probabilities = g.Add("Softmax", $"{branch.Name}_probabilities", [Linear("head", branch.Classes.Count)], ("axis", 1L));
        g.Output(probabilities, OnnxGraph.F32, "N", $"{branch.Classes.Count}");

        string Linear(string layer, int outputs)
        {
            string own = $"{branch.Name}.{layer}";
            return g.Add("Gemm", own,
                [x, g.Weight($"{own}.weight", model.Take($"{own}.weight", outputs, inputs)), g.Weight($"{own}.bias", model.Take($"{own}.bias", outputs))], ("transB", 1L));
        }
    }
}
