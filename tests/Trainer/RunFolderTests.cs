using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Which checkpoint of a run is meant, also where some are damaged.</summary>
public sealed class RunFolderTests
{
    private string root = "";
    private RunFolder run = new("");

    [SetUp]
    public void SetUp()
    {
        root = Directory.CreateTempSubdirectory("avedis-run").FullName;
        run = new RunFolder(Path.Combine(root, "run"));
    }

    [TearDown]
    public void TearDown() => Directory.Delete(root, recursive: true);

    private void Save(string name, bool latest = false, TrainingState? state = null, params string[] sets) => Checkpoint.Save(
        Directory.CreateDirectory(run.CheckpointsPath).FullName, name,
        folder =>
        {
            (state ?? new TrainingState()).Save(folder);
            File.WriteAllText(Path.Combine(folder, "config.json"), Config.Load(null, null, sets).ToJson());
        }, latest);

    private string PathOf(string name) => Path.Combine(run.CheckpointsPath, name);

    private void Damage(string name) => File.AppendAllText(Path.Combine(PathOf(name), "state.json"), " ");

    private void Refused(Action call, params string[] words)
    {
        var error = Assert.Throws<UserException>(call)!;
        Assert.That(error.Code, Is.EqualTo(ExitCode.BadCheckpoint));
        foreach (string word in words)
            Assert.That(error.Message, Does.Contain(word));
    }

    [Test]
    public void One_process_has_it()
    {
        using (run.Claim())
            Assert.That(() => run.Claim(), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.Usage).And.Message.Contains("--run"));
        run.Claim().Dispose();
    }

    [Test]
    public void It_has_a_checkpoint_if_latest_or_a_step_is_there()
    {
        Assert.That(run.HasCheckpoint, Is.False);
        Save("best");
        Assert.That(run.HasCheckpoint, Is.False, "best alone lacks what was saved after it");
        Save("step-00000001");
        Assert.That(run.HasCheckpoint, Is.True);
        Save("best", latest: true);
        Directory.Delete(PathOf("step-00000001"), recursive: true);
        Assert.That(run.HasCheckpoint, Is.True);
    }

    [Test]
    public void It_is_complete_after_its_last_epoch()
    {
        Assert.That(run.IsComplete(0), Is.False, "nothing was saved");
        Save("step-00000001", latest: true, new() { Epoch = 3 });
        Assert.That((run.IsComplete(2), run.IsComplete(3), run.IsComplete(4)), Is.EqualTo((true, true, false)));
    }

    [Test]
    public void The_newest_is_latest_then_the_highest_step_then_any_other()
    {
        Save("step-00000001");
        Save("step-00000003");
        Save("step-00000002", latest: true);
        Save("best");
        Save("zebra");
        var log = new StringWriter();
        foreach (string expected in new[] { "step-00000002", "step-00000003", "step-00000001", "zebra", "best" })
        {
            log.GetStringBuilder().Clear();
            Assert.That(run.ResolveNewest(log), Is.EqualTo(PathOf(expected)));
            Damage(expected);
        }
        Assert.That(log.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.EqualTo(4).And.All.StartsWith("skipped: ").And.All.Contain("state.json"));
        Refused(() => run.ResolveNewest(log), "whole", "--run");
    }

    [Test]
    public void A_latest_that_leads_nowhere_is_passed_over([Values("", "..", "step-00000009", "\0\0\0\0")] string latest)
    {
        Save("step-00000001");
        Save("step-00000002", latest: true);
        File.WriteAllText(Path.Combine(run.CheckpointsPath, "LATEST"), latest);
        var log = new StringWriter();
        Assert.That(run.HasCheckpoint);
        Assert.That(run.ResolveNewest(log), Is.EqualTo(PathOf("step-00000002")));
        Assert.That(log.ToString(), Does.StartWith($"skipped: LATEST in {run.CheckpointsPath} names no"));
    }

    [Test]
    public void Each_name_is_its_checkpoint()
    {
        Refused(() => run.Resolve("latest"), "no checkpoint 'latest'", "avedis train");
        var state = new TrainingState { Candidates = [new(0, 0.9, 0.5), new(6, 0.8, 0.1)] };
        Save("epoch-000001");
        Save("epoch-000007");
        Save("best");
        Save("step-00000001", latest: true, state, "training.selection.floor=0.2");
        Assert.That(new[] { "latest", "best", "clean", PathOf("epoch-000001") }.Select(run.Resolve),
            Is.EqualTo(new[] { "step-00000001", "best", "epoch-000007", "epoch-000001" }.Select(PathOf)));
        Assert.That(run.Chosen()!.Epoch, Is.EqualTo(6));
        Save("step-00000001", latest: true, state, "training.selection.floor=0.05");
        Assert.That(run.Resolve("clean"), Is.EqualTo(PathOf("epoch-000001")));
        Damage("best");
        Refused(() => run.Resolve("best"), "state.json", "use another checkpoint of");
    }

    [Test]
    public void The_floor_is_spoken_of_where_clean_was_asked_for()
    {
        Save("step-00000001", latest: true);
        Refused(() => run.Resolve("clean"), "no checkpoint 'clean'", "floor");
        Assert.That(run.Chosen(), Is.Null);
        var error = Assert.Throws<UserException>(() => run.Resolve("best"))!;
        Assert.That(error.Message, Does.Not.Contain("floor"));
    }

    [Test]
    public void Training_starts_from_the_best_of_a_run_or_from_a_checkpoint()
    {
        Save("best");
        Save("step-00000001", latest: true);
        Assert.That(RunFolder.ResolveStart(run.Path), Is.EqualTo(PathOf("best")));
        Assert.That(RunFolder.ResolveStart(PathOf("step-00000001")), Is.EqualTo(PathOf("step-00000001")));
        Refused(() => RunFolder.ResolveStart(PathOf("none")), "no checkpoint");
    }
}
