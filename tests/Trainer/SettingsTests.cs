using System.Security.Cryptography;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Settings that nothing else in the tests sets: each changes what it is for, or is refused by name.</summary>
public sealed class SettingsTests
{
    private string folder = "";

    /// <summary>Hash of what trains without any of the settings.</summary>
    private string? usualWeights;

    [SetUp]
    public void SetUp() => folder = TestFolders.New();

    [Test]
    public void Data_are_prepared_with_other_splits_and_features()
    {
        string prepared = Path.Combine(folder, "prepared");
        Expect(
        [
            .. TinyCorpus.PrepareQuarter(folder), "--out", prepared, "--set", "features.sampleRate=8000", "--set", "features.windowMs=32",
            "--set", "data.resplit=true", "--set", "data.validationFraction=0.25", "--set", "data.testFraction=0.5",
        ]);
        using PreparedDataset data = PreparedDataset.Open(prepared), usual = PreparedDataset.Open(TinyCorpus.Prepared);
        Assert.That((data.Features.SampleRate, data.Features.WindowMs), Is.EqualTo((8000, 32.0)));
        Assert.That(data.Clips(Split.Test), Has.Count.GreaterThan(data.Clips(Split.Train).Count), "half of the clips, and a quarter");
        Assert.That(usual.Clips(Split.Test), Has.Count.LessThan(usual.Clips(Split.Train).Count));
    }

    [TestCase("network.factors.emotion.classWeights=balanced")]
    [TestCase("network.factors.speaker.classWeights=balanced", "data.dropSpeakerPercentile=0")]
    [TestCase("network.auxiliary.classWeights=balanced")]
    [TestCase("training.adversary.decay=false")]
    public void Training_comes_to_other_weights_with(params string[] settings)
    {
        string Weights(params string[] more)
        {
            string path = Path.Combine(folder, more.Length == 0 ? "without" : "with");
            Expect(["train", TinyCorpus.Prepared, "--run", path, .. TinyCorpus.SmallNetwork, "--strategy", "gr", "--epochs", "2", "--device", "cpu", .. more]);
            return Hash(path);
        }
        Assert.That(Weights([.. settings.SelectMany(setting => new[] { "--set", setting })]), Is.Not.EqualTo(usualWeights ??= Weights()));
    }

    [Test]
    public void A_renewed_branch_starts_afresh()
    {
        string[] train = ["train", TinyCorpus.Prepared, .. TinyCorpus.SmallNetwork, "--device", "cpu", "--epochs", "1"];
        string start = Path.Combine(folder, "start"), kept = Path.Combine(folder, "kept"), renewed = Path.Combine(folder, "renewed");
        Expect([.. train, "--run", start]);
        string[] onward = ["--start", start, "--set", "training.freeze=[\"trunk\",\"emotion\"]"];
        Expect([.. train, "--run", renewed, .. onward, "--set", "training.renew=[\"speaker\"]"]);
        Expect([.. train, "--run", kept, .. onward]);
        Assert.That(Hash(renewed), Is.Not.EqualTo(Hash(kept)));
    }

    [TestCase("training.ranks.silenceSeconds=1")]
    [TestCase("training.ranks.patienceSeconds=1")]
    [TestCase("training.ranks.compareEvery=-1")]
    public void A_value_that_cannot_be_is_refused_by_name(string setting)
    {
        var (code, _, error) = TinyCorpus.Run("train", TinyCorpus.Prepared, "--run", folder, "--set", setting);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain(setting.Split('=')[0]));
    }

    private static void Expect(params string[] command)
    {
        var (code, _, error) = TinyCorpus.Run(command);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
    }

    private static string Hash(string run) =>
        Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(Path.Combine(Checkpoint.Latest(Path.Combine(run, "checkpoints"))!, "model.safetensors"))));
}
