using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Copies of training clips with another sound: who has them, that they are the same however they are made, and what a change costs.
/// </summary>
public sealed class VariantPreparationTests
{
    private static readonly FeatureOptions Features = new() { ClipSeconds = 1, FaceSize = 16, FaceFrames = 3 };

    private string root = "";

    [SetUp]
    public void MakeClips()
    {
        root = TestFolders.New();
        for (int i = 0; i < 5; i++)
            TestMedia.Clip(Path.Combine(root, $"c{i}.mp4"), tone: 300 + (100 * i));
        File.WriteAllText(Path.Combine(root, "broken.mp4"), "no film");
        File.WriteAllText(Manifest,
            "path,speaker,emotion,split\nc0.mp4,ann,neutral,train\nc1.mp4,bob,joy,train\nc2.mp4,ann,sad,validation\n"
            + "c3.mp4,bob,joy,test\nc4.mp4,eve,joy,unheard\n"
            + "broken.mp4,ann,joy,train\n");
    }

    [Test]
    public void Training_clips_have_copies_and_no_others()
    {
        Prepare("with", new() { Copies = 2 });
        using var data = PreparedDataset.Open(In("with"));
        Assert.That(data.Index.Counts, Is.EquivalentTo(
            new Dictionary<Split, int> { [Split.Train] = 6, [Split.Validation] = 1, [Split.Test] = 1, [Split.Unheard] = 1 }));
        Assert.That(data.Index.Clips.Where(clip => clip.Id != VariantOptions.ClipOf(clip.Id)).Select(clip => clip.Split),
            Has.Exactly(4).EqualTo(Split.Train));
        Assert.That(data.Index.Rejected.Values.Sum(), Is.EqualTo(1), "a broken clip is one");
        foreach (var group in data.Clips(Split.Train).GroupBy(clip => VariantOptions.ClipOf(clip.Id)))
        {
            Assert.That(group.Select(clip => (clip.Speaker, clip.Emotion, clip.Faces)).Distinct().Count(), Is.EqualTo(1),
                "same person, emotion and pictures");
            var read = group.Select(clip => Read(data, clip)).ToArray();
            Assert.That(read.Select(clip => Convert.ToHexString(clip.Faces)).Distinct().Count(), Is.EqualTo(1));
            Assert.That(read.Select(clip => string.Join(' ', clip.Mels)).Distinct().Count(), Is.EqualTo(3), "and each another sound");
        }
    }

    [Test]
    public void Copies_leave_the_clips_themselves_as_they_are()
    {
        Prepare("without", new());
        Prepare("with", new() { Copies = 1 });
        using PreparedDataset without = PreparedDataset.Open(In("without")), with = PreparedDataset.Open(In("with"));
        foreach (var clip in without.Index.Clips)
            Assert.That(Read(with, with.Index.Clips.Single(other => other.Id == clip.Id)), Is.EqualTo(Read(without, clip)), clip.Id);
    }

    [Test]
    public void Bits_do_not_depend_on_workers_parts_or_the_order_of_the_manifest()
    {
        var options = new VariantOptions { Copies = 2 };
        Prepare("one", options, jobs: 1);
        Prepare("many", options, jobs: 4);
        foreach (int part in (int[])[1, 2, 3])
            new Preparer(Job("parts", options, 1) with { Part = new(part, 3) }, TestMedia.Tool).Run();
        var joined = Prepare("parts", options);
        Assert.That(joined.Reused, Is.EqualTo(5), "the parts made all of them");
        int found = Enumerable.Range(1, 3).Sum(part => new Preparer(Job("many", options, 1) with { Part = new(part, 3) },
            TestMedia.Tool).Run().Reused);
        Assert.That(found, Is.EqualTo(5), "a part finds the clips and copies that others stored");
        string[] lines = File.ReadAllLines(Manifest);
        File.WriteAllLines(Manifest, lines.Take(1).Concat(lines.Skip(1).Reverse()));
        Prepare("turned", options);
        var expected = Contents("one");
        foreach (string folder in (string[])["many", "parts", "turned"])
            Assert.That(Contents(folder), Is.EquivalentTo(expected), folder);
    }

    [Test]
    public void A_change_of_the_copies_makes_them_anew_and_the_clips_stay()
    {
        Prepare("data", new());
        long clips = Size("data");
        Assert.That(Prepare("data", new() { Copies = 1 }).Reused, Is.EqualTo(3), "all but the two training clips");
        long one = Size("data");
        Assert.That(Prepare("data", new() { Copies = 1 }).Reused, Is.EqualTo(5));
        Assert.That(Size("data"), Is.EqualTo(one));
        Prepare("data", new() { Copies = 2 });
        Assert.That(Size("data") - one, Is.EqualTo(one - clips).Within(64), "the first copies are kept");
        var before = Contents("data");
        Assert.That(Prepare("data", new() { Copies = 2, Seed = 9 }).Reused, Is.EqualTo(3));
        Assert.That(Contents("data").Intersect(before).Count(), Is.EqualTo(5), "the clips");
        Prepare("data", new());
        Assert.That(Contents("data"), Has.Length.EqualTo(5));
    }

    [Test]
    public void The_command_line_makes_copies()
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        string[] command =
            ["prepare", Manifest, "--out", In("data"), "--set", "features.clipSeconds=1", "--set", "data.variants.copies=1",
                "--set", "data.variants.noise=white"];
        Assert.That(Program.Run(command, output, error), Is.EqualTo(ExitCode.Ok), error.ToString());
        Assert.That(output.ToString(), Does.Contain("7 clips of 2 speakers (train 4, validation 1, test 1, unheard 1)"));
        command[^3] = "data.variants.copies=99";
        Assert.That(Program.Run(command, output, error), Is.EqualTo(ExitCode.Usage));
        Assert.That(error.ToString(), Does.Contain("data.variants.copies is 99; it has to be 0 to 16"));
    }

    [Test]
    public void Clips_that_are_almost_silent_are_named_and_kept([Values(1, 2)] int calls)
    {
        TestMedia.Run([
            "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=1",
            "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=16000:duration=1,volume='if(lt(t,0.05),1,0)':eval=frame",
            "-c:v", "libx264", "-pix_fmt", "yuv420p", In("mute.mp4"),
        ]);
        File.AppendAllText(Manifest, "mute.mp4,ann,joy,train\n");
        var output = new StringWriter();
        for (int i = 0; i < calls; i++)
        {
            output = new StringWriter();
            string[] command = ["prepare", Manifest, "--out", In("data"), "--set", "features.clipSeconds=1"];
            Assert.That(Program.Run(command, output, new StringWriter()),
                Is.EqualTo(ExitCode.Ok));
        }
        Assert.That(output.ToString(), Does.Contain("6 clips of 2 speakers")
            .And.Contain("quiet: 1 clips are silent for more than 90 % of their sound (mute.mp4); they are kept"));
    }

    private string Manifest => In("manifest.csv");

    private string In(string name) => Path.Combine(root, name);

    private PrepareJob Job(string folder, VariantOptions options, int jobs) =>
        new(Manifest, null, In(folder), Features, new DataOptions { Variants = options }, jobs);

    private PrepareResult Prepare(string folder, VariantOptions options, int jobs = 2) =>
        new Preparer(Job(folder, options, jobs), TestMedia.Tool).Run();

    private long Size(string folder) => Directory.GetFiles(In(folder), "shard-*.bin").Sum(path => new FileInfo(path).Length);

    private string[] Contents(string folder)
    {
        using var data = PreparedDataset.Open(In(folder));
        return [.. data.Index.Clips.Select(clip => $"{clip.Id} {clip.Split} {clip.Mels} {string.Join(' ', Read(data, clip).Mels)}")];
    }

    private static (byte[] Faces, float[] Mels) Read(PreparedDataset data, ClipInfo clip)
    {
        var (faces, mels) = (new byte[Features.FaceBytes], new float[Features.MelCount]);
        data.Read(clip, faces, mels);
        return (faces, mels);
    }
}
