using System.Text;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Export;
using Avedis.Trainer.Training;
using Google.Protobuf;
using NUnit.Framework;

namespace Avedis.Tests.Export;

/// <summary>TensorBoard event files: known bytes, and a run's file decoded by Google's protobuf reader.</summary>
[NonParallelizable]
public sealed class EventLogTests
{
    private string folder = "";

    [SetUp]
    public void SetUp() => folder = Directory.CreateTempSubdirectory("avedis-events").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    private sealed record Event(double Time, long Step, string? Version, bool SessionStart, Dictionary<string, float> Scalars);

    private string[] Files(string run) => [.. Directory.GetFiles(run, "events.out.tfevents.*").OrderBy(file => int.Parse(file.Split('.')[^1]))];

    private static uint Masked(ReadOnlySpan<byte> bytes)
    {
        // bit by bit, as the checksum is defined
        uint crc = uint.MaxValue;
        foreach (byte b in bytes)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78);
        }
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
    }

    private static List<Event> Read(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        var events = new List<Event>();
        for (int at = 0; at < file.Length;)
        {
            int length = (int)BitConverter.ToInt64(file, at);
            Assert.That(BitConverter.ToUInt32(file, at + 8), Is.EqualTo(Masked(file.AsSpan(at, 8))), "checksum of the length");
            Assert.That(BitConverter.ToUInt32(file, at + 12 + length), Is.EqualTo(Masked(file.AsSpan(at + 12, length))), "checksum of the event");
            events.Add(Decode(file[(at + 12)..(at + 12 + length)]));
            at += length + 16;
        }
        return events;
    }

    private static Event Decode(byte[] message)
    {
        var input = new CodedInputStream(message);
        var (time, step, version, start, scalars) = (0.0, 0L, (string?)null, false, new Dictionary<string, float>());
        for (uint tag; (tag = input.ReadTag()) != 0;)
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1: time = input.ReadDouble(); break;
                case 2: step = input.ReadInt64(); break;
                case 3: version = input.ReadString(); break;
                case 5: ReadSummary(input.ReadBytes().CreateCodedInput()); break;
                case 7: start = input.ReadBytes().ToByteArray() is [8, 1]; break;
                default: Assert.Fail($"field {WireFormat.GetTagFieldNumber(tag)} of Event"); break;
            }
        return new Event(time, step, version, start, scalars);

        void ReadSummary(CodedInputStream summary)
        {
            while (summary.ReadTag() is not 0 and var tag)
            {
                Assert.That(WireFormat.GetTagFieldNumber(tag), Is.EqualTo(1), "values alone");
                var value = summary.ReadBytes().CreateCodedInput();
                Assert.That(value.ReadTag(), Is.EqualTo(WireFormat.MakeTag(1, WireFormat.WireType.LengthDelimited)));
                string name = value.ReadString();
                Assert.That(value.ReadTag(), Is.EqualTo(WireFormat.MakeTag(2, WireFormat.WireType.Fixed32)));
                scalars.Add(name, value.ReadFloat());
                Assert.That(value.IsAtEnd);
            }
        }
    }

    // made once with another encoder
    [Test]
    public void The_bytes_are_those_of_other_writers()
    {
        using (var log = new EventLog(folder, resumed: false))
        {
            log.Write(new MetricsRecord { Time = 1700000000, Step = 3 });
        }
        byte[] first = File.ReadAllBytes(Files(folder)[0]);
        Assert.That(Convert.ToHexStringLower(first[..40]), Is.EqualTo("1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d"));
        var value = new ProtoWriter().Double(1, 1700000001).Integer(2, 7).Message(5, new ProtoWriter().Message(1, new ProtoWriter().Text(1, "loss").Float(2, 0.5f)));
        Assert.That(Convert.ToHexStringLower(EventLog.Frame(value.Bytes)),
            Is.EqualTo("1a00000000000000129bd82d0900004040fc54d94110072a0d0a0b0a046c6f7373150000003f368fc084"));
        Assert.That(Path.GetFileName(Files(folder)[0]), Does.Match(@"^events\.out\.tfevents\.1700000000\.[A-Za-z0-9_-]+\.\d+\.\d+$"));
    }

    [Test]
    public void A_run_writes_what_its_metrics_hold_and_a_resumed_one_goes_on_in_a_new_file()
    {
        string run = Path.Combine(folder, "run");
        string[] train = ["train", TinyCorpus.Prepared, "--run", run, .. TinyCorpus.SmallNetwork, "--set", "training.batchSize=1", "--strategy", "gr"];
        ExportRig.Invoke(ExitCode.Ok, [.. train, "--epochs", "2", "--set", "training.maxSteps=25"]);
        ExportRig.Invoke(ExitCode.Ok, "train", TinyCorpus.Prepared, "--run", run, "--resume", "--set", "training.maxSteps=0");
        string[] files = Files(run);
        Assert.That(files, Has.Length.EqualTo(2));
        var events = files.Select(Read).ToArray();
        var records = MetricsLog.Read(Path.Combine(run, "metrics.jsonl"));
        Event[] values = [.. events.SelectMany(file => file).Where(e => e.Scalars.Count > 0)];
        Assert.That(events.Select(file => file[0].Version), Is.All.EqualTo("brain.Event:2"));
        Assert.That(events[0].Any(e => e.SessionStart), Is.False);
        Assert.That(events[1][1].SessionStart, Is.True, "what follows replaces what was written for later steps");
        Assert.That(events[1][1].Step, Is.EqualTo(30));
        Assert.That(values.Select(e => e.Step), Is.EqualTo(records.Select(record => record.Step)));
        Assert.That(values.Select(e => e.Time), Is.EqualTo(records.Select(record => record.Time)));
        for (int i = 0; i < values.Length; i++)
            foreach (var (tag, number) in EventLog.Scalars(records[i]))
                Assert.That(values[i].Scalars[tag], Is.EqualTo((float)number), tag);
        var tags = values.SelectMany(e => e.Scalars.Keys).ToHashSet();
        Assert.That(tags, Is.SupersetOf(new[]
        {
            "train/loss/emotion", "train/loss/speaker.auxiliary.emotion", "train/learning_rate", "train/strength", "train/clips_per_second", "train/wait_share",
            "validation/macro_f1/emotion", "validation/accuracy/speaker", "validation/leak/speaker.emotion", "validation/peak_rss_bytes",
        }));
        Assert.That(tags, Has.None.EqualTo("validation/clips_per_second"));
    }

    [Test]
    public void Numbers_that_are_none_are_written_as_they_are()
    {
        using (var log = new EventLog(folder, resumed: true))
            log.Write(new MetricsRecord { Time = 1, Step = 5, Losses = new Dictionary<string, double> { ["émotion"] = double.NaN } });
        var events = Read(Files(folder)[0]);
        Assert.That(events[2].Scalars["train/loss/émotion"], Is.NaN);
        Assert.That((events[1].SessionStart, events[1].Step), Is.EqualTo((true, 5L)));
        Assert.That(Crc32C.Compute(Encoding.ASCII.GetBytes("123456789")), Is.EqualTo(0xE3069283));
    }
}
