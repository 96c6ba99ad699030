using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>predict over files, folders and long videos: what is printed, in which order, and what happens to a clip that cannot be read.</summary>
[NonParallelizable]
public sealed class PredictTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-predict").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private static (string Output, string Error) Predict(int code, params string[] more) =>
        ExportRig.Invoke(code, ["predict", "--run", ExportRig.Run("plain"), "--precision", "fp32", .. more]);

    private static List<JsonElement> Objects(string lines) => [.. lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];

    // clips of the corpus end to end: 6 s, each second another person's or emotion's
    private string Video(int clips = 6)
    {
        string list = Path.Combine(folder, "list.txt"), path = Path.Combine(folder, "video.mp4");
        File.WriteAllLines(list, Directory.GetFiles(TinyCorpus.Corpus, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Where((_, i) => i % 4 == 0).Take(clips).Select(file => $"file '{file}'"));
        TestMedia.Run(["-y", "-f", "concat", "-safe", "0", "-i", list, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path]);
        return path;
    }

    [Test]
    public void A_folder_is_searched_in_the_order_of_names_and_what_cannot_be_read_is_said()
    {
        string[] names = ["b/deep/two.MP4", "a.mkv", "b/one.mp4", "notes.txt"];
        foreach (string name in names)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, name))!);
            File.Copy(TinyCorpus.Clip, Path.Combine(folder, name));
        }
        string broken = Path.Combine(folder, "b", "broken.mp4");
        File.WriteAllText(broken, "no video");
        var (output, error) = Predict(ExitCode.BadInput, "--format", "json", folder, TinyCorpus.Clip, "/nowhere.mp4");
        Assert.That(Objects(output).Select(o => o.GetProperty("path").GetString()), Is.EqualTo(new[]
        {
            Path.Combine(folder, "a.mkv"), Path.Combine(folder, "b/deep/two.MP4"), Path.Combine(folder, "b/one.mp4"), TinyCorpus.Clip,
        }));
        Assert.That(error.TrimEnd().Split('\n'), Has.Length.EqualTo(2).And.Some.Contain(broken).And.Some.Contain("/nowhere.mp4: missing file"));
        Directory.CreateDirectory(Path.Combine(folder, "empty"));
        Assert.That(Predict(ExitCode.BadInput, Path.Combine(folder, "empty")).Error, Does.Contain("no media files"));
    }

    /// <summary>Ten clips are three batches, the last not full; one clip is a batch of one.</summary>
    [Test]
    public void A_clip_in_a_batch_gives_what_it_gives_alone()
    {
        string[] files = [.. Directory.GetFiles(TinyCorpus.Corpus, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Take(10)];
        var all = Objects(Predict(ExitCode.Ok, ["--format", "json", .. files]).Output);
        Assert.That(all, Has.Count.EqualTo(files.Length));
        foreach (int i in Tier.Fast ? new[] { 3, 9 } : [0, 3, 5, 9])
        {
            var alone = Objects(Predict(ExitCode.Ok, "--json", files[i]).Output)[0];
            foreach (var speaker in alone.GetProperty("speakers").EnumerateObject())
                Assert.That(all[i].GetProperty("speakers").GetProperty(speaker.Name).GetDouble(), Is.EqualTo(speaker.Value.GetDouble()).Within(1e-5), $"{i} {speaker.Name}");
        }
        Assert.That(all.Select(o => o.GetProperty("speakers").GetRawText()).Distinct().Count(), Is.GreaterThan(1), "equal outputs would prove nothing");
    }

    [Test]
    public void A_table_has_a_row_per_clip_and_a_column_per_class()
    {
        string file = Path.Combine(folder, "out.csv");
        Predict(ExitCode.Ok, "--format", "csv", "--out", file, TinyCorpus.Clip, TinyCorpus.Clip);
        string[] lines = File.ReadAllLines(file);
        var branches = new ExportedModel(ExportRig.Best("plain")).Branches;
        Assert.That(lines[0].Split(','), Is.EqualTo((string[])["path", .. branches.SelectMany(b => (string[])[$"predicted_{b.Name}", .. b.Classes.Select(c => $"p_{b.Name}_{c}")])]));
        Assert.That(lines, Has.Length.EqualTo(3));
        var json = Objects(Predict(ExitCode.Ok, "--format", "json", TinyCorpus.Clip).Output)[0];
        string[] row = lines[1].Split(',');
        Assert.That((row[0], row[1]), Is.EqualTo((TinyCorpus.Clip, json.GetProperty("emotion").GetString())));
        Assert.That(float.Parse(row[2], CultureInfo.InvariantCulture), Is.EqualTo(json.GetProperty("emotions").GetProperty("neutral").GetSingle()).Within(1e-6));
        Assert.That(Predict(ExitCode.Ok, TinyCorpus.Clip).Output, Does.StartWith($"{TinyCorpus.Clip}: emotion ").And.Contain("; speaker "));
    }

    [TestCase(0.4, 1.0, 1.0, new[] { 0.0 }, TestName = "shorter than a window")]
    [TestCase(6.0, 1.0, 1.0, new[] { 0.0, 1, 2, 3, 4, 5 }, TestName = "end to end")]
    [TestCase(2.5, 1.0, 1.0, new[] { 0.0, 1, 2 }, TestName = "a rest that is long enough")]
    [TestCase(2.3, 1.0, 1.0, new[] { 0.0, 1 }, TestName = "a rest that is too short")]
    [TestCase(4.0, 3.0, 0.5, new[] { 0.0, 0.5, 1 }, TestName = "overlapping")]
    [TestCase(10.0, 3.0, 5.0, new[] { 0.0, 5 }, TestName = "apart")]
    public void Windows_cover_a_video_to_its_end(double seconds, double window, double hop, double[] starts)
    {
        var windows = Timeline.Windows("v", seconds, new FeatureOptions { ClipSeconds = window, MinimumSeconds = 0.5 }, hop);
        Assert.That(windows.Select(w => w.Start), Is.EqualTo(starts).Within(1e-9));
        Assert.That(windows.Select(w => w.End!.Value), Is.EqualTo(starts.Select(start => Math.Min(seconds, start + window))).Within(1e-9));
    }

    [Test]
    public void A_timeline_says_of_each_second_what_its_clip_alone_gives()
    {
        string video = Video(), plot = Path.Combine(folder, "plot.svg");
        var rows = Objects(Predict(ExitCode.Ok, "--timeline", "--hop", "0.5", "--format", "json", "--plot", plot, video).Output);
        // AAC ends a little behind the sixth second, which may make a window more
        Assert.That(rows.Take(11).Select(o => o.GetProperty("start").GetDouble()), Is.EqualTo(Enumerable.Range(0, 11).Select(i => i / 2.0)).Within(1e-9));
        Assert.That(rows[^1].GetProperty("end").GetDouble(), Is.EqualTo(6).Within(0.1));
        // seconds cut out by ffmpeg, without loss
        double worst = 0;
        foreach (int second in Tier.Fast ? new[] { 1, 5 } : [0, 1, 2, 3, 4, 5])
        {
            string cut = Path.Combine(folder, $"{second}.mkv");
            TestMedia.Run(["-y", "-i", video, "-ss", $"{second}", "-t", "1", "-c:v", "ffv1", "-c:a", "pcm_f32le", cut]);
            var alone = Objects(Predict(ExitCode.Ok, "--format", "json", cut).Output)[0];
            foreach (string factor in new[] { "emotions", "speakers" })
                foreach (var p in alone.GetProperty(factor).EnumerateObject())
                    worst = Math.Max(worst, Math.Abs(p.Value.GetDouble() - rows[2 * second].GetProperty(factor).GetProperty(p.Name).GetDouble()));
        }
        TestContext.Out.WriteLine($"largest difference to the cut clip {worst:G3}");
        Assert.That(worst, Is.LessThan(1e-3), "the cut may lie a sound sample beside the window");
        var first = rows.Select(o => o.GetProperty("speakers").EnumerateObject().Min(p => p.Value.GetDouble())).ToList();
        Assert.That(first.Max() - first.Min(), Is.GreaterThan(0.1), "equal seconds would prove nothing");

        var svg = XDocument.Load(plot);
        XNamespace ns = "http://www.w3.org/2000/svg";
        Assert.That(svg.Descendants(ns + "polygon").Count(), Is.EqualTo(5), "an area per emotion");
        Assert.That(svg.ToString(), Does.Contain("prefers-color-scheme").And.Contain("speaker").And.Contain("video.mp4").And.Not.Contain("script"));
    }

    [Test]
    public void A_picture_escapes_names_and_leaves_gaps()
    {
        Factor[] factors = [new("emotion", ["<calm>", "b&w"], [1, 1]), new("speaker", ["ann", "ben"], [1, 1])];
        WindowPrediction At(double start, float first, float ann) => new(new ClipWindow("v", start, start + 2), [[first, 1 - first], [ann, 1 - ann]]);
        // the windows at 3 and 4 s are missing
        string text = TimelinePlot.Draw("a \"<video>\"", [At(0, 0.9f, 0.8f), At(1, 0.5f, 0.7f), At(2, 0.1f, 0.2f), At(5, 0.3f, 0.1f), At(6, 0.3f, 0.1f)], factors, hop: 1);
        var svg = XDocument.Parse(text);
        XNamespace ns = "http://www.w3.org/2000/svg";
        var titles = svg.Descendants(ns + "title").Select(t => t.Value).ToList();
        Assert.Multiple(() =>
        {
            Assert.That(svg.Descendants(ns + "polygon").Count(), Is.EqualTo(4), "two emotions, two stretches");
            Assert.That(titles, Is.SupersetOf(new[] { "<calm>", "b&w", "ann, 0 to 2.5 s, 75 %", "ben, 2.5 to 4 s, 80 %", "ben, 5 to 8 s, 90 %" }));
            Assert.That(svg.Descendants(ns + "text").Select(t => t.Value), Has.Member("a \"<video>\"").And.Member("speaker").And.Member("ann"));
        });
    }

    [Test]
    public void What_cannot_be_asked_for()
    {
        string plot = Path.Combine(folder, "p.svg");
        Assert.That(Predict(ExitCode.Usage, "--timeline", "--hop", "0", TinyCorpus.Clip).Error, Does.Contain("--hop is 0"));
        Assert.That(Predict(ExitCode.Usage, "--plot", plot, TinyCorpus.Clip).Error, Does.Contain("--timeline"));
        Assert.That(Predict(ExitCode.Usage, "--timeline", "--plot", plot, TinyCorpus.Clip, TinyCorpus.Clip).Error, Does.Contain("one file"));
        Assert.That(Predict(ExitCode.Usage, "--format", "xml", TinyCorpus.Clip).Error, Does.Contain("xml"));
        Assert.That(Predict(ExitCode.DiskOrIo, "--out", Path.Combine(TinyCorpus.Clip, "file"), TinyCorpus.Clip).Error,
            Does.Contain("cannot be written"));
        Assert.That(ExportRig.Invoke(ExitCode.BadCheckpoint, "export", "--run", folder, "--format", "onnx", "--out", plot).Error, Does.Contain("is not a run"));
    }
}
