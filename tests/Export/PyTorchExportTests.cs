using System.Diagnostics;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>The exported folder, run by PyTorch through the script that lies in it.</summary>
[NonParallelizable]
public sealed class PyTorchExportTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-pytorch").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    // Debian's own Python, where python3-torch lies, may not be the first on the PATH
    private static readonly Lazy<string?> python = new(() => new[] { "python3", "/usr/bin/python3" }.FirstOrDefault(program => Python(program, "-c", "import torch, numpy").Code == 0));

    private static (int Code, string Output) Python(string program, params string[] arguments)
    {
        var text = new StringBuilder();
        try
        {
            using var process = TinyCorpus.Start(text, program, arguments);
            process.WaitForExit();
            return (process.ExitCode, text.ToString());
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            return (-1, missing.Message);
        }
    }

    private string Export(string run)
    {
        ExportRig.Invoke(ExitCode.Ok, "export", "--run", ExportRig.Run(run), "--format", "pytorch", "--out", folder);
        return Path.Combine(folder, PyTorchExport.Script);
    }

    [Test]
    public void The_folder_holds_the_network_without_auxiliary_heads_and_the_committed_script()
    {
        string script = Export("hidden");
        var names = Safetensors.Read(Path.Combine(folder, "model.safetensors")).Keys;
        Assert.Multiple(() =>
        {
            Assert.That(names, Has.Member("speaker.hidden.weight").And.Member("face.bn6.num_batches_tracked").And.None.Contains("auxiliary"));
            Assert.That(Safetensors.Read(Path.Combine(ExportRig.Best("hidden"), "model.safetensors")).Keys, Has.Some.Contains("auxiliary"), "or leaving them out proves nothing");
            Assert.That(File.ReadAllText(script), Is.EqualTo(File.ReadAllText(Path.Combine(Repository.Root, "trainer", "Export", PyTorchExport.Script))));
            Assert.That(File.ReadAllText(Path.Combine(folder, "config.json")), Does.Contain("\"melBins\": 40").And.Contain("\"neutral\"").And.Contain("\"kernel\""));
        });
    }

    [TestCaseSource(typeof(ExportRig), nameof(ExportRig.Names))]
    public void PyTorch_gives_what_the_network_gives(string run)
    {
        if (python.Value is null)
            Assert.Ignore("no PyTorch on this machine (apt-get install python3-torch): the exported folder is not run");
        var (batch, expected) = ExportRig.Reference(run);
        string script = Export(run), inputs = Path.Combine(folder, "inputs.npz"), outputs = Path.Combine(folder, "outputs.npz");
        WriteInputs(inputs, batch, new ExportedModel(ExportRig.Best(run)).Config.Features.MelBins);
        var (code, text) = Python(python.Value, script, inputs, outputs);
        Assert.That(code, Is.Zero, text);
        Assert.That(text, Does.Contain("emotion: ").And.Contain("speaker: "));
        double worst = ExportRig.Compare(expected, ReadOutputs(outputs), batch.Capacity, run);
        TestContext.Out.WriteLine($"{run}: largest difference {worst:G3}");
    }

    /// <summary>strict=True: a weight too few is an error, not a random number.</summary>
    [Test]
    public void A_missing_weight_is_refused()
    {
        if (python.Value is null)
            Assert.Ignore("no PyTorch on this machine (apt-get install python3-torch): the exported folder is not run");
        string script = Export("plain"), weights = Path.Combine(folder, "model.safetensors");
        var tensors = Safetensors.Read(weights);
        tensors.Remove("emotion.head.bias");
        Safetensors.Write(weights, tensors);
        var (code, text) = Python(python.Value, script);
        Assert.That(code, Is.Not.Zero);
        Assert.That(text, Does.Contain("emotion.head.bias"));
    }

    // an .npz file is a zip of .npy files
    private static void WriteInputs(string path, Batch batch, int bins)
    {
        int n = batch.Capacity, size = 64;
        using var zip = ZipFile.Open(path, ZipArchiveMode.Create);
        Add("faces", "|u1", batch.Faces, n, batch.Faces.Length / (n * size * size), size, size);
        Add("mels", "<f4", MemoryMarshal.AsBytes(batch.Mels.AsSpan()), n, bins, batch.Mels.Length / (n * bins));
        Add("face_lengths", "<i8", Lengths(batch.FaceLengths), n);
        Add("mel_lengths", "<i8", Lengths(batch.MelLengths), n);

        static byte[] Lengths(int[] lengths) => MemoryMarshal.AsBytes(lengths.Select(length => (long)length).ToArray().AsSpan()).ToArray();

        void Add(string name, string type, ReadOnlySpan<byte> data, params int[] shape)
        {
            using var entry = zip.CreateEntry($"{name}.npy").Open();
            entry.Write(EmbeddingTable.NpyHeader(type, shape));
            entry.Write(data);
        }
    }

    private static Dictionary<string, float[]> ReadOutputs(string path)
    {
        using var zip = ZipFile.OpenRead(path);
        return zip.Entries.ToDictionary(entry => Path.GetFileNameWithoutExtension(entry.Name), entry =>
        {
            using var stream = entry.Open();
            var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            return EmbedTests.ReadNpy(bytes.ToArray()).Values;
        });
    }
}
