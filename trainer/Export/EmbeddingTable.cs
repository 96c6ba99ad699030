using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer.Data;
using Avedis.Trainer.Model;
using CsvHelper;

namespace Avedis.Trainer.Export;

/// <summary>
/// Embeddings of clips, one row per clip and one table per factor, with names, splits and labels:
/// <code>
/// npy           FOLDER/FACTOR.npy, [clips, width] F32 each, and FOLDER/ids.csv: row, id, split and the name of each label
/// safetensors   one file: FACTOR.embedding [clips, width] F32, FACTOR.label [clips] I64 (-1 for none); in __metadata__, as JSON lists, ids, splits
///               and classes.FACTOR, the names of the labels
/// </code>
/// </summary>
/// <param name="factors">What clips are labelled with.</param>
public sealed class EmbeddingTable(Runtime runtime, IReadOnlyList<Factor> factors)
{
    /// <summary>Of the rows, beside the arrays.</summary>
    public const string IdsFile = "ids.csv";

    private const int Alignment = 64; // of a .npy file's data, so that it can be mapped

    private readonly List<(string Id, string Split, int[] Labels)> clips = [];
    private readonly List<float[]>[] rows = [.. runtime.Network.Branches.Select(_ => new List<float[]>())];

    public int Count => clips.Count;

    /// <summary>Takes what the last prediction made of a row of its batch.</summary>
    /// <param name="split">Empty for a clip that belongs to no data.</param>
    /// <param name="labels">One per factor, -1 for none.</param>
    public void Add(int row, string id, string split, int[] labels)
    {
        clips.Add((id, split, labels));
        foreach (var (branch, own) in runtime.Network.Branches.Zip(rows))
        {
            int width = branch.Embedding.Shape[1];
            own.Add(runtime.Output(branch.Embedding).AsSpan(row * width, width).ToArray());
        }
    }

    public void WriteNpy(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var (branch, own) in runtime.Network.Branches.Zip(rows))
        {
            using var file = File.Create(Path.Combine(folder, $"{branch.Name}.npy"));
            file.Write(NpyHeader("<f4", own.Count, branch.Embedding.Shape[1]));
            foreach (float[] row in own)
                file.Write(MemoryMarshal.AsBytes(row.AsSpan()));
        }
        using var csv = CsvWriter.Create(File.Create(Path.Combine(folder, IdsFile)), new CsvWriterOptions { NewLine = "\n" });
        csv.WriteRecord(["row", "id", "split", .. factors.Select(factor => factor.Name)]);
        for (int i = 0; i < clips.Count; i++)
            csv.WriteRecord([$"{i}", clips[i].Id, clips[i].Split, .. factors.Zip(clips[i].Labels, (factor, label) => label < 0 ? "" : factor.Classes[label])]);
    }

    /// <exception cref="UserException">Exit code 2: more than the format, or a buffer, holds.</exception>
    public void WriteSafetensors(string path)
    {
        var tensors = new Dictionary<string, SafeTensor>();
        var metadata = new Dictionary<string, string>
        {
            ["ids"] = JsonSerializer.Serialize(clips.Select(clip => clip.Id), Json.Line),
            ["splits"] = JsonSerializer.Serialize(clips.Select(clip => clip.Split), Json.Line),
        };
        foreach (var (branch, own) in runtime.Network.Branches.Zip(rows))
        {
            int width = branch.Embedding.Shape[1];
            if ((long)clips.Count * width * sizeof(float) > Array.MaxLength)
                throw TooMany(path);
            var values = new byte[clips.Count * width * sizeof(float)];
            foreach (var (i, row) in own.Index())
                MemoryMarshal.AsBytes(row.AsSpan()).CopyTo(values.AsSpan(i * width * sizeof(float)));
            tensors[$"{branch.Name}.embedding"] = new SafeTensor("F32", [clips.Count, width], values);
        }
        for (int f = 0; f < factors.Count; f++)
        {
            long[] labels = [.. clips.Select(clip => (long)clip.Labels[f])];
            tensors[$"{factors[f].Name}.label"] = new SafeTensor("I64", [clips.Count], MemoryMarshal.AsBytes(labels.AsSpan()).ToArray());
            metadata[$"classes.{factors[f].Name}"] = JsonSerializer.Serialize(factors[f].Classes, Json.Line);
        }
        // names are escaped once more inside the header
        if (metadata.Values.Sum(text => 2L * Encoding.UTF8.GetByteCount(text)) > Safetensors.MaxHeader)
            throw TooMany(path);
        Safetensors.Write(path, tensors, metadata);
    }

    /// <summary>
    /// The start of a .npy file, version 1.0: the magic, the length of what follows as u16, and a Python dictionary, with spaces and a line end up to where the data
    /// may start.
    /// </summary>
    /// <param name="type">numpy's name of it, byte order first: &lt;f4, |u1, &lt;i8.</param>
    internal static byte[] NpyHeader(string type, params ReadOnlySpan<int> shape)
    {
        ReadOnlySpan<byte> magic = [0x93, .. "NUMPY"u8, 1, 0];
        string extents = shape.Length == 1 ? $"{shape[0]}," : string.Join(", ", shape.ToArray());
        string text = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({extents}), }}";
        int start = magic.Length + sizeof(ushort), total = (start + text.Length + 1 + Alignment - 1) / Alignment * Alignment;
        var header = new byte[total];
        magic.CopyTo(header);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(magic.Length), (ushort)(total - start));
        Encoding.ASCII.GetBytes(text.PadRight(total - start - 1) + "\n", header.AsSpan(start));
        return header;
    }

    private UserException TooMany(string path) => new(ExitCode.Usage, $"{clips.Count:N0} clips are more than {path} can hold in one file: use --format npy, or --split");
}
