using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Evaluation;
using Avedis.Trainer.Reproduce;
using NUnit.Framework;

namespace Avedis.Tests.Reproduce;

/// <summary>Scores of speakers whom the network never heard, and the folds that hold each out in turn.</summary>
public sealed class FoldsTests
{
    private static readonly string[] network = [.. TinyCorpus.SmallNetwork, "--epochs", "1", "--precision", "fp32", "--set",
        "training.selection.probeEvery=0"];

    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-folds").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private static string Run(int code, params string[] arguments)
    {
        var (actual, output, error) = TinyCorpus.Run(arguments);
        Assert.That(actual, Is.EqualTo(code), $"avedis {string.Join(' ', arguments)}: {error}");
        return output + error;
    }

    // the tiny corpus with its last speaker in a split, and a column of sessions if asked for
    private string Prepare(string? split, bool sessions = false)
    {
        string[] lines = File.ReadAllLines(Path.Combine(TinyCorpus.Corpus, "manifest.csv"));
        string[] header = lines[0].Split(',');
        int speaker = Array.IndexOf(header, "speaker"), part = Array.IndexOf(header, "split");
        var names = lines.Skip(1).Select(line => line.Split(',')[speaker]).Distinct().Order(StringComparer.Ordinal).ToList();
        var rows = lines.Skip(1).Index().Select(row =>
        {
            var fields = row.Item.Split(',').ToList();
            string own = split is not null && fields[speaker] == names[^1] ? split : row.Index % 4 == 0 ? "validation" : "train";
            if (part >= 0)
                fields.RemoveAt(part);
            return string.Join(',', split is null ? fields : [.. fields, own]) + (sessions
                ? $",{(fields[speaker] == names[0] ? "one" : "two")}" : "");
        });
        string head = string.Join(',', header.Where(name => name != "split")) + (split is null ? "" : ",split") + (sessions ? ",session"
            : "");
        string manifest = Path.Combine(folder, "manifest.csv"), prepared = Path.Combine(folder, "prepared");
        File.WriteAllLines(manifest, [head, .. rows]);
        Run(ExitCode.Ok, "prepare", manifest, "--root", TinyCorpus.Corpus, "--out", prepared, "--set", "features.clipSeconds=1", "--set",
            "features.faceFrames=1");
        return prepared;
    }

    [TestCase("unheard")]
    [TestCase("test")]
    public void Clips_of_a_speaker_without_training_clips_are_scored_on_emotion(string split)
    {
        string prepared = Prepare(split), run = Path.Combine(folder, "run");
        Run(ExitCode.Ok, ["train", prepared, "--run", run, .. network]);
        string table = Run(ExitCode.Ok, "evaluate", prepared, "--run", run, "--split", split);
        string json = Run(ExitCode.Ok, "evaluate", prepared, "--run", run, "--split", split, "--json");
        string probed = Run(ExitCode.Ok, "probe", prepared, "--run", run, "--split", split, "--quick");
        Assert.Multiple(() =>
        {
            Assert.That(table, Does.Contain("16 clips of split " + split).And.Contain("emotion macro-F")
                .And.Contain("emotion mean recall"));
            Assert.That(table, Does.Contain("note: speaker is not scored: no clip has one of the classes that the network learnt")
                .And.Not.Contain("speaker accuracy"));
            Assert.That(json, Does.Contain("\"emotion_balanced_accuracy\"").And.Contain("\"speaker_clips\": 0")
                .And.Not.Contain("\"speaker_accuracy\""));
            Assert.That(probed, Does.Contain("emotion in speaker")
                .And.Contain("speaker in emotion: not probed, the test split has no labelled clip"));
            Assert.That(File.ReadAllText(Path.Combine(run, "report.html")),
                Does.Contain("speaker is not scored").And.Not.Contain("Confusion of speaker"));
        });
    }

    /// <summary>
    /// Every clip is scored once, by a network that was trained on nobody of its fold; the figures are those of the formulas, from the
    /// predictions.
    /// </summary>
    [Test]
    public void Each_speaker_is_held_out_once_and_what_is_finished_is_not_done_again()
    {
        string target = Path.Combine(folder, "grid");
        string[] command =
            ["reproduce", TinyCorpus.Prepared, "--out", target, "--folds", "speaker", "--methods", "stl-emotion", "--seeds", "1",
                .. TinyCorpus.SmallNetwork,
             "--precision", "fp32", "--set", "training.epochs=1"];
        string output = Run(ExitCode.Ok, command);
        using var data = PreparedDataset.Open(TinyCorpus.Prepared);
        var truth = new List<int>();
        var uars = new List<double>();
        int right = 0;
        for (int fold = 1; fold <= 3; fold++)
        {
            var own = Grid.Load<Predictions>(Path.Combine(target, $"fold-{fold:D3}", "cells", "stl-emotion-s1", "predictions.json"),
                Json.Line);
            var held = data.Index.Clips.Where(clip => clip.Speaker == fold - 1).ToList();
            Assert.That(own.Emotions, Is.EqualTo(held.Select(clip => clip.Emotion)), "the fold's clips, all and no others");
            truth.AddRange(own.Emotions);
            right += own.Emotions.Zip(own.PredictedEmotions).Count(pair => pair.First == pair.Second);
            uars.Add(own.Emotions.Distinct().Average(c =>
                own.Emotions.Zip(own.PredictedEmotions).Where(pair => pair.First == c).Average(pair => pair.Second == c ? 1.0 : 0)));
        }
        string[] rows = File.ReadAllLines(Path.Combine(target, "folds.csv"));
        double Number(string row, int column) => double.Parse(rows.First(line => line.StartsWith($"stl-emotion-s1,{row},",
            StringComparison.Ordinal)).Split(',')[column], System.Globalization.CultureInfo.InvariantCulture);
        double mean = uars.Average();
        Assert.Multiple(() =>
        {
            Assert.That(truth, Has.Count.EqualTo(48));
            Assert.That(Number("mean", 3), Is.EqualTo(mean).Within(1e-12));
            Assert.That(Number("sd", 3), Is.EqualTo(Math.Sqrt(uars.Sum(u => (u - mean) * (u - mean)) / 2)).Within(1e-12));
            Assert.That(Number("pooled", 5), Is.EqualTo(right / 48.0).Within(1e-12));
            Assert.That(output, Does.Contain("s.d. over folds").And.Contain("fold 3 of 3"));
        });
        var written = Directory.GetFiles(target, "model.safetensors", SearchOption.AllDirectories).ToDictionary(file => file,
            File.GetLastWriteTimeUtc);
        Assert.That(written, Is.Not.Empty);
        Assert.That(Run(ExitCode.Ok, command), Does.Contain("s.d. over folds"));
        Assert.That(written.All(file => File.GetLastWriteTimeUtc(file.Key) == file.Value), "nothing is trained again");
    }

    [Test]
    public void Folds_are_even_in_clips_and_a_column_names_them_too()
    {
        using var data = PreparedDataset.Open(TinyCorpus.Prepared);
        Assert.That(new Folds(data, "speaker", 2, folder, TextWriter.Null).Groups().Select(group => group.Count),
            Is.EquivalentTo(new[] { 1, 2 }));
        using (var part = new Folds(data, "speaker", null, folder, TextWriter.Null).HoldOut([data.Speakers[1]]))
            Assert.Multiple(() =>
            {
                Assert.That(part.Speakers, Is.EqualTo(data.Speakers.Where((_, i) => i != 1)));
                Assert.That(part.Clips(Split.Test).Select(clip => clip.Id),
                    Is.EqualTo(data.Index.Clips.Where(clip => clip.Speaker == 1).Select(clip => clip.Id)));
                Assert.That(part.Clips(Split.Test), Has.All.Property("Speaker").EqualTo(-1));
                Assert.That(part.Clips(Split.Validation).Select(clip => clip.Id),
                    Is.EqualTo(data.Clips(Split.Validation).Where(clip => clip.Speaker != 1).Select(clip => clip.Id)));
            });
        using var sessions = PreparedDataset.Open(Prepare(null, sessions: true));
        Assert.That(new Folds(sessions, "session", null, folder, TextWriter.Null).Groups(), Is.EqualTo((string[][])[["one"], ["two"]]));
    }

    [Test]
    public void What_cannot_be_divided_is_refused()
    {
        string unheard = Prepare("unheard");
        Assert.Multiple(() =>
        {
            Assert.That(Run(ExitCode.Usage, "reproduce", TinyCorpus.Prepared, "--out", folder, "--folds", "place"),
                Does.Contain("expected speaker"));
            Assert.That(Run(ExitCode.Usage, "reproduce", TinyCorpus.Prepared, "--out", folder, "--folds", "speaker", "--fold-count", "4"),
                Does.Contain("2 to 3 folds, not 4"));
            Assert.That(Run(ExitCode.Usage, "reproduce", TinyCorpus.Prepared, "--out", folder, "--fold-count", "2"),
                Does.Contain("--folds"));
            Assert.That(Run(ExitCode.Usage, "reproduce", TinyCorpus.Prepared, "--out", folder, "--folds", "speaker", "--sweep", "x"),
                Does.Contain("--sweep"));
            Assert.That(Run(ExitCode.BadInput, "reproduce", unheard, "--out", folder, "--folds", "speaker"),
                Does.Contain("16 clips are of speakers without a training clip"));
        });
    }
}
