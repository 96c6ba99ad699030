using System.Text.Json;
using Avedis.Bench;
using Avedis.Bench.Kernels;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests.Bench;

/// <summary>The benchmark of single operations, on the emulated driver.</summary>
[NonParallelizable]
public sealed class KernelBenchmarkTests
{
    private const string SmallLayer = "voice.conv6";

    private static readonly string[] both = ["libcudnn.so.9", "libcublasLt.so.12", "libcublas.so.12"];

    [SetUp]
    public void RequireEmulation()
    {
        if (Backends.Forced is not null)
            Assert.Ignore("the emulated driver is not the one of this run");
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
    }

    private static IReadOnlyList<KernelRow> Run(string precision, string? libraries, string[] passes, string[] layers, StringWriter? log = null)
    {
        using var backend = (CudaBackend)Emulation.Open(tf32: precision == "tf32");
        using var processor = new CpuBackend();
        using var peers = libraries is null ? null : PeerLibraries.Open(libraries, backend, log ?? new StringWriter());
        using var benchmark = new KernelBenchmark(
            backend, processor, peers ?? PeerLibraries.None, new KernelOptions(1, passes, layers, Workspace: 1 << 20), log ?? new StringWriter());
        return benchmark.Run("grid", 1, precision, _ => { });
    }

    [TestCase("fp32", "math 3")]
    [TestCase("tf32", "math 0")]
    [TestCase("bf16", "math 1")]
    public void Convolutions_agree_with_the_reference_and_with_the_library(string precision, string math)
    {
        using var peers = new PeersDouble(both);
        var rows = Run(precision, peers.Folder, ["conv2d"], [SmallLayer, "voice.conv3"]);
        Assert.That(rows.Select(row => row.Operation).Distinct(), Is.EqualTo(new[] { "conv2d forward", "conv2d backward data", "conv2d backward weight" }));
        Assert.That(rows, Has.Count.EqualTo(6));
        foreach (var row in rows)
        {
            Assert.That(row.Failure, Is.Null, $"{row}");
            Assert.That(row.Microseconds, Is.Positive);
            Assert.That(row.Launches, Does.Contain("conv2d_"));
            Assert.That(row.FloorMicroseconds, Is.Null, "of an emulated GPU");
            var peer = row.Peers.Single();
            Assert.That(peer.Failure, Is.Null, $"{row.Operation}");
            Assert.That((peer.Library, peer.Version), Is.EqualTo(("cuDNN", "9.1.0")));
            Assert.That(peer.Algorithm, Is.EqualTo($"algorithm 1, {math}, 0.0 MiB"));
            Assert.That(peer.Microseconds, Is.Positive);
        }
    }

    [TestCase("fp32", "32F")]
    [TestCase("tf32", "FAST_TF32")]
    [TestCase("bf16", "32F")]
    public void Linear_layers_agree_with_the_reference_and_with_the_library(string precision, string compute)
    {
        using var peers = new PeersDouble(both);
        var rows = Run(precision, peers.Folder, ["linear"], ["speaker.head"]);
        Assert.That(rows, Has.Count.EqualTo(3));
        foreach (var row in rows)
        {
            Assert.That(row.Failure, Is.Null, $"{row}");
            Assert.That(row.Peers.Single() with { Microseconds = null }, Is.EqualTo(new PeerRow("cuBLAS", "12.4.5", compute)));
        }
    }

    [Test]
    public void A_library_that_reads_another_layout_is_found_out()
    {
        using var peers = new PeersDouble(both);
        PeersDouble.Set(PeersDouble.Fault.OtherLayout);
        var rows = Run("bf16", peers.Folder, ["conv2d"], ["voice.conv3"]).Concat(Run("fp32", peers.Folder, ["linear"], ["emotion.embedding"])).ToList();
        foreach (var row in rows.Where(row => row is not { Operation: "linear forward" or "linear backward data" })) // one clip is laid out alike either way
        {
            Assert.That(row.Failure, Is.Null, "ours is right");
            Assert.That(row.Peers.Single().Failure, Does.Contain(row.Peers[0].Library), $"{row.Operation}");
            Assert.That(row.Peers.Single().Microseconds, Is.Null);
        }
    }

    [Test]
    public void A_library_without_an_algorithm_is_named_and_the_rest_goes_on()
    {
        using var peers = new PeersDouble(both);
        PeersDouble.Set(PeersDouble.Fault.NoAlgorithm);
        var row = Run("fp32", peers.Folder, ["conv2d forward"], [SmallLayer]).Single();
        Assert.That(row.Microseconds, Is.Positive);
        Assert.That(row.Peers.Single().Failure, Does.Contain("no algorithm"));
    }

    [Test]
    public void A_library_that_is_not_there_is_one_line()
    {
        using var peers = new PeersDouble("libcublas.so.12");
        var log = new StringWriter();
        var rows = Run("fp32", peers.Folder, ["conv2d forward", "linear forward"], [SmallLayer, "speaker.head"], log);
        Assert.That(log.ToString().Split('\n').Where(line => line.StartsWith("left out", StringComparison.Ordinal)).Single(), Does.Contain("cuDNN").And.Contain("libcudnn.so.9"));
        Assert.That(rows.Select(row => row.Peers.Length), Is.EqualTo(new[] { 0, 1 }));
    }

    [TestCase("fp32")]
    [TestCase("bf16")]
    public void Other_operations_agree_with_the_processor(string precision)
    {
        var rows = Run(precision, null, ["stem", "batch_norm", "masked_mean", "softmax", "adam"], ["voice.conv1", "voice.conv5", "voice.mean", "speaker.head", "parameters"]);
        Assert.That(rows.Select(row => row.Operation), Is.EquivalentTo(new[]
        {
            "stem forward", "stem backward", "batch_norm forward", "batch_norm backward", "masked_mean forward", "masked_mean backward", "softmax_cross_entropy", "adam",
        }));
        foreach (var row in rows)
            Assert.That((row.Failure, row.Microseconds > 0), Is.EqualTo(((string?)null, true)), $"{row}");
    }

    [Test]
    public void A_wrong_result_is_named_with_its_place()
    {
        using var backend = (CudaBackend)Emulation.Open(tf32: false);
        using var rig = new ConvolutionRig(backend, "bf16", new Conv2dGeometry(2, 5, 6, 8, 16, 3, 3, 1, 1, 1, 1));
        rig.Check(Conv2dPass.Forward);
        var y = rig.Result(Conv2dPass.Forward);
        // the last element, which is always looked at
        backend.Upload<ushort>(y.Part("y", new Shape(1), y.Count - 1), [0x4F00]);
        Assert.That(
            Assert.Throws<WrongResultException>(() => rig.Check(Conv2dPass.Forward, y))!.Message,
            Does.StartWith($"{y} at {y.Count - 1}: 2.14748E+09 instead of"));
        Assert.Throws<WrongResultException>(() => ResultCheck.Within(0.01, backend, y, backend, rig.DY));
    }

    [Test]
    public void Numbers_by_formula_are_exact_in_their_precision_and_uniform()
    {
        foreach (string precision in new[] { "fp32", "tf32", "bf16" })
        {
            var numbers = FormulaNumbers.For(precision, 1);
            float[] values = [.. Enumerable.Range(0, 20000).Select(i => numbers[i])];
            int dropped = 24 - numbers.SignificantBits;
            Assert.That(values.All(value => (BitConverter.SingleToUInt32Bits(value) & ((1u << dropped) - 1)) == 0), precision);
            Assert.That(values.Average(), Is.EqualTo(0).Within(0.02), precision);
            Assert.That(values.Average(value => value * value), Is.EqualTo(1.0 / 3).Within(0.02), precision);
            Assert.That(values.Max(), Is.GreaterThan(0.98), precision);
        }
        Assert.That(FormulaNumbers.For("fp32", 1)[1L << 33], Is.Not.EqualTo(FormulaNumbers.For("fp32", 1)[0]), "the upper half of an index counts");
    }

    [Test]
    public void Floors_are_those_of_the_prediction_in_each_precision()
    {
        var h200 = GpuCeilings.Of("NVIDIA H200, 132 multiprocessors")!;
        double Peak(string precision) => KernelPrediction.Of(h200, "paper", 16, precision).Passes.Single(p => p is { Layer: "face.conv3", Pass: "forward" }).Peak;
        Assert.That(Peak("tf32"), Is.EqualTo(2 * Peak("bf16")).Within(1e-9));
        Assert.That(Peak("fp32"), Is.EqualTo(Peak("bf16") * 990 / 67).Within(1e-9));
        Assert.That(GpuCeilings.Of("emulated GPU (for tests)"), Is.Null);
    }

    [Test]
    public void Every_convolution_and_linear_layer_of_a_step_is_listed()
    {
        Assert.That(StepLayers.Convolutions("paper", 16).Count(layer => !layer.Stem), Is.EqualTo(10));
        Assert.That(StepLayers.Linears("paper", 16).Select(layer => (layer.Name, layer.Inputs, layer.Outputs)), Is.EqualTo(new[]
        {
            ("emotion.embedding", 1024, 2048), ("emotion.head", 2048, 5), ("emotion.auxiliary.speaker", 2048, 1251),
            ("speaker.embedding", 1024, 64), ("speaker.head", 64, 1251), ("speaker.auxiliary.emotion", 64, 5),
        }));
    }

    [Test]
    public void Results_are_kept_by_setting_and_read_back()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-kernels").FullName;
        try
        {
            KernelRow Row(string precision, double time) => new(
                "demo", precision, 32, "face.conv3", "conv2d forward", "[1]", [new("cuDNN", "9.1.0", "algorithm 1", 150)], time, 50, "kernel");
            KernelFile File(params KernelRow[] rows) => new("A GPU", "a machine", "1", "2026-01-02", 7, ["left out, cuBLAS: none"], rows);
            var refused = Row("tf32", 400) with { Peers = [new("cuDNN", "9.1.0", Failure: "refused")], FloorMicroseconds = null, Launches = null };
            KernelTable.Write(folder, File(Row("fp32", 300), refused, Row("bf16", 200)));
            KernelTable.Write(folder, File(Row("bf16", 100)));
            var read = JsonSerializer.Deserialize<KernelFile>(System.IO.File.ReadAllText(Path.Combine(folder, "kernels.json")), BenchJson.Options)!;
            Assert.That(read.Rows.Select(row => (row.Precision, row.Microseconds)), Is.EqualTo(new[] { ("fp32", (double?)300), ("tf32", 400), ("bf16", 100) }));
            string table = System.IO.File.ReadAllText(Path.Combine(folder, "kernels.md"));
            Assert.That(table, Does.Contain("| conv2d forward | face.conv3 | [1] | 100.0 | 50 % | cuDNN | 150.0 | 1.50 | algorithm 1 |"));
            Assert.That(table, Does.Contain("left out, cuBLAS").And.Not.Contain("No GPU took part"));
            Assert.That(
                Assert.Throws<UserException>(() => KernelTable.Write(folder, File() with { Device = "emulated GPU" }))!.Message, Does.Contain("another machine"));
            Assert.That(KernelTable.Markdown(File(Row("bf16", 1)) with { Device = "emulated GPU" }), Does.Contain("No GPU took part"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
