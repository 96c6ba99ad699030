using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>Embeddings as files that numpy and safetensors read: bytes, rows, names and labels.</summary>
[NonParallelizable]
public sealed partial class EmbedTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-embed").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    [GeneratedRegex(@"^\{'descr': '<f4', 'fortran_order': False, 'shape': \(([0-9, ]+)\), \} *\n$")]
    private static partial Regex Dictionary();

    /// <summary>A float32 .npy file, version 1.0, read by the letter of numpy's format.</summary>
    public static (int[] Shape, float[] Values) ReadNpy(byte[] file)
    {
        Assert.That(file[..8], Is.EqualTo((byte[])[0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0]));
        int start = 10 + BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(8));
        Assert.That(start % 64, Is.Zero, "the data can be mapped");
        var match = Dictionary().Match(Encoding.ASCII.GetString(file, 10, start - 10));
        Assert.That(match.Success, Encoding.ASCII.GetString(file, 10, start - 10));
        int[] shape = [.. match.Groups[1].Value.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(extent => int.Parse(extent, CultureInfo.InvariantCulture))];
        float[] values = MemoryMarshal.Cast<byte, float>(file.AsSpan(start)).ToArray();
        Assert.That(values, Has.Length.EqualTo(shape.Aggregate(1, (a, b) => a * b)));
        return (shape, values);
    }

    private string[] Embed(string format, string target, params string[] more) =>
        ["embed", "--run", ExportRig.Run("three"), "--precision", "fp32", "--format", format, "--out", target, .. more];

    // what numpy 1.24 writes for numpy.zeros((7, 3), dtype="<f4")
    [Test]
    public void The_header_is_numpys()
    {
        byte[] header = EmbeddingTable.NpyHeader("<f4", 7, 3);
        Assert.That(Encoding.Latin1.GetString(header), Is.EqualTo("\u0093NUMPY\u0001\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (7, 3), }".PadRight(127) + "\n"));
        Assert.That(Encoding.Latin1.GetString(EmbeddingTable.NpyHeader("<i8", 5)), Does.Contain("'shape': (5,), }"));
    }

    [Test]
    public void A_prepared_folder_becomes_arrays_with_ids_splits_and_labels()
    {
        ExportRig.Invoke(ExitCode.Ok, Embed("npy", folder, "--data", TinyCorpus.Prepared));
        using var dataset = PreparedDataset.Open(TinyCorpus.Prepared);
        var clips = Enum.GetValues<Split>().SelectMany(dataset.Clips).ToList();
        string[][] rows = [.. File.ReadAllLines(Path.Combine(folder, "ids.csv")).Select(line => line.Split(','))];
        Assert.That(rows[0], Is.EqualTo(new[] { "row", "id", "split", "emotion", "speaker", "gender" }));
        Assert.That(rows.Skip(1), Is.EqualTo(clips.Select((clip, i) => (string[])[
            $"{i}", clip.Id, clip.Split.ToString().ToLowerInvariant(), dataset.Emotions[clip.Emotion], dataset.Speakers[clip.Speaker], clip.Factors[0]])));
        foreach (var (factor, width) in new[] { ("emotion", 8), ("speaker", 8), ("gender", 6) })
            Assert.That(ReadNpy(File.ReadAllBytes(Path.Combine(folder, $"{factor}.npy"))).Shape, Is.EqualTo(new[] { clips.Count, width }), factor);
    }

    [Test]
    public void Safetensors_holds_the_same_numbers_of_the_splits_asked_for()
    {
        string file = Path.Combine(folder, "e.safetensors");
        string[] splits = ["--data", TinyCorpus.Prepared, "--split", "test", "--split", "validation"];
        ExportRig.Invoke(ExitCode.Ok, Embed("safetensors", file, splits));
        ExportRig.Invoke(ExitCode.Ok, Embed("npy", folder, splits));
        using var dataset = PreparedDataset.Open(TinyCorpus.Prepared);
        ClipInfo[] clips = [.. dataset.Clips(Split.Validation), .. dataset.Clips(Split.Test)];
        var tensors = Safetensors.Read(file);
        byte[] bytes = File.ReadAllBytes(file);
        using var header = JsonDocument.Parse(bytes.AsMemory(8, (int)BitConverter.ToInt64(bytes)));
        var metadata = header.RootElement.GetProperty("__metadata__");
        string[] List(string name) => JsonSerializer.Deserialize<string[]>(metadata.GetProperty(name).GetString()!)!;
        Assert.Multiple(() =>
        {
            Assert.That(tensors["speaker.embedding"].Floats(), Is.EqualTo(ReadNpy(File.ReadAllBytes(Path.Combine(folder, "speaker.npy"))).Values));
            Assert.That(tensors["speaker.embedding"].Shape, Is.EqualTo(new[] { clips.Length, 8 }));
            Assert.That(tensors["speaker.label"].DType, Is.EqualTo("I64"));
            Assert.That(MemoryMarshal.Cast<byte, long>(tensors["speaker.label"].Data).ToArray(), Is.EqualTo(clips.Select(clip => (long)clip.Speaker)));
            Assert.That(List("ids"), Is.EqualTo(clips.Select(clip => clip.Id)));
            Assert.That(List("splits"), Is.EqualTo(clips.Select(clip => clip.Split.ToString().ToLowerInvariant())));
            Assert.That(List("classes.speaker"), Is.EqualTo(dataset.Speakers));
        });
    }

    /// <summary>The same clip, prepared before and decoded now.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Files_give_what_their_prepared_clips_give_and_a_bad_one_is_left_out()
    {
        string bad = Path.Combine(folder, "bad.mp4"), prepared = Path.Combine(folder, "prepared"), files = Path.Combine(folder, "files");
        File.WriteAllText(bad, "no video");
        ExportRig.Invoke(ExitCode.Ok, Embed("npy", prepared, "--data", TinyCorpus.Prepared));
        string error = ExportRig.Invoke(ExitCode.BadInput, Embed("npy", files, bad, TinyCorpus.Corpus)).Error;
        Assert.That(error, Does.Contain(bad).And.Contain("not a media file"));
        (string Id, float[] Values)[] Rows(string at)
        {
            var (shape, values) = ReadNpy(File.ReadAllBytes(Path.Combine(at, "speaker.npy")));
            return [.. File.ReadAllLines(Path.Combine(at, "ids.csv")).Skip(1).Select((line, i) => (line.Split(',')[1], values[(i * shape[1])..((i + 1) * shape[1])]))];
        }
        var known = Rows(files).ToDictionary(row => Path.GetRelativePath(TinyCorpus.Corpus, row.Id), row => row.Values);
        Assert.That(known, Has.Count.GreaterThanOrEqualTo(24));
        foreach (var (id, values) in Rows(prepared))
            Assert.That(known[id], Is.EqualTo(values).Within(1e-5), id);
    }

    [Test]
    public void What_cannot_be_embedded()
    {
        Assert.That(ExportRig.Invoke(ExitCode.Usage, Embed("npy", folder)).Error, Does.Contain("--data or media files"));
        Assert.That(ExportRig.Invoke(ExitCode.Usage, Embed("npy", folder, "--data", TinyCorpus.Prepared, TinyCorpus.Clip)).Error, Does.Contain("either"));
        Assert.That(ExportRig.Invoke(ExitCode.BadInput, Embed("npy", folder, "--data", TinyCorpus.Prepared, "--split", "unheard")).Error, Does.Contain("unheard"));
    }
}
