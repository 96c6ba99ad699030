using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>ONNX Runtime, which shares no code with Avedis, gives what the network gives.</summary>
[NonParallelizable]
public sealed class OnnxExportTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-onnx").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private InferenceSession Export(string run)
    {
        string file = Path.Combine(folder, "network.onnx");
        ExportRig.Invoke(ExitCode.Ok, "export", "--run", ExportRig.Run(run), "--format", "onnx", "--out", file);
        return new InferenceSession(file);
    }

    /// <param name="frames">Mel frames to give: fewer than the network was trained with leave padding away.</param>
    private static Dictionary<string, float[]> Run(InferenceSession session, Batch batch, int frames, int allFrames)
    {
        int n = batch.Capacity;
        int size = session.InputMetadata["faces"].Dimensions[2], bins = session.InputMetadata["mels"].Dimensions[1];
        float[] mels = [.. Enumerable.Range(0, n * bins).SelectMany(row => batch.Mels.AsSpan(row * allFrames, frames).ToArray())];
        long[] Lengths(int[] lengths) => [.. lengths.Select(length => (long)length)];
        using var results = session.Run(
        [
            NamedOnnxValue.CreateFromTensor("faces", new DenseTensor<byte>(batch.Faces, [n, batch.Faces.Length / (n * size * size), size, size])),
            NamedOnnxValue.CreateFromTensor("face_lengths", new DenseTensor<long>(Lengths(batch.FaceLengths), [n])),
            NamedOnnxValue.CreateFromTensor("mels", new DenseTensor<float>(mels, [n, bins, frames])),
            NamedOnnxValue.CreateFromTensor("mel_lengths", new DenseTensor<long>(Lengths(batch.MelLengths), [n])),
        ]);
        return results.ToDictionary(result => result.Name, result => result.AsEnumerable<float>().ToArray());
    }

    [TestCaseSource(typeof(ExportRig), nameof(ExportRig.Names))]
    public void Noise_of_every_length_gives_what_the_network_gives(string run)
    {
        var (batch, expected) = ExportRig.Reference(run);
        using var session = Export(run);
        int frames = new ExportedModel(ExportRig.Best(run)).Config.Features.MelFrames;
        double worst = ExportRig.Compare(expected, Run(session, batch, frames, frames), batch.Capacity, run);
        TestContext.Out.WriteLine($"{run}: largest difference {worst:G3}");
    }

    [Test]
    public void Clips_give_what_predict_and_embed_say_of_them()
    {
        string[] files = [TinyCorpus.Clip, ExportRig.ShortClip(folder), .. Directory.GetFiles(TinyCorpus.Corpus, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Skip(5).Take(3)];
        var features = new ExportedModel(ExportRig.Best("plain")).Config.Features;
        var batch = ExportRig.Inputs(features, files);
        Assert.That(batch.FaceLengths[1], Is.LessThan(features.FaceFrames), "the short clip is short in both streams");
        Assert.That(batch.MelLengths[1], Is.LessThan(0.7 * features.MelFrames));
        using var session = Export("plain");
        double worst = ExportRig.Compare(ExportRig.Predicted("plain", folder, files), Run(session, batch, features.MelFrames, features.MelFrames), files.Length);
        TestContext.Out.WriteLine($"clips: largest difference {worst:G3}");
    }

    /// <summary>Batch and time are free: one clip alone, and without its padded mel frames but for those that the last valid step looks at.</summary>
    [Test]
    public void Other_batches_and_other_times_are_taken()
    {
        var (batch, expected) = ExportRig.Reference("plain");
        using var session = Export("plain");
        int frames = new ExportedModel(ExportRig.Best("plain")).Config.Features.MelFrames, bins = batch.Mels.Length / (batch.Capacity * frames);
        const int Clip = 4; // of 31 frames
        var one = new Batch(1, batch.Faces.Length / (batch.Capacity * 64 * 64), 64, bins, frames, 0) { Count = 1 };
        batch.Faces.AsSpan(Clip * one.Faces.Length, one.Faces.Length).CopyTo(one.Faces);
        batch.Mels.AsSpan(Clip * one.Mels.Length, one.Mels.Length).CopyTo(one.Mels);
        (one.FaceLengths[0], one.MelLengths[0]) = (batch.FaceLengths[Clip], batch.MelLengths[Clip]);
        float[] all = expected["speaker_embedding"], alone = Run(session, one, 60, frames)["speaker_embedding"];
        Assert.That(alone, Is.EqualTo(all.AsSpan(Clip * alone.Length, alone.Length).ToArray()).Within(ExportRig.Tolerance));
    }

    [Test]
    public void Metadata_name_the_classes_and_the_features()
    {
        using var session = Export("three");
        var metadata = session.ModelMetadata.CustomMetadataMap;
        Assert.Multiple(() =>
        {
            Assert.That(metadata["avedis.classes.emotion"], Does.StartWith("[\"neutral\""));
            Assert.That(metadata["avedis.classes.gender"], Is.EqualTo("[\"f\",\"m\"]"));
            Assert.That(metadata["avedis.features"], Does.Contain("\"melBins\":40"));
            Assert.That(session.OutputMetadata.Keys, Is.EquivalentTo(new[] { "emotion", "speaker", "gender" }.SelectMany(f => new[] { $"{f}_embedding", $"{f}_probabilities" })));
            Assert.That(session.InputMetadata["faces"].Dimensions[..2], Is.EqualTo(new[] { -1, -1 }), "batch and time are free");
        });
    }
}
