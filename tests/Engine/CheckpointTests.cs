using System.Security.Cryptography;
using System.Text.Json.Nodes;
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

    [TestCase("", "")]
    [TestCase("step-1\n", "/step-1")]
    [TestCase("../elsewhere/step-1", "/step-1")]
    public void Latest_leads_nowhere_but_into_its_folder(string text, string leadsTo)
    {
        File.WriteAllText(Path.Combine(root, "LATEST"), text);
        Assert.That(Checkpoint.Latest(root)!.TrimEnd('/'), Is.EqualTo(root + leadsTo));
    }

    [Test]
    public void Of_latest_no_more_is_read_than_the_longest_name([Values(4095, 4096, 4097, 1 << 20)] int length)
    {
        File.WriteAllText(Path.Combine(root, "LATEST"), new string('x', length));
        Assert.That(Path.GetFileName(Checkpoint.Latest(root)), Has.Length.EqualTo(Math.Min(length, 4096)));
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

    private string[] Entries() => [.. Directory.GetFileSystemEntries(root).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

    private string Content(string name) => File.ReadAllText(Path.Combine(root, name, "model.safetensors"));

    private void Folder(string name, string content)
    {
        Directory.CreateDirectory(Path.Combine(root, name));
        File.WriteAllText(Path.Combine(root, name, "model.safetensors"), content);
    }

    [Test]
    public void A_name_that_is_saved_again_stands_for_the_new_one_and_nothing_else_is_left()
    {
        Save("best", "one", latest: false);
        Assert.That(Checkpoint.Latest(root), Is.Null);
        Folder("best.tmp", "of a process that was killed");
        File.WriteAllText(Path.Combine(root, "best.tmp", "rubbish"), "");
        Save("best", "two", latest: false);
        Checkpoint.Verify(Path.Combine(root, "best"));
        Assert.Multiple(() =>
        {
            Assert.That(Content("best"), Is.EqualTo("two"));
            Assert.That(Entries(), Is.EqualTo(new[] { "best" }));
            Assert.That(Directory.GetFiles(Path.Combine(root, "best")).Select(Path.GetFileName), Is.EquivalentTo(new[] { "model.safetensors", "manifest.json" }));
        });
    }

    [Test]
    public void The_manifest_has_length_and_hash_of_every_file()
    {
        byte[] model = [1, 2, 3], empty = [];
        Checkpoint.Save(root, "step-1", folder =>
        {
            File.WriteAllBytes(Path.Combine(folder, "model"), model);
            File.WriteAllBytes(Path.Combine(folder, "empty"), empty);
        });
        var manifest = JsonNode.Parse(File.ReadAllText(Path.Combine(root, "step-1", "manifest.json")))!.AsObject();
        Assert.That(manifest.Select(entry => entry.Key), Is.EqualTo(new[] { "empty", "model" }));
        foreach (var (name, bytes) in new[] { ("model", model), ("empty", empty) })
        {
            Assert.That((long)manifest[name]!["bytes"]!, Is.EqualTo(bytes.Length));
            Assert.That((string)manifest[name]!["sha256"]!, Is.EqualTo(Convert.ToHexStringLower(SHA256.HashData(bytes))));
        }
        Checkpoint.Verify(Path.Combine(root, "step-1"));
    }

    [Test]
    public void A_folder_without_a_manifest_or_with_half_of_one_is_no_checkpoint()
    {
        Folder("step-1", "x");
        Assert.That(() => Checkpoint.Verify(Path.Combine(root, "step-1")), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("not finished"));
        File.WriteAllText(Path.Combine(root, "step-1", "manifest.json"), "{\"model.safetensors\": {");
        Assert.That(() => Checkpoint.Verify(Path.Combine(root, "step-1")), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("not valid JSON"));
    }

    [Test]
    public void Recovery_gives_an_exchanged_checkpoint_its_name_back_and_removes_what_was_not_finished()
    {
        Save("step-1", "one");
        Folder("best.old", "lost its name in an exchange that was not finished");
        Folder("step-1.old", "replaced");
        Folder("step-2.tmp", "half");
        File.WriteAllText(Path.Combine(root, "LATEST.tmp"), "step-2");
        Assert.That(Checkpoint.All(root).Select(Path.GetFileName), Is.EqualTo(new[] { "step-1" }), "only what has a name counts");
        Checkpoint.Recover(root);
        Assert.That(Entries(), Is.EqualTo(new[] { "LATEST", "best", "step-1" }));
        Assert.That((Content("best"), Content("step-1")), Is.EqualTo(("lost its name in an exchange that was not finished", "one")));
    }

    [Test]
    public void Only_the_prefix_is_pruned_and_only_the_names_are_kept()
    {
        foreach (string name in new[] { "step-1", "step-2", "step-3", "epoch-1", "epoch-2", "epoch-3" })
            Save(name, name);
        Folder("step-1.tmp", "left by a process that was killed while it removed step-1");
        Checkpoint.Prune(root, "step-", keep: 1);
        Checkpoint.Keep(root, "epoch-", ["epoch-1", "epoch-3"]);
        Assert.That(Entries(), Is.EqualTo(new[] { "LATEST", "epoch-1", "epoch-3", "step-3" }));
        Checkpoint.Prune(root, "step-", keep: 0);
        Checkpoint.Keep(root, "epoch-", []);
        Assert.That(Entries(), Is.EqualTo(new[] { "LATEST" }));
    }

    [Test]
    public void A_folder_that_is_not_there_has_no_checkpoints()
    {
        string none = Path.Combine(root, "none");
        Assert.That(Checkpoint.All(none), Is.Empty);
        Assert.That(Checkpoint.Latest(none), Is.Null);
    }
}
