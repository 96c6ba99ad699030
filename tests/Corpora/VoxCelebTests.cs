using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>VoxCeleb1 joined with EmoVoxCeleb: three naming schemes, eight logits a frame, and the release's sets.</summary>
public sealed class VoxCelebTests
{
    private const string Meta = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\nid10002\tA.R._Rahman\tm\tIndia\tdev\nid10003\tAamna_Sharif\tf\tIndia\ttest\n";

    /// <summary>Frame x class: the largest logit of all is anger's, most frames are neutral's, contempt is largest in the mean, sadness in the mean of probabilities.</summary>
    private static readonly float[][] Disputed =
    [
        [2, 0, 0, 1, 9, 0, 0, 8.5f],
        [3, 0, 0, 2.9f, -20, 0, 0, 2],
        [3, 0, 0, 2.9f, -20, 0, 0, 2],
        [-9, 0, 0, 6, -20, 0, 0, 2],
    ];

    /// <summary>A clip of the label file; its length in seconds is that of the sound, its pictures are every sixth.</summary>
    private sealed record Track(string Celebrity, string Id, string Video, int Number, int Set, float[][]? Logits = null, double Seconds = 4.8, int Pictures = 20, bool Sound = true, int Step = 1);

    private static CorpusTree Tree(MatForm form, params Track[] tracks)
    {
        var tree = new CorpusTree().Add("vox1_meta.csv", Meta);
        foreach (var track in tracks)
        {
            if (track.Sound)
                tree.Add($"vox1/dev/wav/{track.Id}/{track.Video}/{track.Number:00000}.wav", CorpusTree.Wav(track.Seconds));
            for (int i = 1; i <= track.Pictures; i++)
                tree.Add($"faces/unzippedIntervalFaces/data/{track.Celebrity}/1.6/{track.Video}/{track.Number}/{i * track.Step:0000000}.jpg", "x");
        }
        MatWriter.Write(Path.Combine(tree.Root, EmoVoxLabels.FileName), form,
            ("images", MatWriter.Struct(
                ("name", MatWriter.Cells(tracks.Select(track => MatWriter.Text($"{track.Celebrity}/{track.Video}_{track.Number:0000000}.wav")))),
                ("video", MatWriter.Cells(tracks.Select(track => MatWriter.Text(track.Video)))),
                ("track", MatWriter.Matrix(tracks.Length, [.. tracks.Select(track => (float)track.Number)])),
                ("set", MatWriter.Matrix(tracks.Length, [.. tracks.Select(track => (float)track.Set)])),
                ("denseFrames", MatWriter.Cells([MatWriter.Text("1.jpg")])))),
            ("wavLogits", MatWriter.Cells(tracks.Select(track => Logits(track.Logits ?? [[0, 1, 0, 0, 0, 0, 0, 0]])))));
        return tree;
    }

    private static MatValue Logits(float[][] frames) => frames.Length == 0 ? new MatValue()
        : MatWriter.Matrix(8, [.. Enumerable.Range(0, 8).SelectMany(c => frames.Select(frame => frame[c]))]);

    [TestCase(MatForm.Plain)]
    [TestCase(MatForm.Compressed)]
    [TestCase(MatForm.Hdf5)]
    public void Sound_faces_and_labels_meet_in_one_row(MatForm form)
    {
        var result = Tree(form, new Track("A.J._Buckley", "id10001", "1zcIwhmdeo4", 1, 1, Disputed), new Track("Aamna_Sharif", "id10003", "Y8h_VOBuels", 23, 2)).Import("voxceleb");
        Assert.That(result.Rejections, Is.Empty);
        Assert.That(result.Clips.Select(clip => (clip.Path, clip.Audio, clip.Speaker, clip.Original, clip.Emotion, clip.Split, clip.Gender, string.Join(' ', clip.Factors))),
            Is.EqualTo(((string, string, string, string, string, Split?, string, string)[])
            [
                ("faces/unzippedIntervalFaces/data/A.J._Buckley/1.6/1zcIwhmdeo4/1", "vox1/dev/wav/id10001/1zcIwhmdeo4/00001.wav", "id10001", "anger", "anger", Split.Train, "male", "4.1667 Ireland"),
                ("faces/unzippedIntervalFaces/data/Aamna_Sharif/1.6/Y8h_VOBuels/23", "vox1/dev/wav/id10003/Y8h_VOBuels/00023.wav", "id10003", "happiness", "happiness", Split.Unheard, "female", "4.1667 India"),
            ]));
    }

    [TestCase(DominantEmotion.MaxLogit, "anger")]
    [TestCase(DominantEmotion.MeanLogit, "contempt")]
    [TestCase(DominantEmotion.MeanSoftmax, "sadness")]
    [TestCase(DominantEmotion.Majority, "neutral")]
    public void Each_rule_has_its_own_dominant_emotion(DominantEmotion rule, string label)
        => Assert.That(Tree(MatForm.Plain, new Track("A.J._Buckley", "id10001", "v", 1, 1, Disputed)).Import("voxceleb", new ImportOptions { Dominant = rule }).Clips.Single().Original, Is.EqualTo(label));

    [Test]
    public void Pictures_at_any_rate_are_measured_against_the_sound()
    {
        var result = Tree(MatForm.Plain,
            new Track("A.J._Buckley", "id10001", "all", 1, 1, Pictures: 120), new Track("A.J._Buckley", "id10001", "numbered", 1, 1, Pictures: 20, Step: 6),
            new Track("A.J._Buckley", "id10001", "seconds", 1, 1, Pictures: 5, Step: 25), new Track("A.J._Buckley", "id10001", "short", 1, 1, Pictures: 60, Step: 1)).Import("voxceleb");
        Assert.That(result.Clips.Select(clip => (clip.Path.Split('/')[^2], clip.Factors[0])), Is.EqualTo(((string, string)[])[("all", "25"), ("numbered", "4.1667"), ("seconds", "1")]));
        Assert.That(result.Rejections.Single().Reason, Is.EqualTo("length mismatch"));
    }

    [Test]
    public void What_is_missing_is_told_clip_by_clip()
    {
        var tree = Tree(MatForm.Plain,
            new Track("A.J._Buckley", "id10001", "good", 1, 1), new Track("A.J._Buckley", "id10001", "mute", 1, 1, Sound: false), new Track("A.J._Buckley", "id10001", "faceless", 1, 1, Pictures: 0),
            new Track("A.J._Buckley", "id10001", "unseen", 1, 1, []), new Track("Nobody", "id10009", "v", 1, 1), new Track("A.J._Buckley", "id10001", "nan", 1, 1, [[0, float.NaN, 0, 0, 0, 0, 0, 0]]),
            new Track("A.J._Buckley", "id10001", "pointer", 1, 1), new Track("A.J._Buckley", "id10001", "text", 1, 1), new Track("A.J._Buckley", "id10001", "set", 1, 5), new Track("A.J._Buckley", "id10001", "../up", 1, 1));
        tree.Add("vox1/dev/wav/id10001/pointer/00001.wav", CorpusTree.Pointer).Add("vox1/dev/wav/id10001/text/00001.wav", "no sound at all");
        var result = tree.Import("voxceleb");
        Assert.That(result.Clips.Single().Audio, Does.Contain("good"));
        Assert.That(result.Rejections.Select(rejection => (rejection.Id.Split('/', 2)[1].Split('_')[0], rejection.Reason)), Is.EquivalentTo(((string, string)[])
        [
            ("mute", "no sound"), ("faceless", "no face frames"), ("unseen", "no face frames"), ("v", "unknown person"), ("nan", "no label"), ("pointer", "Git LFS pointer"), ("text", "not a wav file"),
            ("set", "unknown set"), ("../up", "unusable name"),
        ]));
    }

    [Test]
    public void Other_letter_case_of_endings_is_known_and_other_sound_is_named()
    {
        var tree = Tree(MatForm.Plain, new Track("A.J._Buckley", "id10001", "loud", 1, 1), new Track("A.J._Buckley", "id10001", "apple", 1,
            1));
        File.Move(Path.Combine(tree.Root, "vox1/dev/wav/id10001/loud/00001.wav"),
            Path.Combine(tree.Root, "vox1/dev/wav/id10001/loud/00001.WAV"));
        File.Move(Path.Combine(tree.Root, "vox1/dev/wav/id10001/apple/00001.wav"),
            Path.Combine(tree.Root, "vox1/dev/wav/id10001/apple/00001.m4a"));
        foreach (string picture in Directory.GetFiles(Path.Combine(tree.Root, "faces/unzippedIntervalFaces/data/A.J._Buckley/1.6/loud/1")))
            File.Move(picture, Path.ChangeExtension(picture, ".JPEG"));
        tree.Add("vox1_meta.csv", "\ufeff" + Meta);
        var result = tree.Import("voxceleb");
        Assert.That(result.Clips.Single().Path, Does.Contain("loud"));
        Assert.That(result.Rejections.Single().Detail, Does.Contain("convert it to wav"));
    }

    [Test]
    public void Heard_speakers_held_out_clips_are_halved_by_the_seed()
    {
        Track[] tracks = [.. from person in ((string, string)[])[("A.J._Buckley", "id10001"), ("A.R._Rahman", "id10002")]
            from i in Enumerable.Range(1, 6) select new Track(person.Item1, person.Item2, $"v{i}", i, i <= 2 ? 1 : 3)];
        var tree = Tree(MatForm.Plain, tracks);
        string Cut(ulong seed) => string.Join(' ', tree.Import("voxceleb", new ImportOptions { Seed = seed }).Clips.Select(clip => clip.Split));
        foreach (var speaker in tree.Import("voxceleb").Clips.GroupBy(clip => clip.Speaker))
            Assert.That(speaker.CountBy(clip => clip.Split!.Value), Is.EquivalentTo(new Dictionary<Split, int> { [Split.Train] = 2, [Split.Validation] = 2, [Split.Test] = 2 }));
        string first = Cut(1);
        Assert.That(Cut(1), Is.EqualTo(first));
        Assert.That(Enumerable.Range(2, 4).Select(seed => Cut((ulong)seed)), Has.Some.Not.EqualTo(first));
    }

    [TestCase("vox1_meta.csv")]
    [TestCase(EmoVoxLabels.FileName)]
    public void A_table_that_is_missing_is_named(string table)
    {
        var tree = Tree(MatForm.Plain, new Track("A.J._Buckley", "id10001", "v", 1, 1));
        File.Delete(Path.Combine(tree.Root, table));
        Assert.That(() => tree.Import("voxceleb"), Throws.TypeOf<UserException>().With.Message.Contains(table).And.Property("Code").EqualTo(ExitCode.BadInput));
    }
}
