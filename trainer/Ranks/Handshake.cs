using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Avedis.Engine;
using Avedis.Trainer.Training;

namespace Avedis.Trainer.Ranks;

/// <summary>What every rank says of itself before a training begins; all must be the same.</summary>
public sealed record Handshake(string Build, string Data, string Precision, JsonObject Settings)
{
    // where and with what a rank computes is its own affair
    private static readonly HashSet<string> Own = ["training.device", "training.threads"];

    /// <exception cref="UserException">Exit code 2: a rank differs from rank 0, by name and by what it differs in. All ranks throw the same.</exception>
    public void Check(ICollective collective)
    {
        if (collective.Size == 1)
            return;
        var all = collective.AllGatherTexts(JsonSerializer.Serialize(this, Json.Line), "handshake").Select(text => JsonSerializer.Deserialize<Handshake>(text, Json.Line)!).ToList();
        for (int rank = 1; rank < all.Count; rank++)
            if (Difference(all[0], all[rank]) is { } difference)
                throw new UserException(ExitCode.Usage, $"{collective.NameOf(rank)} has another {difference}: start all ranks with the same avedis, settings and data");
    }

    /// <summary>"setting training.epochs than rank 0: 3, not 2"; null: none.</summary>
    internal static string? Difference(Handshake first, Handshake other)
    {
        if (first.Build != other.Build)
            return Text("build", first.Build, other.Build);
        var (mine, its) = (Resumable.Flatten(first.Settings, ""), Resumable.Flatten(other.Settings, ""));
        foreach (string key in mine.Keys.Union(its.Keys).Where(key => !Own.Contains(key)))
            if (mine.GetValueOrDefault(key, "absent") is var known && its.GetValueOrDefault(key, "absent") is var found && known != found)
                return Text($"setting {key}", known, found);
        return first.Data != other.Data ? Text("data set", first.Data, other.Data) : first.Precision != other.Precision ? Text("precision", first.Precision, other.Precision) : null;

        static string Text(string what, string known, string found) => $"{what} than rank 0: {Printable.Name(found)}, not {Printable.Name(known)}";
    }
}

internal static class CollectiveTexts
{
    /// <summary>Text of each rank.</summary>
    public static string[] AllGatherTexts(this ICollective collective, string text, string name)
    {
        byte[] own = Encoding.UTF8.GetBytes(text);
        int[] lengths = [.. collective.AllGather(BitConverter.GetBytes(own.Length), name).Chunk(sizeof(int)).Select(bytes => BitConverter.ToInt32(bytes))];
        var padded = new byte[lengths.Max()];
        own.CopyTo(padded, 0);
        return [.. collective.AllGather(padded, name).Chunk(padded.Length).Zip(lengths, (bytes, length) => Encoding.UTF8.GetString(bytes, 0, length))];
    }

    /// <summary>What rank 0 has.</summary>
    public static T Broadcast<T>(this ICollective collective, T value, string name)
    {
        if (collective.Size == 1)
            return value;
        byte[] own = collective.Rank == 0 ? JsonSerializer.SerializeToUtf8Bytes(value, Json.Line) : [];
        byte[] length = BitConverter.GetBytes(own.Length);
        collective.Broadcast(length, name);
        byte[] bytes = collective.Rank == 0 ? own : new byte[BitConverter.ToInt32(length)];
        collective.Broadcast(bytes, name);
        return collective.Rank == 0 ? value : JsonSerializer.Deserialize<T>(bytes, Json.Line)!;
    }
}
