using Avedis.Trainer;
using Avedis.Trainer.Training;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class MetricsLogTests
{
    private static readonly Dictionary<string, double> Some = new() { ["emotion"] = 0.5 };

    private string path = "";

    [SetUp]
    public void SetUp() => path = Path.Combine(TestFolders.New(), "metrics.jsonl");

    private void Write()
    {
        using var log = new MetricsLog(path, keepBytes: 0);
        log.Write(new MetricsRecord { Step = 1, Losses = Some });
        log.Write(new MetricsRecord { Step = 2, Split = "validation", MacroF1 = Some, Accuracy = Some });
        log.Flush();
    }

    [Test]
    public void What_was_written_is_read()
    {
        Write();
        Assert.That(MetricsLog.Read(path).Select(record => record.Step), Is.EqualTo(new long[] { 1, 2 }));
        Assert.That(MetricsLog.Read(path)[1].MacroF1, Is.EqualTo(Some));
    }

    [Test]
    public void An_empty_file_holds_none()
    {
        File.WriteAllText(path, "");
        Assert.That(MetricsLog.Read(path), Is.Empty);
    }

    /// <summary>A process that was killed, or a full disk, leaves part of a line.</summary>
    [Test]
    public void A_line_without_its_end_is_passed_over_wherever_it_was_cut()
    {
        Write();
        byte[] whole = File.ReadAllBytes(path);
        int first = Array.IndexOf(whole, (byte)'\n') + 1;
        for (int length = first; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.That(MetricsLog.Read(path), Has.Count.EqualTo(1), $"{length} bytes");
        }
    }

    [TestCase("half of it")]
    [TestCase("null")]
    [TestCase("")]
    [TestCase("{}")]
    [TestCase("""{ "split": "validation", "accuracy": { "emotion": 1 } }""")]
    [TestCase("""{ "losses": { "emotion": 1 }, "more": 1 }""")]
    public void A_line_that_no_training_writes_is_named(string line)
    {
        Write();
        File.AppendAllText(path, line + "\n");
        Assert.That(() => MetricsLog.Read(path), Throws.TypeOf<UserException>().With.Message.Contains($"{path}, line 3").And.Property("Code").EqualTo(ExitCode.BadCheckpoint));
    }
}
