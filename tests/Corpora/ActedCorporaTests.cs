using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>CREMA-D, RAVDESS, MSP-IMPROV and IEMOCAP: names, labels, and what misleads in each.</summary>
public sealed class ActedCorporaTests
{
    [Test]
    public void Crema_d_names_hold_actor_sentence_emotion_and_level()
    {
        var result = new CorpusTree()
            .Touch("CREMA-D/VideoFlash/1001_DFA_ANG_XX.flv", "CREMA-D/VideoFlash/1001_IEO_HAP_LO.flv", "CREMA-D/VideoFlash/1002_TIE_FEA_XX.flv", "CREMA-D/VideoFlash/1002_TIE_NEU_XX.flv")
            .Touch("CREMA-D/AudioWAV/1001_DFA_ANG_XX.wav", "CREMA-D/AudioMP3/1001_DFA_ANG_XX.mp3")
            .Add("CREMA-D/VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female,Caucasian,Not Hispanic\n")
            .Import("crema-d");
        Assert.That(result.Clips.Select(clip => (clip.Path, clip.Speaker, clip.Original, clip.Emotion, clip.Gender, string.Join(' ', clip.Factors))), Is.EqualTo(((string, string, string, string, string, string)[])
        [
            ("CREMA-D/VideoFlash/1001_DFA_ANG_XX.flv", "1001", "ANG", "anger", "male", "DFA unspecified"),
            ("CREMA-D/VideoFlash/1001_IEO_HAP_LO.flv", "1001", "HAP", "happiness", "male", "IEO low"),
            ("CREMA-D/VideoFlash/1002_TIE_FEA_XX.flv", "1002", "FEA", "other", "female", "TIE unspecified"),
            ("CREMA-D/VideoFlash/1002_TIE_NEU_XX.flv", "1002", "NEU", "neutral", "female", "TIE unspecified"),
        ]));
        Assert.That(result.Rejections, Is.Empty);
    }

    [Test]
    public void Crema_d_without_large_files_known_bad_ones_and_sound_alone_are_told_apart()
    {
        var result = new CorpusTree()
            .Add("VideoFlash/1001_DFA_ANG_XX.flv", CorpusTree.Pointer).Add("VideoFlash/1001_DFA_HAP_XX.flv", "").Add("VideoFlash/1001_DFA_SAD_XX.flv", "version of a film")
            .Touch("VideoFlash/1076_MTI_SAD_XX.flv", "VideoFlash/1001_DFA_JOY_XX.flv", "AudioWAV/1003_DFA_ANG_XX.wav", "AudioMP3/1003_DFA_ANG_XX.mp3").Import("crema-d");
        Assert.That(CorpusTree.Reasons(result), Is.EquivalentTo(new Dictionary<string, string>
        {
            ["VideoFlash/1001_DFA_ANG_XX.flv"] = "Git LFS pointer", ["VideoFlash/1001_DFA_HAP_XX.flv"] = "empty file", ["VideoFlash/1076_MTI_SAD_XX.flv"] = "known bad clip",
            ["VideoFlash/1001_DFA_JOY_XX.flv"] = "unusable name", ["AudioWAV/1003_DFA_ANG_XX.wav"] = "no video",
        }));
        Assert.That(result.Clips.Single().Path, Is.EqualTo("VideoFlash/1001_DFA_SAD_XX.flv"));
    }

    [Test]
    public void Ravdess_counts_each_performance_once()
    {
        var result = new CorpusTree()
            .Touch("Actor_01/01-01-05-02-02-01-01.mp4", "Actor_01/02-01-05-02-02-01-01.mp4", "Actor_01/03-01-05-02-02-01-01.wav")
            .Touch("Video_Song_Actor_02/Actor_02/01-02-02-01-01-02-02.mp4", "audio/Actor_02/03-02-03-01-01-02-02.wav", "copy/Actor_01/01-01-05-02-02-01-01.mp4")
            .Touch("Actor_18/01-01-01-01-01-01-18.mp4", "Actor_18/01-01-01-02-01-01-18.mp4", "Actor_18/01-01-09-01-01-01-18.mp4", "Actor_25/01-01-01-01-01-01-25.mp4").Import("ravdess");
        Assert.That(result.Clips.Select(clip => (clip.Name, clip.Speaker, clip.Original, clip.Emotion, clip.Gender, string.Join(' ', clip.Factors))), Is.EqualTo(((string, string, string, string, string, string)[])
        [
            ("01-01-05-02-02-01-01", "Actor_01", "angry", "anger", "male", "speech strong dogs"),
            ("01-01-01-01-01-01-18", "Actor_18", "neutral", "neutral", "female", "speech normal kids"),
            ("01-02-02-01-01-02-02", "Actor_02", "calm", "neutral", "female", "song normal kids"),
        ]));
        Assert.That(CorpusTree.Reasons(result), Is.EquivalentTo(new Dictionary<string, string>
        {
            ["Actor_01/02-01-05-02-02-01-01.mp4"] = "duplicate modality", ["Actor_01/03-01-05-02-02-01-01.wav"] = "duplicate modality",
            ["audio/Actor_02/03-02-03-01-01-02-02.wav"] = "no video", ["copy/Actor_01/01-01-05-02-02-01-01.mp4"] = "copy of another clip",
            ["Actor_18/01-01-01-02-01-01-18.mp4"] = "unusable name", ["Actor_18/01-01-09-01-01-01-18.mp4"] = "unusable name", ["Actor_25/01-01-01-01-01-01-25.mp4"] = "unusable name",
        }));
    }

    [Test]
    public void Ravdess_calm_goes_where_it_is_told()
        => Assert.That(new CorpusTree().Touch("Actor_02/01-01-02-01-01-01-02.mp4").Import("ravdess", new ImportOptions { Calm = "other" }).Clips.Single().Emotion, Is.EqualTo("other"));

    [TestCase("Evaluation.txt")]
    [TestCase("Evalution.txt")]
    public void Msp_improv_speakers_are_people_and_labels_are_what_listeners_heard(string evaluation)
    {
        var result = new CorpusTree()
            .Touch("session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi", "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav", "session1/S01A/R/MSP-IMPROV-S01A-M01-R-MF01.avi")
            .Touch("session6/S20N/T/MSP-IMPROV-S20N-F06-T-FM02.avi", "session6/S20N/S/MSP-IMPROV-S20N-M06-S-MF03.avi", "session6/S20N/S/MSP-IMPROV-S20N-M06-S-MF04.wav", "session6/S20N/S/MSP-IMPROV-S20N-M06-S-MF05.avi")
            .Add(evaluation, """
                UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:1.0; V:2.0; D:3.0 ; N:4.0;
                WQ-001; A; Angry; A:2.0; V:1.0; D:NaN; N:4.0;
                UTD-IMPROV-S01A-M01-R-MF01.avi; A; A:1.0; V:2.0; D:NaN ; N:4.0;
                UTD-IMPROV-S20N-F06-T-FM02.avi; X; A:1.0; V:2.0; D:3.0 ; N:4.0;
                UTD-IMPROV-S20N-M06-S-MF03.avi; O; A:1.0; V:2.0; D:3.0 ; N:4.0;
                UTD-IMPROV-S20N-M06-S-MF04.avi; H; A:1.0; V:2.0; D:3.0 ; N:4.0;

                """).Import("msp-improv");
        Assert.That(result.Clips.Select(clip => (Path.GetFileName(clip.Path), Path.GetFileName(clip.Audio), clip.Speaker, clip.Original, clip.Emotion, clip.Gender, string.Join(' ', clip.Factors))),
            Is.EqualTo(((string, string, string, string, string, string, string)[])
            [
                ("MSP-IMPROV-S01A-F01-P-FM01.avi", "MSP-IMPROV-S01A-F01-P-FM01.wav", "F01", "N", "neutral", "female", "S01 A P"),
                ("MSP-IMPROV-S01A-M01-R-MF01.avi", "", "M01", "A", "anger", "male", "S01 A R"),
                ("MSP-IMPROV-S20N-M06-S-MF03.avi", "", "M06", "O", "other", "male", "S20 N S"),
            ]));
        Assert.That(result.Audit.Rejected, Is.EquivalentTo(new Dictionary<string, int> { ["label without agreement"] = 1, ["no video"] = 1, ["no label"] = 1 }));
    }

    [Test]
    public void Msp_improv_without_labels_says_which_file_is_missing()
    {
        var failure = Assert.Throws<UserException>(() => new CorpusTree().Touch("session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi").Import("msp-improv"))!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(failure.Message, Does.Contain("Evaluation.txt").And.Contain("Evalution.txt"));
    }

    /// <summary>What people convert the releases to, with the files around them that a copy from another system brings along.</summary>
    [TestCase("mp4", "wav")]
    [TestCase("MP4", "WAV")]
    [TestCase("avi", "mp3")]
    [TestCase("mkv", "flac")]
    [TestCase("mov", "m4a")]
    [TestCase("webm", "ogg")]
    [TestCase("m4v", "opus")]
    public void Corpora_are_known_in_other_containers(string video, string sound)
    {
        var tree = new CorpusTree().Touch($"x/y/VideoFlash/1001_DFA_ANG_XX.{video}", $"x/y/AudioWAV/1001_DFA_ANG_XX.{sound}",
            $"x/y/AudioWAV/1002_DFA_ANG_XX.{sound}")
            .Touch($"x/ravdess/Actor_01/01-01-05-02-02-01-01.{video}", $"x/ravdess/Actor_01/03-01-05-02-02-01-01.{sound}",
                $"x/ravdess/Actor_02/03-01-05-02-02-01-02.{sound}")
            .Touch($"session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.{video}", $"session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.{sound}")
            .Add("Evaluation.txt", "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:1.0;\n")
            .Touch($"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.{sound}", $"Session1/dialog/mp4/Ses01F_impro01.{video}")
            .Add("Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2, 2, 2]\n")
            .Touch("x/.DS_Store", "x/Thumbs.db", "x/desktop.ini", $"x/y/VideoFlash/._1001_DFA_ANG_XX.{video}",
                $"__MACOSX/1001_DFA_HAP_XX.{video}", "x/readme.txt");
        foreach (var (corpus, path, audio, rejected) in ((string, string, string, string)[])
            [
                ("crema-d", $"x/y/VideoFlash/1001_DFA_ANG_XX.{video}", "", "no video"),
                ("msp-improv", $"session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.{video}", $"session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.{sound}",
                    ""),
                ("iemocap", $"Session1/dialog/mp4/Ses01F_impro01.{video}",
                    $"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.{sound}", ""),
            ])
        {
            var result = tree.Import(corpus);
            Assert.That((result.Clips.Single().Path, result.Clips.Single().Audio), Is.EqualTo((path, audio)));
            Assert.That(string.Join(' ', result.Rejections.Where(one => one.Reason != "unusable name").Select(one => one.Reason)),
                Is.EqualTo(rejected));
        }
        var acted = tree.Import("ravdess");
        Assert.That(acted.Clips.Single().Path, Is.EqualTo($"x/ravdess/Actor_01/01-01-05-02-02-01-01.{video}"));
        Assert.That(acted.Audit.Rejected, Does.ContainKey("duplicate modality").WithValue(1).And.ContainKey("no video").WithValue(1));
    }

    /// <summary>Demographics as they come back from a spreadsheet.</summary>
    [TestCase("\ufeffActorID;Age;Sex\r\n1001;51;Male\r\n")]
    [TestCase("ActorID\tAge\tSex\r1001\t51\tMale\r")]
    [TestCase("Unnamed: 0, actorid ,Sex,Age\n0,1001,\"Male\",51\n")]
    public void Tables_of_corpora_are_read_as_spreadsheets_write_them(string table)
        => Assert.That(new CorpusTree().Touch("1001_DFA_ANG_XX.flv").Add("videodemographics.CSV", table).Import("crema-d").Clips.Single()
            .Gender, Is.EqualTo("male"));

    private static CorpusTree Iemocap()
    {
        var tree = new CorpusTree().Add("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
            "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[6.2901 - 8.2357]\tSes01F_impro01_F000\texc\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n"
            + "[10.0100 - 11.3925]\tSes01F_impro01_M001\tneu\t[2.5000, 2.5000, 2.5000]\n[14.8872 - 18.0175]\tSes01F_impro01_F002\txxx\t[2.5, 2.5, 2.5]\n"
            + "[19.2900 - 20.7875]\tSes01F_impro01_M003\tfru\t[2.5, 2.5, 2.5]\n[21.0 - 22.0]\tSes01F_impro01_M004\tang\t[2.5, 2.5, 2.5]\n");
        tree.Add("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e1_cat.txt", "[6.2901 - 8.2357]\tSes01F_impro01_F000\tang\t\n");
        tree.Add("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01M_script01_1b.txt", "[1.0 - 2.5]\tSes01M_script01_1b_F000\tsad\t[2.5, 2.5, 2.5]\n");
        foreach (string turn in (string[])["F000", "M001", "F002", "M003", "F005"])
            tree.Touch($"IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{turn}.wav", $"IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/._Ses01F_impro01_{turn}.wav");
        return tree.Touch("IEMOCAP_full_release/Session1/sentences/wav/Ses01M_script01_1b/Ses01M_script01_1b_F000.wav", "IEMOCAP_full_release/Session1/dialog/avi/DivX/Ses01F_impro01.avi",
            "IEMOCAP_full_release/Session1/dialog/avi/DivX/Ses01M_script01_1b.avi");
    }

    [Test]
    public void Iemocap_speakers_are_the_last_letter_and_share_a_video_of_two_halves()
    {
        var result = Iemocap().Import("iemocap");
        Assert.That(result.Clips.Select(clip => (clip.Name, Path.GetFileName(clip.Path), clip.Speaker, clip.Original, clip.Emotion, clip.Span!.Value, clip.Region, clip.Gender, clip.Factors[0])),
            Is.EqualTo(((string, string, string, string, string, (double, double), string, string, string)[])
            [
                ("Ses01F_impro01_F000", "Ses01F_impro01.avi", "Ses01_F", "exc", "happiness", (6.2901, 8.2357), "left", "female", "improvised"),
                ("Ses01F_impro01_M001", "Ses01F_impro01.avi", "Ses01_M", "neu", "neutral", (10.01, 11.3925), "right", "male", "improvised"),
                ("Ses01M_script01_1b_F000", "Ses01M_script01_1b.avi", "Ses01_F", "sad", "sadness", (1, 2.5), "right", "female", "scripted"),
            ]));
        Assert.That(result.Audit.Rejected, Is.EquivalentTo(new Dictionary<string, int> { ["label without agreement"] = 1, ["no sound"] = 1, ["no label"] = 1 }));
        Assert.That(result.Audit.Dropped, Is.EqualTo(1), "frustration");
        Assert.That(result.Audit.Found, Is.EqualTo(7));
    }

    [Test]
    public void Iemocap_frustration_and_halves_go_where_they_are_told()
    {
        var result = Iemocap().Import("iemocap", new ImportOptions { Frustration = "anger", SwapHalves = true });
        Assert.That(result.Clips.Single(clip => clip.Original == "fru").Emotion, Is.EqualTo("anger"));
        Assert.That(result.Clips.Select(clip => clip.Region), Is.EqualTo((string[])["right", "left", "left", "left"]));
    }

    [Test]
    public void Iemocap_without_the_video_of_a_dialogue()
    {
        var tree = Iemocap();
        File.Delete(Path.Combine(tree.Root, "IEMOCAP_full_release/Session1/dialog/avi/DivX/Ses01F_impro01.avi"));
        Assert.That(tree.Import("iemocap").Audit.Rejected["no video"], Is.EqualTo(3));
    }
}
