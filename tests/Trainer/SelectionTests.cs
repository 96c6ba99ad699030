using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Which epoch is kept for its embeddings that forgot most.</summary>
public sealed class SelectionTests
{
    private static readonly Candidate[] epochs = [new(0, 0.70, 0.20), new(1, 0.90, 0.60), new(2, 0.899, 0.40), new(3, 0.896, 0.30), new(4, 0.85, 0.01), new(5, 0.897, 0.50)];

    [TestCase(0.005, 3)]
    [TestCase(0.003, 2)]
    [TestCase(0, 1)]
    [TestCase(0.06, 4)]
    [TestCase(1, 4)]
    public void The_lowest_leak_above_the_floor(double floor, int epoch) => Assert.That(Selection.Choose(epochs, null, floor)!.Epoch, Is.EqualTo(epoch));

    [Test]
    public void What_the_training_started_from_lifts_the_floor()
    {
        Assert.That(Selection.Choose(epochs, start: 0.903, 0.005)!.Epoch, Is.EqualTo(2));
        Assert.That(Selection.Choose(epochs, start: 0.99, 0.005), Is.Null);
        Assert.That(Selection.Choose(epochs, start: 0.1, 0.005)!.Epoch, Is.EqualTo(3));
    }

    [Test]
    public void The_front_is_what_no_epoch_beats_in_both()
    {
        Assert.That(Selection.Front(epochs, null, 0.005).Select(c => c.Epoch), Is.EqualTo(new[] { 1, 2, 3 }));
        Assert.That(Selection.Front([new(0, 0.9, 0.3), new(1, 0.9, 0.3)], null, 0.005).Select(c => c.Epoch), Is.EqualTo(new[] { 1 }), "of equals the later");
        Assert.That(Selection.Front([], 0.5, 0.005), Is.Empty);
    }

    [Test]
    public void Whatever_comes_later_the_choice_among_all_is_on_the_front_that_was_kept()
    {
        var random = new Random(1);
        for (int run = 0; run < 200; run++)
        {
            var all = new List<Candidate>();
            IReadOnlyList<Candidate> kept = [];
            for (int epoch = 0; epoch < 30; epoch++)
            {
                all.Add(new(epoch, Math.Round(0.9 + 0.01 * random.NextDouble(), 3), Math.Round(random.NextDouble(), 1)));
                var front = Selection.Front(all, null, 0.005);
                Assert.That(front.Where(c => c.Epoch < epoch), Is.SubsetOf(kept), "a checkpoint that was deleted cannot come back");
                kept = front;
                Assert.That(kept, Does.Contain(Selection.Choose(all, null, 0.005)));
            }
        }
    }

    [TestCase(0.25, 0.25, 0)]
    [TestCase(0.1, 0.25, 0)]
    [TestCase(0.625, 0.25, 0.5)]
    [TestCase(1, 0.25, 1)]
    [TestCase(1, 1, 0)]
    public void A_leak_is_counted_from_chance_to_everything(double score, double chance, double excess) => Assert.That(Selection.Excess(score, chance), Is.EqualTo(excess));

    [Test]
    public void Every_epoch_is_probed_on_2000_clips_unless_it_is_said_otherwise() =>
        Assert.That(new SelectionOptions(), Is.EqualTo(new SelectionOptions { ProbeEvery = 1, Clips = 2000, Floor = 0.005 }));

    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-selection").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private TrainingState Train(params string[] more)
    {
        var (code, _, error) = TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", folder, .. TinyCorpus.SmallNetwork, "--strategy", "conf", "--epochs", "8", "--set", "training.learningRate=0.01", .. more]);
        Assert.That(code, Is.Zero, error);
        return TrainingState.Load(new RunFolder(folder).Resolve("latest"));
    }

    private string[] Kept() => [.. Directory.GetDirectories(Path.Combine(folder, "checkpoints"), "epoch-*").Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

    [Test]
    public void Checkpoints_of_the_front_are_kept_and_clean_is_the_chosen_one()
    {
        var state = Train("--set", "training.selection.floor=1", "--set", "training.adversary.strength=0", "--protect", "speaker");
        Assert.That(state.Candidates, Is.Not.Empty);
        Assert.That(Kept(), Is.EqualTo(state.Front(1).Select(Selection.CheckpointName)));
        var cleanest = state.Candidates.MinBy(c => (c.Leak, -c.Score, -c.Epoch))!; // of equals the later
        Assert.That(new RunFolder(folder).Resolve("clean"), Does.EndWith(Selection.CheckpointName(cleanest)));
        Assert.That(MetricsLog.Read(new RunFolder(folder).MetricsPath).Where(m => m.Split == "validation").Select(m => m.Leaks!.Keys), Is.All.EquivalentTo(new[] { "speaker.emotion" }));
        Assert.That(TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", folder, "--checkpoint", "clean").Code, Is.Zero);
    }

    [Test]
    [Category(Tier.Long)]
    public void A_collapsed_embedding_is_no_candidate()
    {
        // so much confusion that nothing else counts
        var state = Train("--set", "training.adversary.strength=1e6", "--set", "training.learningRate=0.05");
        Assert.That(state.Candidates, Is.Empty);
        Assert.That(Kept(), Is.Empty);
        var (code, _, error) = TinyCorpus.Run("evaluate", TinyCorpus.Prepared, "--run", folder, "--checkpoint", "clean");
        Assert.That(code, Is.EqualTo(ExitCode.BadCheckpoint));
        Assert.That(error, Does.Contain("floor"));
    }

    [Test]
    public void Nothing_is_probed_where_it_is_not_asked_for()
    {
        Assert.That(Train("--set", "training.selection.probeEvery=0").Candidates, Is.Empty);
        Assert.That(Kept(), Is.Empty);
    }

    [Test]
    public void A_floor_must_be_a_share() => Assert.That(
        TinyCorpus.Run("train", TinyCorpus.Prepared, "--run", folder, "--set", "training.selection.floor=2").Error, Does.Contain("training.selection.floor"));
}
