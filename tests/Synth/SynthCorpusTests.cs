using System.Security.Cryptography;
using Avedis.Trainer;
using Avedis.Trainer.Media;
using Avedis.Trainer.Synth;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>avedis synth from the command line to files on disk, with the real ffmpeg.</summary>
public class SynthCorpusTests
{
    private static readonly string[] Small = ["--clips", "4", "--speakers", "2", "--seconds", "0.6", "--neutral-share", "0.25"];

    private string home = "";

    [SetUp]
    public void MakeFolder() => home = Directory.CreateTempSubdirectory("avedis-synth-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(home, recursive: true);

    private static (int Code, string Output, string Error) Synth(params string[] arguments)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        int code = Program.Run(["synth", .. arguments], output, error);
        return (code, output.ToString(), error.ToString());
    }

    private string Folder(string name) => Path.Combine(home, name);

    private static Dictionary<string, string> Hashes(string folder) => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        .ToDictionary(file => Path.GetRelativePath(folder, file), file => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file))));

    [Test]
    public void A_corpus_holds_h264_and_aac_clips_that_the_manifest_lists()
    {
        var (code, output, error) = Synth(["--out", Folder("a"), .. Small]);
        Assert.That((code, output), Is.EqualTo((ExitCode.Ok, output)), error);
        Assert.That(output, Does.Contain("4 clips of 2 speakers"));
        string[] lines = File.ReadAllLines(Path.Combine(Folder("a"), "manifest.csv"));
        Assert.That(lines[0], Does.StartWith("path,speaker,emotion,split,gender,"));
        Assert.That(lines, Has.Length.EqualTo(5));
        var tool = FfmpegTool.Find();
        foreach (string line in lines[1..])
        {
            string[] cells = line.Split(',');
            Assert.That(cells, Has.Length.EqualTo(lines[0].Split(',').Length));
            string text = "";
            var result = ChildProgram.Run(tool.Ffprobe,
                ["-v", "error", "-count_frames", "-show_entries",
                    "stream=codec_name,width,height,avg_frame_rate,pix_fmt,sample_rate,channels,nb_read_frames", "-of", "compact=p=0",
                    Path.Combine(Folder("a"), cells[0])],
                TimeSpan.FromSeconds(60), readOutput: stream => text = new StreamReader(stream).ReadToEnd());
            Assert.That(result.Succeeded, result.Errors);
            Assert.That(text, Does.Contain("codec_name=h264|width=224|height=224|pix_fmt=yuv420p|avg_frame_rate=25/1|nb_read_frames=15"));
            Assert.That(text, Does.Contain("codec_name=aac|sample_rate=16000|channels=1"));
        }
        Assert.That(Hashes(Folder("a")).Keys, Is.EquivalentTo(new[]
        {
            "corpus.json", "manifest.csv", "contact-sheet.png", "clips/spk00/0000.mp4", "clips/spk00/0001.mp4", "clips/spk01/0000.mp4",
            "clips/spk01/0001.mp4",
        }), "nothing temporary is left");
    }

    [Test]
    [Category(Tier.Long)]
    public void One_job_and_two_make_the_same_files()
    {
        Synth(["--out", Folder("one"), "--jobs", "1", .. Small]);
        Synth(["--out", Folder("two"), "--jobs", "2", .. Small]);
        Assert.That(Hashes(Folder("one")), Has.Count.EqualTo(7).And.EquivalentTo(Hashes(Folder("two"))));
    }

    [Test]
    public void A_finished_corpus_is_reused_and_a_lost_clip_made_again()
    {
        string[] command = ["--out", Folder("a"), .. Small];
        Synth(command);
        var whole = Hashes(Folder("a"));
        string kept = Path.Combine(Folder("a"), "clips/spk01/0000.mp4"), lost = Path.Combine(Folder("a"), "clips/spk01/0001.mp4");
        var written = File.GetLastWriteTimeUtc(kept);
        Assert.That(Synth(command).Output, Does.Contain("reused"));

        File.Delete(lost);
        var (code, _, error) = Synth(command);
        Assert.That(code, Is.EqualTo(ExitCode.Ok));
        Assert.That(error, Does.Contain("3 of 4 clips are there already"));
        Assert.That(Hashes(Folder("a")), Is.EquivalentTo(whole));
        Assert.That(File.GetLastWriteTimeUtc(kept), Is.EqualTo(written), "finished clips stay untouched");
    }

    [Test]
    [Category(Tier.Long)]
    public void An_interrupted_run_leaves_no_manifest_and_can_go_on()
    {
        var options = new SynthOptions { Clips = 12, Speakers = 2, Seconds = 0.6 };
        string manifest = Path.Combine(Folder("a"), "manifest.csv"), clips = Path.Combine(Folder("a"), "clips");
        using var stop = new CancellationTokenSource();
        var interruption = Task.Run(() =>
        {
            while (!Directory.Exists(clips) || !Directory.EnumerateFiles(clips, "*.mp4", SearchOption.AllDirectories).Any())
                Thread.Sleep(5);
            stop.Cancel();
        });
        Assert.That(() => Corpus.Make(options, Folder("a"), FfmpegTool.Find(), jobs: 1, TextWriter.Null,
            stop.Token), Throws.InstanceOf<OperationCanceledException>());
        interruption.Wait();
        var left = Hashes(Folder("a"));
        Assert.That(left.Keys.Where(file => Path.GetExtension(file) != ".mp4"), Is.EqualTo(new[] { "corpus.json" }),
            "neither manifest nor temporary files");
        Assert.That(left, Has.Count.InRange(2, 12));

        var finishing = new StringWriter();
        int made = Corpus.Make(options, Folder("a"), FfmpegTool.Find(), jobs: 2, finishing, CancellationToken.None);
        Assert.That(made, Is.EqualTo(13 - left.Count), "what was finished is kept");
        Assert.That(finishing.ToString(), Does.Contain("12/12"));
        Corpus.Make(options, Folder("b"), FfmpegTool.Find(), jobs: 2, TextWriter.Null, CancellationToken.None);
        Assert.That(File.Exists(manifest));
        Assert.That(Hashes(Folder("a")), Is.EquivalentTo(Hashes(Folder("b"))));
    }

    [Test]
    public void Other_options_in_the_same_folder_are_refused()
    {
        Synth(["--out", Folder("a"), .. Small]);
        var (code, _, error) = Synth(["--out", Folder("a"), .. Small, "--seed", "2"]);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain("seed 1 instead of 2").And.Contain("another folder"));
    }

    [Test]
    public void A_folder_with_something_else_in_it_is_refused()
    {
        Directory.CreateDirectory(Folder("a"));
        File.WriteAllText(Path.Combine(Folder("a"), "thesis.tex"), "");
        Assert.That(Synth(["--out", Folder("a"), .. Small]).Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(Directory.EnumerateFileSystemEntries(Folder("a")).Count(), Is.EqualTo(1));
    }

    [Test]
    public void A_damaged_corpus_file_is_named()
    {
        Directory.CreateDirectory(Folder("a"));
        File.WriteAllText(Path.Combine(Folder("a"), "corpus.json"), "{ \"generator\": ");
        var (code, _, error) = Synth(["--out", Folder("a"), .. Small]);
        Assert.That(code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(error, Does.Contain("corpus.json is damaged"));
    }

    [TestCase("--speakers", "0")]
    [TestCase("--clips", "1")]
    [TestCase("--seconds", "0.1")]
    [TestCase("--seconds", "NaN")]
    [TestCase("--neutral-share", "1.5")]
    [TestCase("--affinity", "-1")]
    [TestCase("--noise", "9")]
    [TestCase("--jobs", "0")]
    [TestCase("--seed", "-3")]
    public void A_bad_option_is_one_line_that_names_it(string option, string value)
    {
        var (code, _, error) = Synth("--out", Folder("a"), option, value);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error.TrimEnd('\n').Split('\n'), Has.Length.EqualTo(1));
        Assert.That(error, Does.Contain(option));
        Assert.That(Directory.Exists(Folder("a")), Is.False, "nothing was made");
    }

    [Test]
    public void A_missing_ffmpeg_is_named()
    {
        var (code, _, error) = Synth(["--out", Folder("a"), "--ffmpeg", Folder("nowhere"), .. Small]);
        Assert.That(code, Is.EqualTo(ExitCode.DeviceUnavailable));
        Assert.That(error, Does.Contain("ffmpeg").And.Contain("nowhere"));
    }

    [Test]
    public void The_contact_sheet_is_a_png_of_its_size()
    {
        string file = Path.Combine(home, "sheet.png");
        Assert.That(Synth("--contact-sheet", file).Code, Is.EqualTo(ExitCode.Ok));
        byte[] png = File.ReadAllBytes(file);
        Assert.That(png[..8], Is.EqualTo(new byte[] { 0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10 }));
        Assert.That((png[18] << 8) | png[19], Is.EqualTo(ContactSheet.Width));
        Assert.That((png[22] << 8) | png[23], Is.EqualTo(ContactSheet.Height));
        Assert.That(png, Has.Length.LessThan(1 << 20));
    }
}
