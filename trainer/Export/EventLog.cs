using System.Buffers.Binary;
using System.Net;
using System.Text;
using Avedis.Trainer.Data;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Export;

/// <summary>
/// The numbers of metrics.jsonl as a TensorBoard event file, events.out.tfevents.TIME.HOST.PROCESS.NUMBER. A record is
/// <code>
/// u64 length, u32 masked CRC-32C of those 8 bytes, an Event, u32 masked CRC-32C of the Event      all little-endian
/// Event { double wall_time = 1, int64 step = 2, one of: string file_version = 3, Summary summary = 5, SessionLog session_log = 7 }
/// Summary { repeated Value value = 1 }    Value { string tag = 1, float simple_value = 2 }    SessionLog { Status status = 1, START is 1 }
/// </code>
/// TensorBoard reads all event files of a folder as one run; a resumed run writes a new one, whose session start makes it forget the steps that are done again.
/// The file is made with the first record.
/// </summary>
public sealed class EventLog(string folder, bool resumed) : IDisposable
{
    private const string Version = "brain.Event:2";
    private const int SessionStart = 1;

    private static int files;
    private FileStream? file;

    public void Write(MetricsRecord record)
    {
        if (file is null)
        {
            file = Create(folder, record.Time);
            Append(new ProtoWriter().Double(1, record.Time).Text(3, Version));
            if (resumed)
                Append(new ProtoWriter().Double(1, record.Time).Integer(2, record.Step).Message(7, new ProtoWriter().Integer(1, SessionStart)));
        }
        var summary = new ProtoWriter();
        foreach (var (tag, value) in Scalars(record))
            summary.Message(1, new ProtoWriter().Text(1, tag).Float(2, (float)value));
        Append(new ProtoWriter().Double(1, record.Time).Integer(2, record.Step).Message(5, summary));
    }

    public void Dispose() => file?.Dispose();

    /// <summary>What a record shows and under which tag: train/loss/emotion, validation/leak/speaker.emotion.</summary>
    internal static IEnumerable<(string Tag, double Value)> Scalars(MetricsRecord record)
    {
        bool train = record.Split == "train";
        (string Name, IReadOnlyDictionary<string, double>? Values)[] tables =
            [("loss", record.Losses), ("macro_f1", record.MacroF1), ("accuracy", record.Accuracy), ("leak", record.Leaks)];
        // a validation record repeats the speed of the training before it
        (string Name, double? Value)[] single =
        [
            ("learning_rate", record.LearningRate), ("strength", record.Strength), ("clips_per_second", train ? record.ClipsPerSecond : null),
            ("wait_share", record.WaitShare), ("peak_rss_bytes", record.PeakRssBytes),
        ];
        foreach (var (name, values) in tables)
            foreach (var (key, value) in values ?? new Dictionary<string, double>())
                yield return ($"{record.Split}/{name}/{key}", value);
        foreach (var (name, value) in single)
            if (value is { } number)
                yield return ($"{record.Split}/{name}", number);
    }

    /// <summary>A record as it stands in the file.</summary>
    internal static byte[] Frame(ReadOnlySpan<byte> message)
    {
        var frame = new byte[8 + 4 + message.Length + 4];
        BinaryPrimitives.WriteInt64LittleEndian(frame, message.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(8), Masked(frame.AsSpan(0, 8)));
        message.CopyTo(frame.AsSpan(12));
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(12 + message.Length), Masked(message));
        return frame;
    }

    // the checksum of bytes that hold their own checksum is always the same; turned and shifted by a constant it is not
    private static uint Masked(ReadOnlySpan<byte> bytes)
    {
        uint crc = Crc32C.Compute(bytes);
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
    }

    private static FileStream Create(string folder, double time)
    {
        // the name is part of the format's habit, not of its content: a host's may hold anything
        var host = new StringBuilder();
        foreach (char c in Dns.GetHostName())
            host.Append(char.IsAsciiLetterOrDigit(c) || c is '-' ? c : '_');
        string name = $"events.out.tfevents.{(long)time:D10}.{host}.{Environment.ProcessId}.{Interlocked.Increment(ref files) - 1}";
        return new FileStream(Path.Combine(folder, name), FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    // one write each, so that a reader at work sees whole records
    private void Append(ProtoWriter message) => file!.Write(Frame(message.Bytes));
}
