using System.Globalization;
using System.Security.Cryptography;
using Avedis.Bindings.Cpu;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Same seed, same bits: again and again, with any number of threads, and wherever a training was stopped and resumed.</summary>
[NonParallelizable]
[Category(Soak.Category)]
public sealed class DeterminismTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-same").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private string Train(string run, string[] network, params string[] more)
    {
        var (code, _, error) = TinyCorpus.Run(
        [
            "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, run), "--device", "cpu", "--set", "training.precision=fp32",
            .. network, "--set", "training.selection.probeEvery=0", .. more,
        ]);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        return Hash(run);
    }

    private string Hash(string run)
    {
        string latest = Checkpoint.Latest(Path.Combine(folder, run, "checkpoints"))!;
        return Convert.ToHexString(SHA256.HashData(
            [.. File.ReadAllBytes(Path.Combine(latest, "model.safetensors")), .. File.ReadAllBytes(Path.Combine(latest, "optim.safetensors"))]));
    }

    [Test]
    [Category(Tier.Long)]
    public void Runs_of_the_same_seed()
    {
        int runs = Soak.Count(5, 100);
        var hashes = Enumerable.Range(0, runs).Select(i => Train($"run-{i}", TinyCorpus.SmallNetwork, "--epochs", "1", "--strategy", "gr")).Distinct().ToList();
        Soak.Say($"{runs} runs of one seed: {hashes.Count} hash");
        Assert.That(hashes, Has.Count.EqualTo(1));
        Assert.That(Train("other", TinyCorpus.SmallNetwork, "--epochs", "1", "--strategy", "gr", "--seed", "2"), Is.Not.EqualTo(hashes[0]));
    }

    /// <summary>Networks of the presets, whose channels fill vectors.</summary>
    [TestCase("demo", "fp32")]
    [TestCase("demo", "bf16")]
    [TestCase("grid", "fp32")]
    [TestCase("grid", "bf16")]
    [Category(Tier.Long)]
    public void Any_number_of_threads(string preset, string precision)
    {
        string[] network = preset == "demo"
            ? []
            : ["--set", "network.faceChannels=[12,32,32,32,32,64]", "--set", "network.voiceChannels=[12,32,48,32,32,64]"];
        string[] hashes =
        [
            .. new[] { 1, 2, 4 }.Select(threads => Train(
                $"{preset}-{precision}-{threads}", network, "--precision", precision, "--set", "training.batchSize=16", "--set", "training.maxSteps=4", "--epochs", "3",
                "--set", $"training.threads={threads}")).Distinct(),
        ];
        Soak.Say($"{preset} {precision} with 1, 2 and 4 threads: {hashes.Length} hash");
        Assert.That(hashes, Has.Length.EqualTo(1));
    }

    /// <summary>
    /// Convolutions as the presets have them at 32 clips, with fewer images, and with channels that fill no vector, which other
    /// implementations serve.
    /// </summary>
    [Test]
    public void Convolutions_with_any_number_of_threads(
        [Values(DType.F32, DType.BF16)] DType act, [Values] ConvolutionAlgorithm algorithm,
        [Values("forward", "gradient of x", "gradient of the weights")] string pass)
    {
        if (act == DType.BF16 && pass == "gradient of the weights" && CpuNative.InstructionSet.Contains("AMX", StringComparison.Ordinal))
            Assert.Ignore("oneDNN's gradient of the weights on matrix units is a sum in an order that follows the number of threads");
        Conv2dGeometry[] geometries =
        [
            new(256, 1, 1, 32, 64, 1, 1, 1, 1, 0, 0), new(20, 6, 6, 64, 64, 6, 6, 1, 1, 0, 0),
            new(32, 14, 14, 12, 32, 5, 5, 2, 2, 1, 1), new(2, 40, 148, 24, 64, 5, 5, 2, 1, 1, 1),
            new(2, 9, 144, 64, 96, 3, 3, 1, 1, 1, 1), new(8, 4, 36, 64, 128, 4, 1, 1, 1, 0, 0),
            new(16, 40, 48, 12, 32, 5, 5, 2, 1, 1, 1), new(3, 20, 50, 20, 40, 5, 5, 2, 1, 1, 1),
            new(5, 13, 17, 12, 20, 3, 3, 1, 1, 1, 1), new(2, 9, 11, 6, 9, 3, 3, 1, 1, 1, 1),
        ];
        foreach (var g in geometries)
        {
            double[] With(int threads)
            {
                var random = new Random(1);
                using var backend = new CpuBackend(threads, algorithm);
                using var op = new OpHarness(backend);
                Tensor Drawn(string name, Shape shape, DType type) =>
                    op.Input(name, shape, type, Numbers.Uniform(random, shape.Count, type));
                op.UseWorkspace(g, act);
                if (pass == "forward")
                {
                    Tensor x = Drawn("x", g.Input, act), filter = Drawn("weight", g.Weight, DType.F32), y = op.Output("y", g.Output, act);
                    op.Run(device => device.Conv2dForward(y, null, x, filter, g));
                    return op.Read(y);
                }
                Tensor dY = Drawn("dY", g.Output, act);
                if (pass == "gradient of x")
                {
                    Tensor filter = Drawn("weight", g.Weight, DType.F32), dX = op.Output("dX", g.Input, act);
                    op.Run(device => device.Conv2dBackwardData(dX, dY, filter, g));
                    return op.Read(dX);
                }
                Tensor input = Drawn("x", g.Input, act), dWeight = op.Sum("dWeight", g.Weight, new double[g.Weight.Count]);
                op.Run(device => device.Conv2dBackwardWeight(dWeight, dY, input, g));
                return op.Read(dWeight);
            }
            double[] one = With(1);
            foreach (int threads in (int[])[2, 3, 4])
                Assert.That(With(threads), Is.EqualTo(one), $"{g}, {threads} threads");
        }
    }

    /// <summary>Alternate training: its parity, its heads' optimisers and the cap's memory must all be there.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Saved_and_resumed_at_any_step()
    {
        const int Epochs = 7; // of 8 steps
        string[] alt = ["--strategy", "alt", "--epochs", Epochs.ToString(CultureInfo.InvariantCulture), "--set", "training.adversary.cap=true", "--set", "training.adversary.renewEvery=3"];
        string whole = Train("whole", TinyCorpus.SmallNetwork, alt);
        int tried = 0;
        foreach (int step in Soak.Spread(50, sample: 5))
        {
            string run = $"stopped-{step}";
            Train(run, TinyCorpus.SmallNetwork, [.. alt, "--set", $"training.maxSteps={step}"]);
            Assert.That(Train(run, TinyCorpus.SmallNetwork, [.. alt, "--resume", "--set", "training.maxSteps=0"]), Is.EqualTo(whole), $"stopped at step {step}");
            tried++;
        }
        Soak.Say($"stopped at {tried} of 50 consecutive steps and resumed: one hash");
    }

    /// <summary>The kernels of the GPU, a process each because a process loads one driver.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Saved_and_resumed_under_the_emulated_driver()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        if (!File.Exists(Path.Combine(Path.GetDirectoryName(TinyCorpus.ProgramPath)!, "avedis_kernels.fatbin")))
            Assert.Ignore("the program has no avedis_kernels.fatbin (there is no CUDA compiler), without which it opens no GPU, an emulated one included");
        const int Steps = 12; // of 8 an epoch
        using var runs = new Disturbed("--device", "cuda", "--strategy", "conf", "--set", "training.selection.probeEvery=0");
        string whole = Stop("whole", Steps);
        int tried = 0;
        foreach (int step in Soak.Spread(Steps - 1, sample: 2))
        {
            Stop($"stopped-{step}", step);
            Assert.That(Stop($"stopped-{step}", Steps, resume: true), Is.EqualTo(whole), $"stopped at step {step}");
            tried++;
        }
        Soak.Say($"emulated driver, stopped at {tried} of {Steps - 1} consecutive steps and resumed: one hash");

        string Stop(string run, int step, bool resume = false)
        {
            var start = runs.Command(run, resume, "--set", string.Create(CultureInfo.InvariantCulture, $"training.maxSteps={step}"));
            start.Environment["AVEDIS_CUDA_LIBRARY"] = Emulation.Library;
            var ended = Disturbed.Finish(System.Diagnostics.Process.Start(start)!);
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
            return runs.Outcome(run);
        }
    }
}
