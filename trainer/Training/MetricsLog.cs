using System.Text;
using System.Text.Json;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Export;

namespace Avedis.Trainer.Training;

/// <summary>One line of metrics.jsonl. Which fields are set depends on <see cref="Split"/>.</summary>
public sealed record MetricsRecord
{
    public int Schema { get; init; } = 2;

    /// <summary>Seconds since 1970.</summary>
    public double Time { get; init; }

    public long Step { get; init; }

    public int Epoch { get; init; }

    /// <summary>"train" for the mean over some batches, "validation" after an epoch.</summary>
    public string Split { get; init; } = "train";

    /// <summary>Mean cross-entropy of each factor (emotion) and auxiliary head (speaker.auxiliary.emotion: emotion read from the speaker embedding).</summary>
    public IReadOnlyDictionary<string, double>? Losses { get; init; }

    public double? LearningRate { get; init; }

    /// <summary>The adversary's strength; absent without one.</summary>
    public double? Strength { get; init; }

    public double? ClipsPerSecond { get; init; }

    /// <summary>Share of the time in which training waited for data.</summary>
    public double? WaitShare { get; init; }

    /// <summary>Of each factor and auxiliary head.</summary>
    public IReadOnlyDictionary<string, double>? MacroF1 { get; init; }

    /// <inheritdoc cref="MacroF1"/>
    public IReadOnlyDictionary<string, double>? Accuracy { get; init; }

    /// <summary>What fresh probes read: of emotion from the speaker embedding as speaker.emotion; the plain or the balanced one, whichever reads more.</summary>
    public IReadOnlyDictionary<string, double>? Leaks { get; init; }

    public long? PeakRssBytes { get; init; }

    internal bool IsWhole => Split == "train" ? Losses is not null : MacroF1 is not null && Accuracy is not null;
}

/// <summary>
/// Appends records to metrics.jsonl, one write per line, and to an event file for TensorBoard beside it. What a full disk does not take waits for the next
/// time; the event file does without.
/// </summary>
public sealed class MetricsLog : IDisposable
{
    private static readonly JsonSerializerOptions Options = new(Json.Line)
    {
        DefaultIgnoreCondition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull,
    };

    private readonly FileStream file;
    private readonly EventLog events;
    private readonly Queue<byte[]> waiting = [];

    /// <param name="keepBytes">What a resumed run keeps of the file; the rest belongs to steps that will be done again.</param>
    public MetricsLog(string path, long keepBytes)
    {
        file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
        file.SetLength(Math.Min(keepBytes, file.Length));
        file.Seek(0, SeekOrigin.End);
        Bytes = file.Length;
        events = new EventLog(Path.GetDirectoryName(Path.GetFullPath(path))!, resumed: file.Length > 0);
    }

    /// <summary>Length of the whole lines in the file.</summary>
    public long Bytes { get; private set; }

    public void Write(MetricsRecord record)
    {
        record = record with { Time = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0 };
        waiting.Enqueue(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(record, Options) + "\n"));
        try
        {
            WriteWaiting();
            events.Write(record);
        }
        catch (IOException)
        {
            // Flush, before the next checkpoint, says so
        }
    }

    /// <summary>Returns when every record is on the disk.</summary>
    /// <exception cref="IOException">The disk is full or fails; nothing is lost as long as the process lives.</exception>
    public void Flush()
    {
        WriteWaiting();
        DurableFiles.Sync(file.SafeFileHandle, file.Name);
    }

    /// <summary>All records of a file, for reports. A last line without its end is what a process left that was killed: it is passed over.</summary>
    /// <exception cref="UserException">Exit code 4: a line is nothing that a training writes.</exception>
    /// <exception cref="IOException"/>
    public static IReadOnlyList<MetricsRecord> Read(string path)
    {
        using var file = RegularFiles.OpenRead(path);
        using var text = new StreamReader(file);
        bool whole = file.Length > 0 && file.Seek(-1, SeekOrigin.End) >= 0 && file.ReadByte() == '\n';
        file.Seek(0, SeekOrigin.Begin);
        var records = new List<MetricsRecord>();
        for (int number = 1; text.ReadLine() is { } line; number++)
            try
            {
                if (whole || !text.EndOfStream)
                    records.Add(JsonSerializer.Deserialize<MetricsRecord>(line, Options) is { IsWhole: true } record ? record : throw new JsonException("a part of it is missing"));
            }
            catch (JsonException error)
            {
                throw new UserException(ExitCode.BadCheckpoint, $"{path}, line {number} cannot be read: {error.Message}; take the line out", error);
            }
        return records;
    }

    private void WriteWaiting()
    {
        while (waiting.TryPeek(out byte[]? line))
        {
            // over what a write that failed may have left of a line
            file.Seek(Bytes, SeekOrigin.Begin);
            file.Write(line);
            Bytes += line.Length;
            waiting.Dequeue();
        }
    }

    public void Dispose()
    {
        file.Dispose();
        events.Dispose();
    }
}
