using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What becomes of clips in which nothing is heard.</summary>
public sealed class SilenceTests
{
    private string root = "";

    [OneTimeSetUp]
    public void MakeClips()
    {
        root = TestFolders.New();
        string clip = TestMedia.Clip(Path.Combine(root, "heard.mp4"));
        TestMedia.Run(["-i", clip, "-af", "volume=0", "-c:v", "copy", Path.Combine(root, "mute.mp4")]);
        File.WriteAllText(Path.Combine(root, "manifest.csv"),
            "path,speaker,emotion,split\nheard.mp4,ann,neutral,train\nmute.mp4,ann,neutral,train\n");
    }

    [TestCase(SilenceMode.Reject, 1, 0)]
    [TestCase(SilenceMode.Warn, 2, 1)]
    [TestCase(SilenceMode.Keep, 2, 1)]
    public void A_silent_clip_is_rejected_or_kept_as_the_setting_says(SilenceMode mode, int clips, int silent)
    {
        var result = Prepare(mode, TestFolders.New());
        Assert.That((result.Index!.Clips.Count, result.Silent), Is.EqualTo((clips, silent)));
        Assert.That(result.Rejections.Select(rejection => (rejection.Id, rejection.Reason)),
            Is.EqualTo(clips == 2 ? [] : ((string, string)[])[("mute.mp4", "silent")]));
    }

    [Test]
    public void The_setting_may_change_between_calls_and_no_clip_is_decoded_again()
    {
        string folder = TestFolders.New();
        Assert.That(Prepare(SilenceMode.Keep, folder).Index!.Clips, Has.Count.EqualTo(2));
        var strict = Prepare(SilenceMode.Reject, folder);
        Assert.That((strict.Index!.Clips.Count, strict.Reused, strict.Rejections[0].Reason), Is.EqualTo((1, 2, "silent")));
        Assert.That(Prepare(SilenceMode.Warn, folder).Reused, Is.EqualTo(2));
    }

    [Test]
    public void The_count_is_said()
    {
        string[] command = ["prepare", Path.Combine(root, "manifest.csv"), "--set", "features.clipSeconds=1", "--set",
            "features.faceFrames=3"];
        Assert.That(TinyCorpus.Run([.. command, "--out", TestFolders.New()]).Output, Does.Contain("rejected: 1 silent"));
        Assert.That(TinyCorpus.Run([.. command, "--out", TestFolders.New(), "--set", "features.silence=warn"]).Output,
            Does.Contain("silent: 1 of the clips that were kept"));
        Assert.That(TinyCorpus.Run([.. command, "--out", TestFolders.New(), "--set", "features.silence=keep"]).Output,
            Does.Not.Contain("silent"));
        var (code, _, error) = TinyCorpus.Run([.. command, "--out", TestFolders.New(), "--set", "features.silence=loud"]);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain("reject, warn or keep"));
    }

    private PrepareResult Prepare(SilenceMode mode, string folder) => new Preparer(
        new PrepareJob(Path.Combine(root, "manifest.csv"), null, folder,
            new FeatureOptions { ClipSeconds = 1, FaceSize = 16, FaceFrames = 3, Silence = mode }, new DataOptions(), 1),
        TestMedia.Tool).Run();
}
