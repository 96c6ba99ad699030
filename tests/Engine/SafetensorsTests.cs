using System.Text;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class SafetensorsTests
{
    private string path = "";

    [SetUp]
    public void SetUp() => path = Path.GetTempFileName();

    [TearDown]
    public void TearDown() => File.Delete(path);

    // the format by hand: header length, header, data
    private static byte[] FileOf(string header, params byte[] data)
    {
        byte[] text = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes((long)text.Length), .. text, .. data];
    }

    [Test]
    public void Writes_what_the_reference_implementation_writes()
    {
        Safetensors.Write(path, new Dictionary<string, SafeTensor>
        {
            ["b"] = SafeTensor.Of([2], [1f, -2f]),
            ["a"] = SafeTensor.Of([1, 1], [0.5f]),
            ["steps"] = SafeTensor.Of(7),
        }, new Dictionary<string, string> { ["format"] = "pt" });
        // wider types first, then by name; the header is padded with spaces to a multiple of 8
        string header = "{\"__metadata__\":{\"format\":\"pt\"},\"steps\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}," +
            "\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[8,12]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}";
        header = header.PadRight((header.Length + 7) / 8 * 8);
        byte[] data = [.. BitConverter.GetBytes(7L), .. BitConverter.GetBytes(0.5f), .. BitConverter.GetBytes(1f), .. BitConverter.GetBytes(-2f)];
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(FileOf(header, data)));
    }

    [Test]
    public void Reads_back_what_it_wrote()
    {
        Safetensors.Write(path, new Dictionary<string, SafeTensor> { ["x"] = SafeTensor.Of([2, 2], [1, 2, 3, float.NaN]), ["n"] = SafeTensor.Of(-5) });
        var read = Safetensors.Read(path);
        Assert.Multiple(() =>
        {
            Assert.That(read["x"].Shape, Is.EqualTo(new[] { 2, 2 }));
            Assert.That(read["x"].Floats(), Is.EqualTo(new[] { 1, 2, 3, float.NaN }));
            Assert.That(read["n"].Long(), Is.EqualTo(-5));
        });
    }

    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "ends at byte 8")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "behind the last")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "does not take 8 bytes")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "holes")]
    [TestCase("{\"a\":{\"dtype\":\"X9\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown type")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "negative")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483647,2147483647,2147483647],\"data_offsets\":[0,4]}}", 4, "larger than any file")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "header is not valid")]
    [TestCase("[1]", 0, "header is not valid")]
    public void Refuses_a_damaged_file_and_says_why(string header, int dataBytes, string expected)
    {
        File.WriteAllBytes(path, FileOf(header, new byte[dataBytes]));
        Assert.That(() => Safetensors.Read(path), Throws.InstanceOf<InvalidDataException>().With.Message.Contains(expected).And.Message.Contains(path));
    }

    [Test]
    public void Refuses_every_truncation()
    {
        Safetensors.Write(path, new Dictionary<string, SafeTensor> { ["x"] = SafeTensor.Of([4], [1, 2, 3, 4]) });
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.That(() => Safetensors.Read(path), Throws.InstanceOf<InvalidDataException>(), $"{length} of {whole.Length} bytes");
        }
    }

    [Test]
    public void A_huge_header_length_allocates_nothing()
    {
        File.WriteAllBytes(path, [.. BitConverter.GetBytes(long.MaxValue), (byte)'{']);
        Assert.That(() => Safetensors.Read(path), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("does not fit"));
    }

    [Test]
    public void Weights_of_convolutions_are_permuted_to_and_from_the_files_order()
    {
        var shape = new Shape(2, 1, 2, 3); // K, R, S, C
        float[] engine = [.. Enumerable.Range(0, 12).Select(i => (float)i)];
        float[] file = PyTorchLayout.ToFile(shape, engine);
        Assert.Multiple(() =>
        {
            Assert.That(PyTorchLayout.FileShape(shape), Is.EqualTo(new[] { 2, 3, 1, 2 }));
            Assert.That(file, Is.EqualTo(new float[] { 0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11 }));
            Assert.That(PyTorchLayout.FromFile(shape, file), Is.EqualTo(engine));
        });
    }
}
