using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>avedis import as it is typed: the manifest, the account, splits, what a user may get wrong, and the way on to avedis prepare.</summary>
[NonParallelizable]
public sealed class ImportCommandTests
{
    private string target = "";

    [SetUp]
    public void MakeFolder() => target = TestFolders.New();

    private string Out => Path.Combine(target, "new", "manifest.csv");

    /// <summary>A small RAVDESS: four actors, eight emotions, two sentences.</summary>
    private static CorpusTree Ravdess() => new CorpusTree().Touch([.. from actor in Enumerable.Range(1, 4) from emotion in Enumerable.Range(1, 8) from sentence in Enumerable.Range(1, 2)
        select $"Actor_{actor:00}/01-01-{emotion:00}-01-{sentence:00}-01-{actor:00}.mp4"]);

    [Test]
    public void Manifest_and_account_say_the_same()
    {
        var tree = Ravdess().Touch("Actor_01/02-01-01-01-01-01-01.mp4");
        string audit = Path.Combine(target, "audit.json"), rejected = Path.Combine(target, "rejected.csv");
        var (code, output, error) = TinyCorpus.Run("import", "ravdess", tree.Root, "--out", Out, "--audit", audit, "--rejected", rejected);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        byte[] bytes = File.ReadAllBytes(Out);
        Assert.That(bytes, Does.Not.Contain((byte)'\r'));
        string[] lines = File.ReadAllLines(Out);
        Assert.That(lines[0], Is.EqualTo("path,speaker,emotion,original,gender,corpus,channel,intensity,sentence"), "columns that no row uses are left out");
        Assert.That(lines[1], Is.EqualTo("Actor_01/01-01-01-01-01-01-01.mp4,Actor_01,neutral,neutral,male,ravdess,speech,normal,kids"));
        Assert.That(lines, Has.Length.EqualTo(65));
        Assert.That(File.ReadAllText(rejected), Is.EqualTo("path,reason,detail\nActor_01/02-01-01-01-01-01-01.mp4,duplicate modality,the picture of 01-01-01-01-01-01-01 alone\n"));
        var account = JsonSerializer.Deserialize<Audit>(File.ReadAllText(audit), Json.Indented)!;
        Assert.That((account.Found, account.Usable, account.Dropped, account.Rejected["duplicate modality"], account.Speakers), Is.EqualTo((65, 64, 0, 1, 4)));
        Assert.That(account.Labels, Does.Contain(new LabelCount("calm", "neutral", 8)));
        Assert.That(account.Emotions, Is.EquivalentTo(new Dictionary<string, int> { ["neutral"] = 16, ["happiness"] = 8, ["sadness"] = 8, ["anger"] = 8, ["other"] = 24 }));
        Assert.That(account.Genders, Is.EquivalentTo(new Dictionary<string, int> { ["male"] = 32, ["female"] = 32 }));
        Assert.That(output.Split('\n'), Has.Some.Match(@"^  clips found +65$").And.Some.Match("^  rejected: duplicate modality +1$").And.Some.Match("^  label calm -> neutral +8$"));
        Assert.That(output, Does.Contain($"avedis prepare {Out} --root {tree.Root} --crop detect --out data/ravdess"));
        Assert.That(Directory.GetFiles(target, "*.tmp", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public void Unheard_speakers_are_nowhere_else_and_the_others_are_divided()
    {
        var tree = Ravdess();
        var result = tree.Import("ravdess", new ImportOptions { Unheard = 1, Seed = 5 });
        var account = result.Audit;
        Assert.That(account.Splits["unheard"], Is.EqualTo(new SplitCount(16, 1)));
        Assert.That(account.Splits["train"].Speakers, Is.EqualTo(3));
        Assert.That(account.Splits.Where(part => part.Key is "validation" or "test").Select(part => part.Value.Clips), Is.All.EqualTo(5).Within(1));
        Assert.That(account.Overlap.Where(pair => pair.Key.Contains("unheard")).Select(pair => pair.Value), Is.All.Zero.And.Exactly(3).Items);
        Assert.That(account.Overlap["train/test"], Is.GreaterThan(1));
        Assert.That(tree.Import("ravdess", new ImportOptions { Unheard = 1, Seed = 5 }).Clips.Select(clip => clip.Split), Is.EqualTo(result.Clips.Select(clip => clip.Split)));
        var manifest = WriteAndRead(tree, "--unheard", "1", "--seed", "5");
        Assert.That(manifest.Rows.Select(row => row.Split), Is.EqualTo(result.Clips.Select(clip => clip.Split)));
        Assert.That(Enumerable.Range(1, 9).Select(seed => Unheard(tree, (ulong)seed)).Distinct().Count(), Is.GreaterThan(1));
    }

    private static string Unheard(CorpusTree tree, ulong seed)
        => tree.Import("ravdess", new ImportOptions { Unheard = 1, Seed = seed }).Clips.First(clip => clip.Split == Split.Unheard).Speaker;

    private Manifest WriteAndRead(CorpusTree tree, params string[] more)
    {
        Assert.That(TinyCorpus.Run(["import", "ravdess", tree.Root, "--out", Out, .. more]).Code, Is.EqualTo(ExitCode.Ok));
        return Manifest.Read(Out, tree.Root, new DataOptions());
    }

    [Test]
    public void An_utterance_in_a_video_is_a_row_with_its_times()
    {
        var tree = new CorpusTree().Add("Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2, 2, 2]\n")
            .Touch("Session1/dialog/avi/Ses01F_impro01.avi", "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav");
        Assert.That(TinyCorpus.Run("import", "iemocap", tree.Root, "--out", Out).Code, Is.EqualTo(ExitCode.Ok));
        Assert.That(File.ReadAllText(Out),
            Is.EqualTo("path,audio,start,end,region,speaker,emotion,original,gender,corpus,scenario,session\n"
            + "Session1/dialog/avi/Ses01F_impro01.avi,Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav,6.2901,8.2357,left,Ses01_F,neutral,neu,female,iemocap,improvised,Ses01\n"));
    }

    [Test]
    public void An_imported_corpus_can_be_prepared()
    {
        var tree = new CorpusTree();
        foreach (string name in from actor in (string[])["01", "02"] from emotion in (string[])["01", "03", "08"] from sentence in (string[])["01", "02"] select $"01-01-{emotion}-01-{sentence}-01-{actor}.mp4")
            TestMedia.Clip(Path.Combine(tree.Root, $"Actor_{name[^6..^4]}", name));
        WriteAndRead(tree);
        string prepared = Path.Combine(target, "prepared");
        var (code, output, error) = TinyCorpus.Run("prepare", Out, "--root", tree.Root, "--out", prepared, "--set", "features.clipSeconds=1", "--set", "features.faceFrames=2", "--set", "features.faceSize=16");
        Assert.That(code, Is.EqualTo(ExitCode.Ok), error);
        using var data = PreparedDataset.Open(prepared);
        Assert.That(data.Speakers, Is.EqualTo((string[])["Actor_01", "Actor_02"]));
        Assert.That(data.Index.Clips.Select(clip => clip.Emotion).Distinct().Order(), Is.EqualTo((int[])[0, 1, 4]), output);
        Assert.That(data.Index.Clips, Has.Count.EqualTo(12), output);
        Assert.That(data.Index.Factors, Does.Contain("gender").And.Contain("original").And.Contain("corpus"));
    }

    [Test]
    public void Checked_media_lack_no_stream_and_fit_each_other()
    {
        var tree = new CorpusTree().Add("Evaluation.txt", string.Concat(Enumerable.Range(1, 5).Select(i => $"UTD-IMPROV-S01A-F01-P-FM0{i}.avi; N; A:1;\n")));
        string Media(int turn, string ending) => Path.Combine(tree.Root, $"MSP-IMPROV-S01A-F01-P-FM0{turn}.{ending}");
        TestMedia.Clip(Media(1, "avi"));
        TestMedia.Clip(Media(2, "avi"), sound: false);
        TestMedia.Clip(Media(3, "avi"), picture: false);
        File.WriteAllText(Media(4, "avi"), "no film");
        TestMedia.Clip(Media(5, "avi"), sound: false);
        File.WriteAllBytes(Media(5, "wav"), CorpusTree.Wav(3));
        string rejected = Path.Combine(target, "rejected.csv");
        Assert.That(TinyCorpus.Run("import", "msp-improv", tree.Root, "--out", Out).Output, Does.Match("usable +5\n"));
        Assert.That(TinyCorpus.Run("import", "msp-improv", tree.Root, "--out", Out, "--check-media", "--rejected", rejected).Code, Is.EqualTo(ExitCode.Ok));
        Assert.That(File.ReadAllLines(rejected).Skip(1).Select(line => line.Split(',')[1]), Is.EqualTo((string[])["no sound", "no video", "not a media file", "length mismatch"]));
        Assert.That(File.ReadAllLines(Out), Has.Length.EqualTo(2));
    }

    /// <summary>Programs that cut faces out of videos leave the sound behind.</summary>
    [Test]
    public void Sound_beside_a_video_without_sound_is_taken()
    {
        var tree = new CorpusTree();
        string At(string name) => Path.Combine(tree.Root, name);
        TestMedia.Clip(At("VideoMP4/1001_DFA_ANG_XX.mp4"), sound: false);
        TestMedia.Clip(At("VideoMP4/1001_DFA_HAP_XX.mp4"));
        TestMedia.Clip(At("VideoMP4/1001_DFA_NEU_XX.mp4"), sound: false);
        tree.Add("AudioWAV/1001_DFA_ANG_XX.wav", CorpusTree.Wav(1)).Add("AudioWAV/1001_DFA_HAP_XX.wav", CorpusTree.Wav(1))
            .Touch("AudioMP3/1001_DFA_ANG_XX.mp3");
        string rejected = Path.Combine(target, "rejected.csv");
        Assert.That(TinyCorpus.Run("import", "crema-d", tree.Root, "--out", Out, "--rejected", rejected, "--check-media").Code,
            Is.EqualTo(ExitCode.Ok));
        Assert.That(File.ReadAllLines(Out).Skip(1).Select(line => string.Join(' ', line.Split(',')[..2])), Is.EqualTo((string[])
            ["VideoMP4/1001_DFA_ANG_XX.mp4 AudioWAV/1001_DFA_ANG_XX.wav", "VideoMP4/1001_DFA_HAP_XX.mp4 "]));
        Assert.That(File.ReadAllLines(rejected).Single(line => line.Contains("1001")), Does.Contain("NEU_XX.mp4,no sound"));
    }

    /// <summary>Of a clip that lies there twice, the file that can be used is taken, whichever is found first.</summary>
    [Test]
    public void A_copy_stands_in_for_a_file_that_cannot_be_used()
    {
        var result = new CorpusTree().Add("VideoFlash/1001_DFA_ANG_XX.flv", CorpusTree.Pointer).Touch("VideoMP4/1001_DFA_ANG_XX.mp4",
            "z/1001_DFA_ANG_XX.mkv").Import("crema-d");
        Assert.That(result.Clips.Single().Path, Is.EqualTo("VideoMP4/1001_DFA_ANG_XX.mp4"));
        Assert.That(CorpusTree.Reasons(result), Is.EquivalentTo(new Dictionary<string, string>
        {
            ["VideoFlash/1001_DFA_ANG_XX.flv"] = "Git LFS pointer", ["z/1001_DFA_ANG_XX.mkv"] = "copy of another clip",
        }));
    }

    [Test]
    public void A_clip_that_the_release_damaged_is_taken_where_its_file_is_whole()
    {
        var (acted, meld) = (new CorpusTree(), new CorpusTree().Add("train_splits/dia125_utt3.mp4", "no film")
            .Add("train_sent_emo.csv", "Dialogue_ID,Utterance_ID,Speaker,Emotion,Sentiment\n125,3,Ross,joy,positive\n")
            .Add("dev_sent_emo.csv", "Dialogue_ID,Utterance_ID,Speaker,Emotion,Sentiment\n110,7,Ross,joy,positive\n"));
        string At(string name) => Path.Combine(acted.Root, name);
        TestMedia.Clip(Path.Combine(meld.Root, "dev_splits_complete/dia110_utt7.mp4"));
        TestMedia.Clip(At("VideoFlash/1076_MTI_NEU_XX.mp4"));
        TestMedia.Clip(At("VideoFlash/1064_IEO_DIS_MD.mp4"), seconds: 35);
        TestMedia.Clip(At("VideoFlash/1064_TIE_SAD_XX.mp4"), seconds: 0.08);
        TestMedia.Run(["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=1", "-f", "lavfi", "-i",
            "anullsrc=sample_rate=16000:duration=1", "-t", "1", At("VideoFlash/1076_MTI_SAD_XX.avi")]);
        string rejected = Path.Combine(target, "rejected.csv");
        string[] Lines(string corpus, CorpusTree tree, string[] more, out string[] taken)
        {
            int code = TinyCorpus.Run(["import", corpus, tree.Root, "--out", Out, "--rejected", rejected, .. more]).Code;
            taken = code == ExitCode.Ok ? [.. File.ReadAllLines(Out).Skip(1).Select(line => line.Split(',')[0])] : [];
            return [.. File.ReadAllLines(rejected).Skip(1)];
        }
        Assert.That(Lines("meld", meld, [], out var taken), Has.Length.EqualTo(2).And.All.Contain("known bad clip")
            .And.All.Contain("--check-media"));
        Assert.That(Lines("meld", meld, ["--check-media"], out taken), Has.Length.EqualTo(1).And.All.Contain("not a media file"));
        Assert.That(taken, Is.EqualTo((string[])["dev_splits_complete/dia110_utt7.mp4"]));
        Assert.That(Lines("crema-d", acted, [], out taken), Has.Length.EqualTo(4).And.All.Contain("known bad clip"));
        Assert.That(Lines("crema-d", acted, ["--check-media"], out taken).Select(line => line[..^4].Split(',')[1]),
            Is.EqualTo((string[])["known bad clip", "too short", "known bad clip"]));
        Assert.That(taken, Is.EqualTo((string[])["VideoFlash/1076_MTI_NEU_XX.mp4"]));
    }

    [TestCase("voxceleb", EmoVoxLabels.FileName)]
    [TestCase("crema-d", "VideoFlash/1001_DFA_ANG_XX.flv")]
    [TestCase("ravdess", "Actor_01/01-01-05-01-02-01-01.mp4")]
    [TestCase("msp-improv", "MSP-IMPROV-S01A-F01-P-FM01.avi")]
    [TestCase("iemocap", "EmoEvaluation/Ses01F_impro01.txt")]
    [TestCase("meld", "train_sent_emo.csv")]
    public void A_folder_without_the_corpus_says_what_was_looked_for(string corpus, string mark)
    {
        var tree = new CorpusTree().Touch("holiday/beach.jpg", "notes.txt");
        Refuses(ExitCode.BadInput, [tree.Root, corpus, mark, "name the folder"], "import", corpus, tree.Root, "--out", Out);
        Refuses(ExitCode.BadInput, [tree.Root + "/none", "no folder"], "import", corpus, tree.Root + "/none", "--out", Out);
        Assert.That(File.Exists(Out), Is.False);
    }

    [Test]
    public void What_a_user_may_get_wrong()
    {
        var tree = Ravdess();
        Refuses(ExitCode.Usage, ["savee", "avedis import --help"], "import", "savee", tree.Root, "--out", Out);
        Refuses(ExitCode.Usage, ["--out"], "import", "ravdess", tree.Root);
        Refuses(ExitCode.Usage, ["--calm is for ravdess", "meld"], "import", "meld", tree.Root, "--out", Out, "--calm", "other");
        Refuses(ExitCode.Usage, ["sadness"], "import", "ravdess", tree.Root, "--out", Out, "--calm", "sadness");
        Refuses(ExitCode.Usage, ["--unheard is 4", "4 speakers"], "import", "ravdess", tree.Root, "--out", Out, "--unheard", "4");
        Refuses(ExitCode.Usage, ["--unheard", "meld", "its splits"], "import", "meld", tree.Root, "--out", Out, "--unheard", "1");
        var pointers = new CorpusTree().Add("Actor_01/01-01-05-01-02-01-01.mp4", CorpusTree.Pointer);
        Refuses(ExitCode.BadInput, ["none of the 1 clips", "1 Git LFS pointer", "--rejected"], "import", "ravdess", pointers.Root, "--out", Out);
        Assert.That(File.Exists(Out), Is.False);
    }

    private static void Refuses(int code, string[] says, params string[] arguments)
    {
        var (actual, output, error) = TinyCorpus.Run(arguments);
        Assert.That(actual, Is.EqualTo(code), output + error);
        Assert.That(error.TrimEnd(), Does.StartWith("avedis: ").And.Not.Contain("\n"), "one line");
        foreach (string part in says)
            Assert.That(error, Does.Contain(part));
    }
}
