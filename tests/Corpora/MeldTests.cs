using System.Text;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>MELD: three tables, dialogues that are numbered anew in each, and folders with more in them than clips.</summary>
public sealed class MeldTests
{
    private const string Header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n";

    [Test]
    public void A_clip_is_its_part_its_dialogue_and_its_utterance()
    {
        byte[] train = [.. Encoding.UTF8.GetBytes(Header + "1,\"Oh, it"), 0x92, .. Encoding.UTF8.GetBytes("s \"\"you\"\"\",Chandler,joy,positive,0,0,8,21,\"00:16:16,059\",\"00:16:21,731\"\n"
            + "2,x,Ross,fear,negative,0,1,1,1,a,b\n3,x,Ross,anger,negative,125,3,1,1,a,b\n4,x,Ross,bored,negative,0,2,1,1,a,b\n5,x,Ross,neutral,neutral,0,3,1,1,a,b\n")];
        var result = new CorpusTree()
            .Touch("MELD.Raw/train/train_splits/dia0_utt0.mp4", "MELD.Raw/train/train_splits/dia0_utt1.mp4", "MELD.Raw/train/train_splits/dia125_utt3.mp4", "MELD.Raw/train/train_splits/dia0_utt2.mp4",
                "MELD.Raw/train/train_splits/dia7_utt7.mp4", "MELD.Raw/train/train_splits/._dia0_utt0.mp4")
            .Touch("MELD.Raw/dev/dev_splits_complete/dia0_utt0.mp4")
            .Touch("MELD.Raw/test/output_repeated_splits_test/dia0_utt0.mp4", "MELD.Raw/test/output_repeated_splits_test/final_videos_testdia0_utt0.mp4", "MELD.Raw/test/output_repeated_splits_test/._dia0_utt0.mp4")
            .Add("MELD.Raw/train_sent_emo.csv", train)
            .Add("MELD.Raw/dev_sent_emo.csv", Header + "1,x,Ross,sadness,negative,0,0,1,1,a,b\n2,x,Ross,sadness,negative,110,7,1,1,a,b\n")
            .Add("MELD.Raw/test_sent_emo.csv", Header + "1,x,Waiter,neutral,neutral,0,0,1,1,a,b\n").Import("meld");
        Assert.That(result.Clips.Select(clip => (clip.Path["MELD.Raw/".Length..], clip.Speaker, clip.Original, clip.Emotion, clip.Split, clip.Factors[0])), Is.EqualTo(((string, string, string, string, Split?, string)[])
        [
            ("dev/dev_splits_complete/dia0_utt0.mp4", "Ross", "sadness", "sadness", Split.Validation, "negative"),
            ("test/output_repeated_splits_test/dia0_utt0.mp4", "Waiter", "neutral", "neutral", Split.Test, "neutral"),
            ("train/train_splits/dia0_utt0.mp4", "Chandler", "joy", "happiness", Split.Train, "positive"),
            ("train/train_splits/dia0_utt1.mp4", "Ross", "fear", "other", Split.Train, "negative"),
        ]));
        Assert.That(CorpusTree.Reasons(result), Is.EquivalentTo(new Dictionary<string, string>
        {
            ["MELD.Raw/train/train_splits/dia125_utt3.mp4"] = "known bad clip", ["validation dia110_utt7"] = "known bad clip", ["train dia0_utt3"] = "no video",
            ["MELD.Raw/train/train_splits/dia0_utt2.mp4"] = "no label", ["MELD.Raw/train/train_splits/dia7_utt7.mp4"] = "no label",
            ["MELD.Raw/test/output_repeated_splits_test/final_videos_testdia0_utt0.mp4"] = "unusable name",
        }));
        Assert.That(result.Audit.Overlap, Is.EquivalentTo(new Dictionary<string, int> { ["train/validation"] = 1, ["train/test"] = 0, ["validation/test"] = 0 }));
    }

    /// <summary>The folders as other copies of the corpus call them, in other containers, and with the tables beside the clips.</summary>
    [TestCase("MELD-RAW/MELD.Raw/train/train_splits", "MELD-RAW/MELD.Raw/dev/dev_splits_complete",
        "MELD-RAW/MELD.Raw/test/output_repeated_splits_test", "mp4")]
    [TestCase("videos/train", "videos/dev", "videos/test", "mp4")]
    [TestCase("test/MELD/train_splits", "test/MELD/dev_splits", "test/MELD/test_splits", "mkv")]
    [TestCase("Train", "Val", "Test", "AVI")]
    [TestCase("train/x", "validation/x", "test/x", "webm")]
    public void Parts_are_known_by_the_names_that_copies_give_them(string train, string dev, string test, string container)
    {
        var tree = new CorpusTree();
        foreach (var (folder, name) in ((string, string)[])[(train, "train"), (dev, "dev"), (test, "test")])
            tree.Touch($"{folder}/dia0_utt0.{container}", $"{folder}/dia0_utt0.wav", $"{folder}/.DS_Store")
                .Add($"{folder}/{name}_sent_emo.csv", $"{Header}1,x,{name},joy,positive,0,0,1,1,a,b\n");
        var result = tree.Import("meld");
        Assert.That(result.Clips.Select(clip => (clip.Path, clip.Speaker, clip.Split)), Is.EquivalentTo(((string, string, Split?)[])
        [
            ($"{train}/dia0_utt0.{container}", "train", Split.Train), ($"{dev}/dia0_utt0.{container}", "dev", Split.Validation),
                ($"{test}/dia0_utt0.{container}", "test", Split.Test),
        ]));
        Assert.That(result.Rejections, Is.Empty);
    }

    [Test]
    public void Letters_of_code_page_1252_are_kept()
    {
        byte[] table = [.. Encoding.UTF8.GetBytes(Header + "1,x,Ren"), 0xE9, .. Encoding.UTF8.GetBytes(",anger,negative,1,2,1,1,a,b\n")];
        Assert.That(new CorpusTree().Touch("train_splits/dia1_utt2.mp4").Add("train_sent_emo.csv", table).Import("meld").Clips.Single().Speaker, Is.EqualTo("Ren\u00e9"));
    }
}
