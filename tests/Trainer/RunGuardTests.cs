using System.Diagnostics;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What a training does when numbers go wrong, a checkpoint is damaged, a step hangs, a signal comes or another training has its folder.</summary>
[NonParallelizable]
public sealed class RunGuardTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-guard").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private string CheckpointsPath => Path.Combine(folder, "checkpoints");

    /// <summary>Writes a value into the first parameter behind those of the optimiser's steps that are chosen.</summary>
    private static WatchedBackend Spoilt(Func<int, bool> chosen, float value = float.NaN)
    {
        int steps = 0;
        var inner = new CpuBackend();
        return new WatchedBackend(inner)
        {
            After = (operation, tensors) =>
            {
                if (operation == "adam" && chosen(++steps))
                    inner.Upload<float>(tensors[0]!.Part("first", new Shape(1), 0), [value]);
            },
        };
    }

    private (TrainingState State, string Log) Train(IBackend backend, params string[] sets)
    {
        using var dataset = PreparedDataset.Open(TinyCorpus.Prepared);
        var config = Config.Load(null, null, [.. TinyCorpus.SmallNetwork.Where(word => word != "--set"), .. sets]) with { Features = dataset.Features };
        using var interrupt = new Interrupt();
        var log = new StringWriter();
        using var loop = new TrainingLoop(config, dataset, new RunFolder(folder), log, interrupt, resume: false, _ => backend);
        return (loop.Run(), log.ToString());
    }

    private (int Code, string Output, string Error) TrainCommand(params string[] more) =>
        TinyCorpus.Run(["train", TinyCorpus.Prepared, "--run", folder, "--device", "cpu", .. TinyCorpus.SmallNetwork, .. more]);

    [Test]
    public void A_step_that_is_not_finite_leaves_a_folder_from_which_the_operation_is_found()
    {
        var (code, _, error) = TrainCommand("--epochs", "2", "--set", "training.learningRate=1e30");
        string failure = Directory.GetDirectories(Path.Combine(folder, "failures")).Single();
        var (replayed, output, replayError) = TinyCorpus.Run("replay", failure, "--device", "cpu");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Diverged));
            Assert.That(error.Trim().Split('\n'), Has.Length.EqualTo(1));
            Assert.That(error, Does.Contain("training diverged at step").And.Contain("; clips clips/spk").And.Contain($"avedis replay {failure}"));
            Assert.That(replayed, Is.EqualTo(ExitCode.Diverged), output + replayError);
            Assert.That(output, Does.Match(@"step \d+ \(epoch 1\): \w+.* wrote \S+ .*: [\d,]+ of [\d,]+ elements are not finite; clips clips/spk"));
        });
    }

    [Test]
    public void Replay_says_so_when_everything_is_finite_this_time_and_refuses_what_is_no_failure()
    {
        Assert.Throws<UserException>(() => Train(Spoilt(step => step == 10), "training.epochs=2"));
        string failure = Directory.GetDirectories(Path.Combine(folder, "failures")).Single();
        var (code, output, error) = TinyCorpus.Run("replay", failure, "--device", "cpu");
        var (refused, _, why) = TinyCorpus.Run("replay", CheckpointsPath);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
            Assert.That(output, Does.Contain("resumed from").And.Contain("was finite this time"));
            Assert.That(refused, Is.EqualTo(ExitCode.BadCheckpoint));
            Assert.That(why, Does.Contain("is not the folder of a failure"));
        });
    }

    [Test]
    public void Skip_goes_back_and_leaves_out_the_batch()
    {
        var (state, log) = Train(Spoilt(step => step == 11), "training.epochs=2", "training.guard.onNonFinite=skip");
        Assert.Multiple(() =>
        {
            // the NaN of step 11 shows in the losses of step 12; step 8 ends the first epoch
            Assert.That(state.Skipped, Is.EqualTo(new long[] { 11 }));
            Assert.That((state.Step, state.Epoch, state.Returns, state.RateScale), Is.EqualTo((16L, 2, 1, 1.0)));
            Assert.That(log, Does.Contain("back to step 8, without the batch of step 12"));
        });
    }

    [Test]
    public void Roll_back_halves_the_rates_and_without_a_checkpoint_begins_again()
    {
        var (state, log) = Train(Spoilt(step => step == 3), "training.epochs=1", "training.guard.onNonFinite=rollBack");
        Assert.Multiple(() =>
        {
            Assert.That((state.Step, state.Returns, state.RateScale), Is.EqualTo((8L, 1, 0.5)));
            Assert.That(state.Skipped, Is.Empty);
            Assert.That(log, Does.Contain("back to step 0, with learning rates times 0.5"));
        });
    }

    [Test]
    public void A_training_that_goes_back_to_the_beginning_ends_as_one_that_began_so()
    {
        var (state, _) = Train(Spoilt(step => step == 3), "training.epochs=1", "training.guard.onNonFinite=skip");
        byte[] model = File.ReadAllBytes(Path.Combine(Checkpoint.Latest(CheckpointsPath)!, "model.safetensors"));
        Directory.Delete(folder, recursive: true);
        // another fault, the same batch left out
        var (again, _) = Train(Spoilt(step => step == 3, float.NegativeInfinity), "training.epochs=1", "training.guard.onNonFinite=skip");
        Assert.That(again.Skipped, Is.EqualTo(state.Skipped));
        Assert.That(File.ReadAllBytes(Path.Combine(Checkpoint.Latest(CheckpointsPath)!, "model.safetensors")), Is.EqualTo(model));
    }

    [Test]
    public void It_goes_back_only_so_often()
    {
        var failure = Assert.Throws<UserException>(() => Train(Spoilt(_ => true), "training.epochs=1", "training.guard.onNonFinite=skip", "training.guard.limit=2"));
        Assert.That(failure!.Code, Is.EqualTo(ExitCode.Diverged));
        Assert.That(Directory.GetDirectories(Path.Combine(folder, "failures")), Has.Length.EqualTo(3));
    }

    [Test]
    public void Resumes_from_the_newest_checkpoint_that_verifies_and_says_what_it_passes_over()
    {
        Assert.That(TrainCommand("--epochs", "2").Code, Is.EqualTo(ExitCode.Ok));
        string weights = Path.Combine(CheckpointsPath, "step-00000016", "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        bytes[^1] ^= 1;
        File.WriteAllBytes(weights, bytes);
        var (code, output, error) = TrainCommand("--epochs", "2", "--resume");
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
            Assert.That(output, Does.Contain("skipped: ").And.Contain("its SHA-256 differs").And.Match(@"resumed from \S+step-00000008"));
            Checkpoint.Verify(Path.Combine(CheckpointsPath, "step-00000016"));
        });
        // without LATEST the number counts
        File.Delete(Path.Combine(CheckpointsPath, "LATEST"));
        Assert.That(TrainCommand("--epochs", "3", "--resume").Output, Does.Match(@"resumed from \S+step-00000016"));
        foreach (string file in Directory.GetFiles(CheckpointsPath, "manifest.json", SearchOption.AllDirectories))
            File.Delete(file);
        Assert.That(TrainCommand("--epochs", "4", "--resume").Code, Is.EqualTo(ExitCode.BadCheckpoint));
    }

    [Test]
    public void Two_trainings_never_share_a_folder()
    {
        (int Code, string Output, string Error) second;
        using (new RunFolder(folder).Claim())
            second = TrainCommand("--epochs", "1");
        Assert.Multiple(() =>
        {
            Assert.That(second.Code, Is.EqualTo(ExitCode.Usage));
            Assert.That(second.Error, Does.Contain("is being trained by another avedis").And.Contain("--run"));
            Assert.That(TrainCommand("--epochs", "1").Code, Is.EqualTo(ExitCode.Ok));
        });
    }

    [Test]
    public void SIGUSR1_saves_and_the_training_goes_on()
    {
        int updates = 0;
        var backend = new WatchedBackend(new CpuBackend())
        {
            After = (operation, _) =>
            {
                if (operation != "adam" || ++updates != 3)
                    return;
                TinyCorpus.Signal(Environment.ProcessId, "USR1");
                Thread.Sleep(200); // the handler has a thread of its own
            },
        };
        var (state, _) = Train(backend, "training.epochs=1", "training.keepCheckpoints=5", "training.checkpointSeconds=0");
        Assert.That(state.Step, Is.EqualTo(8));
        Checkpoint.Verify(Path.Combine(CheckpointsPath, "step-00000003"));
    }

    [Test]
    public void A_step_that_hangs_is_given_up_and_rest_is_not()
    {
        using var given = new ManualResetEventSlim();
        string said = "";
        using (var watchdog = new Watchdog(TimeSpan.FromMilliseconds(100), what =>
        {
            said = what;
            given.Set();
        }))
        {
            watchdog.Begin(() => "step 7");
            watchdog.Rest();
            Assert.That(given.Wait(400), Is.False);
            watchdog.Begin(() => "step 8");
            Assert.That(given.Wait(5000), Is.True);
        }
        Assert.That(said, Does.StartWith("step 8 has taken"));
    }
}
