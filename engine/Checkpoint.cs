using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Avedis.Bindings;

namespace Avedis.Engine;

/// <summary>
/// Folders of checkpoints that are either whole or not there. Files are written to NAME.tmp; each is flushed to the disk, manifest.json with their lengths and
/// SHA-256 comes last, then the folder; only then does it get its name, in exchange with an older one of that name, and LATEST is replaced. Whatever stops this,
/// kill or power, every name stands for a checkpoint that was saved as a whole. Reading verifies the manifest first.
/// </summary>
public static class Checkpoint
{
    private const string ManifestName = "manifest.json";
    private const string LatestName = "LATEST";
    private const string Unfinished = ".tmp", Replaced = ".old";

    /// <summary>Bytes of a manifest, and of LATEST, that are read at most: a hundred times what there is.</summary>
    private const int LongestManifest = 1 << 20, LongestName = 4096;

    private sealed record Entry(long Bytes, string Sha256);

    /// <summary>Writes checkpoint <paramref name="name"/> under <paramref name="root"/>; an older one of that name is replaced.</summary>
    /// <param name="writeFiles">Writes all files into the folder that it is given; that they reach the disk is seen to here.</param>
    /// <param name="latest">Whether LATEST is to name this one.</param>
    /// <exception cref="IOException">It may not be on the disk; the older ones are.</exception>
    public static void Save(string root, string name, Action<string> writeFiles, bool latest = true)
    {
        string final = Path.Combine(root, name), temporary = final + Unfinished;
        if (Directory.Exists(temporary))
            Directory.Delete(temporary, recursive: true);
        string? older;
        try
        {
            Directory.CreateDirectory(temporary);
            writeFiles(temporary);
            var manifest = new SortedDictionary<string, Entry>(StringComparer.Ordinal);
            foreach (string file in Directory.GetFiles(temporary))
                manifest.Add(Path.GetFileName(file), Flush(file));
            Write(Path.Combine(temporary, ManifestName), JsonSerializer.Serialize(manifest, Json.Indented));
            DurableFiles.SyncFolder(temporary);
            older = Publish(temporary, final);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
        DurableFiles.SyncFolder(root);
        if (latest)
        {
            string pointer = Path.Combine(root, LatestName);
            Write(pointer + Unfinished, name);
            DurableFiles.Replace(pointer + Unfinished, pointer);
        }
        if (older is not null)
            TryDelete(older);
    }

    /// <summary>Removes what a process that was killed while it saved left behind. Only for who writes checkpoints there.</summary>
    public static void Recover(string root)
    {
        foreach (string folder in Directory.GetDirectories(root, "*" + Replaced))
            if (folder[..^Replaced.Length] is var name && !Directory.Exists(name))
                Directory.Move(folder, name);
            else
                Directory.Delete(folder, recursive: true);
        foreach (string folder in Directory.GetDirectories(root, "*" + Unfinished))
            Directory.Delete(folder, recursive: true);
        File.Delete(Path.Combine(root, LatestName + Unfinished));
    }

    /// <summary>All checkpoints, in no order; some may not verify.</summary>
    public static IEnumerable<string> All(string root) => Directory.Exists(root)
        ? Directory.GetDirectories(root).Where(folder => Path.GetExtension(folder) is not (Unfinished or Replaced))
        : [];

    /// <summary>The folder that LATEST names, or null if there is no checkpoint. Where LATEST was damaged, there may be no such folder.</summary>
    public static string? Latest(string root)
    {
        string pointer = Path.Combine(root, LatestName);
        if (!File.Exists(pointer))
            return null;
        using var file = RegularFiles.OpenRead(pointer);
        var text = new byte[LongestName];
        int length = file.ReadAtLeast(text, LongestName, throwOnEndOfStream: false);
        // no more than a name: what else it holds leads nowhere
        return Path.Combine(root, Path.GetFileName(Encoding.UTF8.GetString(text, 0, length).Trim()));
    }

    /// <summary>Deletes all but the newest <paramref name="keep"/> of the checkpoints whose names start with <paramref name="prefix"/>.</summary>
    public static void Prune(string root, string prefix, int keep)
    {
        foreach (string folder in Named(root, prefix).Order(StringComparer.Ordinal).SkipLast(keep))
            Remove(folder);
    }

    /// <summary>Deletes those whose names start with <paramref name="prefix"/> but <paramref name="names"/>.</summary>
    public static void Keep(string root, string prefix, IReadOnlyCollection<string> names)
    {
        foreach (string folder in Named(root, prefix).Where(folder => !names.Contains(Path.GetFileName(folder))))
            Remove(folder);
    }

    /// <summary>Checks every file of a checkpoint against its manifest.</summary>
    /// <exception cref="InvalidDataException">Something is missing, cut short or changed; the message says what.</exception>
    public static void Verify(string folder)
    {
        string path = Path.Combine(folder, ManifestName);
        if (!File.Exists(path))
            throw new InvalidDataException($"checkpoint {folder} has no {ManifestName}: it was not finished");
        try
        {
            var manifest = JsonSerializer.Deserialize<Dictionary<string, Entry?>>(RegularFiles.ReadAllText(path, LongestManifest), Json.Indented);
            foreach (var (name, entry) in manifest ?? throw new InvalidDataException($"{path} lists no files"))
                Verify(path, Path.Combine(folder, Path.GetFileName(name)), entry);
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"{path} is not valid JSON: {error.Message}", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new InvalidDataException($"checkpoint {folder} cannot be read: {error.Message}", error);
        }
    }

    private static void Verify(string manifest, string file, Entry? entry)
    {
        if (entry is null)
            throw new InvalidDataException($"{manifest} says nothing of {file}");
        if (!File.Exists(file))
            throw new InvalidDataException($"{file} has gone, the manifest says {entry.Bytes} bytes");
        using var stream = RegularFiles.OpenRead(file);
        if (stream.Length != entry.Bytes)
            throw new InvalidDataException($"{file} has {stream.Length} bytes, the manifest says {entry.Bytes} bytes");
        if (Describe(stream).Sha256 != entry.Sha256)
            throw new InvalidDataException($"{file} was changed after it was saved: its SHA-256 differs from the manifest");
    }

    private static List<string> Named(string root, string prefix) =>
        [.. All(root).Where(folder => Path.GetFileName(folder).StartsWith(prefix, StringComparison.Ordinal))];

    /// <summary>Gives a folder its name; returns where one that had the name before is now.</summary>
    private static string? Publish(string temporary, string final)
    {
        if (!Directory.Exists(final))
        {
            Directory.Move(temporary, final);
            return null;
        }
        if (DurableFiles.TryExchange(temporary, final))
            return temporary;
        string older = final + Replaced;
        TryDelete(older);
        Directory.Move(final, older);
        try
        {
            Directory.Move(temporary, final);
        }
        catch
        {
            Directory.Move(older, final);
            throw;
        }
        return older;
    }

    // it loses its name first: no name ever stands for half a checkpoint
    private static void Remove(string folder)
    {
        string unnamed = folder + Unfinished;
        TryDelete(unnamed);
        Directory.Move(folder, unnamed);
        TryDelete(unnamed);
    }

    // of a folder that nobody needs any more: to fail here is to leave rubbish, which the next run removes
    private static void TryDelete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // also where there is none
        }
    }

    private static Entry Describe(FileStream stream) => new(stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));

    private static Entry Flush(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite);
        DurableFiles.Sync(stream.SafeFileHandle, file);
        return Describe(stream);
    }

    private static void Write(string path, string text)
    {
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        file.Write(System.Text.Encoding.UTF8.GetBytes(text));
        DurableFiles.Sync(file.SafeFileHandle, path);
    }
}
