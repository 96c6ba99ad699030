using System.Security.Cryptography;
using System.Text.Json;

namespace Avedis.Engine;

/// <summary>
/// Folders of checkpoints that are either whole or not there: files are written to NAME.tmp and flushed, manifest.json with their lengths and SHA-256 comes
/// last, then the folder is renamed and LATEST replaced. Reading verifies the manifest first.
/// </summary>
public static class Checkpoint
{
    private const string ManifestName = "manifest.json";
    private const string LatestName = "LATEST";

    private sealed record Entry(long Bytes, string Sha256);

    /// <summary>Writes checkpoint <paramref name="name"/> under <paramref name="root"/>; an older one of that name is replaced.</summary>
    /// <param name="writeFiles">Writes all files into the folder that it is given.</param>
    /// <param name="latest">Whether LATEST is to name this one.</param>
    public static void Save(string root, string name, Action<string> writeFiles, bool latest = true)
    {
        string final = Path.Combine(root, name), temporary = final + ".tmp";
        if (Directory.Exists(temporary))
            Directory.Delete(temporary, recursive: true);
        Directory.CreateDirectory(temporary);
        try
        {
            writeFiles(temporary);
            var manifest = new SortedDictionary<string, Entry>(StringComparer.Ordinal);
            foreach (string file in Directory.GetFiles(temporary))
                manifest.Add(Path.GetFileName(file), Describe(file));
            WriteFlushed(Path.Combine(temporary, ManifestName), JsonSerializer.Serialize(manifest, Json.Indented));
        }
        catch
        {
            Directory.Delete(temporary, recursive: true);
            throw;
        }
        if (Directory.Exists(final))
            Directory.Delete(final, recursive: true);
        Directory.Move(temporary, final);
        if (!latest)
            return;
        string pointer = Path.Combine(root, LatestName);
        WriteFlushed(pointer + ".tmp", name);
        File.Move(pointer + ".tmp", pointer, overwrite: true);
    }

    /// <summary>The folder that LATEST names, or null if there is no checkpoint.</summary>
    public static string? Latest(string root)
    {
        string pointer = Path.Combine(root, LatestName);
        return File.Exists(pointer) ? Path.Combine(root, File.ReadAllText(pointer).Trim()) : null;
    }

    /// <summary>Deletes all but the newest <paramref name="keep"/> of the checkpoints whose names start with <paramref name="prefix"/>.</summary>
    public static void Prune(string root, string prefix, int keep)
    {
        foreach (string folder in Directory.GetDirectories(root, prefix + "*").Order(StringComparer.Ordinal).SkipLast(keep))
            Directory.Delete(folder, recursive: true);
    }

    /// <summary>Deletes those whose names start with <paramref name="prefix"/> but <paramref name="names"/>.</summary>
    public static void Keep(string root, string prefix, IReadOnlyCollection<string> names)
    {
        foreach (string folder in Directory.GetDirectories(root, prefix + "*").Where(folder => !names.Contains(Path.GetFileName(folder))))
            Directory.Delete(folder, recursive: true);
    }

    /// <summary>Checks every file of a checkpoint against its manifest.</summary>
    /// <exception cref="InvalidDataException">Something is missing, cut short or changed; the message says what.</exception>
    public static void Verify(string folder)
    {
        string path = Path.Combine(folder, ManifestName);
        if (!File.Exists(path))
            throw new InvalidDataException($"checkpoint {folder} has no {ManifestName}: it was not finished");
        Dictionary<string, Entry>? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize<Dictionary<string, Entry>>(File.ReadAllText(path), Json.Indented);
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"{path} is not valid JSON: {error.Message}");
        }
        foreach (var (name, entry) in manifest ?? [])
        {
            string file = Path.Combine(folder, Path.GetFileName(name));
            long bytes = File.Exists(file) ? new FileInfo(file).Length : -1;
            if (bytes != entry.Bytes)
                throw new InvalidDataException($"{file} has {(bytes < 0 ? "gone" : $"{bytes} bytes")}, the manifest says {entry.Bytes} bytes");
            if (Describe(file).Sha256 != entry.Sha256)
                throw new InvalidDataException($"{file} was changed after it was saved: its SHA-256 differs from the manifest");
        }
    }

    private static Entry Describe(string file)
    {
        using var stream = File.OpenRead(file);
        return new Entry(stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));
    }

    private static void WriteFlushed(string path, string text)
    {
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
        file.Write(System.Text.Encoding.UTF8.GetBytes(text));
        file.Flush(flushToDisk: true);
    }
}
