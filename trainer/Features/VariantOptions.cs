using System.Security.Cryptography;
using System.Text.Json;
using Avedis.Engine;

namespace Avedis.Trainer.Features;

/// <summary>The noise that is laid under a varied sound.</summary>
public enum NoiseColour
{
    None,

    /// <summary>The same power in every Hz.</summary>
    White,

    /// <summary>The same power in every octave, as the noise of rooms and streets roughly has.</summary>
    Pink,
}

/// <summary>
/// Copies of the training clips with another sound, made when data are prepared; none by default. Pictures, speaker and emotion stay those
/// of the clip. Pitch
/// and speed carry emotion, so the defaults move them less than emotions do.
/// </summary>
public sealed record VariantOptions
{
    private const string Mark = "#variant=";

    /// <summary>Copies of each training clip, beside the clip itself.</summary>
    public int Copies { get; init; }

    /// <summary>Seed of all that is drawn.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>A copy is up to this share faster or slower, and as much higher or lower; 0 leaves the speed.</summary>
    public double Speed { get; init; } = 0.05;

    /// <summary>The pitch of a copy is up to so many semitones higher or lower, its length stays; 0 leaves the pitch.</summary>
    public double Pitch { get; init; } = 0.5;

    /// <summary>Longest time in seconds in which the echo of the room falls by 60 dB; 0 for no room.</summary>
    public double Reverberation { get; init; } = 0.4;

    /// <summary>Noise under the copy.</summary>
    public NoiseColour Noise { get; init; } = NoiseColour.Pink;

    /// <summary>Mean power of the clip over that of the noise in dB: least.</summary>
    public double SnrLow { get; init; } = 15;

    /// <summary>Mean power of the clip over that of the noise in dB: most.</summary>
    public double SnrHigh { get; init; } = 30;

    /// <exception cref="UserException">Exit code 2: a value out of its range.</exception>
    public void Validate()
    {
        Require(Copies is >= 0 and <= 16, "copies", Copies, "0 to 16");
        Require(Speed is >= 0 and <= 0.2, "speed", Speed, "0 to 0.2");
        Require(Pitch is >= 0 and <= 4, "pitch", Pitch, "0 to 4 semitones");
        Require(Reverberation is 0 or >= 0.1 and <= 5, "reverberation", Reverberation, "0, or 0.1 to 5 seconds");
        Require(Enum.IsDefined(Noise), "noise", (int)Noise, "one of none, white, pink");
        Require(SnrLow is >= -20 and <= 80, "snrLow", SnrLow, "-20 to 80 dB");
        Require(SnrHigh is >= -20 and <= 80 && SnrHigh >= SnrLow, "snrHigh", SnrHigh, "snrLow to 80 dB");
        Require(Copies == 0 || Speed > 0 || Pitch > 0 || Reverberation > 0 ||
            Noise != NoiseColour.None, "copies", Copies, "0 where nothing is varied");
    }

    /// <summary>
    /// Name of a copy, from 1. It holds a hash of what the sound depends on: copies of other settings are other clips. More copies leave
    /// the first as they are.
    /// </summary>
    public string NameOf(string clip, int copy)
    {
        byte[] hash = SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(this with { Copies = 0 }, Json.Line));
        return $"{clip}{Mark}{copy},{Convert.ToHexStringLower(hash.AsSpan(0, 4))}";
    }

    /// <summary>The clip of which a name is a copy; a clip's own name as it is.</summary>
    public static string ClipOf(string name) =>
        name.LastIndexOf(Mark, StringComparison.Ordinal) is >= 0 and var at ? name[..at] : name;

    private static void Require(bool holds, string key, double value, string expected)
    {
        if (!holds)
            throw new UserException(ExitCode.Usage,
                FormattableString.Invariant($"data.variants.{key} is {value}; it has to be {expected}"));
    }
}
