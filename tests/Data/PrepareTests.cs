using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>avedis prepare on real media: bad clips, going on after a stop, noticing changes, damaged folders.</summary>
public sealed class PrepareTests
{
    private static readonly FeatureOptions Features = new() { ClipSeconds = 1, FaceSize = 16, FaceFrames = 3 };

    private static readonly Dictionary<int, string> Templates = [];

    private string root = "", target = "";

    [SetUp]
    public void MakeFolders()
    {
        root = TestFolders.New();
        target = Path.Combine(root, "prepared");
    }

    [Test]
    public void A_prepared_folder_holds_the_clips_as_decoded_with_their_labels()
    {
        MakeClips(4);
        File.WriteAllText(Manifest, "path,speaker,emotion,split,gender\nc0.mp4,bob,joy,train,m\nc1.mp4,ann,sad,train,f\nc2.mp4,ann,neutral,test,f\nc3.mp4,eve,ang,unheard,f\n");
        Prepare();
        using var data = PreparedDataset.Open(target);

        Assert.That(data.Speakers, Is.EqualTo((string[])["ann", "bob"]));
        Assert.That(data.Emotions, Is.EqualTo((string[])["neutral", "happiness", "sadness", "anger", "other"]));
        Assert.That(data.Features, Is.EqualTo(Features));
        Assert.That(data.Clips(Split.Train).Select(clip => (clip.Id, clip.Speaker, clip.Emotion)), Is.EqualTo(((string, int, int)[])[("c0.mp4", 1, 1), ("c1.mp4", 0, 2)]));
        Assert.That(data.Clips(Split.Test).Select(clip => (clip.Id, clip.Speaker, clip.Emotion)), Is.EqualTo(((string, int, int)[])[("c2.mp4", 0, 0)]));
        Assert.That(data.Clips(Split.Unheard).Select(clip => (clip.Id, clip.Speaker, clip.Emotion)), Is.EqualTo(((string, int, int)[])[("c3.mp4", -1, 3)]));
        Assert.That(data.Clips(Split.Validation), Is.Empty);
        Assert.That(data.Index.Factors, Is.EqualTo((string[])["gender"]));
        Assert.That(data.Clips(Split.Train)[0].Factors, Is.EqualTo((string[])["m"]));
        AssertSameAsDecoded(data);
    }

    /// <summary>A folder whose files are links into a store beside it, as git-annex, DVC and the cache of Hugging Face make them.</summary>
    [Test]
    public void Clips_behind_links_have_the_names_of_the_table()
    {
        string store = Path.Combine(root, "blobs"), snapshot = Path.Combine(root, "snapshots", "0a");
        Directory.CreateDirectory(snapshot);
        string[] names = ["clip0.mp4", "clip1.mp4", "idle.mp4", "gone.mp4"];
        for (int i = 0; i < names.Length; i++)
        {
            string blob = Path.Combine(store, $"{Math.Min(i, 1) + (i / 3 * 7)}");
            if (i < 2)
                TestMedia.Clip(blob, tone: 300 + (100 * i));
            File.CreateSymbolicLink(Path.Combine(snapshot, names[i]), Path.GetRelativePath(snapshot, blob));
        }
        string table = Path.Combine(snapshot, "manifest.csv");
        File.WriteAllText(table, "path,speaker,emotion,split\n" + string.Concat(names.Select(name => $"{name},ann,neutral,train\n")));
        PrepareResult Again() => new Preparer(Job() with { Manifest = table }, TestMedia.Tool).Run();
        var result = Again();
        Assert.That(result.Index!.Clips.Select(clip => clip.Id), Is.EqualTo(names[..3]));
        Assert.That(result.Rejections.Single(), Is.EqualTo(new Rejection("gone.mp4", "missing file",
            "it is a link to ../../blobs/8, which is not there; fetch it")));
        TestMedia.Clip(Path.Combine(store, "0"), tone: 1500);
        File.SetLastWriteTimeUtc(Path.Combine(store, "0"), DateTime.UtcNow.AddSeconds(5));
        Assert.That(Again().Reused, Is.EqualTo(2), "what the first link leads to has changed");
    }

    [Test]
    public void Bad_clips_are_listed_with_their_reasons_and_stop_nothing()
    {
        MakeClips(2);
        File.WriteAllText(Path.Combine(root, "text.mp4"), "no film");
        File.WriteAllText(Path.Combine(root, "annex.mp4"), "/annex/objects/MD5E-s1--00.mp4\n");
        File.WriteAllText(Path.Combine(root, "dvc.mp4.dvc"), "outs:\n");
        File.WriteAllBytes(Path.Combine(root, "empty.mp4"), []);
        TestMedia.Clip(Path.Combine(root, "silent.mp4"), sound: false);
        File.WriteAllText(Manifest,
            "path,speaker,emotion,split\nannex.mp4,a,neutral,train\ndvc.mp4,a,neutral,train\ntext.mp4,a,neutral,train\n"
            + "c0.mp4,a,neutral,train\nempty.mp4,a,neutral,train\n"
            + "\"gone,away.mp4\",a,neutral,train\nsilent.mp4,a,neutral,train\nc1.mp4,stranger,neutral,test\n");
        var result = Prepare();
        Assert.That(result.Index!.Clips.Select(clip => clip.Id), Is.EqualTo((string[])["c0.mp4", "c1.mp4"]));
        Assert.That(result.Index!.Clips[1].Speaker, Is.EqualTo(-1), "never trained on: no class, but an emotion");
        Assert.That(result.Index!.Rejected, Is.EquivalentTo(new Dictionary<string, int>
        {
            ["not a media file"] = 1, ["empty file"] = 1, ["missing file"] = 2, ["git-annex pointer"] = 1, ["no sound"] = 1,
        }));
        string[] lines = File.ReadAllLines(Path.Combine(target, Preparer.RejectedFileName));
        Assert.That(lines[0], Is.EqualTo("path,reason,detail"));
        Assert.That(lines.Skip(1).Select(line => line[..line.LastIndexOf(".mp4", StringComparison.Ordinal)]),
            Is.EqualTo((string[])["annex", "dvc", "empty", "\"gone,away", "silent", "text"]));
        Assert.That(lines, Has.Some.StartsWith("empty.mp4,empty file,")
            .And.Some.EqualTo("dvc.mp4,missing file,\"there is no such file, only its .dvc; fetch it with dvc pull\""));
    }

    [Test]
    public void A_manifest_of_bad_clips_only_ends_with_exit_code_3_and_the_reasons()
    {
        WriteManifest(3);
        var failure = Assert.Throws<UserException>(() => Prepare())!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(failure.Message, Does.Contain("none of the 3 clips").And.Contain("3 missing file").And.Contain(Preparer.RejectedFileName));
        Assert.That(File.ReadAllLines(Path.Combine(target, Preparer.RejectedFileName)), Has.Length.EqualTo(4));
        Assert.That(() => PreparedDataset.Open(target), Throws.TypeOf<UserException>());
    }

    [Test]
    public void A_stopped_run_goes_on_where_it_stopped()
    {
        MakeClips(6);
        WriteManifest(6);
        using var stop = new CancellationTokenSource();
        int seen = 0;
        Assert.That(() => new Preparer(Job(jobs: 1), TestMedia.Tool).Run((_, _, _) => { if (++seen == 3) stop.Cancel(); }, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(File.Exists(Path.Combine(target, DatasetIndex.FileName)), Is.False);

        var decodedAgain = new List<int>();
        var result = new Preparer(Job(jobs: 1), TestMedia.Tool).Run((done, _, _) => decodedAgain.Add(done));
        Assert.That(result.Reused, Is.EqualTo(3));
        Assert.That(decodedAgain, Is.EqualTo((int[])[4, 5, 6]));
        using var data = PreparedDataset.Open(target);
        Assert.That(data.Index.Clips, Has.Count.EqualTo(6));
        AssertSameAsDecoded(data);
    }

    /// <summary>A process that is killed leaves any prefix of what it was writing.</summary>
    [TestCase(1)]
    [TestCase(30)]
    [TestCase(2000)]
    public void A_record_cut_short_costs_only_its_own_clip(int missing)
    {
        StartPrepared(3);
        Damage(file => file.SetLength(file.Length - missing));
        Assert.That(Prepare().Reused, Is.EqualTo(2));
        using var data = PreparedDataset.Open(target);
        AssertSameAsDecoded(data);
    }

    [Test]
    public void Rubbish_behind_the_last_record_is_cut_off()
    {
        StartPrepared(2);
        byte[] before = File.ReadAllBytes(ShardPath);
        Damage(file => file.Write([.. "CLIP"u8, 255, 255, 255, 127, .. new byte[5000]]), fromEnd: 0);
        Assert.That(Prepare().Reused, Is.EqualTo(2));
        Assert.That(File.ReadAllBytes(ShardPath), Is.EqualTo(before));
    }

    [Test]
    public void Changed_options_are_refused_by_name()
    {
        StartPrepared(1);
        var failure = Assert.Throws<UserException>(() => new Preparer(Job() with { Features = Features with { FaceSize = 24, LogFloor = 1e-4 } }, TestMedia.Tool).Run())!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(failure.Message, Does.Contain("faceSize 16, now 24").And.Contain("logFloor").And.Contain("another folder").And.Not.Contain("melBins"));
        using var data = PreparedDataset.Open(target);
        Assert.That(data.Features.FaceSize, Is.EqualTo(16));
    }

    [Test]
    public void A_changed_clip_is_decoded_again_and_the_others_are_not()
    {
        StartPrepared(3);
        string before = Hash();
        TestMedia.Clip(Path.Combine(root, "c1.mp4"), tone: 1500);
        File.SetLastWriteTimeUtc(Path.Combine(root, "c1.mp4"), DateTime.UtcNow.AddSeconds(5));
        Assert.That(Prepare().Reused, Is.EqualTo(2));
        using var data = PreparedDataset.Open(target);
        AssertSameAsDecoded(data);
        Assert.That(data.Hash, Is.EqualTo(before), "labels, splits and lengths are the same");
    }

    [Test]
    public void Changed_labels_and_added_rows_cost_no_decoding_of_the_others()
    {
        StartPrepared(2);
        MakeClips(3);
        string before = Hash();
        WriteManifest(3, emotion: "sad");
        var result = Prepare();
        Assert.That(result.Reused, Is.EqualTo(2));
        Assert.That(result.Index!.Clips.Select(clip => clip.Emotion), Is.EqualTo((int[])[2, 2, 2]));
        Assert.That(Hash(), Is.Not.EqualTo(before));
    }

    [Test]
    public void Full_shards_are_followed_by_new_ones()
    {
        MakeClips(5);
        WriteManifest(5);
        var result = new Preparer(Job(), TestMedia.Tool, shardLimit: Shard.PayloadBytes(Features) * 2).Run();
        Assert.That(result.Index!.Shards, Has.Count.EqualTo(3));
        using (var data = PreparedDataset.Open(target))
            AssertSameAsDecoded(data);
        Assert.That(Prepare().Reused, Is.EqualTo(5));
    }

    [Test]
    public void A_full_disk_ends_with_exit_code_8_and_keeps_what_is_finished()
    {
        if (!File.Exists("/dev/full"))
            Assert.Ignore("this system has no /dev/full to stand for a full disk");
        MakeClips(3);
        WriteManifest(3);
        // every shard takes one clip; the second is led to a device that is always full
        var preparer = new Preparer(Job(jobs: 1), TestMedia.Tool, shardLimit: 1);
        string second = Path.Combine(target, "shard-00001.bin.tmp");
        var failure = Assert.Throws<UserException>(() => preparer.Run((done, _, _) => { if (done == 1) File.CreateSymbolicLink(second, "/dev/full"); }))!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.DiskOrIo));
        Assert.That(failure.Message, Does.Contain("full").And.Contain("1 finished").And.Contain("run the same command again"));
        Assert.That(Prepare().Reused, Is.EqualTo(1));
    }

    [Test]
    public void Two_at_once_in_one_folder_are_kept_apart()
    {
        MakeClips(2);
        WriteManifest(2);
        UserException? second = null;
        new Preparer(Job(jobs: 1), TestMedia.Tool).Run((_, _, _) => second ??= Assert.Throws<UserException>(() => Prepare()));
        Assert.That(second!.Message, Does.Contain("another avedis prepare"));
    }

    [Test]
    public void The_command_line_prepares_and_says_what_came_out()
    {
        MakeClips(2);
        WriteManifest(3);
        var (output, error) = (new StringWriter(), new StringWriter());
        string[] command = ["prepare", Manifest, "--out", target, "--jobs", "2", "--set", "features.clipSeconds=1", "--set", "features.melPreset=kaldi"];
        Assert.That(Program.Run(command, output, error), Is.EqualTo(ExitCode.Ok), error.ToString());
        Assert.That(output.ToString(), Does.Contain("2 clips of 1 speakers (train 2)").And.Contain("1 missing file"));
        using var data = PreparedDataset.Open(target);
        Assert.That(data.Features, Is.EqualTo(new FeatureOptions { ClipSeconds = 1, MelPreset = MelPreset.Kaldi }));
    }

    [TestCase(0, "does not start with AVEDSHRD")]
    [TestCase(8, "version")]
    [TestCase(15, "a head of")]
    [TestCase(40, "head differs")]
    [TestCase(-10, "checksum of clip c1.mp4")]
    [TestCase(-1000, "checksum of clip c1.mp4")]
    public void A_flipped_bit_in_a_shard_is_found(int at, string message)
    {
        StartPrepared(2);
        Damage(file =>
        {
            file.Position = at >= 0 ? at : file.Length + at;
            int value = file.ReadByte();
            file.Position--;
            file.WriteByte((byte)(value ^ 0x80));
        });
        AssertDamaged(message, "damaged at byte");
    }

    [Test]
    public void A_shard_of_any_shorter_length_is_refused()
    {
        StartPrepared(1);
        byte[] whole = File.ReadAllBytes(ShardPath);
        foreach (int length in (int[])[0, 7, 19, 20, 100, whole.Length - 2000, whole.Length - 4, whole.Length - 1])
        {
            File.WriteAllBytes(ShardPath, whole[..length]);
            AssertDamaged("");
        }
        File.Delete(ShardPath);
        AssertDamaged("cannot open");
    }

    [TestCase("\"offset\": ", "\"offset\": 99", "where no clip fits")]
    [TestCase("\"offset\": ", "\"offset\": -", "where no clip fits")]
    [TestCase("\"shard\": 0", "\"shard\": 7", "where no clip fits")]
    [TestCase("\"speaker\": 0", "\"speaker\": 1", "does not list")]
    [TestCase("\"emotion\": 0", "\"emotion\": 5", "does not list")]
    [TestCase("\"split\": \"train\"", "\"split\": \"other\"", "cannot be read")]
    [TestCase("\"mels\": ", "\"mels\": 1", "mel frames")]
    [TestCase("\"format\": 1", "\"format\": 2", "format 2")]
    [TestCase("\"faceSize\": 16", "\"faceSize\": 1600000", "faceSize")]
    [TestCase("shard-00000.bin", "../shard-00000.bin", "plain file name")]
    [TestCase("\"id\": \"c0.mp4\"", "\"id\": null", "cannot be read")]
    [TestCase("{", "[", "cannot be read")]
    public void An_index_with_an_impossible_figure_is_refused(string right, string wrong, string message)
    {
        StartPrepared(1);
        string path = Path.Combine(target, DatasetIndex.FileName), text = File.ReadAllText(path);
        Assert.That(text, Does.Contain(right));
        File.WriteAllText(path, text.Replace(right, wrong, StringComparison.Ordinal));
        Assert.That(() => PreparedDataset.Open(target), Throws.TypeOf<UserException>().With.Message.Contains(message));
    }

    [Test]
    [Category(Tier.Long)]
    public void Parts_prepared_at_once_join_to_what_one_call_makes()
    {
        MakeClips(9);
        WriteManifest(9);
        Prepare();
        string whole = Hash();
        Directory.Delete(target, recursive: true);

        var parts = Enumerable.Range(1, 3).Select(i => Part(new(i, 3))).AsParallel().AsOrdered().WithDegreeOfParallelism(3).Select(part => part.Run()).ToArray();

        Assert.That(parts.Select(part => part.Index), Is.All.Null);
        Assert.That(parts.Select(part => part.Stored).Sum(), Is.EqualTo(9));
        Assert.That(parts.Count(part => part.Stored > 0), Is.GreaterThan(1));
        Assert.That(() => PreparedDataset.Open(target), Throws.TypeOf<UserException>(), "no index yet");
        Assert.That(Part(new(2, 3)).Run().Reused, Is.EqualTo(parts[1].Stored), "a part goes on, too");
        Assert.That(Prepare().Reused, Is.EqualTo(9));
        Assert.That(Hash(), Is.EqualTo(whole));
        using var data = PreparedDataset.Open(target);
        AssertSameAsDecoded(data);
    }

    [Test]
    [Category(Tier.Long)]
    public void A_part_that_was_cut_short_loses_only_its_last_clip_when_parts_join()
    {
        MakeClips(9);
        WriteManifest(9);
        for (int i = 1; i <= 2; i++)
            Part(new(i, 2)).Run();
        using (var file = new FileStream(Path.Combine(target, "shard-1of2-00000.bin"), FileMode.Open, FileAccess.ReadWrite))
        {
            file.Seek(-10, SeekOrigin.End);
            file.WriteByte(99);
        }
        Assert.That(Prepare().Reused, Is.EqualTo(8));
        using var data = PreparedDataset.Open(target);
        AssertSameAsDecoded(data);
    }

    [TestCase(true, false, "1/2")]
    [TestCase(false, true, "1/2")]
    [TestCase(true, true, "1/2", Description = "the same part twice")]
    public void Whoever_would_write_the_same_files_is_refused(bool firstIsPart, bool secondIsPart, string part)
    {
        MakeClips(3);
        WriteManifest(3);
        bool asked = false;
        Start(firstIsPart).Run((_, _, _) =>
        {
            if (asked)
                return;
            asked = true;
            Assert.That(() => Start(secondIsPart).Run(), Throws.TypeOf<UserException>().With.Message.Contains("at work").And.Property("Code").EqualTo(ExitCode.DiskOrIo));
        });
        Assert.That(asked, Is.True);

        Preparer Start(bool isPart) => Part(isPart ? PreparePart.Parse(part) : null);
    }

    [TestCase("")]
    [TestCase("0/4")]
    [TestCase("5/4")]
    [TestCase("1")]
    [TestCase("a/b")]
    [TestCase("1/2/3")]
    public void A_part_that_is_none_is_refused(string text) =>
        Assert.That(() => PreparePart.Parse(text), Throws.TypeOf<UserException>().With.Property("Code").EqualTo(ExitCode.Usage));

    [Test]
    public void A_clip_may_be_a_folder_of_pictures_with_sound_or_a_part_of_a_file()
    {
        TestMedia.Pictures(Path.Combine(root, "track"), 30);
        TestMedia.Clip(Path.Combine(root, "film.mp4"), seconds: 3);
        File.WriteAllText(Manifest, "path,audio,start,end,region,speaker,emotion,split\ntrack,film.mp4,,,,ann,neutral,train\nfilm.mp4,,1,2.5,,ann,neutral,train\nfilm.mp4,,0.5,2,right,ann,neutral,train\n");
        Assert.That(Prepare().Index!.Clips.Select(clip => clip.Id), Is.EqualTo((string[])["track", "film.mp4#t=1,2.5", "film.mp4#t=0.5,2"]));
        Assert.That(Prepare().Reused, Is.EqualTo(3));
        Assert.That(PreparedDataset.Open(target).Index.Factors, Is.Empty);

        File.WriteAllText(Path.Combine(root, "track", "31.png"), "another");
        Assert.That(Prepare().Reused, Is.EqualTo(2), "a picture more makes it another clip");
    }

    private string Manifest => Path.Combine(root, "manifest.csv");

    private string ShardPath => Path.Combine(target, "shard-00000.bin");

    private PrepareJob Job(int jobs = 2) => new(Manifest, null, target, Features, new DataOptions(), jobs);

    private Preparer Part(PreparePart? part) => new(Job(jobs: 1) with { Part = part }, TestMedia.Tool);

    private PrepareResult Prepare() => new Preparer(Job(), TestMedia.Tool).Run();

    private string Hash()
    {
        using var data = PreparedDataset.Open(target);
        return data.Hash;
    }

    /// <summary>Clips, manifest and prepared folder, made once and copied: times of change go with the copies.</summary>
    private void StartPrepared(int count)
    {
        if (!Templates.TryGetValue(count, out string? template))
        {
            MakeClips(count);
            WriteManifest(count);
            new Preparer(Job(jobs: 1), TestMedia.Tool).Run();
            template = Templates[count] = TestFolders.New();
            Copy(root, template);
        }
        else
            Copy(template, root);

        static void Copy(string from, string to)
        {
            foreach (string file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
            {
                string copy = Path.Combine(to, Path.GetRelativePath(from, file));
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(file, copy);
            }
        }
    }

    private void MakeClips(int count)
    {
        for (int i = 0; i < count; i++)
            TestMedia.Clip(Path.Combine(root, $"c{i}.mp4"), tone: 300 + (100 * i));
    }

    private void WriteManifest(int count, string emotion = "neutral")
        => File.WriteAllText(Manifest, "path,speaker,emotion,split\n" + string.Concat(Enumerable.Range(0, count).Select(i => $"c{i}.mp4,ann,{emotion},train\n")));

    private void Damage(Action<FileStream> change, int? fromEnd = null)
    {
        using var file = new FileStream(ShardPath, FileMode.Open, FileAccess.ReadWrite);
        if (fromEnd is { } offset)
            file.Seek(offset, SeekOrigin.End);
        change(file);
    }

    private void AssertDamaged(params string[] parts)
    {
        var failure = Assert.Throws<UserException>(() =>
        {
            using var data = PreparedDataset.Open(target);
            foreach (var clip in data.Index.Clips)
                data.Read(clip, new byte[Features.FaceBytes], new float[Features.MelCount]);
        })!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
        foreach (string part in parts)
            Assert.That(failure.Message, Does.Contain(part));
    }

    private void AssertSameAsDecoded(PreparedDataset data)
    {
        var decoder = new ClipDecoder(TestMedia.Tool, Features);
        var logMel = new LogMel(Features);
        var (faces, mels, expected) = (new byte[Features.FaceBytes], new float[Features.MelCount], new float[Features.MelCount]);
        foreach (var clip in data.Index.Clips)
        {
            data.Read(clip, faces, mels);
            decoder.Decode(Path.Combine(root, clip.Id));
            Assert.That(clip.Mels, Is.EqualTo(logMel.Compute(decoder.Samples, expected)), clip.Id);
            Assert.That(clip.Faces, Is.EqualTo(decoder.FaceCount), clip.Id);
            Assert.That(faces, Is.EqualTo(decoder.Faces.ToArray()), clip.Id);
            Assert.That(mels, Is.EqualTo(expected), clip.Id);
        }
    }
}
