using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Folders as disks hold them: links in circles and to nowhere, pipes, odd names, what systems put there, and what may not be listed.
/// </summary>
[SupportedOSPlatform("linux")]
public sealed partial class FolderWalkTests
{
    private string root = "", outside = "";

    [SetUp]
    public void MakeFolders()
    {
        string folder = TestFolders.New();
        (root, outside) = (Path.Combine(folder, "root"), Path.Combine(folder, "outside"));
        Directory.CreateDirectory(root);
        Directory.CreateDirectory(outside);
    }

    private void Touch(params string[] names)
    {
        foreach (string name in names)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(root, name))!);
            File.WriteAllText(Path.Combine(root, name), "x");
        }
    }

    private void Link(string name, string target) => Directory.CreateSymbolicLink(Path.Combine(root, name), target);

    private string[] Files(int depth = 9) => [.. new FolderWalk(root, depth).Below(_ => true).Where(item => !item.IsFolder)
        .Select(item => item.Path)];

    [TestCase("latest", ".")]
    [TestCase("latest", "../root")]
    [TestCase("s/up", "..")]
    [TestCase("s/far", "../..")]
    [TestCase("s/disk", "/")]
    [TestCase("s/self", "self")]
    [TestCase("0", "s")]
    [TestCase("s/t", "../s/../latest")]
    public void A_link_to_what_was_seen_or_lies_above_leads_to_no_file_twice(string name, string target)
    {
        Touch("a.mp4", "s/b.mp4");
        Link(name, target);
        Assert.That(Files(int.MaxValue).Where(file => file.EndsWith(".mp4", StringComparison.Ordinal)),
            Is.EqualTo((string[])["a.mp4", "s/b.mp4"]));
    }

    [Test]
    public void Links_to_each_other_end()
    {
        Touch("a/1.mp4", "b/2.mp4");
        Link("a/b", "../b");
        Link("b/a", "../a");
        Link("c", "d");
        Link("d", "c");
        Assert.That(Files(int.MaxValue).Where(file => file.EndsWith(".mp4", StringComparison.Ordinal)),
            Is.EqualTo((string[])["a/1.mp4", "b/2.mp4"]));
    }

    [Test]
    public void A_link_to_a_folder_elsewhere_is_followed_once_and_after_the_folders_themselves()
    {
        Touch("z/1.mp4");
        File.WriteAllText(Path.Combine(outside, "2.mp4"), "x");
        Directory.CreateSymbolicLink(Path.Combine(outside, "back"), root);
        Link("door", outside);
        Link("other", outside);
        Link("a", "z");
        Assert.That(Files(), Is.EqualTo((string[])["z/1.mp4", "door/2.mp4"]));
    }

    [Test]
    public void Names_are_whatever_a_disk_allows_and_what_systems_keep_is_passed_over()
    {
        Touch("-a.mp4", "@b.mp4", "c\nd.mp4", " e .mp4", ".hidden.mp4", "._f.mp4", ".Trash-0/g.mp4", "__MACOSX/h.mp4", "$RECYCLE.BIN/i.mp4",
            "@eaDir/j.mp4", "#recycle/k.mp4",
            "System Volume Information/l.mp4");
        Assert.That(Files(), Is.EqualTo((string[])[" e .mp4", "-a.mp4", "@b.mp4", "c\nd.mp4"]));
    }

    [Test]
    public void Depth_counts_folders()
    {
        Touch("1/2/3.mp4");
        Assert.That(Files(depth: 3), Has.Length.EqualTo(1));
        Assert.That(Files(depth: 2), Is.Empty);
    }

    /// <summary>A user names a folder: every file with a picture, once, under the name that the user can open.</summary>
    [Test]
    public void Media_of_a_folder_are_found_once()
    {
        Touch("-a.mp4", "b/c.MKV", "b/Thumbs.db", "b/sound.wav", "b/.DS_Store");
        Link("b/again", "..");
        File.CreateSymbolicLink(Path.Combine(root, "gone.mp4"), "nowhere.mp4");
        Assert.That(MediaFiles.Find([root, "x.mp4"], TextWriter.Null).Select(file => Path.GetRelativePath(root, file)).SkipLast(1),
            Is.EqualTo((string[])["-a.mp4", "b/c.MKV", "gone.mp4"]));
        Link("latest", ".");
        Assert.That(MediaFiles.Find([Path.Combine(root, "latest")], TextWriter.Null), Has.Count.EqualTo(3)
            .And.Some.EndsWith("latest/-a.mp4"));
        Link("link", outside);
        Assert.That(() => MediaFiles.Find([Path.Combine(root, "link")], TextWriter.Null), Throws.TypeOf<UserException>()
            .With.Message.Contains("no media files"));
    }

    [Test]
    public void What_is_no_file_and_a_link_to_nothing_are_told_for_what_they_are()
    {
        var tree = new CorpusTree().Touch("Actor_01/01-01-01-01-01-01-01.mp4").Add("Actor_02/01-01-01-01-01-01-02.mp4",
            "/annex/objects/MD5E-s1--00.mp4\n");
        string At(int actor) => Path.Combine(tree.Root, $"01-01-01-01-01-01-{actor:00}.mp4");
        Assert.That(ChildProgram.Run("mkfifo", [At(3)], TimeSpan.FromMinutes(1)).Succeeded);
        File.CreateSymbolicLink(At(4), ".git/annex/objects/MD5E-s1--00.mp4");
        File.CreateSymbolicLink(At(5), Path.GetFileName(At(5)));
        File.WriteAllText(Path.Combine(outside, "6"), "x");
        File.CreateSymbolicLink(At(6), Path.Combine(outside, "6"));
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, 0);
        Directory.SetCurrentDirectory(tree.Root); // the address of a socket is short
        try
        {
            socket.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(Path.GetFileName(At(7))));
        }
        finally
        {
            Directory.SetCurrentDirectory("/");
        }
        var result = tree.Import("ravdess");
        Assert.That(result.Clips.Select(clip => clip.Speaker), Is.EqualTo((string[])["Actor_06", "Actor_01"]));
        Assert.That(result.Rejections.Select(rejection => (rejection.Id[^6..^4], rejection.Reason)), Is.EqualTo(((string, string)[])
            [("03", "unreadable file"), ("04", "missing file"), ("05", "unreadable file"), ("07", "unreadable file"),
                ("02", "git-annex pointer")]));
        Assert.That(result.Rejections[1].Detail, Does.Contain("link to .git/annex/").And.Contain("git annex get"));
    }

    /// <summary>Every corpus looks through its folder in this way, and so do predict and embed.</summary>
    [TestCase("ravdess", "Actor_01/01-01-01-01-01-01-01.mp4")]
    [TestCase("crema-d", "VideoFlash/1001_DFA_ANG_XX.flv")]
    [TestCase("msp-improv", "session1/MSP-IMPROV-S01A-F01-P-FM01.avi")]
    [TestCase("iemocap", "Session1/dialog/avi/Ses01F_impro01.avi")]
    [TestCase("meld", "train_splits/dia0_utt0.mp4")]
    public void A_folder_that_may_not_be_listed_is_passed_by_and_named(string corpus, string clip)
    {
        var tree = new CorpusTree().Touch(clip, "lost+found/01-01-01-01-01-01-02.mp4", "sentences/wav/Ses01F_impro01_F000.wav")
            .Add("Evaluation.txt", "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:1;\n").Add("EmoEvaluation/Ses01F_impro01.txt",
                "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2, 2, 2]\n")
            .Add("train_sent_emo.csv", "Dialogue_ID,Utterance_ID,Speaker,Emotion,Sentiment\n0,0,Ross,joy,positive\n");
        string closed = Path.Combine(tree.Root, "lost+found");
        ImportResult? result = null;
        var said = new StringWriter();
        WithClosed(closed, () =>
        {
            result = tree.Import(corpus);
            Assert.That(MediaFiles.Find([tree.Root], said), Is.EqualTo((string[])[Path.Combine(tree.Root, clip)]));
            Assert.That(() => MediaFiles.Find([closed], said), Throws.TypeOf<UserException>());
        });
        Assert.That(result!.Clips, Has.Count.EqualTo(1));
        foreach (string note in (string[])[result.Audit.Notes.Single(), said.ToString()])
            Assert.That(note, Does.Contain($"{closed} cannot be listed and was passed by"));
    }

    /// <summary>The mount of a network whose program has died: whatever asks for it gets an error.</summary>
    [Test]
    public void A_mount_that_is_gone_is_passed_by_and_named()
    {
        Touch("a.mp4", "z/b.mp4");
        string mount = Path.Combine(root, "share.mp4");
        Directory.CreateDirectory(mount);
        string script = $"exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 gone '{mount}'";
        if (!ChildProgram.Run("bash", ["-c", script], TimeSpan.FromMinutes(1)).Succeeded)
            Assert.Ignore("this system does not let tests mount");
        try
        {
            var walk = new FolderWalk(root, 9);
            Assert.That(walk.Below(_ => true).Select(item => item.Path), Is.EqualTo((string[])["a.mp4", "share.mp4", "z", "z/b.mp4"]));
            Assert.That(walk.Notes.Single(), Does.Contain("share.mp4 cannot be listed"));
            Assert.That(MediaFiles.Find([root], TextWriter.Null), Has.Count.EqualTo(2));
        }
        finally
        {
            ChildProgram.Run("umount", [mount], TimeSpan.FromMinutes(1));
        }
    }

    /// <summary>Does something while a folder may not be listed, for which root becomes nobody on this thread.</summary>
    private static void WithClosed(string folder, Action act)
    {
        const UnixFileMode Open = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        for (string above = Path.GetDirectoryName(folder)!; above != "/"; above = Path.GetDirectoryName(above)!)
            if (Environment.IsPrivilegedProcess)
                File.SetUnixFileMode(above, File.GetUnixFileMode(above) | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        File.SetUnixFileMode(folder, UnixFileMode.None);
        _ = Environment.IsPrivilegedProcess ? SetFileUser(65534) : 0;
        try
        {
            act();
        }
        finally
        {
            _ = Environment.IsPrivilegedProcess ? SetFileUser(0) : 0;
            File.SetUnixFileMode(folder, Open);
        }
    }

    [LibraryImport("libc", EntryPoint = "setfsuid")]
    private static partial int SetFileUser(int user);
}
