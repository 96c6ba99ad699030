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

    private const string Scalar = "{'dtype':'U8','shape':[],'data_offsets':[0,1]}";

    // every file is told apart by another reader too: strict_safetensors.py, by the rules alone
    private static readonly (string Header, int Bytes, string Tensors)[] valid =
    [
        ("{}", 0, ""),
        ("{}       ", 0, ""),
        ("{'__metadata__':{}}", 0, ""),
        ("{'__metadata__':{'':'','a':'b'},'x':" + Scalar + "}", 1, "x U8 []"),
        ("{'a':" + Scalar + ",'__metadata__':{'format':'pt'}}", 1, "a U8 []"),
        (" {'a':{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}"[1..], 0, "a F32 [0]"),
        ("{'a':{'dtype':'F32','shape':[0,2147483647],'data_offsets':[0,0]}}", 0, "a F32 [0,2147483647]"),
        ("{'a':{'dtype':'F64','shape':[3,0,2],'data_offsets':[4,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}", 4,
            "a F64 [3,0,2];b U8 [4]"),
        ("{'b':{'dtype':'U8','shape':[1],'data_offsets':[1,2]},'a':{'dtype':'I8','shape':[1],'data_offsets':[0,1]}}", 2,
            "a I8 [1];b U8 [1]"),
        ("{'x':{'data_offsets':[0,2],'shape':[1,1,1,1,1,1,1,1,1,2],'dtype':'BOOL'}}", 2, "x BOOL [1,1,1,1,1,1,1,1,1,2]"),
        ("{'':" + Scalar + "}", 1, " U8 []"),
        ("{'\u6d6a \U0001F30A \\n\\\\ \\u0041':" + Scalar + "}", 1, "\u6d6a \U0001F30A \n\\ A U8 []"),
        ("{ 'a' :\t{\n'dtype':'U8','shape':[ ],'data_offsets':[0 , 1]}\r}", 1, "a U8 []"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'note':[{'x':null,'y':[1e5,-0.5,true]},{'x':'z'}]}}", 1, "a U8 []"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'deep':" + new string('[', 100) + new string(']', 100) + "}}", 1, "a U8 []"),
        ("{'a':{'dtype':'C64','shape':[1],'data_offsets':[0,8]}}", 8, "a C64 [1]"),
        ("{'a':{'dtype':'F4','shape':[1,2],'data_offsets':[0,1]}}", 1, "a F4 [1,2]"),
        ("{'a':{'dtype':'F6_E2M3','shape':[4],'data_offsets':[0,3]}}", 3, "a F6_E2M3 [4]"),
        ("{'a':{'dtype':'F6_E3M2','shape':[2,4],'data_offsets':[0,6]}}", 6, "a F6_E3M2 [2,4]"),
        .. new (string Type, int Bytes)[] {
            ("BOOL", 1), ("U8", 1), ("I8", 1), ("F8_E5M2", 1), ("F8_E4M3", 1), ("F8_E8M0", 1), ("F8_E4M3FNUZ", 1), ("F8_E5M2FNUZ", 1),
                ("I16", 2),
            ("U16", 2), ("F16", 2), ("BF16", 2), ("I32", 4), ("U32", 4), ("F32", 4), ("C64", 8), ("F64", 8), ("I64", 8), ("U64", 8) }
            .Select(type => ($"{{'a':{{'dtype':'{type.Type}','shape':[3],'data_offsets':[0,{3 * type.Bytes}]}}}}", 3 * type.Bytes,
                $"a {type.Type} [3]")),
    ];

    private static readonly (string Header, int Bytes, string Reason)[] invalid =
    [
        ("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 4, "ends at byte 8"),
        ("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 12, "behind the last"),
        ("{}", 1, "1 bytes behind the last"),
        ("{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}}", 8, "tensor a: F32 [3] does not take 8 bytes"),
        ("{'a':{'dtype':'F32','shape':[],'data_offsets':[0,0]}}", 0, "does not take 0 bytes"),
        ("{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}", 8, "holes"),
        ("{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},'b':{'dtype':'U8','shape':[2],'data_offsets':[1,3]}}", 3,
            "tensor b begins at 1, expected 2"),
        ("{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},'b':{'dtype':'U8','shape':[2],'data_offsets':[0,2]}}", 2, "overlaps"),
        ("{'a':{'dtype':'U8','shape':[0],'data_offsets':[1,1]},'b':{'dtype':'U8','shape':[2],'data_offsets':[0,2]}}", 2,
            "tensor a begins at 1, expected 2"),
        ("{'a':{'dtype':'U8','shape':[1],'data_offsets':[1,0]}}", 1, "holes"),
        ("{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,18446744073709551615]}}", 1, "ends at byte 18446744073709551615"),
        ("{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,18446744073709551616]}}", 1, "whole numbers"),
        ("{'a':{'dtype':'X9','shape':[1],'data_offsets':[0,4]}}", 4, "tensor a has the unknown type X9"),
        ("{'a':{'dtype':'f32','shape':[1],'data_offsets':[0,4]}}", 4, "unknown type f32"),
        ("{'a':{'dtype':'','shape':[1],'data_offsets':[0,4]}}", 4, "unknown type"),
        ("{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,4]}}", 4, "shape holds something else than whole numbers"),
        ("{'a':{'dtype':'F32','shape':[-0],'data_offsets':[0,0]}}", 0, "whole numbers"),
        ("{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}}", 4, "whole numbers"),
        ("{'a':{'dtype':'F32','shape':[1e0],'data_offsets':[0,4]}}", 4, "whole numbers"),
        ("{'a':{'dtype':'F32','shape':['1'],'data_offsets':[0,4]}}", 4, "whole numbers"),
        ("{'a':{'dtype':'F32','shape':[[1]],'data_offsets':[0,4]}}", 4, "whole numbers"),
        ("{'a':{'dtype':'F32','shape':1,'data_offsets':[0,4]}}", 4, "expected a list for shape"),
        ("{'a':{'dtype':'F32','shape':null,'data_offsets':[0,4]}}", 4, "expected a list for shape"),
        ("{'a':{'dtype':1,'shape':[1],'data_offsets':[0,4]}}", 4, "tensor a: expected a text for dtype"),
        ("{'a':{'dtype':'U8','shape':[2147483647,2147483647,2147483647],'data_offsets':[0,4]}}", 4, "does not take 4 bytes"),
        ("{'a':{'dtype':'F32','shape':[4294967296,4294967296,0],'data_offsets':[0,0]}}", 0, "does not take 0 bytes"),
        ("{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,1]}}", 1, "F4 [3] does not take 1 bytes"),
        ("{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,2]}}", 2, "F4 [3] does not take 2 bytes"),
        ("{'a':{'dtype':'F6_E2M3','shape':[1],'data_offsets':[0,1]}}", 1, "does not take 1 bytes"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0]}}", 1, "tensor a has 1 data_offsets, expected 2"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1,2]}}", 1, "tensor a has 3 data_offsets, expected 2"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[]}}", 1, "tensor a has 0 data_offsets, expected 2"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':{'0':0,'1':1}}}", 1, "expected a list for data_offsets"),
        ("{'a':{'dtype':'F32','shape':[1]}}", 4, "tensor a has no data_offsets"),
        ("{'a':{'dtype':'F32','data_offsets':[0,4]}}", 4, "tensor a has no shape"),
        ("{'a':{'shape':[4],'data_offsets':[0,4]}}", 4, "tensor a has no dtype"),
        ("{'a':{'DType':'U8','shape':[4],'data_offsets':[0,4]}}", 4, "tensor a has no dtype"),
        ("{'a':['U8',[1],[0,1]]}", 1, "tensor a: expected an object"),
        ("{'a':null}", 0, "tensor a: expected an object"),
        ("{'a':" + Scalar + ",'a':" + Scalar + "}", 1, "its header has a twice"),
        ("{'a':" + Scalar + ",'\\u0061':" + Scalar + "}", 1, "its header has a twice"),
        ("{'a':{'dtype':'U8','dtype':'I8','shape':[],'data_offsets':[0,1]}}", 1, "tensor a has dtype twice"),
        ("{'a':{'dtype':'U8','shape':[],'shape':[],'data_offsets':[0,1]}}", 1, "tensor a has shape twice"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'data_offsets':[0,1]}}", 1, "tensor a has data_offsets twice"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'note':1,'note':2}}", 1, "tensor a has note twice"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'note':[{'x':1,'x':2}]}}", 1, "tensor a has x twice"),
        ("{'__metadata__':{},'__metadata__':{}}", 0, "its header has __metadata__ twice"),
        ("{'__metadata__':{'a':'1','a':'1'}}", 0, "__metadata__ has a twice"),
        ("{'__metadata__':{'a':1}}", 0, "__metadata__: expected a text for a"),
        ("{'__metadata__':{'a':null}}", 0, "expected a text for a"),
        ("{'__metadata__':{'a':{'b':'c'}}}", 0, "expected a text for a"),
        ("{'__metadata__':['a']}", 0, "__metadata__: expected a map of texts"),
        ("{'__metadata__':'a'}", 0, "expected a map of texts"),
        ("{'__metadata__':null}", 0, "expected a map of texts"),
        ("{'__metadata__':" + Scalar + "}", 1, "expected a text for shape"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'deep':" + new string('[', 200) + new string(']', 200) + "}}", 1,
            "tensor a is not valid JSON"),
        ("{'a\\ud800':" + Scalar + "}", 1, "is not valid JSON"),
        ("{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'note':'\\udc00'}}", 1, "is not valid JSON"),
        ("{'a\u0001':" + Scalar + "}", 1, "is not valid JSON"),
        ("{'a':" + Scalar + ",}", 1, "is not valid JSON"),
        ("{/**/}", 0, "is not valid JSON"),
        ("{'a':NaN}", 0, "is not valid JSON"),
        ("{", 0, "is not valid JSON"),
        ("", 0, "does not begin with {"),
        ("[1]", 0, "does not begin with {"),
        (" {}", 0, "does not begin with {"),
        ("\ufeff{}", 0, "does not begin with {"),
        ("{}\n", 0, "ends with something else"),
        ("{}\n ", 0, "ends with something else"),
        ("{}\0", 0, "is not valid JSON"),
        ("{} {}", 0, "is not valid JSON"),
        ("{}}", 0, "is not valid JSON"),
    ];

    // a tick stands for a quotation mark
    private static byte[] Case(string header, int bytes) => FileOf(header.Replace('\'', '"'), [.. Enumerable.Range(1, bytes).Select(i =>
        (byte)i)]);

    [Test]
    public void Reads_what_the_format_allows()
    {
        Assert.Multiple(() =>
        {
            foreach (var (header, bytes, tensors) in valid)
            {
                File.WriteAllBytes(path, Case(header, bytes));
                Assert.That(() => Described(Safetensors.Read(path)), Is.EqualTo(tensors), header);
            }
        });

        static string Described(Dictionary<string, SafeTensor> tensors) =>
            string.Join(';', tensors.OrderBy(t => t.Key, StringComparer.Ordinal).Select(t =>
                $"{t.Key} {t.Value.DType} [{string.Join(',', t.Value.Shape)}]"));
    }

    [Test]
    public void Refuses_what_the_format_forbids_and_says_why()
    {
        Assert.Multiple(() =>
        {
            foreach (var (header, bytes, reason) in invalid)
            {
                File.WriteAllBytes(path, Case(header, bytes));
                Assert.That(() => Safetensors.Read(path),
                    Throws.InstanceOf<InvalidDataException>().With.Message.Contains(reason)
                        .And.Message.StartsWith($"{path} is not a valid safetensors file: "), header);
            }
        });
    }

    [Test]
    public void Says_of_a_valid_file_that_is_too_large_what_is_too_large()
    {
        File.WriteAllBytes(path, Case("{'a':{'dtype':'F32','shape':[0,4294967296],'data_offsets':[0,0]}}", 0));
        Assert.That(() => Safetensors.Read(path), Throws.InstanceOf<InvalidDataException>().With.Message
            .EqualTo($"{path} cannot be read: tensor a: F32 [0, 4294967296] has an extent above 2147483647, the most that is read"));
    }

    [Test]
    public void A_hundred_thousand_tensors_and_one_are_read()
    {
        var header = new StringBuilder("{");
        for (int i = 0; i <= 100_000; i++)
            header.Append($"{(i == 0 ? "" : ",")}'{i}':{{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}");
        File.WriteAllBytes(path, Case($"{header}}}", 0));
        Assert.That(Safetensors.Read(path), Has.Count.EqualTo(100_001));
    }

    /// <summary>Whatever a file holds, its message is one line that fits on a screen.</summary>
    [Test]
    public void A_message_is_one_short_line()
    {
        string[] texts = [new('n', 100_000), string.Concat(Enumerable.Repeat("\\n\\u001b[31m", 50)),
            string.Concat(Enumerable.Repeat("\\ud83d\\ude00", 100)), "\u2028\u2029\u0085"];
        string[] headers =
        [
            "{'%':{'dtype':'F32','shape':[9],'data_offsets':[0,4]}}", "{'%':{'dtype':'%','shape':[1],'data_offsets':[0,4]}}",
                "{'%':{'dtype':'U8'}}",
            "{'%':{'dtype':'U8','%':1,'%':2}}", "{'%':1,'%':2}", "{'__metadata__':{'%':1}}", "{'__metadata__':{'%':'','%':''}}",
                "{'%':tru}", "{'%",
            "{'a':{'dtype':'U8','shape':[" + string.Join(',', Enumerable.Repeat("1000000000", 10_000)) + "],'data_offsets':[0,4]}}",
            "{'%':{'dtype':'U8','shape':[1],'data_offsets':[7,18446744073709551615]}}",
                "{'%':{'dtype':'U8','shape':[9" + new string('9', 1000) + "]}}",
        ];
        Assert.Multiple(() =>
        {
            foreach (string text in texts)
                foreach (string header in headers)
                {
                    File.WriteAllBytes(path, Case(header.Replace("%", text), 4));
                    string message = Assert.Throws<InvalidDataException>(() => Safetensors.Read(path))!.Message;
                    Assert.That(message, Has.Length.LessThanOrEqualTo(300), header);
                    Assert.That(message.Any(c => char.IsControl(c) || c is '\u2028' or '\u2029'), Is.False, message);
                }
        });
    }

    private static SafeTensor Of(string type, int bytes, params int[] shape) => new(type, shape, new byte[bytes]);

    /// <summary>
    /// As the reference implementation sorts, by type and then by the bytes of the names, and with JSON's own escapes only.
    /// </summary>
    [Test]
    public void Writes_names_and_orders_types_as_the_reference_implementation()
    {
        Safetensors.Write(path, new Dictionary<string, SafeTensor>
        {
            ["u8"] = Of("U8", 1, 1), ["i32"] = Of("I32", 4, 1), ["f32"] = Of("F32", 4, 1), ["f64"] = Of("F64", 8, 1),
                ["i64"] = Of("I64", 8, 1), ["bf16"] = Of("BF16", 2, 1),
            ["f4"] = Of("F4", 1, 2), ["\uff5e"] = Of("F16", 2, 1), ["\U0001F30A"] = Of("F16", 2, 1),
                ["<&>'+\"\\\n\u0001\u007fé"] = Of("F16", 2, 1),
        }, new Dictionary<string, string> { ["é<&>'+\u2028"] = "\t/" });
        string header = Encoding.UTF8.GetString(File.ReadAllBytes(path)[8..]);
        string[] names = ["i64", "f64", "f32", "i32", "bf16", "<&>'+\\\"\\\\\\n\\u0001\u007fé", "\uff5e", "\U0001F30A", "u8", "f4"];
        Assert.That(header, Does.StartWith("{\"__metadata__\":{\"é<&>'+\u2028\":\"\\t/\"}," + $"\"{names[0]}\":"));
        Assert.That(names.Select(name => header.IndexOf($"\"{name}\":{{\"dtype\"", StringComparison.Ordinal)), Is.Ordered.And.All.Positive);
        Assert.That(BitConverter.ToInt64(File.ReadAllBytes(path)) % 8, Is.Zero);
        Assert.That(Safetensors.Read(path), Has.Count.EqualTo(10));
    }

    [Test]
    public void Writes_nothing_that_it_would_not_read()
    {
        void Refused(string what, string name, SafeTensor tensor) => Assert.That(
            () => Safetensors.Write(path, new Dictionary<string, SafeTensor> { [name] = tensor }), Throws.InstanceOf<ArgumentException>(),
                what);
        File.Delete(path);
        Assert.Multiple(() =>
        {
            Refused("data too short", "a", Of("F32", 4, 2));
            Refused("data too long", "a", Of("F32", 8, 1));
            Refused("an unknown type", "a", Of("F33", 4, 1));
            Refused("half a byte", "a", Of("F4", 2, 3));
            Refused("a negative extent", "a", Of("U8", 1, -1, -1));
            Refused("a name with a meaning of its own", "__metadata__", Of("U8", 1, 1));
            Refused("half a character", "a\ud800", Of("U8", 1, 1));
            Assert.That(() => Safetensors.Write(path, new Dictionary<string, SafeTensor>(), new Dictionary<string,
                string> { ["a"] = new('x', Safetensors.MaxHeader) }),
                Throws.InstanceOf<ArgumentException>().With.Message.Contains("100000000"));
            Assert.That(File.Exists(path), Is.False, "and leaves no file");
        });
    }

    private const string TooLarge = "valid, but too large";

    /// <summary>
    /// Another reader, written in Python by the rules alone, tells valid and invalid files apart alike and finds the same bytes.
    /// </summary>
    [Test]
    public void Another_reader_agrees_on_every_file()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-safetensors").FullName;
        try
        {
            var files = valid.Select(f => Case(f.Header, f.Bytes)).Concat(invalid.Select(f => Case(f.Header, f.Bytes))).ToList();
            Safetensors.Write(path, new Dictionary<string, SafeTensor>
            {
                ["<&>'+\"\\\n\u0001\u007fé\U0001F30A"] = SafeTensor.Of([2], [1f, -2f]), ["n"] = SafeTensor.Of(7),
                    ["e"] = Of("F16", 0, 3, 0), ["q"] = Of("F6_E3M2", 3, 4),
            }, new Dictionary<string, string> { ["é\u2028"] = "<\t>" });
            files.Add(File.ReadAllBytes(path));
            var random = new Philox(11, 3);
            byte[] letters = "{}[]:,\"'\\ 0123456789-.eaudtypeshF\n\0\u00e9"u8.ToArray();
            for (int i = 0, given = files.Count; i < (Tier.Fast ? 2_000 : 20_000); i++)
            {
                byte[] changed = [.. files[(int)(random.NextUInt() % (uint)given)]];
                for (int k = 0; k < 1 + (i % 3) && changed.Length > 8; k++)
                    changed[8 + (random.NextUInt() % (uint)(changed.Length - 8))] = letters[(int)(random.NextUInt() % (uint)letters.Length)];
                files.Add(changed);
            }
            for (int i = 0; i < files.Count; i++)
                File.WriteAllBytes(Path.Combine(folder, $"{i}"), files[i]);
            var text = new StringBuilder();
            using var process = TinyCorpus.Start(text, "python3",
                [Path.Combine(Repository.Root, "tests", "Engine", "strict_safetensors.py"), folder, $"{files.Count}"]);
            process.WaitForExit();
            string[] lines = text.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.That(lines, Has.Length.EqualTo(files.Count), text.ToString());
            Assert.Multiple(() =>
            {
                for (int i = 0; i < files.Count; i++)
                {
                    string expected = lines[i].Split('\t')[0], verdict = Verdict(Path.Combine(folder, $"{i}"));
                    if (verdict != TooLarge || !expected.StartsWith("valid", StringComparison.Ordinal))
                        Assert.That(verdict, Is.EqualTo(expected), $"{lines[i]} of {Encoding.UTF8.GetString(files[i])}");
                }
            });
            TestContext.Out.WriteLine($"{files.Count} files, {lines.Count(line => line.StartsWith("valid", StringComparison.Ordinal))} of them valid");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static string Verdict(string file)
        {
            try
            {
                return "valid " + string.Join(' ', Safetensors.Read(file).OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => t.Value)
                    .Select(t => $"{t.DType}[{string.Join(',', t.Shape)}]{Convert.ToHexStringLower(t.Data)}").Order(StringComparer.Ordinal));
            }
            catch (InvalidDataException refused) when (refused.Message.Contains("is not a valid", StringComparison.Ordinal))
            {
                return "invalid";
            }
            catch (InvalidDataException)
            {
                return TooLarge;
            }
        }
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
        Assert.That(() => Safetensors.Read(path),
            Throws.InstanceOf<InvalidDataException>().With.Message.Contains("is said to take 9223372036854775807 bytes"));
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
