using System.Text.Json.Nodes;
using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Which settings a resumed run may change.</summary>
public sealed class ResumableTests
{
    private string checkpoint = "";

    [SetUp]
    public void SetUp() => checkpoint = Directory.CreateTempSubdirectory("avedis-resumable").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(checkpoint, recursive: true);

    private void Saved(params string[] sets) => File.WriteAllText(Path.Combine(checkpoint, "config.json"), Config.Load(null, null, sets).ToJson());

    private void Check(params string[] sets) => Resumable.Check(checkpoint, Config.Load(null, null, sets));

    private void Refused(string reason, params string[] sets) => Assert.That(() => Check(sets), Throws.TypeOf<UserException>().With.Property("Code")
        .EqualTo(ExitCode.BadCheckpoint).And.Message.EqualTo($"{checkpoint} is of another configuration: {reason}; resume with the settings of the run, or start a new one with --run"));

    [Test]
    public void How_long_how_often_and_where_may_change()
    {
        Saved();
        Check();
        Check("training.epochs=99", "training.maxSteps=7", "training.patience=3", "training.checkpointSeconds=5", "training.keepCheckpoints=9",
            "training.failedSaves=1", "training.watchdogSeconds=2", "training.device=cpu", "training.threads=1", "training.precision=fp32");
    }

    [Test]
    public void What_shapes_the_result_may_not_and_is_named()
    {
        Saved("training.seed=1");
        Refused("training.seed was 1, is 2", "training.seed=2");
        Refused("network.factors.emotion.forget.speaker was 0.3, is 0.5", "training.seed=1", "network.factors.emotion.forget.speaker=0.5");
    }

    [Test]
    public void At_most_three_are_named()
    {
        Saved();
        Refused("training.adversary.updates was 1, is 2; training.adversary.renewEvery was 0, is 3; training.batchSize was 8, is 4",
            "training.seed=9", "training.batchSize=4", "training.adversary.updates=2", "training.adversary.renewEvery=3");
    }

    [Test]
    public void A_factor_of_one_of_the_two_is_named_as_absent()
    {
        Saved("network.factors.gender.embedding=8");
        Assert.That(() => Check(), Throws.TypeOf<UserException>().With.Message.Contains("network.factors.gender.embedding was 8, is absent"));
        Saved();
        Assert.That(() => Check("network.factors.gender.embedding=8"), Throws.TypeOf<UserException>().With.Message.Contains("network.factors.gender.embedding was absent, is 8"));
    }

    [Test]
    public void A_setting_that_is_newer_than_the_run_had_its_default()
    {
        Saved();
        string path = Path.Combine(checkpoint, "config.json");
        var settings = JsonNode.Parse(File.ReadAllText(path))!;
        settings["training"]!["adversary"]!.AsObject().Remove("renewEvery");
        File.WriteAllText(path, settings.ToJsonString());
        Check();
        Refused("training.adversary.renewEvery was 0, is 4", "training.adversary.renewEvery=4");
    }
}
