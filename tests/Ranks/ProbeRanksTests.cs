using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>avedis probe on several ranks: the same bits as one process finds.</summary>
[NonParallelizable]
[Category(Tier.Long)]
public sealed class ProbeRanksTests
{
    private string run = "";
    private byte[] expected = [];

    [OneTimeSetUp]
    public void TrainRun()
    {
        RankedProgram.Require();
        run = Path.Combine(TestFolders.New(), "run");
        // an auxiliary head, whose scores are gathered too; the bits of a processor are those of so many threads
        var (code, _, error) = TinyCorpus.Run(
            ["train", TinyCorpus.Prepared, "--run", run, "--device", "cpu", "--strategy", "gr", "--epochs", "1", .. TinyCorpus.SmallNetwork, "--set", "training.threads=1", "--set", "training.selection.probeEvery=0"]);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        (code, _, error) = TinyCorpus.Run(Command());
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        expected = File.ReadAllBytes(Probes);
    }

    private string Probes => Path.Combine(run, "probes.json");

    private string[] Command(int seeds = 2, params string[] more) => ["probe", TinyCorpus.Prepared, "--run", run, "--device", "cpu", "--seeds", $"{seeds}", .. more];

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Any_number_of_ranks_finds_the_same_to_the_bit(int ranks)
    {
        File.Delete(Probes);
        var ended = RankedProgram.Run(ranks, Command());
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(File.ReadAllBytes(Probes), Is.EqualTo(expected));
        Assert.That(ended.Text.Split("untrained"), Has.Length.EqualTo(2), $"one rank prints the table: {ended.Text}");
        Assert.That(ended.Text.Contains($"{ranks} processes on"), Is.EqualTo(ranks > 1));
    }

    [Test]
    public void Json_of_several_ranks_is_printed_once_and_nothing_else()
    {
        var ended = RankedProgram.Run(2, Command(more: "--json"));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(ended.Text.Trim(), Is.EqualTo(System.Text.Encoding.UTF8.GetString(expected).Trim()));
    }

    [Test]
    public void A_killed_rank_ends_all_and_the_same_command_finishes([Values(0, 1)] int victim)
    {
        File.Delete(Probes);
        using (var program = RankedProgram.Start(2, Command(seeds: 100)))
        {
            program.Await(() => program.Text.Contains("ranks: 2 processes", StringComparison.Ordinal), "the ranks have met");
            TinyCorpus.Signal(program.ProcessOf(victim), "KILL");
            Assert.That(program.Finish().Code, Is.Not.Zero);
        }
        Assert.That(File.Exists(Probes), Is.False);
        var ended = RankedProgram.Run(2, Command());
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(File.ReadAllBytes(Probes), Is.EqualTo(expected));
    }

    [Test]
    public void Ranks_with_other_settings_are_refused_by_name()
    {
        using var program = RankedProgram.StartUnlike(Command(), Command(more: ["--seed", "7"]));
        var ended = program.Finish();
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage), ended.Text);
        Assert.That(ended.Text, Does.Contain("another setting probes.seed than rank 0: 7, not 1"));
    }

    [Test]
    public void What_all_ranks_fail_for_is_said_once()
    {
        var ended = RankedProgram.Run(2, "probe", TinyCorpus.Prepared, "--run", run, "--checkpoint", Path.Combine(run, "none"), "--device", "cpu");
        Assert.That(ended.Code, Is.EqualTo(ExitCode.BadCheckpoint), ended.Text);
        Assert.That(ended.Text.Split("avedis: "), Has.Length.EqualTo(2), ended.Text);
    }
}
