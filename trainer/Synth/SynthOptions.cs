using System.Text.Json;
using System.Text.Json.Serialization;

namespace Avedis.Trainer.Synth;

/// <summary>Everything that decides what a corpus holds; written to corpus.json beside it.</summary>
public sealed record SynthOptions
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.CamelCase, WriteIndented = true };

    /// <summary>Version of the drawing and of the voice: goes up whenever the same options give other pixels or samples.</summary>
    [JsonPropertyOrder(-1)]
    public int Generator { get; init; } = 1;

    public int Speakers { get; init; } = 12;

    /// <summary>In total, over all speakers.</summary>
    public int Clips { get; init; } = 600;

    /// <summary>Length of each clip.</summary>
    public double Seconds { get; init; } = 3;

    /// <summary>Share of neutral clips; the other seven emotions share the rest evenly.</summary>
    public double NeutralShare { get; init; } = 0.77;

    /// <summary>How strongly each speaker prefers some emotions: standard deviation of the logarithm of the preference; 0 =
    /// independent.</summary>
    public double Affinity { get; init; } = 0.5;

    /// <summary>Scale of camera noise, background sound and echo: 0 is a studio.</summary>
    public double Noise { get; init; } = 1;

    public ulong Seed { get; init; } = 1;

    /// <summary>Throws one line with exit code 2 for values that make no corpus.</summary>
    public void Validate()
    {
        Check(Speakers is >= 1 and <= 1000, "--speakers", Speakers, "1 to 1000");
        Check(Clips >= Speakers && Clips <= 1_000_000, "--clips", Clips, $"at least one a speaker, {Speakers} to 1000000");
        Check(Seconds is >= 0.4 and <= 60, "--seconds", Seconds, "0.4 to 60");
        Check(NeutralShare is >= 0 and <= 1, "--neutral-share", NeutralShare, "0 to 1");
        Check(Affinity is >= 0 and <= 5, "--affinity", Affinity, "0 to 5");
        Check(Noise is >= 0 and <= 4, "--noise", Noise, "0 to 4");

        static void Check(bool valid, string option, object value, string allowed)
        {
            if (!valid)
                throw new UserException(ExitCode.Usage, $"{option} is {value}; it has to be {allowed}");
        }
    }

    public string ToJson() => JsonSerializer.Serialize(this, Json) + "\n";

    /// <summary>Names and values that differ from those in a corpus.json, for example "seconds 2 instead of 3"; null if none
    /// does.</summary>
    public string? DifferenceFrom(string json)
    {
        using var here = JsonDocument.Parse(ToJson());
        using var there = JsonDocument.Parse(json);
        string[] differences =
        [
            .. here.RootElement.EnumerateObject().Select(mine => (mine.Name, Mine: mine.Value.ToString(),
                Theirs: Find(there.RootElement, mine.Name)))
                .Where(pair => pair.Mine != pair.Theirs).Select(pair => $"{pair.Name} {pair.Theirs} instead of {pair.Mine}"),
        ];
        return differences.Length == 0 ? null : string.Join(", ", differences);

        static string Find(JsonElement root, string name) =>
            root.ValueKind == JsonValueKind.Object && root.TryGetProperty(name, out var value) ? value.ToString() : "unknown";
    }
}
