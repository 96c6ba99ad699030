using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>MATLAB files: the same values in every form, and files that are not what they claim.</summary>
public sealed class MatFileTests
{
    private static readonly (string, MatValue)[] Values =
    [
        ("images", MatWriter.Struct(
            ("name", MatWriter.Cells([MatWriter.Text("Aamir_Khan/a_0000001.wav"), MatWriter.Text("Z\u00f6e/b_0000002.wav")])),
            ("denseFrames", MatWriter.Cells([MatWriter.Text("1.jpg"), MatWriter.Text("2.jpg")])),
            ("set", MatWriter.Matrix(2, 1, 3)))),
        ("wavLogits", MatWriter.Cells([MatWriter.Matrix(3, 0.5f, -1, 2, 3, 4, 5), new MatValue()])),
        ("other", MatWriter.Matrix(1, 7)),
    ];

    private string file = "";

    [SetUp]
    public void MakeFile() => file = Path.Combine(TestFolders.New(), "some.mat");

    [TestCase(MatForm.Plain)]
    [TestCase(MatForm.Compressed)]
    [TestCase(MatForm.Hdf5)]
    public void Values_are_the_same_in_every_form_and_the_rest_is_passed_over(MatForm form)
    {
        MatWriter.Write(file, form, Values);
        var read = MatFile.Read(file, new HashSet<string> { "images", "images.name", "images.set", "wavLogits" });
        Assert.That(read.Keys, Is.EquivalentTo((string[])["images", "wavLogits"]));
        Assert.That(read["images"].Fields.Keys, Is.EquivalentTo((string[])["name", "set"]));
        Assert.That(read["images"].Fields["name"].Cells.Select(cell => cell.Text), Is.EqualTo((string[])["Aamir_Khan/a_0000001.wav", "Z\u00f6e/b_0000002.wav"]));
        Assert.That(read["images"].Fields["set"].Numbers, Is.EqualTo((float[])[1, 3]));
        var logits = read["wavLogits"].Cells;
        Assert.That((logits.Count, logits[0].Columns, logits[1].Numbers.Length), Is.EqualTo((2, 3, 0)));
        Assert.That(logits[0].Numbers, Is.EqualTo((float[])[0.5f, -1, 2, 3, 4, 5]), "down the columns");
    }

    /// <summary>In the time that its process has, which would not be enough to look through the file for each of them.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Many_cells_of_hdf5_are_read()
    {
        const int Clips = 2000;
        MatWriter.Write(file, MatForm.Hdf5,
            ("names", MatWriter.Cells(Enumerable.Range(0, Clips).Select(i => MatWriter.Text($"clip {i}")))),
            ("wavLogits", MatWriter.Cells(Enumerable.Range(0, Clips).Select(i => MatWriter.Matrix(2, i, -i)))));
        var read = MatFile.Read(file);
        Assert.That(read["names"].Cells.Select(cell => cell.Text), Is.EqualTo(Enumerable.Range(0, Clips).Select(i => $"clip {i}")));
        Assert.That(read["wavLogits"].Cells.SelectMany(cell => cell.Numbers), Is.EqualTo(Enumerable.Range(0, Clips).SelectMany(i => (float[])[i, -i])));
    }

    [Test]
    public void A_matrix_longer_than_a_block_is_read_whole()
    {
        float[] numbers = [.. Enumerable.Range(0, 200_001).Select(i => i + 0.5f)];
        MatWriter.Write(file, MatForm.Compressed, ("a", MatWriter.Matrix(1, numbers)));
        Assert.That(MatFile.Read(file)["a"].Numbers, Is.EqualTo(numbers));
    }

    [TestCase(MatForm.Plain)]
    [TestCase(MatForm.Compressed)]
    [TestCase(MatForm.Hdf5)]
    [Category(Tier.Long)]
    public void A_file_cut_short_ends_in_one_line(MatForm form)
    {
        MatWriter.Write(file, form, Values);
        byte[] whole = File.ReadAllBytes(file);
        // a plain file may end between two variables, and then is one of fewer
        int step = form == MatForm.Hdf5 ? Math.Max(1, whole.Length / 40) : 7, refused = 0, tried = 0;
        for (int length = 0; length < whole.Length - 8; length += step, tried++)
        {
            File.WriteAllBytes(file, whole[..length]);
            refused += Refused() ? 1 : 0;
        }
        Assert.That(refused, Is.GreaterThan(tried / 2));
    }

    [TestCase(MatForm.Plain)]
    [TestCase(MatForm.Compressed)]
    [Category(Tier.Long)]
    public void No_flipped_byte_does_more_than_end_in_one_line(MatForm form)
    {
        MatWriter.Write(file, form, Values);
        byte[] whole = File.ReadAllBytes(file);
        var random = new Philox(1, 0);
        int refused = 0;
        for (int i = 0; i < 600; i++)
        {
            byte[] damaged = [.. whole];
            damaged[128 + random.Next(whole.Length - 128)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(file, damaged);
            refused += Refused() ? 1 : 0;
        }
        Assert.That(refused, Is.GreaterThan(100));
    }

    [Test]
    public void A_size_that_is_only_claimed_takes_no_memory()
    {
        byte[] cells = [.. MatWriter.ArrayHead(1, "a", 1, int.MaxValue)], numbers = [.. MatWriter.ArrayHead(7, "a", 1 << 15, 1 << 15), .. BitConverter.GetBytes(7), .. BitConverter.GetBytes(-8)];
        foreach (byte[] body in (byte[][])[cells, numbers])
            foreach (bool compressed in (bool[])[false, true])
            {
                MatWriter.Write(file, MatForm.Plain);
                byte[] element = MatWriter.Element(14, body);
                File.WriteAllBytes(file, [.. File.ReadAllBytes(file), .. compressed ? MatWriter.Compressed(element) : element]);
                long before = GC.GetAllocatedBytesForCurrentThread();
                Assert.That(Refused(), Is.True);
                Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(4 << 20));
            }
    }

    [Test]
    public void A_file_that_inflates_without_end_stops_at_the_budget()
    {
        MatWriter.Write(file, MatForm.Compressed, ("a", MatWriter.Matrix(1, new float[10_000_000])));
        Assert.That(new FileInfo(file).Length, Is.LessThan(100_000));
        Assert.That(() => MatFile.Read(file, budget: 1 << 20), Throws.TypeOf<UserException>().With.Message.Contains("memory"));
        Assert.That(MatFile.Read(file, new HashSet<string>(), budget: 1 << 20), Is.Empty, "what nobody asks for costs nothing");
    }

    [TestCase("no MATLAB file", "it is no MATLAB file")]
    [TestCase("big-endian", "big-endian")]
    [TestCase("deep", "nested deeper")]
    public void What_is_no_such_file_says_so(string what, string message)
    {
        var nested = MatWriter.Matrix(1, 1);
        for (int i = 0; i < 12; i++)
            nested = MatWriter.Cells([nested]);
        MatWriter.Write(file, MatForm.Plain, ("a", nested));
        byte[] bytes = File.ReadAllBytes(file);
        if (what == "big-endian")
            (bytes[126], bytes[127]) = (bytes[127], bytes[126]);
        File.WriteAllBytes(file, what == "no MATLAB file" ? new byte[200] : bytes);
        Assert.That(() => MatFile.Read(file), Throws.TypeOf<UserException>().With.Message.Contains(message).And.Message.Contains(file).And.Property("Code").EqualTo(ExitCode.BadInput));
    }

    /// <summary>Whether the file is refused in the way of the house; any other exception goes on to the test.</summary>
    private bool Refused()
    {
        try
        {
            MatFile.Read(file, budget: 1 << 24);
            return false;
        }
        catch (UserException failure)
        {
            Assert.That(failure.Code, Is.EqualTo(ExitCode.BadInput));
            Assert.That(failure.Message, Does.Not.Contain("\n"));
            return true;
        }
    }
}
