using Avedis.Trainer;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class ConfigTests
{
    private string file = "";

    [SetUp]
    public void SetUp() => file = Path.GetTempFileName();

    [TearDown]
    public void TearDown() => File.Delete(file);

    [Test]
    public void Overrides_win_over_the_file_and_the_file_over_the_preset()
    {
        File.WriteAllText(file, """{ "preset": "paper", "training": { "epochs": 3, "batchSize": 8 } } // a comment""");
        var config = Config.Load(null, file, ["training.epochs=5", "network.tasks=[\"emotion\"]", "network.factors.speaker.embedding=256"]);
        Assert.Multiple(() =>
        {
            Assert.That(config.Features.FaceSize, Is.EqualTo(224));
            Assert.That(config.Training.BatchSize, Is.EqualTo(8));
            Assert.That(config.Training.Epochs, Is.EqualTo(5));
            Assert.That(config.Network.Tasks, Is.EqualTo(new[] { "emotion" }));
            Assert.That(config.Network.Factors["speaker"].Embedding, Is.EqualTo(256));
            Assert.That(config.Network.Factors["speaker"].Forget, Is.EqualTo(new Dictionary<string, float> { ["emotion"] = 0.3f }), "the rest stays");
        });
    }

    [Test]
    public void What_was_taken_away_stays_away_when_a_saved_config_is_read()
    {
        File.WriteAllText(file, """{ "network": { "factors": { "gender": { "embedding": 16 }, "speaker": null } } }""");
        var config = Config.Load(null, file, []);
        config = config with
        {
            Network = config.Network with { Factors = config.Network.Factors.ToDictionary(f => f.Key, f => f.Value with { Forget = new Dictionary<string, float>() }) },
        };
        File.WriteAllText(file, config.ToJson());
        var again = Config.Load(null, file, []);
        Assert.That(again.Network.Factors.Keys, Is.EqualTo(config.Network.Factors.Keys));
        Assert.That(again.Network.Factors.Values.SelectMany(f => f.Forget.Values), Is.All.Zero);
        Assert.That(again.ToJson(), Is.EqualTo(config.ToJson()));
    }

    [Test]
    public void Factors_are_added_and_removed_by_name()
    {
        File.WriteAllText(file, """{ "network": { "factors": { "gender": { "embedding": 16, "forget": { "emotion": 0.1 } }, "speaker": null } } }""");
        var network = Config.Load(null, file, ["network.factors.emotion.forget.gender=0.2"]).Network;
        Assert.Multiple(() =>
        {
            Assert.That(network.Built, Is.EqualTo(new[] { "emotion", "gender" }));
            Assert.That(network.Factors["gender"].Weight, Is.EqualTo(0.5f), "a new factor starts from the defaults");
            Assert.That(network.Factors["emotion"].Forget["gender"], Is.EqualTo(0.2f));
        });
    }

    [Test]
    public void Labels_are_added_to_those_known_by_file_and_by_set_in_any_letter_case()
    {
        File.WriteAllText(file, """{ "data": { "labels": { "frustrated": "anger", "CALM": "other" } } }""");
        var labels = Config.Load(null, file, ["data.labels.bored=drop", "data.labels.Happy=other", "data.labels.v. sad=sadness"])
            .Data.KnownLabels();
        Assert.Multiple(() =>
        {
            Assert.That(labels["neutral"], Is.EqualTo("neutral"), "the default stays");
            Assert.That((labels["frustrated"], labels["calm"], labels["bored"], labels["happy"], labels["v. sad"]),
                Is.EqualTo(("anger", "other", "drop", "other", "sadness")));
            Assert.That(labels, Has.Count.EqualTo(new DataOptions().Labels.Count + 3));
        });
    }

    [Test]
    public void One_entry_of_a_dictionary_is_taken_away_by_null_and_all_of_them_by_null_in_its_place()
    {
        var config = Config.Load(null, null, ["data.labels.calm=null", "network.factors.speaker.forget.emotion=null",
            "network.factors.emotion.forget=null"]);
        Assert.That(config.Data.Labels.Keys, Does.Not.Contain("calm").And.Contains("happy"));
        Assert.That(config.Network.Factors.Values.SelectMany(factor => factor.Forget), Is.Empty);
        Assert.That(Config.Load(null, null, ["data.labels=null", "data.labels.yes=other"]).Data.Labels.Keys, Is.EqualTo(new[] { "yes" }));
        File.WriteAllText(file, config.ToJson());
        var again = Config.Load(null, file, []);
        Assert.That(again.ToJson(), Is.EqualTo(config.ToJson()));
        Assert.That(again.Data.Labels.Keys, Does.Not.Contain("calm"), "a run's config.json keeps it away");
    }

    [Test]
    public void Other_classes_need_only_their_own_labels()
    {
        var data = Config.Load(null, null, ["data.emotions=[\"1\",\"sadness\"]", "data.labels.glad=1", "data.labels.2.0=sadness"]).Data;
        Assert.That(data.KnownLabels(), Is.EquivalentTo(new Dictionary<string, string> { ["glad"] = "1", ["2.0"] = "sadness",
            ["sadness"] = "sadness", ["sad"] = "sadness" }));
        Assert.That(() => Config.Load(null, null, ["data.emotions=[\"good\",\"bad\"]", "data.labels.joy=happy"]),
            Throws.InstanceOf<UserException>().With.Message.Contains("data.labels maps \"joy\" to \"happy\""));
    }

    [Test]
    public void A_resolved_config_is_a_config_file()
    {
        var config = Config.Load("paper", null, ["training.learningRate=0.002"]);
        File.WriteAllText(file, config.ToJson());
        Assert.That(Config.Load(null, file, []).ToJson(), Is.EqualTo(config.ToJson()));
    }

    [TestCase("""{ "training": { "epoch": 3 } }""", "unknown setting 'training.epoch'; did you mean 'epochs'?")]
    [TestCase("""{ "trainig": { } }""", "unknown setting 'trainig'; did you mean 'training'?")]
    [TestCase("""{ "training": { "epochs": "many" } }""", "training.epochs has a value of the wrong kind (")]
    [TestCase(
        """{ "training": { "convolutions": "fast" } }""",
        "training.convolutions has a value of the wrong kind, expected auto or direct (")]
    [TestCase("""{ "training": { "batchSize": 0 } }""", "training.batchSize is 0, expected 1 to 4096")]
    [TestCase("{ \"training\": {\n \"epochs\": 3,, } }", "line 2: not valid JSON")]
    [TestCase("[]", "one JSON object")]
    [TestCase("""{ "network": { "factors": { "gender": { "embeding": 3 } } } }""", "unknown setting 'network.factors.gender.embeding'; did you mean 'embedding'?")]
    [TestCase("""{ "network": { "factors": { "speaker": { "embedding": 0 } } } }""", "network.factors.speaker.embedding is 0, expected 1 to 65536")]
    [TestCase("""{ "network": { "factors": { "speaker": { "forget": { "speaker": 1 } } } } }""", "cannot forget what it is for")]
    [TestCase("""{ "network": { "factors": { "../gender": { "embedding": 3 } } } }""", "network.factors is '../gender'")]
    [TestCase("""{ "network": { "factors": { "face": { "embedding": 3 } } } }""", "rename the column")]
    [TestCase("""{ "network": { "tasks": ["gender"] } }""", "network.tasks names 'gender'")]
    [TestCase("""{ "network": { "auxiliary": { "noise": 1 } } }""", "network.auxiliary.normalise")]
    [TestCase("""{ "training": { "augment": { "flips": true } } }""", "unknown setting 'training.augment.flips'; did you mean 'flip'?")]
    [TestCase("""{ "training": { "augment": { "cropJitter": -1 } } }""", "training.augment.cropJitter is -1, expected 0 to 1024 pixels")]
    [TestCase("""{ "training": { "augment": { "timeShift": -0.5 } } }""", "training.augment.timeShift is -0.5, expected 0 to 600 seconds")]
    [TestCase("""{ "training": { "augment": { "gain": 61 } } }""", "training.augment.gain is 61, expected 0 to 60 dB")]
    [TestCase("""{ "training": { "augment": { "frequencyMasks": 3 } } }""", "training.augment.frequencyMasks is 3, expected 0 to 2")]
    [TestCase("""{ "training": { "augment": { "frequencyMasks": 1 } } }""", "training.augment.frequencyMaskBins is 0, expected 1 or more with frequencyMasks, else 0")]
    [TestCase("""{ "training": { "augment": { "timeMasks": -1 } } }""", "training.augment.timeMasks is -1, expected 0 to 2")]
    [TestCase("""{ "training": { "augment": { "timeMaskFrames": 9 } } }""", "training.augment.timeMaskFrames is 9, expected 1 or more with timeMasks, else 0")]
    [TestCase("""{ "training": { "augment": { "flip": true }, "freeze": ["trunk"] } }""", "training.freeze is trunk, expected another part with training.augment")]
    [TestCase("""{ "preset": "large" }""", "unknown preset 'large'; the presets are demo, grid, paper")]
    public void A_wrong_file_is_refused_in_one_line(string text, string expected)
    {
        File.WriteAllText(file, text);
        var error = Assert.Throws<UserException>(() => Config.Load(null, file, []))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.Code, Is.EqualTo(ExitCode.Usage));
            Assert.That(error.Message, Does.Contain(expected));
            Assert.That(error.Message, Does.Not.Contain('\n'));
        });
    }

    [TestCase("training.epochs", "expected section.key=value")]
    [TestCase("training.epoch=3", "did you mean 'epochs'")]
    public void A_wrong_override_is_refused_in_one_line(string set, string expected) =>
        Assert.That(() => Config.Load(null, null, [set]), Throws.InstanceOf<UserException>().With.Message.Contains(expected));

    [Test]
    public void A_missing_file_is_named() =>
        Assert.That(() => Config.Load(null, "no-such-file.json", []), Throws.InstanceOf<UserException>().With.Message.Contains("no-such-file.json"));
}
