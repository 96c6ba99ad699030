using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class CheckpointTests
{
    private string root = "";

    [SetUp]
    public void SetUp() => root = Directory.CreateTempSubdirectory("avedis-checkpoint").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(root, recursive: true);

    private void Save(string name, string content, bool latest = true) =>
        Checkpoint.Save(root, name, folder => File.WriteAllText(Path.Combine(folder, "model.safetensors"), content), latest);

    [Test]
    public void The_latest_is_the_last_one_saved_and_verifies()
    {
        Save("step-1", "one");
        Save("step-2", "two");
        Save("best", "two", latest: false);
        string latest = Checkpoint.Latest(root)!;
        Checkpoint.Verify(latest);
        Assert.That(Path.GetFileName(latest), Is.EqualTo("step-2"));
    }

    [Test]
    public void A_save_that_fails_leaves_the_older_checkpoint_and_no_rubbish()
    {
        Save("step-1", "one");
        Assert.That(() => Checkpoint.Save(root, "step-2", _ => throw new IOException("No space left on device")), Throws.InstanceOf<IOException>());
        Checkpoint.Verify(Checkpoint.Latest(root)!);
        Assert.That(Directory.GetFileSystemEntries(root).Select(Path.GetFileName), Is.EquivalentTo(new[] { "step-1", "LATEST" }));
    }

    [Test]
    public void A_file_cut_short_changed_or_missing_is_noticed()
    {
        Save("step-1", "the weights");
        string file = Path.Combine(root, "step-1", "model.safetensors");
        File.WriteAllText(file, "the weight");
        Assert.That(() => Checkpoint.Verify(Path.Combine(root, "step-1")), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("10 bytes"));
        File.WriteAllText(file, "the weightz");
        Assert.That(() => Checkpoint.Verify(Path.Combine(root, "step-1")), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("changed"));
        File.Delete(file);
        Assert.That(() => Checkpoint.Verify(Path.Combine(root, "step-1")), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("gone"));
    }

    [Test]
    public void Pruning_keeps_the_newest_and_the_best()
    {
        for (int step = 1; step <= 4; step++)
            Save($"step-{step:D8}", "x");
        Save("best", "x", latest: false);
        Checkpoint.Prune(root, "step-", keep: 2);
        Assert.That(Directory.GetDirectories(root).Select(Path.GetFileName), Is.EquivalentTo(new[] { "step-00000003", "step-00000004", "best" }));
    }
}
