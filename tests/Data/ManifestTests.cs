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
    [TestCase("path,speaker,emotion,end\na.mp4,ann,neutral,NaN\n", "line 2", "end \"NaN\"")]
    [TestCase("path,speaker,emotion,start,end\na.mp4,ann,neutral,3,2.5\n", "line 2", "ends at 2.5 s")]
    [TestCase("path,speaker,emotion,fps\na,ann,neutral,0\n", "line 2", "fps 0")]
    [TestCase("path,speaker,emotion,region\na.mp4,ann,neutral,top\n", "line 2", "\"top\"", "left, right or empty")]
    [TestCase("path,speaker,emotion,start,end\na.mp4,ann,neutral,1,2\na.mp4,ann,neutral,2,3\na.mp4,ann,neutral,1,2\n", "line 4", "line 2")]
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

    [Test]
    public void A_link_out_of_the_root_is_refused_wherever_it_sits_on_the_way()
    {
        string outside = TestFolders.New();
        File.WriteAllText(Path.Combine(outside, "a.mp4"), "x");
        Directory.CreateSymbolicLink(Path.Combine(folder, "door"), outside);
        File.CreateSymbolicLink(Path.Combine(folder, "file.mp4"), Path.Combine(outside, "a.mp4"));
        Directory.CreateSymbolicLink(Path.Combine(folder, "round"), Path.Combine(folder, "round"));
        foreach (string path in (string[])["door/a.mp4", "file.mp4", "round/a.mp4"])
        {
            Write($"path,speaker,emotion\n{path},ann,neutral\n");
            AssertFault("line 2", "out of the data root");
        }
    }

    [Test]
    public void Links_within_the_root_and_to_the_root_are_followed()
    {
        Directory.CreateDirectory(Path.Combine(folder, "real"));
        Directory.CreateSymbolicLink(Path.Combine(folder, "alias"), "real");
        string rootLink = Path.Combine(TestFolders.New(), "link");
        Directory.CreateSymbolicLink(rootLink, folder);
        Write("path,speaker,emotion\nalias/a.mp4,ann,neutral\n");
        Assert.That(Manifest.Read(file, rootLink, new DataOptions()).Rows.Single().Id, Is.EqualTo("real/a.mp4"));
        Write("path,speaker,emotion\nalias/a.mp4,ann,neutral\nreal/a.mp4,ann,neutral\n");
        AssertFault("line 3", "line 2");
    }

    [Test]
    public void Control_characters_of_a_table_do_not_reach_the_terminal()
    {
        Write("path,speaker,emotion\na.mp4,ann,\u001b[31mred\u0007\n");
        var failure = Assert.Throws<UserException>(() => Read())!;
        Assert.That(failure.Message.Any(char.IsControl), Is.False);
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
