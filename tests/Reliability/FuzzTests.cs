using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Readers of strangers' files: whatever is in one, reading it succeeds or ends in the exception that the reader documents, within a second, and in memory that
/// the file's length bounds.
/// </summary>
[Category(Soak.Category)]
public sealed class FuzzTests
{
    /// <summary>
    /// What reading takes besides the bytes: buffers of files and streams (4 KiB each), the objects of a document (some forty bytes for two of a file) and the text of
    /// an exception, for samples of a few KiB.
    /// </summary>
    private const long Objects = 256 << 10;

    /// <summary>As <see cref="Objects"/>, and the lists in which a long field is put into the usual form of Unicode.</summary>
    private const long Letters = Objects + (40 * 8_000);

    /// <summary>As <see cref="Objects"/>, and the blocks of 64 KiB in which MATLAB's numbers are read, once as bytes and four times that as singles.</summary>
    internal const long Blocks = Objects + (6 * 64 << 10);

    private static readonly FeatureOptions Features = new() { ClipSeconds = 1, FaceSize = 8, FaceFrames = 2, MelBins = 4, HopMs = 100 };
    private static readonly string Definition = Preparer.DefinitionOf(Features);
    private static readonly string[] Csv =
    [
        ",", "\"", "\"\"", "\n", "\r", "\0", ";", "../", "/", "\u001b[31m", "\ufeff", "path", "speaker", "1e308", "-1", "nan", "\u00e9",
            new('x', 5000), new('/', 3000),
        "sep=;\n", "\t", "|", "\\", "..\\", "file:///", "C:\\", "e\u0301", "\u1100\u1161", "1,5", "\u00a0", "Unnamed: 0", "a//b/.",
            "%2e%2e",
    ];

    private string folder = "";

    [SetUp]
    public void MakeFolder() => folder = Fuzzer.NewFolder();

    [TearDown]
    public void RemoveFolder() => Directory.Delete(folder, recursive: true);

    private static void Fuzz(FuzzedReader reader)
    {
        var result = new Fuzzer(reader).Run(Soak.Count(sample: Tier.Fast ? 8_000 : 20_000, all: 1_000_000));
        Soak.Say($"{reader.Name}: {result.Inputs:N0} damaged files, {result.Rejected:N0} refused, {result.Accepted:N0} read, slowest {result.SlowestMs:F0} ms, at most {result.AllocatedShare:P0} of the memory allowed, {result.Seconds:F1} s");
        Assert.That(result.Fault, Is.Null);
        Assert.That(result.Rejected, Is.GreaterThan(result.Inputs / 20), "most of what a mutation does has to matter");
    }

    private static Func<Exception, bool> Exits(int code) => failure => failure is UserException user && user.Code == code;

    private static FuzzSample Json(string text) => new(Encoding.UTF8.GetBytes(text)) { Json = [new(0, Encoding.UTF8.GetByteCount(text))] };

    private byte[] Written(Action<string> write)
    {
        string path = Path.Combine(folder, "sample");
        write(path);
        byte[] bytes = File.ReadAllBytes(path);
        File.Delete(path);
        return bytes;
    }

    private FuzzSample Tensors(int values)
    {
        byte[] bytes = Written(path => Safetensors.Write(path, new Dictionary<string, SafeTensor>
        {
            ["face.conv1.weight"] = SafeTensor.Of([values, 1, 3], new float[3 * values]), ["step"] = SafeTensor.Of(7), ["mask"] = new("U8", [3], [1, 2, 3]),
        }, new Dictionary<string, string> { ["format"] = "pt" }));
        int header = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        return new(bytes) { Json = [new(8, header, 0, 8)], Fields = [(0, 8)] };
    }

    [Test]
    public void Safetensors_files() => Fuzz(new("safetensors", [Tensors(2), Tensors(500)], path => Safetensors.Read(path), failure => failure is InvalidDataException, Objects));

    [Test]
    public void A_safetensors_file_cut_anywhere_or_with_any_bit_of_its_header_turned_is_refused_or_reads_as_something_whole()
    {
        var sample = Tensors(2);
        string path = Path.Combine(folder, "cut");
        for (int length = 0; length < sample.Bytes.Length; length++)
        {
            File.WriteAllBytes(path, sample.Bytes[..length]);
            Assert.That(() => Safetensors.Read(path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(path), $"{length} bytes");
        }
        int read = 0, refused = 0;
        for (int bit = 0; bit < (8 + sample.Json[0].Length) * 8; bit++)
        {
            byte[] turned = [.. sample.Bytes];
            turned[bit / 8] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(path, turned);
            try
            {
                // a name may have another letter, a type another name of the same size, a shape another order: the bytes are all there, and each once
                var tensors = Safetensors.Read(path);
                Assert.That(tensors.Values.Sum(tensor => tensor.Data.Length), Is.EqualTo(sample.Bytes.Length - 8 - sample.Json[0].Length), $"bit {bit}");
                read++;
            }
            catch (InvalidDataException)
            {
                refused++;
            }
        }
        Soak.Say($"safetensors: all {sample.Bytes.Length} truncations refused; of all {read + refused} bits of the header turned, {refused} refused, {read} read as other names");
        Assert.That(refused, Is.GreaterThan(read));
    }

    [Test]
    public void Checkpoint_manifests()
    {
        string checkpoint = Path.Combine(folder, "step-1");
        Checkpoint.Save(folder, "step-1", target =>
        {
            foreach (string name in (string[])["model.safetensors", "state.json", "config.json"])
                File.WriteAllText(Path.Combine(target, name), name);
        });
        string place = Path.Combine(checkpoint, "manifest.json");
        Fuzz(new("checkpoint manifest", [Json(File.ReadAllText(place))], _ => Checkpoint.Verify(checkpoint), failure => failure is InvalidDataException, Objects) { Place = place });
    }

    [Test]
    public void States_of_training()
    {
        var state = new TrainingState
        {
            Epoch = 3, Step = 120, BestScore = 0.5, Scores = new Dictionary<string, double> { ["emotion"] = 0.5 }, Candidates = [new(1, 0.5, 0.25), new(2, 0.75, 0.5)], LastLosses = [1.5f, 2],
            LossSums = [3, 4], WindowSums = [1], Factors = [new("emotion", ["neutral", "anger"], [3, 4]), new("speaker", ["ann", "bob"], [4, 3])], Precision = "fp32", Device = "cpu", DataHash = "ab12",
        };
        string place = Path.Combine(folder, "state.json");
        state.Save(folder);
        Fuzz(new("state.json", [Json(File.ReadAllText(place))], _ => TrainingState.Load(folder), Exits(ExitCode.BadCheckpoint), Objects) { Place = place });
    }

    [Test]
    public void Settings()
    {
        // a third of the defaults is labels
        Fuzz(new("config.json", [.. Config.Presets.Select(preset => Json(Config.FromPreset(preset).ToJson())), Json("""{ "preset": "grid", "training": { "epochs": 3 } }""")],
            path => Config.Load(null, path, []), Exits(ExitCode.Usage), 2 * Objects));
    }

    [Test]
    public void Shards()
    {
        FuzzSample sample = Sharded();
        Fuzz(new("shard", [sample, sample with { Seal = bytes => bytes }], path =>
        {
            using (Shard.OpenRead(path, Features, Definition))
            {
            }
            using var shard = Shard.Append(path, Features, Definition, verify: true, out var entries);
            var (faces, mels) = (new byte[Features.FaceBytes], new float[Features.MelCount]);
            foreach (var entry in entries)
                shard.Read(entry.Clip.Id, entry.Offset, faces, mels);
        }, Exits(ExitCode.BadInput), Objects));
    }

    [Test]
    public void Prepared_folders()
    {
        File.WriteAllBytes(Path.Combine(folder, "shard-00000.bin"), Sharded().Bytes);
        var clips = Entries().Select((entry, i) => new ClipInfo(entry.Clip.Id, i, i, Split.Train, entry.Clip.Faces, entry.Clip.Mels, [$"{i}"], 0, entry.Offset)).ToArray();
        var index = new DatasetIndex
        {
            Format = DatasetIndex.CurrentFormat, Definition = Definition, Features = Features, Data = new DataOptions(), LogMel = "words", ManifestSha256 = "00", Emotions = ["neutral", "anger"],
            Speakers = ["ann", "bob"], Factors = ["gender"], Counts = new Dictionary<Split, int> { [Split.Train] = 2 }, Rejected = new Dictionary<string, int> { ["no sound"] = 1 },
            Shards = ["shard-00000.bin"], Clips = clips,
        };
        string text = JsonSerializer.Serialize(index, DatasetIndex.Json);
        Fuzz(new("dataset.json", [Json(text)], _ =>
        {
            using var dataset = PreparedDataset.Open(folder);
            var (faces, mels) = (new byte[dataset.Features.FaceBytes], new float[dataset.Features.MelCount]);
            foreach (var clip in dataset.Index.Clips)
            {
                dataset.Read(clip, faces, mels);
                for (int factor = 0; factor < dataset.Factors.Count; factor++)
                    Assert.That(dataset.Label(clip, factor), Is.LessThan(dataset.Factors[factor].Classes.Count));
            }
        }, Exits(ExitCode.BadInput), Objects) { Place = Path.Combine(folder, DatasetIndex.FileName) });
    }

    [Test]
    public void Manifests()
    {
        var sample = new FuzzSample(Encoding.UTF8.GetBytes(
            "path,speaker,emotion,split,start,end,region,fps,audio,gender\na/b.mp4,ann,joy,train,0.5,2,left,25,a/b.wav,f\n\"c,d.mp4\",bob,ANG,unheard,,,,,,\"say \"\"hi\"\"\"\ne.mp4,ann,neutral,test,,,,,,m\n"))
        {
            Words = Csv,
        };
        var sheet = new FuzzSample(Encoding.Unicode.GetBytes(
            "\ufeffpath;speaker;emotion;start;text\r\na\\b.mp4;Jose\u0301;joy;0,5;\r\n"
            + "\"c;d.mp4\";x;neutral;;\"x\ny\"\r\n")) { Words = Csv };
        _ = TextTable.Composed("e\u0301"); // its tables are unpacked once
        Fuzz(new("manifest", [sample, sheet], path => Manifest.Read(path, folder, new DataOptions()), Exits(ExitCode.BadInput), Letters));
    }

    [Test]
    public void Tables_of_corpora()
    {
        var sample = new FuzzSample(Encoding.UTF8.GetBytes("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\nid10002\tA.R._Rahman\tm\tIndia\tdev\n"))
        {
            Words = [.. Csv, "\t"],
        };
        Fuzz(new("corpus table", [sample], path => CorpusTables.Read("table", File.ReadAllBytes(path), "VoxCeleb1 ID", "Gender"),
            Exits(ExitCode.BadInput), Objects));
    }

    [Test]
    public void Wav_headers()
    {
        var sample = new FuzzSample(CorpusTree.Wav(0.01)) { Fields = [(4, 4), (16, 4), (20, 2), (24, 4), (28, 4), (40, 4)], Words = ["RIFF", "fmt ", "data", "LIST"] };
        // no exception at all: what is no wav file has no length
        Fuzz(new("wav", [sample], path =>
        {
            if (WavHeader.Seconds(path) is not { } seconds)
                throw new InvalidDataException();
            Assert.That(seconds, Is.GreaterThanOrEqualTo(0).And.LessThanOrEqualTo(new FileInfo(path).Length));
        }, failure => failure is InvalidDataException, Objects));
    }

    [TestCase(MatForm.Plain)]
    [TestCase(MatForm.Compressed)]
    public void Matlab_files_of_level_5(MatForm form)
    {
        byte[] plain = Written(path => MatWriter.Write(path, MatForm.Plain, MatValues));
        var sample = new FuzzSample(plain)
        {
            Fields = [.. Enumerable.Range(32, (plain.Length / 4) - 32).Select(i => (i * 4, 4))],
            Seal = form == MatForm.Plain ? bytes => bytes : Packed,
        };
        Fuzz(new($"mat level 5, {form}", [sample], path => MatFile.Read(path, budget: Blocks), Exits(ExitCode.BadInput), Blocks));
    }

    [Test]
    [Category(Tier.Long)]
    public void Harness_finds_what_a_bad_reader_does()
    {
        var sample = new FuzzSample(new byte[100]);
        FuzzResult Of(Action<byte[]> read, TimeSpan? forever = null) => new Fuzzer(new("control", [sample], path =>
        {
            byte[] bytes = File.ReadAllBytes(path);
            if (bytes.Length != sample.Bytes.Length)
                read(bytes);
        }, failure => failure is InvalidDataException, 16 << 10)).Run(200, forever);

        Assert.That(Of(_ => throw new InvalidDataException()), Has.Property("Fault").Null.And.Property("Inputs").EqualTo(200), "one that keeps its word");
        var thrown = Of(bytes => _ = bytes[1000]);
        Assert.That(thrown.Fault, Does.Contain(nameof(IndexOutOfRangeException)));
        Assert.That(Of(_ => GC.KeepAlive(new byte[1 << 20])).Fault, Does.Contain("allocated 10"));
        Assert.That(Of(_ => Thread.Sleep(1050)).Fault, Does.Contain("took 1"));
        Assert.That(Of(_ => Thread.Sleep(Timeout.Infinite), TimeSpan.FromSeconds(2)).Fault, Does.Contain("did not come back"));
        Assert.That(new Fuzzer(new("control", [sample], _ => throw new InvalidDataException(), _ => true, 0)).Run(1).Fault, Does.Contain("refused its sample"));

        // the seed makes the input that was saved
        string[] words = thrown.Fault!.Split(' ');
        ulong seed = ulong.Parse(words[2].TrimEnd(':'));
        Assert.That(File.ReadAllBytes(words[^1]), Is.EqualTo(new Mutator(sample).Mutate(seed)));
    }

    internal static readonly (string, Avedis.Trainer.Corpora.MatValue)[] MatValues =
    [
        ("images", MatWriter.Struct(
            ("name", MatWriter.Cells([MatWriter.Text("Aamir_Khan/a_0000001.wav"), MatWriter.Text("Z\u00f6e/b_0000002.wav")])), ("set", MatWriter.Matrix(2, 1, 3)))),
        ("wavLogits", MatWriter.Cells([MatWriter.Matrix(3, 0.5f, -1, 2, 3, 4, 5), new MatValue()])),
    ];

    // everything behind the header as one compressed element: what MATLAB does with each variable
    private static byte[] Packed(byte[] plain) => plain.Length <= 128 ? plain : [.. plain[..128], .. MatWriter.Compressed(plain[128..])];

    private List<ShardEntry> Entries()
    {
        string path = Path.Combine(folder, "entries");
        File.WriteAllBytes(path, Sharded().Bytes);
        using (Shard.Append(path, Features, Definition, verify: true, out var entries))
            return entries;
    }

    private FuzzSample Sharded()
    {
        byte[] bytes = Written(path =>
        {
            using var shard = Shard.Create(path, Features, Definition);
            foreach (string id in (string[])["a.mp4", "b/c.mp4#t=1,2"])
                shard.Append(new ShardClip(id, 1234, 637000000000000000, 2, 9), new byte[Features.FaceBytes], new float[Features.MelCount]);
        });
        int head = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(12)), record = 20 + head, clip = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(record + 4));
        return new(bytes)
        {
            Json = [new(16, head, 12, 4), new(record + 8, clip, record + 4, 4)], Fields = [(8, 4), (12, 4), (record + 4, 4)], Words = ["AVEDSHRD", "CLIP"], Seal = Checksummed,
        };
    }

    // the checksums of what the lengths, as they are now, say is there
    private static byte[] Checksummed(byte[] bytes)
    {
        int at = 0, lengthAt = 12;
        while (lengthAt + 4 <= bytes.Length)
        {
            long end = lengthAt + 4 + (long)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(lengthAt));
            if (end < lengthAt + 4 || end + 4 > bytes.Length)
                break;
            Seal(at, (int)end);
            at = (int)end + 4;
            if (lengthAt > 12 && at + Shard.PayloadBytes(Features) <= bytes.Length)
            {
                Seal(at, at + Shard.PayloadBytes(Features) - 4);
                at += Shard.PayloadBytes(Features);
            }
            lengthAt = at + 4;
        }
        return bytes;

        void Seal(int from, int to) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(to), Crc32C.Compute(bytes.AsSpan(from, to - from)));
    }
}
