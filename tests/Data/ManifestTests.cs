using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Media;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>Manifests: what is read, and that every fault ends in one line with the place and a way out.</summary>
public sealed class ManifestTests
{
    private string folder = "", file = "";

    [SetUp]
    public void MakeFolder()
    {
        folder = Path.Combine(TestFolders.New(), "data");
        Directory.CreateDirectory(folder);
        file = Path.Combine(folder, "manifest.csv");
    }

    [Test]
    public void Columns_are_found_by_name_and_the_others_are_kept_as_factors()
    {
        Write("gender,emotion,path,split,speaker,yaw\nf,joy,x/../a.mp4,dev,ann,0.5\nm,ANG,\"b,c.mp4\",unheard,bob,\"say \"\"hi\"\"\"\n");
        var manifest = Read();
        Assert.That(manifest.FactorNames, Is.EqualTo((string[])["gender", "yaw"]));
        Assert.That(manifest.Rows, Has.Count.EqualTo(2));
        var (ann, bob) = (manifest.Rows[0], manifest.Rows[1]);
        Assert.That((ann.Id, ann.Speaker, ann.Emotion, ann.Split, ann.Line), Is.EqualTo(("a.mp4", "ann", "happiness", Split.Validation, 2)));
        Assert.That((bob.Id, bob.Speaker, bob.Emotion, bob.Split, bob.Line), Is.EqualTo(("b,c.mp4", "bob", "anger", Split.Unheard, 3)));
        Assert.That(bob.Factors, Is.EqualTo((string[])["m", "say \"hi\""]));
    }

    [Test]
    public void A_byte_order_mark_spaces_semicolons_and_windows_line_ends_do_no_harm()
    {
        File.WriteAllBytes(file, [.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes("path; speaker; emotion\r\na.mp4 ; José; neutral\r\n")]);
        Assert.That(Read().Rows.Single(), Has.Property("Speaker").EqualTo("José").And.Property("Id").EqualTo("a.mp4"));
    }

    [Test]
    public void A_row_may_name_a_part_of_a_file_and_another_for_the_sound()
    {
        Write("path,speaker,emotion,start,end,region,audio,gender,fps\na,ann,neutral,1.25,2,Left,b.wav,f,4.5\na.mp4,ann,neutral,,,,,f,\n");
        var manifest = Read();
        Assert.That(manifest.FactorNames, Is.EqualTo((string[])["gender"]));
        Assert.That(manifest.Rows[0].Source, Is.EqualTo(new ClipSource(Path.Combine(folder, "a"), Path.Combine(folder, "b.wav"), 1.25, 2, PictureRegion.Left, 4.5)));
        Assert.That(manifest.Rows[1].Source, Is.EqualTo(new ClipSource(Path.Combine(folder, "a.mp4"))));
        Assert.That(manifest.Rows.Select(row => row.Id), Is.EqualTo((string[])["a#t=1.25,2", "a.mp4"]));
    }

    [Test]
    public void Labels_can_be_mapped_anew_and_dropped()
    {
        Write("path,speaker,emotion\na.mp4,ann,calm\nb.mp4,ann,frustrated\n");
        var options = new DataOptions { Labels = new Dictionary<string, string> { ["calm"] = "other", ["Frustrated"] = DataOptions.Drop } };
        var manifest = Manifest.Read(file, null, options);
        Assert.That(manifest.Rows.Single().Emotion, Is.EqualTo("other"));
        Assert.That(manifest.Dropped, Is.EqualTo(1));
    }

    [TestCase("", "is empty")]
    [TestCase("path,speaker,emotion\n", "no clips")]
    [TestCase("file,speaker,emotion\na,b,neutral\n", "line 1", "no column \"path\"", "file, speaker, emotion")]
    [TestCase("path,path,speaker,emotion\n", "line 1", "twice")]
    [TestCase("path,speaker,emotion\na.mp4,ann,neutral\nb.mp4,ann,hapiness\n", "line 3", "\"hapiness\"", "nearest known: \"happiness\"", "data.labels.hapiness")]
    [TestCase("path,speaker,emotion\na.mp4,ann,neutral\nb.mp4,ann,neutral\n./a.mp4,bob,sad\n", "line 4", "line 2")]
    [TestCase("path,speaker,emotion\n../a.mp4,ann,neutral\n", "line 2", "out of the data root", "--root")]
    [TestCase("path,speaker,emotion\n../data2/a.mp4,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\n/etc/passwd,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\n.,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\na.mp4,,neutral\n", "line 2", "no speaker")]
    [TestCase("path,speaker,emotion\na.mp4,ann\n", "line 2", "2 fields", "3")]
    [TestCase("path,speaker,emotion\na.mp4,ann,neutral,x\n", "line 2", "4 fields")]
    [TestCase("path,speaker,emotion\na.mp4,ann,neutral\n\"b.mp4,ann,neutral\nc.mp4,ann,neutral\n", "line 3", "quotation mark")]
    [TestCase("path,speaker,emotion\n\"a\"b.mp4,ann,neutral\n", "line 2", "quotation mark")]
    [TestCase("path,speaker,emotion,audio\na,ann,neutral,../b.wav\n", "line 2", "../b.wav", "out of the data root")]
    [TestCase("path,speaker,emotion,start\na.mp4,ann,neutral,soon\n", "line 2", "start \"soon\"", "number")]
    [TestCase("path,speaker,emotion,end\na.mp4,ann,neutral,-1\n", "line 2", "end \"-1\"")]
    [TestCase("path,speaker,emotion,end\na.mp4,ann,neutral,inf\n", "line 2", "end \"inf\"")]
    [TestCase("path,speaker,emotion,start,end\na.mp4,ann,neutral,3,2.5\n", "line 2", "ends at 2.5 s")]
    [TestCase("path,speaker,emotion,fps\na,ann,neutral,0\n", "line 2", "fps 0")]
    [TestCase("path,speaker,emotion,region\na.mp4,ann,neutral,top\n", "line 2", "\"top\"", "left, right or empty")]
    [TestCase("path,speaker,emotion,start,end\na.mp4,ann,neutral,1,2\na.mp4,ann,neutral,2,3\na.mp4,ann,neutral,1,2\n", "line 4", "line 2")]
    [TestCase("path,speaker,emotion\nC:\\data\\a.mp4,ann,neutral\n", "line 2", "out of the data root", "from that folder on")]
    [TestCase("path,speaker,emotion\n\\\\server\\share\\a.mp4,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\nhttps://example.org/a.mp4,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\nfile:///C:/data/a.mp4,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\n..\\a.mp4,ann,neutral\n", "line 2", "out of the data root")]
    [TestCase("path,speaker,emotion\na.mp4,nan,neutral\n", "line 2", "no speaker")]
    [TestCase("path,speaker,emotion\na.mp4,ann,NaN\n", "line 2", "no emotion")]
    [TestCase("path,speaker,emotion,start\na.mp4,ann,neutral,\"1,250\"\n", "line 2", "start \"1,250\"", "12.5")]
    [TestCase("path,speaker,emotion,Speaker \na.mp4,ann,neutral,bob\n", "line 1", "twice")]
    [TestCase("path,speaker,emotion\na.mp4,ann,\"neutral\nb.mp4\",x,y\n", "line 2", "5 fields")]
    [TestCase("path,speaker,emotion\na.mp4,\"ann\nb\",neutral\n", "line 2", "line break in its speaker", "quotation mark")]
    [TestCase("path;speaker;emotion\na;b.mp4;ann;neutral\n", "line 2", "4 fields", "a semicolon in it")]
    [TestCase("path,speaker,emotion\na.mp4,ann,very sad\n", "--set 'data.labels.very sad=CLASS'")]
    [TestCase("path,speaker,emotion,split\na.mp4,ann,neutral,holdout\n", "line 2", "holdout", "train, validation, test or unheard")]
    public void A_faulty_table_ends_in_one_line_with_exit_code_3(string text, params string[] parts)
    {
        Write(text);
        AssertFault(parts);
    }

    [Test]
    public void Bytes_that_are_not_utf8_are_placed_by_line()
    {
        File.WriteAllBytes(file, [.. "path,speaker,emotion\na.mp4,ann,neutral\nb.mp4,Jos"u8, 0xE9, .. ",neutral\n"u8]);
        AssertFault("line 3", "UTF-8");
    }

    [Test]
    public void A_manifest_that_is_not_there_is_named()
    {
        AssertFault(file);
    }

    /// <summary>
    /// git-annex and DVC keep the files below the root or beside it, the cache of Hugging Face above it; a link is the user's own.
    /// </summary>
    [Test]
    public void A_link_is_followed_and_its_name_is_the_clip()
    {
        string outside = TestFolders.New(), rootLink = Path.Combine(TestFolders.New(), "link");
        Directory.CreateDirectory(Path.Combine(folder, ".git"));
        foreach (string stored in (string[])[Path.Combine(outside, "1"), Path.Combine(folder, ".git", "2")])
            File.WriteAllText(stored, "x");
        File.CreateSymbolicLink(Path.Combine(folder, "a.mp4"), Path.Combine(outside, "1"));
        File.CreateSymbolicLink(Path.Combine(folder, "b.mp4"), ".git/2");
        File.CreateSymbolicLink(Path.Combine(folder, "idle.mp4"), ".git/2");
        File.CreateSymbolicLink(Path.Combine(folder, "gone.mp4"), ".git/3");
        Directory.CreateSymbolicLink(Path.Combine(folder, "door"), outside);
        Directory.CreateSymbolicLink(Path.Combine(folder, "round"), Path.Combine(folder, "round"));
        Directory.CreateSymbolicLink(rootLink, folder);
        string[] paths = ["a.mp4", "b.mp4", "idle.mp4", "gone.mp4", "door/1", "round/a.mp4"];
        Write("path,speaker,emotion\n" + string.Concat(paths.Select(path => $"{path},ann,neutral\n")));
        foreach (string root in (string[])[folder, rootLink, rootLink + "/"])
        {
            var rows = Manifest.Read(file, root, new DataOptions()).Rows;
            Assert.That(rows.Select(row => row.Id), Is.EqualTo(paths));
            Assert.That(rows.Select(row => row.Source.Picture), Is.EqualTo(paths.Select(path => Path.Combine(root, path))),
                "what is shown and opened is the user's name");
        }
        Write($"path,speaker,emotion\n{folder}/a.mp4,ann,neutral\n{rootLink}/b.mp4,ann,neutral\n");
        foreach (string root in (string[])[folder, rootLink])
            Assert.That(Manifest.Read(file, root, new DataOptions()).Rows.Select(row => row.Id), Is.EqualTo((string[])["a.mp4", "b.mp4"]));
    }

    [Test]
    public void Control_characters_of_a_table_do_not_reach_the_terminal()
    {
        Write("path,speaker,emotion\na.mp4,ann,\u001b[31mred\u0007\n");
        var failure = Assert.Throws<UserException>(() => Read())!;
        Assert.That(failure.Message.Any(char.IsControl), Is.False);
    }

    /// <summary>As Windows, macOS and notebooks write the paths of files that lie here as s1/a b.mp4 and caf\u00e9/A.MP4.</summary>
    [TestCase("s1\\a b.mp4", "s1/a b.mp4")]
    [TestCase(".\\s1\\a b.mp4", "s1/a b.mp4")]
    [TestCase("./s1//./a b.mp4", "s1/a b.mp4")]
    [TestCase("\"  s1/a b.mp4 \"", "s1/a b.mp4")]
    [TestCase("\u00a0s1/a b.mp4\u00a0", "s1/a b.mp4")]
    [TestCase("s1/", "s1")]
    [TestCase("s1\\", "s1")]
    [TestCase("file://ROOT/s1/a%20b.mp4", "s1/a b.mp4")]
    [TestCase("ROOT/s1/a b.mp4", "s1/a b.mp4")]
    [TestCase("caf\u00e9/A.MP4", "caf\u00e9/A.MP4")]
    [TestCase("cafe\u0301/A.MP4", "caf\u00e9/A.MP4")]
    [TestCase("Cafe\u0301\\a.mp4", "caf\u00e9/A.MP4")]
    [TestCase("S1/A B.mp4", "s1/a b.mp4")]
    [TestCase("odd\\name.mp4", "odd\\name.mp4")]
    [TestCase("\" lead.mp4\"", " lead.mp4")]
    [TestCase("twice.mp4", null, Description = "Twice.mp4 or tWice.mp4?")]
    public void A_path_is_found_as_other_systems_write_it(string written, string? place)
    {
        foreach (string name in (string[])["s1/a b.mp4", "caf\u00e9/A.MP4", "odd\\name.mp4", " lead.mp4", "Twice.mp4", "tWice.mp4"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, name))!);
            File.WriteAllText(Path.Combine(folder, name), "x");
        }
        Write($"path,speaker,emotion,audio\n{written.Replace("ROOT", folder)},ann,neutral,{written.Replace("ROOT", folder)}\n");
        var row = Read().Rows.Single();
        Assert.That(row.Source.Picture, Is.EqualTo(Path.Combine(folder, place ?? written)));
        Assert.That(row.Source.Sound, Is.EqualTo(row.Source.Picture));
        Assert.That(row.Id, Does.Not.StartWith("/").And.Not.Contain("//").And.Not.Contain("file:"));
    }

    [Test]
    public void Two_ways_to_write_one_path_are_one_clip()
    {
        Directory.CreateDirectory(Path.Combine(folder, "s1"));
        File.WriteAllText(Path.Combine(folder, "s1", "a.mp4"), "x");
        foreach (string other in (string[])["s1\\a.mp4", "S1/A.mp4", "s1//a.mp4"])
        {
            Write($"path,speaker,emotion\ns1/a.mp4,ann,neutral\n{other},ann,neutral\n");
            AssertFault("line 3", "line 2");
        }
    }

    /// <summary>The table of one clip, as it is written by those who write tables.</summary>
    [TestCase("path;speaker;emotion;start;end\na.mp4;ann;neutral;1,25;2,5\n", Description = "Excel in Europe")]
    [TestCase("path\tspeaker\temotion\tstart\tend\r\na.mp4\tann\tneutral\t1,25\t2,5\r\n", Description = "copied from a sheet")]
    [TestCase("sep=;\r\npath;speaker;emotion;start;end\r\na.mp4;ann;neutral;1.25;2.5\r\n")]
    [TestCase("path,speaker,emotion,start,end\ra.mp4,ann,neutral,1.25,2.5\r", Description = "old ends of lines")]
    [TestCase("\n\npath,speaker,emotion,start,end\n\na.mp4,ann,neutral,1.25,2.5\n\n\n")]
    [TestCase(",path,speaker,emotion,start,end\n0,a.mp4,ann,neutral,1.25,2.5\n", Description = "index of pandas")]
    [TestCase("Unnamed: 0.1,Unnamed: 0,path,speaker,emotion,start,end\n0,0,a.mp4,ann,neutral,1.25,2.5\n",
        Description = "read and written again")]
    [TestCase("path,speaker,emotion,start,end,,\na.mp4,ann,neutral,1.25,2.5,,\n,,,,,,\n,,,,,,\n",
        Description = "formatted cells around the table")]
    [TestCase("path,speaker,emotion,start,end,,\na.mp4,ann,neutral,1.25,2.5\n")]
    [TestCase("path,speaker,emotion,start,end\na.mp4,ann,neutral,1.25,2.5,,\n")]
    [TestCase(" Path , SPEAKER,\u00a0Emotion\u00a0,\" start \",End\na.mp4,ann,neutral,1.25,2.5\n")]
    [TestCase("\"path\";\"speaker\";\"emotion\";\"start\";\"end\"\n\"a.mp4\";\"ann\";\"neutral\";\"1,25\";\"2,5\"\n")]
    [TestCase("path,speaker,emotion,start,end\n\u00a0a.mp4,ann\u00a0,\u00a0neutral,\u00a01.25,2.5\u00a0\n",
        Description = "non-breaking spaces")]
    [TestCase("path|speaker|emotion|start|end\na.mp4|ann|neutral|1.25|2.5\n")]
    [TestCase("path,speaker,emotion,start,end,region,audio,fps\na.mp4,ann,neutral,1.25,2.5,NaN,nan,None\n",
        Description = "gaps of a data frame")]
    public void A_table_is_read_as_others_write_it(string text)
    {
        foreach (var encoding in (Encoding[])[new UTF8Encoding(false), new UTF8Encoding(true), Encoding.Unicode, Encoding.BigEndianUnicode,
            new UnicodeEncoding(false, false)])
        {
            File.WriteAllBytes(file, [.. encoding.Preamble, .. encoding.GetBytes(text)]);
            var manifest = Read();
            var row = manifest.Rows.Single();
            Assert.That((row.Id, row.Speaker, row.Emotion, row.Source),
                Is.EqualTo(("a.mp4#t=1.25,2.5", "ann", "neutral", new ClipSource(Path.Combine(folder, "a.mp4"), null, 1.25, 2.5))));
            Assert.That(manifest.FactorNames, Is.Empty);
        }
    }

    [Test]
    public void Numbers_of_speakers_and_labels_stay_whole_where_a_data_frame_had_gaps()
    {
        Write("path,speaker,emotion,yaw\na.mp4,1.0,3.0,1.0\nb.mp4,1,3,nan\nc.mp4,12.50,None,\n");
        var options = new DataOptions { Labels = new Dictionary<string, string> { ["3"] = "anger", ["none"] = "neutral" } };
        var rows = Manifest.Read(file, null, options).Rows;
        Assert.That(rows.Select(row => (row.Speaker, row.Emotion, row.Factors[0])),
            Is.EqualTo(((string, string, string)[])[("1", "anger", "1.0"), ("1", "anger", ""), ("12.50", "neutral", "")]));
    }

    [Test]
    public void A_name_is_one_person_and_one_label_in_both_forms_of_unicode()
    {
        Write("path,speaker,emotion,\u00e9tat\na.mp4,Jos\u00e9,fr\u00f6hlich,\u00fc\nb.mp4,Jose\u0301,fro\u0308hlich,u\u0308\n"
            + "c.mp4,\uac00,fr\u00f6hlich,\nd.mp4,\u1100\u1161,fr\u00f6hlich,\n");
        var rows = Manifest.Read(file, null, 
            new DataOptions { Labels = new Dictionary<string, string> { ["fr\u00f6hlich"] = "happiness" } }).Rows;
        Assert.That(rows.Select(row => (row.Speaker, row.Factors[0])), Is.EqualTo(((string, string)[])[("Jos\u00e9", "\u00fc"),
            ("Jos\u00e9", "\u00fc"), ("\uac00", ""), ("\uac00", "")]));
    }

    [Test]
    public void A_text_of_several_lines_is_one_field()
    {
        Write("path,utterance,speaker,emotion\na.mp4,\"Oh,\nit's \"\"you\"\"\",ann,neutral\nb.mp4,x,bob,glad\n");
        AssertFault("line 4", "glad");
        Write("path,utterance,speaker,emotion\na.mp4,\"Oh,\nyou\",ann,neutral\n");
        Assert.That(Read().Rows.Single().Factors, Is.EqualTo((string[])["Oh,\nyou"]));
    }

    private void Write(string text) => File.WriteAllText(file, text);

    private Manifest Read() => Manifest.Read(file, null, new DataOptions());

    private void AssertFault(params string[] parts)
    {
        var failure = Assert.Throws<UserException>(() => Read())!;
        Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
        Assert.That(failure.Message, Does.Not.Contain("\n"));
        foreach (string part in parts)
            Assert.That(failure.Message, Does.Contain(part));
    }
}
