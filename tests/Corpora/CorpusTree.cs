using Avedis.Trainer.Corpora;
using Avedis.Trainer.Data;

namespace Avedis.Tests;

/// <summary>A folder of files that are named like a corpus's, with a few bytes in each, and what an import makes of it.</summary>
internal sealed class CorpusTree
{
    public const string Pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

    public string Root { get; } = TestFolders.New();

    public CorpusTree Touch(params string[] paths)
    {
        foreach (string path in paths)
            Add(path, "x");
        return this;
    }

    public CorpusTree Add(string path, string text) => Add(path, System.Text.Encoding.UTF8.GetBytes(text));

    public CorpusTree Add(string path, byte[] bytes)
    {
        string full = Path.Combine(Root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllBytes(full, bytes);
        return this;
    }

    public ImportResult Import(string corpus, ImportOptions? options = null)
        => new CorpusImport(CorpusImport.All.Single(one => one.Name == corpus), new CorpusFolder(Root), options ?? new ImportOptions()).Run();

    /// <summary>Reason by rejected path.</summary>
    public static Dictionary<string, string> Reasons(ImportResult result) => result.Rejections.ToDictionary(rejection => rejection.Id, rejection => rejection.Reason);

    /// <summary>A wav file of silence: 16 kHz, 16 bits, one channel.</summary>
    public static byte[] Wav(double seconds)
    {
        int bytes = (int)(seconds * 32000);
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write("RIFF"u8);
        writer.Write(36 + bytes);
        writer.Write("WAVEfmt "u8);
        writer.Write(16);
        writer.Write((short)1);
        writer.Write((short)1);
        writer.Write(16000);
        writer.Write(32000);
        writer.Write((short)2);
        writer.Write((short)16);
        writer.Write("data"u8);
        writer.Write(bytes);
        writer.Write(new byte[bytes]);
        return stream.ToArray();
    }
}
