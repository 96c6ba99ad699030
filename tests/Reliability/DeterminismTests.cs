using System.Globalization;
using System.Security.Cryptography;
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
        var (code, _, error) = TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", Path.Combine(folder, run), "--device", "cpu", .. network, "--set", "training.selection.probeEvery=0", .. more]);
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
    public void Runs_of_the_same_seed()
    {
        int runs = Soak.Count(5, 100);
        var hashes = Enumerable.Range(0, runs).Select(i => Train($"run-{i}", TinyCorpus.SmallNetwork, "--epochs", "1", "--strategy", "gr")).Distinct().ToList();
        Soak.Say($"{runs} runs of one seed: {hashes.Count} hash");
        Assert.That(hashes, Has.Count.EqualTo(1));
        Assert.That(Train("other", TinyCorpus.SmallNetwork, "--epochs", "1", "--strategy", "gr", "--seed", "2"), Is.Not.EqualTo(hashes[0]));
    }

    /// <summary>The network of the demo preset, whose channels fill vectors.</summary>
    [TestCase("fp32")]
    [TestCase("bf16")]
    public void Any_number_of_threads(string precision)
    {
        string[] demo = ["--set", "training.batchSize=4", "--precision", precision, "--set", "training.maxSteps=6"];
        var hashes = new[] { 1, 2, 4 }.Select(threads => Train($"{precision}-{threads}", demo, "--set", $"training.threads={threads}")).Distinct().ToList();
        Soak.Say($"{precision} with 1, 2 and 4 threads: {hashes.Count} hash");
        Assert.That(hashes, Has.Count.EqualTo(1));
    }

    /// <summary>Alternate training: its parity, its heads' optimisers and the cap's memory must all be there.</summary>
    [Test]
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
    public void Saved_and_resumed_under_the_emulated_driver()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
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
