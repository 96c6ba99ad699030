using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;
using Avedis.Engine;
using Avedis.Trainer.Features;
using Microsoft.Win32.SafeHandles;

namespace Avedis.Trainer.Data;

/// <summary>
/// What a shard says about one clip: its files as they were when decoded (size in bytes, time of change in UTC ticks), the valid lengths,
/// in how many of its pictures a face was found (null where none was looked for), the share of its sound that is not silence (null in
/// folders of earlier versions), and whether nothing at all is heard in it.
/// </summary>
public sealed record ShardClip(
    string Id, long Size, long Modified, int Faces, int Mels, int? Found = null, double? Heard = null, bool Silent = false);

/// <summary>A clip found in a shard: where its payload starts, in bytes from the start of the file.</summary>
public sealed record ShardEntry(ShardClip Clip, long Offset);

/// <summary>
/// A file of decoded clips that grows at its end only, so that whatever interrupts the writer, all but the last clip is there. All numbers
/// are
/// little-endian; crc is CRC-32C.
/// <code>
/// file:    "AVEDSHRD"  u32 version = 1  u32 length  JSON of that length  u32 crc of all before     then any number of records
/// record:  "CLIP"      u32 length       JSON of that length (ShardClip)  u32 crc of all before in this record
///          pictures u8 [FaceFrames, FaceSize, FaceSize]                  log-mel f32 [MelBins, MelFrames]
///          u32 crc of pictures and log-mel
/// </code>
/// The file's JSON holds the shape of the payload and the hash of everything that decides its values, so clips of two definitions never
/// meet.
/// </summary>
public sealed class Shard : IDisposable
{
    private const uint Version = 1;
    private const int LongestJson = 64 * 1024;
    private const int HeadBytes = 8; // "CLIP" and the length

    private static readonly JsonSerializerOptions Strict = new(Json.Line)
    {
        AllowDuplicateProperties = false, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    };

    private readonly SafeFileHandle file;
    private readonly int faceBytes, melBytes;
    private readonly byte[] payload; // of the clip being written, with its checksum

    private Shard(string path, SafeFileHandle file, FeatureOptions features)
    {
        Path = path;
        this.file = file;
        (faceBytes, melBytes) = (features.FaceBytes, features.MelCount * sizeof(float));
        payload = [];
    }

    private Shard(string path, SafeFileHandle file, FeatureOptions features, long end) : this(path, file, features)
    {
        payload = new byte[PayloadBytes(features)];
        End = end;
    }

    /// <summary>The file's JSON: the hash, and the options behind it, which name what differs when hashes do.</summary>
    private sealed record Header<T>(string Definition, T Features);

    public string Path { get; }

    /// <summary>Length of the part that is whole, in bytes; the next clip goes there.</summary>
    public long End { get; private set; }

    /// <summary>Bytes of one clip's payload and its checksum.</summary>
    public static int PayloadBytes(FeatureOptions features) => features.FaceBytes + (features.MelCount * sizeof(float)) + sizeof(uint);

    /// <summary>Makes an empty shard for writing; it gets its name once its head is whole.</summary>
    public static Shard Create(string path, FeatureOptions features, string definition)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(new Header<FeatureOptions>(definition, features), Json.Line);
        var head = new byte[16 + json.Length + 4];
        "AVEDSHRD"u8.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), Version);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(12), json.Length);
        json.CopyTo(head.AsSpan(16));
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(head.Length - 4), Crc32C.Compute(head.AsSpan(0, head.Length - 4)));
        string unfinished = path + ".tmp";
        var file = File.OpenHandle(unfinished, FileMode.Create, FileAccess.ReadWrite, FileShare.Read);
        var shard = new Shard(path, file, features, 0);
        try
        {
            shard.Write(head);
            File.Move(unfinished, path);
        }
        catch
        {
            shard.Dispose();
            throw;
        }
        return shard;
    }

    /// <summary>
    /// Opens a shard to go on writing: lists its whole clips and cuts off what follows them. <paramref name="verify"/> also compares the
    /// checksum of every payload, and treats the first that differs as the end.
    /// </summary>
    public static Shard Append(string path, FeatureOptions features, string definition, bool verify, out List<ShardEntry> entries)
    {
        RegularFiles.Check(path);
        var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.Read);
        var shard = new Shard(path, file, features, 0);
        try
        {
            shard.End = shard.ReadHeader(features, definition);
            entries = [];
            while (shard.TryReadRecord(features, verify) is { } entry)
                entries.Add(entry);
            if (shard.End < RandomAccess.GetLength(file))
                RandomAccess.SetLength(file, shard.End);
            return shard;
        }
        catch
        {
            shard.Dispose();
            throw;
        }
    }

    /// <summary>Lists the whole clips of a shard and leaves it as it is: another may be writing it.</summary>
    public static List<ShardEntry> List(string path, FeatureOptions features, string definition)
    {
        RegularFiles.Check(path);
        using var shard = new Shard(path, File.OpenHandle(path, share: FileShare.ReadWrite), features, 0);
        shard.End = shard.ReadHeader(features, definition);
        var entries = new List<ShardEntry>();
        while (shard.TryReadRecord(features, verify: false) is { } entry)
            entries.Add(entry);
        return entries;
    }

    /// <summary>Opens a shard to read clips whose places are known.</summary>
    /// <exception cref="UserException">Exit code 3: no file, no shard, or one of another definition.</exception>
    public static Shard OpenRead(string path, FeatureOptions features, string definition)
    {
        SafeFileHandle file;
        try
        {
            RegularFiles.Check(path);
            file = File.OpenHandle(path, options: FileOptions.RandomAccess);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserException(ExitCode.BadInput, $"cannot open {path}: {failure.Message}; run avedis prepare again to restore it", failure);
        }
        var shard = new Shard(path, file, features);
        try
        {
            shard.ReadHeader(features, definition);
            shard.End = RandomAccess.GetLength(file);
            return shard;
        }
        catch
        {
            shard.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Adds a clip and returns where its payload starts. If the disk is full or fails, the file is cut back to the clips before and the
    /// <see cref="IOException"/> thrown on.
    /// </summary>
    public long Append(ShardClip clip, ReadOnlySpan<byte> faces, ReadOnlySpan<float> mels)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(clip, Json.Line);
        if (json.Length > LongestJson)
            throw new ArgumentException($"a clip's name may take {LongestJson} bytes");
        var head = new byte[HeadBytes + json.Length + 4];
        "CLIP"u8.CopyTo(head);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(4), json.Length);
        json.CopyTo(head.AsSpan(HeadBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(head.Length - 4), Crc32C.Compute(head.AsSpan(0, head.Length - 4)));
        faces.CopyTo(payload);
        MemoryMarshal.AsBytes(mels).CopyTo(payload.AsSpan(faceBytes));
        var body = payload.AsSpan(0, faceBytes + melBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(body.Length), Crc32C.Compute(body));
        long start = End;
        try
        {
            Write(head);
            long offset = End;
            Write(payload);
            return offset;
        }
        catch (IOException)
        {
            End = start;
            RandomAccess.SetLength(file, start);
            throw;
        }
    }

    /// <summary>Asks the system to bring what was written to the disk.</summary>
    public void Flush() => DurableFiles.Sync(file, Path);

    /// <summary>Reads the payload at <paramref name="offset"/> and compares its checksum. Thread-safe.</summary>
    /// <exception cref="UserException">Exit code 3: the file ends before, or holds other bytes than were written.</exception>
    public void Read(string clip, long offset, Span<byte> faces, Span<float> mels)
    {
        Span<byte> crc = stackalloc byte[4];
        var melBytesOut = MemoryMarshal.AsBytes(mels);
        ReadExactly(faces, offset);
        ReadExactly(melBytesOut, offset + faceBytes);
        ReadExactly(crc, offset + faceBytes + melBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(crc) != Crc32C.Compute(faces, melBytesOut))
            throw Corrupt(offset, $"the checksum of clip {Printable.Name(clip)} differs");
        foreach (float value in mels)
            if (!float.IsFinite(value))
                throw Corrupt(offset + faceBytes, $"the log-mel of clip {Printable.Name(clip)} holds {value}");
    }

    public void Dispose() => file.Dispose();

    private void Write(ReadOnlySpan<byte> bytes)
    {
        RandomAccess.Write(file, bytes, End);
        End += bytes.Length;
    }

    /// <summary>Checks the file's head and returns its length.</summary>
    private long ReadHeader(FeatureOptions features, string definition)
    {
        Span<byte> start = stackalloc byte[16];
        long length = RandomAccess.GetLength(file);
        if (length < 20)
            throw Corrupt(0, $"{length} bytes are too few for its head");
        ReadExactly(start, 0);
        if (!start.StartsWith("AVEDSHRD"u8))
            throw Corrupt(0, "it does not start with AVEDSHRD");
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(start[8..]);
        if (version != Version)
            throw Corrupt(8, $"version {version}, this program reads {Version}");
        int jsonLength = BinaryPrimitives.ReadInt32LittleEndian(start[12..]);
        if (jsonLength is < 2 or > LongestJson || 20 + jsonLength > length)
            throw Corrupt(12, $"a head of {jsonLength} bytes");
        var head = new byte[20 + jsonLength];
        ReadExactly(head, 0);
        if (BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(16 + jsonLength)) != Crc32C.Compute(head.AsSpan(0, 16 + jsonLength)))
            throw Corrupt(16, "the checksum of its head differs");
        if (Parse<Header<Dictionary<string, JsonElement>>>(head.AsSpan(16, jsonLength)) is not { } header)
            throw Corrupt(16, "its head is not the JSON that it has to be");
        if (header.Definition != definition)
            throw new UserException(ExitCode.BadInput,
                $"{Path} holds clips prepared with other options ({Difference(header.Features, features)}); prepare into another folder, or delete this one");
        return head.Length;
    }

    /// <summary>JSON of a stranger's, nothing missing in it; null if it is something else.</summary>
    private static T? Parse<T>(ReadOnlySpan<byte> json) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(Encoding.UTF8.GetString(json), Strict); // what is no UTF-8 becomes a sign that stands for it
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string Difference(Dictionary<string, JsonElement> theirs, FeatureOptions ours)
    {
        var wanted = JsonSerializer.SerializeToElement(ours, Json.Line).EnumerateObject().Select(option => (option.Name, Ours: option.Value.GetRawText()));
        var differing = wanted.Select(option => (option.Name, option.Ours, Theirs: theirs.TryGetValue(option.Name, out var value) ? value.GetRawText() : "unknown"))
            .Where(option => option.Ours != option.Theirs)
            .Select(option => $"{option.Name} {Printable.Name(option.Theirs)}, now {(option.Ours == "null" ? "the preset's" : option.Ours)}").ToArray();
        return differing.Length > 0 ? string.Join("; ", differing) : "another version of the features";
    }

    /// <summary>Reads the record at <see cref="End"/> and moves there past it; null if there is no whole one.</summary>
    private ShardEntry? TryReadRecord(FeatureOptions features, bool verify)
    {
        Span<byte> start = stackalloc byte[HeadBytes];
        long length = RandomAccess.GetLength(file);
        if (End + HeadBytes > length)
            return null;
        ReadExactly(start, End);
        int jsonLength = BinaryPrimitives.ReadInt32LittleEndian(start[4..]);
        if (!start.StartsWith("CLIP"u8) || jsonLength is < 2 or > LongestJson || End + HeadBytes + jsonLength + 4 + payload.Length > length)
            return null;
        var head = new byte[HeadBytes + jsonLength + 4];
        ReadExactly(head, End);
        if (BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(HeadBytes + jsonLength)) != Crc32C.Compute(head.AsSpan(0, HeadBytes + jsonLength)))
            return null;
        var clip = Parse<ShardClip>(head.AsSpan(HeadBytes, jsonLength));
        if (clip is null || clip.Faces < 0 || clip.Faces > features.FaceFrames || clip.Mels < 0 || clip.Mels > features.MelFrames)
            return null;
        long offset = End + head.Length;
        if (verify)
        {
            ReadExactly(payload, offset);
            if (BinaryPrimitives.ReadUInt32LittleEndian(payload.AsSpan(payload.Length - 4)) != Crc32C.Compute(payload.AsSpan(0, payload.Length - 4)))
                return null;
        }
        End = offset + payload.Length;
        return new ShardEntry(clip, offset);
    }

    private void ReadExactly(Span<byte> target, long offset)
    {
        int count = 0;
        for (int got; count < target.Length; count += got)
        {
            try
            {
                got = RandomAccess.Read(file, target[count..], offset + count);
            }
            catch (IOException failure)
            {
                throw new UserException(ExitCode.DiskOrIo, $"cannot read {Path} at byte {offset + count}: {failure.Message}", failure);
            }
            if (got == 0)
                throw Corrupt(offset + count, $"the file ends here, {target.Length - count} bytes early");
        }
    }

    private UserException Corrupt(long offset, string what) => new(ExitCode.BadInput,
        $"{Path} is damaged at byte {offset}: {what}; delete this file and run avedis prepare again, which decodes only its clips");
}
