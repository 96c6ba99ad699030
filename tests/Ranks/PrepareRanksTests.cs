using System.Security.Cryptography;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>avedis prepare on several ranks: what one process prepares, they prepare too, also after a rank was lost or stopped.</summary>
[NonParallelizable]
[Category(Tier.Long)]
public sealed partial class PrepareRanksTests
{
    private const int Clips = 12;

    private static readonly string[] Small = ["--set", "features.clipSeconds=1", "--set", "features.faceSize=16", "--set", "features.faceFrames=3"];

    private string root = "", expected = "";

    [OneTimeSetUp]
    public void MakeCorpus()
    {
        RankedProgram.Require();
        root = TestFolders.New();
        for (int i = 0; i < Clips; i++)
            TestMedia.Clip(Path.Combine(root, $"c{i}.mp4"), tone: 300 + (100 * (i % 3)));
        File.WriteAllText(Path.Combine(root, "text.mp4"), "no film");
        TestMedia.Clip(Path.Combine(root, "silent.mp4"), sound: false);
        string[] names = [.. Enumerable.Range(0, Clips).Select(i => $"c{i}"), "gone", "text", "silent"];
        File.WriteAllText(Manifest, "path,speaker,emotion,split\n" + string.Concat(names.Select((name, i) => $"{name}.mp4,speaker{i % 3},neutral,{(i % 4 == 3 ? "test" : "train")}\n")));
        var (code, _, error) = TinyCorpus.Run(Command(Folder("one")));
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        expected = Content(Folder("one"));
    }

    private string Manifest => Path.Combine(root, "manifest.csv");

    private string Folder(string name) => Path.Combine(root, name);

    private string[] Command(string folder, params string[] more) => ["prepare", Manifest, "--out", folder, "--jobs", "1", .. Small, .. more];

    /// <summary>A ffmpeg that takes its time.</summary>
    private string[] Slow(string folder, double seconds = 0.3)
    {
        string tools = TestFolders.New();
        File.CreateSymbolicLink(Path.Combine(tools, "ffprobe"), TestMedia.Tool.Ffprobe);
        string script = Path.Combine(tools, "ffmpeg");
        File.WriteAllText(script, FormattableString.Invariant($"#!/bin/sh\nsleep {seconds}\nexec '{TestMedia.Tool.Ffmpeg}' \"$@\"\n"));
        Assert.That(ChildProgram.Run("chmod", ["+x", script], TimeSpan.FromMinutes(1)).Succeeded);
        return Command(folder, "--ffmpeg", script);
    }

    private static bool HasClipOf(string folder, int rank, int ranks) => new FileInfo(Path.Combine(folder, $"shard-{rank + 1}of{ranks}-00000.bin")) is { Exists: true, Length: > 2000 };

    // everything but where a clip lies
    private static string Content(string folder)
    {
        var index = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, DatasetIndex.FileName)))!.AsObject();
        index.Remove("shards");
        foreach (var clip in index["clips"]!.AsArray())
        {
            clip!.AsObject().Remove("shard");
            clip.AsObject().Remove("offset");
        }
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var data = PreparedDataset.Open(folder);
        var (faces, mels) = (new byte[data.Features.FaceBytes], new float[data.Features.MelCount]);
        foreach (var clip in data.Index.Clips)
        {
            data.Read(clip, faces, mels);
            hash.AppendData(faces);
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(mels));
        }
        string rejected = Address().Replace(File.ReadAllText(Path.Combine(folder, Preparer.RejectedFileName)), "0x");
        return $"{index}\n{rejected}\n{Convert.ToHexString(hash.GetHashAndReset())}";
    }

    // ffmpeg says where in its memory it complains
    [GeneratedRegex("0x[0-9a-f]+")]
    private static partial Regex Address();

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Any_number_of_ranks_prepares_what_one_process_does(int ranks)
    {
        string folder = Folder($"of-{ranks}");
        var ended = RankedProgram.Run(ranks, Command(folder));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(Content(folder), Is.EqualTo(expected));
        Assert.That(ended.Text.Split($"{Clips} clips of 3 speakers"), Has.Length.EqualTo(2), "one rank says what came out");
        Assert.That(ended.Text, Does.Not.Contain("decoded before").And.Contain("1 missing file").And.Contain("1 no sound"));
        if (ranks == 1)
            return;
        Assert.That(ended.Text, Does.Contain("prepare, all ranks: 15/15 clips"));
        Assert.That(File.Exists(Path.Combine(folder, "shard-00000.bin")), Is.False, "the parts had left nothing to decode");
        Assert.That(Directory.GetFiles(folder, ".*"), Is.Empty);
    }

    [Test]
    public void Another_number_of_ranks_goes_on_where_one_stopped()
    {
        string folder = Folder("resized");
        foreach (int ranks in new[] { 2, 3 })
        {
            var ended = RankedProgram.Run(ranks, Command(folder));
            Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
            Assert.That(ended.Text.Contains($"{Clips} of them decoded before"), Is.EqualTo(ranks == 3), ended.Text);
            Assert.That(Content(folder), Is.EqualTo(expected));
        }
        Assert.That(Directory.GetFiles(folder, "*of3*"), Is.Empty);
    }

    [Test]
    public void A_part_of_ranks_is_refused()
    {
        var ended = RankedProgram.Run(2, Command(Folder("part"), "--part", "1/2"));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(ended.Text.Split("avedis: --part is for processes that nobody started together"), Has.Length.EqualTo(2), ended.Text);
        Assert.That(Directory.Exists(Folder("part")), Is.False);
    }

    [Test]
    public void A_killed_rank_ends_all_and_the_same_command_goes_on([Values(0, 1)] int victim)
    {
        string folder = Folder($"killed-{victim}");
        using (var program = RankedProgram.Start(2, Slow(folder)))
        {
            program.Await(() => HasClipOf(folder, 0, 2) && HasClipOf(folder, 1, 2), "both ranks decode");
            TinyCorpus.Signal(program.ProcessOf(victim), "KILL");
            Assert.That(program.Finish().Code, Is.Not.Zero);
        }
        ExpectToGoOn(folder);
    }

    private void ExpectToGoOn(string folder)
    {
        Assert.That(File.Exists(Path.Combine(folder, DatasetIndex.FileName)), Is.False);
        var ended = RankedProgram.Run(2, Command(folder));
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Ok), ended.Text);
        Assert.That(ended.Text, Does.Match("[0-9]+ of them decoded before"));
        Assert.That(Content(folder), Is.EqualTo(expected));
    }

    /// <summary>To mpirun, which passes it on to all; or to one rank alone, as a machine does that is shut down.</summary>
    [Test]
    public void A_signal_stops_all_ranks_and_the_same_command_goes_on([Values(null, 0, 1)] int? rank)
    {
        string folder = Folder($"signalled-{rank}");
        using (var program = RankedProgram.Start(2, Slow(folder, seconds: 0.5)))
        {
            program.Await(() => HasClipOf(folder, 0, 2) && HasClipOf(folder, 1, 2), "both ranks decode");
            TinyCorpus.Signal(rank is { } one ? program.ProcessOf(one) : program.Id, "TERM");
            var stopped = program.Finish();
            Assert.That(stopped.Code, rank is null ? Is.Not.Zero : Is.EqualTo(ExitCode.Terminated), stopped.Text);
            if (rank is not null) // what ranks print at their end, mpirun may no longer pass on
                Assert.That(stopped.Text.Split("stopped; finished clips are kept"), Has.Length.EqualTo(2), stopped.Text);
        }
        ExpectToGoOn(folder);
    }

    [Test]
    public void A_rank_that_fails_ends_all_with_one_line_of_its_own()
    {
        string folder = Folder("failed");
        string blocked = Path.Combine(folder, "shard-2of2-00000.bin.tmp", "in the way");
        Directory.CreateDirectory(blocked);
        using var program = RankedProgram.Start(2, Slow(folder));
        var ended = program.Finish();
        Assert.That(ended.Code, Is.EqualTo(ExitCode.DiskOrIo), ended.Text);
        Assert.That(ended.Text.Split("avedis: "), Has.Length.EqualTo(2), ended.Text);
        Assert.That(ended.Text, Does.Match("rank 1 on .*: avedis: cannot write to"));
        Directory.Delete(Path.GetDirectoryName(blocked)!, recursive: true);
        Assert.That(RankedProgram.Run(2, Command(folder)).Code, Is.EqualTo(ExitCode.Ok));
        Assert.That(Content(folder), Is.EqualTo(expected));
    }

    [Test]
    public void What_all_ranks_fail_for_is_said_once()
    {
        string manifest = Path.Combine(root, "none.csv");
        var ended = RankedProgram.Run(3, ["prepare", manifest, "--out", Folder("none"), .. Small]);
        var (code, _, error) = TinyCorpus.Run(["prepare", manifest, "--out", Folder("none-alone"), .. Small]);
        Assert.That(ended.Code, Is.EqualTo(code), ended.Text);
        Assert.That(ended.Text.Split("avedis: "), Has.Length.EqualTo(2), ended.Text);
        Assert.That(ended.Text, Does.Contain(error.Trim()));
    }

    [Test]
    public void A_folder_that_a_rank_does_not_see_is_refused_by_name()
    {
        using var program = RankedProgram.StartUnlike(Command(Folder("here")), Command(Folder("there")));
        var ended = program.Finish();
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage), ended.Text);
        Assert.That(ended.Text, Does.Match("avedis: rank 1 on .* does not see .*here of rank 0").Or.Match("avedis: rank 1 on .* does not see .*there of rank 0"));
    }

    [Test]
    public void Ranks_with_other_settings_are_refused_by_name()
    {
        using var program = RankedProgram.StartUnlike(Command(Folder("unlike")), Command(Folder("unlike"), "--set", "features.faceFrames=2"));
        var ended = program.Finish();
        Assert.That(ended.Code, Is.EqualTo(ExitCode.Usage), ended.Text);
        Assert.That(ended.Text, Does.Contain("another setting features.faceFrames than rank 0: 2, not 3"));
    }
}
