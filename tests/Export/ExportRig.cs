using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using Avedis.Trainer.Model;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>Networks trained once for all tests of what leaves the house, and batches to compare their exports on.</summary>
internal static class ExportRig
{
    /// <summary>
    /// Exports against the network itself, FP32: both sum in other orders, which moves these small networks' outputs by some 1e-6; a wrong mask, pad or
    /// normalisation moves them by 1e-2.
    /// </summary>
    public const double Tolerance = 1e-4;

    /// <summary>Clips of one second in the corpus; this one ends earlier.</summary>
    public const double ShortClipSeconds = 0.63;

    private static readonly Dictionary<string, Lazy<string>> runs = new()
    {
        ["plain"] = new(() => Train("plain")),
        ["hidden"] = new(() => Train("hidden", "--set", "network.factors.speaker.hidden=12", "--strategy", "gr")),
        ["reserved"] = new(() => TrainReserved()),
        ["three"] = new(() => Train("three", "--set", "network.factors.gender.embedding=6", "--set", "network.factors.speaker.forget.gender=0.3")),
    };

    public static IEnumerable<string> Names => runs.Keys;

    /// <summary>The run folder of one of <see cref="Names"/>: a network as published, one with a hidden layer in a branch, one with three factors.</summary>
    public static string Run(string name) => runs[name].Value;

    public static string Best(string name) => Path.Combine(Run(name), "checkpoints", "best");

    public static (string Output, string Error) Invoke(int code, params string[] arguments)
    {
        var (actual, output, error) = TinyCorpus.Run(arguments);
        Assert.That(actual, Is.EqualTo(code), $"avedis {string.Join(' ', arguments)}: {error}");
        return (output, error);
    }

    /// <summary>A clip of the corpus, cut so that both its lengths are below the network's.</summary>
    public static string ShortClip(string folder)
    {
        string path = Path.Combine(folder, "short.mp4");
        TestMedia.Run(["-y", "-i", TinyCorpus.Clip, "-t", $"{ShortClipSeconds}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path]);
        return path;
    }

    /// <summary>A batch of noise with full lengths and with the shortest, some below the voice's receptive field; what is padding holds noise too.</summary>
    public static Batch Noise(NetworkShape shape)
    {
        var batch = new Batch(shape.Batch, shape.FaceFrames, shape.FaceSize, shape.MelBins, shape.MelFrames, shape.Factors.Count) { Count = shape.Batch };
        var random = new Philox(7, 1);
        for (int i = 0; i < batch.Faces.Length; i++)
            batch.Faces[i] = (byte)random.NextUInt();
        for (int i = 0; i < batch.Mels.Length; i++)
            batch.Mels[i] = (float)random.NextGaussian();
        int[] mels = [shape.MelFrames, 63, 33, 32, 31, 7, 1, shape.MelFrames - 1];
        for (int n = 0; n < shape.Batch; n++)
        {
            (batch.FaceLengths[n], batch.MelLengths[n], batch.Weights[n]) = (1 + (n % shape.FaceFrames), mels[n % mels.Length], 1);
            foreach (int[] labels in batch.Labels)
                labels[n] = -1;
        }
        return batch;
    }

    /// <summary>The inputs that predict makes of files, and how many of each clip's are not padding.</summary>
    public static Batch Inputs(FeatureOptions features, params IReadOnlyList<string> files)
    {
        var batch = new Batch(files.Count, features.FaceFrames, features.FaceSize, features.MelBins, features.MelFrames, 0) { Count = files.Count };
        var (decoder, logMel) = (new ClipDecoder(TestMedia.Tool, features), new LogMel(features));
        for (int n = 0; n < files.Count; n++)
        {
            decoder.Decode(files[n]);
            decoder.Faces.CopyTo(batch.Faces.AsSpan(n * features.FaceBytes));
            batch.FaceLengths[n] = decoder.FaceCount;
            batch.MelLengths[n] = logMel.Compute(decoder.Samples, batch.Mels.AsSpan(n * features.MelCount, features.MelCount));
        }
        return batch;
    }

    /// <summary>The network's own embeddings and probabilities of a batch of noise, by the names that exports give them.</summary>
    public static (Batch Batch, Dictionary<string, float[]> Outputs) Reference(string name)
    {
        using var model = TrainedModel.Open(Best(name), "cpu", "fp32", threads: 1, batch: 8);
        var batch = Noise(model.Runtime.Network.Shape);
        model.Runtime.Predict(batch);
        var outputs = new Dictionary<string, float[]>();
        foreach (var branch in model.Runtime.Network.Branches)
        {
            outputs[$"{branch.Name}_embedding"] = [.. model.Runtime.Output(branch.Embedding)];
            outputs[$"{branch.Name}_probabilities"] = [.. model.Runtime.Output(branch.Probabilities)];
        }
        return (batch, outputs);
    }

    /// <summary>What predict and embed say of files, by the names that exports give it.</summary>
    public static Dictionary<string, float[]> Predicted(string name, string folder, params string[] files)
    {
        string[] lines = Invoke(ExitCode.Ok, ["predict", "--run", Run(name), "--precision", "fp32", "--format", "json", .. files]).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string embeddings = Path.Combine(folder, "embeddings.safetensors");
        Invoke(ExitCode.Ok, ["embed", "--run", Run(name), "--precision", "fp32", "--format", "safetensors", "--out", embeddings, .. files]);
        var outputs = Safetensors.Read(embeddings).ToDictionary(t => t.Key.Replace('.', '_'), t => t.Value.Floats());
        var objects = lines.Select(line => JsonDocument.Parse(line).RootElement).ToList();
        foreach (var branch in new ExportedModel(Best(name)).Branches)
            outputs[$"{branch.Name}_probabilities"] = [.. objects.SelectMany(o => branch.Classes.Select(c => o.GetProperty($"{branch.Name}s").GetProperty(c).GetSingle()))];
        return outputs;
    }

    /// <summary>Compares all outputs by name, and that the clips differ by far more than the tolerance, or equal outputs would prove nothing.</summary>
    /// <param name="run">Of <see cref="ReservedNames"/> many small heads learn little of a few clips: that network shows names, the others
    /// that clips differ.</param>
    /// <returns>The largest difference.</returns>
    public static double Compare(IReadOnlyDictionary<string, float[]> expected, IReadOnlyDictionary<string, float[]> actual, int clips,
        string? run = null)
    {
        Assert.That(expected.Keys.Except(actual.Keys), Is.Empty);
        double worst = 0;
        foreach (var (name, values) in expected)
        {
            float[] others = actual[name];
            Assert.That(others, Has.Length.EqualTo(values.Length), name);
            double difference = values.Zip(others, (a, b) => (double)Math.Abs(a - b)).Max(); // NaN wins
            Assert.That(difference, Is.LessThan(Tolerance), name);
            worst = Math.Max(worst, difference);
            int width = values.Length / clips;
            double spread = Enumerable.Range(0, width).Max(i => Enumerable.Range(0, clips).Max(n => values[(n * width) + i]) - Enumerable.Range(0, clips).Min(n => values[(n * width) + i]));
            Assert.That(spread, Is.GreaterThan(run == "reserved" ? -1 : 50 * Tolerance), $"{name} hardly depends on the clip");
        }
        return worst;
    }

    /// <summary>Names that PyTorch's modules, containers, Python or C have a meaning for already.</summary>
    public static string[] ReservedNames { get; } =
    [
        "type", "forward", "training", "eval", "half", "parameters", "children", "modules", "T_destination", "dump_patches", "factors",
            "pixel_scale", "steps",
        "class", "None", "keys", "items", "pop", "2nd", "a-b", "_modules", "__dict__", "__init__", "weight", "file", "pooled", "embedding",
            "from", "zero", "auxiliary",
    ];

    // the tiny corpus with a column of each name, no more than two classes
    private static string TrainReserved()
    {
        string folder = TestFolders.New(), manifest = Path.Combine(folder, "manifest.csv");
        string[] lines = File.ReadAllLines(Path.Combine(TinyCorpus.Corpus, "manifest.csv"));
        File.WriteAllLines(manifest, lines.Where((_, i) => i == 0 || i % 2 == 1).Select((line, i) =>
            $"{line},{string.Join(',', i == 0 ? ReservedNames : ReservedNames.Select((_, k) => (i + k) % 2 == 0 ? "yes" : "no"))}"));
        string prepared = Path.Combine(folder, "prepared");
        Invoke(ExitCode.Ok, "prepare", manifest, "--root", TinyCorpus.Corpus, "--out", prepared, "--set", "features.clipSeconds=1",
            "--set", "features.faceFrames=2");
        string run = Path.Combine(folder, "reserved");
        Invoke(ExitCode.Ok, [
            "train", prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "4", "--precision", "fp32", "--set",
                "training.learningRate=0.01",
            .. ReservedNames.SelectMany(name => (string[])["--set", $"network.factors.{name}.embedding=4"])]);
        return run;
    }

    // a high rate, so that few steps make outputs that depend on the clip
    private static string Train(string name, params string[] more)
    {
        string run = Path.Combine(TestFolders.New(), name);
        Invoke(ExitCode.Ok, [
            "train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--epochs", "4", "--precision", "fp32", "--set", "training.learningRate=0.01", .. more]);
        return run;
    }
}
