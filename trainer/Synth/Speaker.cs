using System.Numerics;
using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>The shapes that hair can take; <see cref="Hair"/> draws them.</summary>
public enum HairStyle
{
    Short,
    Parted,
    Bald,
    Curly,
    Spiky,
    Buzz,
    Long,
    Bob,
    Bun,
    Wavy,
    Cloud,
    Pixie,
}

public enum BeardStyle
{
    None,
    Full,
    Goatee,
    Mustache,
    Stubble,
}

/// <summary>
/// Everything that stays the same over all clips of one person: the face and the voice. Traits are spread over the cast as a Latin
/// hypercube: each is cut into as many steps as there are speakers and every speaker gets another step, so that no two look or sound alike.
/// Lengths are in half head heights.
/// </summary>
public sealed record Speaker
{
    private static readonly Vector4[] SkinTones = // light to dark
    [
        Rgb(0xEFCBB1), Rgb(0xE8BE9B), Rgb(0xE2AF86), Rgb(0xD69C70), Rgb(0xC68A5E), Rgb(0xA66E46), Rgb(0x845335), Rgb(0x643D28),
    ];

    private static readonly Vector4[] HairColors =
    [
        Rgb(0x231C1E), Rgb(0xD9A441), Rgb(0x5A3825), Rgb(0xB5532A), Rgb(0x8C8A8C), Rgb(0x3E2A23), Rgb(0xDCC48C), Rgb(0x7E3B2C),
            Rgb(0x2A5D73),
        Rgb(0xCFCBC8), Rgb(0x93684A), Rgb(0xA8447A),
    ];

    private static readonly Vector4[] EyeColors = [Rgb(0x5B3A21), Rgb(0x3F7FA8), Rgb(0x5E8C4A), Rgb(0x7A5A2E), Rgb(0x6E7E8A),
        Rgb(0x2C2320)];

    private static readonly HairStyle[] MaleStyles =
        [HairStyle.Short, HairStyle.Curly, HairStyle.Bald, HairStyle.Parted, HairStyle.Spiky, HairStyle.Buzz, HairStyle.Long];

    private static readonly HairStyle[] FemaleStyles =
        [HairStyle.Long, HairStyle.Bob, HairStyle.Bun, HairStyle.Cloud, HairStyle.Wavy, HairStyle.Pixie, HairStyle.Parted];

    private static readonly BeardStyle[] Beards = [BeardStyle.Full, BeardStyle.None, BeardStyle.Mustache, BeardStyle.Goatee,
        BeardStyle.Stubble];

    public required int Index { get; init; }

    /// <summary>Folder and label: spk00, spk01, ...</summary>
    public string Name => $"spk{Index:00}";

    public required bool Female { get; init; }

    public required Vector4 Skin { get; init; }

    public required Vector4 HairColor { get; init; }

    public required Vector4 EyeColor { get; init; }

    public required HairStyle Hair { get; init; }

    public required BeardStyle Beard { get; init; }

    /// <summary>0 none, 1 round, 2 square.</summary>
    public required int Glasses { get; init; }

    public required bool Freckles { get; init; }

    public required bool Earrings { get; init; }

    public required float CheekWidth { get; init; }

    public required float JawWidth { get; init; }

    public required float EyeSize { get; init; }

    public required float EyeDistance { get; init; }

    public required float BrowThickness { get; init; }

    public required float BrowHeight { get; init; }

    public required float NoseLength { get; init; }

    public required float NoseWidth { get; init; }

    public required float MouthWidth { get; init; }

    public required float LipThickness { get; init; }

    public required float EarSize { get; init; }

    /// <summary>Mean fundamental frequency of neutral speech, Hz.</summary>
    public required double Pitch { get; init; }

    /// <summary>Scale of all formants: inverse of the length of the vocal tract, 1 for 17.5 cm.</summary>
    public required double Formants { get; init; }

    /// <summary>This person's own accent: factors on the second and third formants.</summary>
    public required double Accent2 { get; init; }

    public required double Accent3 { get; init; }

    /// <summary>Share of aspiration noise in the voice.</summary>
    public required double Breath { get; init; }

    /// <summary>Level above 1.5 kHz against the usual, dB.</summary>
    public required double Bright { get; init; }

    public required double VibratoRate { get; init; }

    public required double VibratoDepth { get; init; }

    /// <summary>Syllables per second in neutral speech.</summary>
    public required double Rate { get; init; }

    /// <summary>The cast: <paramref name="count"/> people, women and men in turn.</summary>
    public static Speaker[] Cast(int count, ulong seed)
    {
        var random = new Philox(seed, Streams.Cast);
        float[] Spread() // one value in 0..1 per speaker, each in a step of its own
        {
            int[] order = [.. Enumerable.Range(0, count)];
            random.Shuffle<int>(order);
            return [.. order.Select(step => (step + random.NextFloat()) / count)];
        }
        T[] Deal<T>(T[] cards) // the cards in random order, again and again
        {
            var hand = new List<T>();
            while (hand.Count < count)
            {
                T[] deck = [.. cards];
                random.Shuffle<T>(deck);
                hand.AddRange(deck);
            }
            return [.. hand];
        }
        var (skin, cheek, jaw, eye, distance, brow, height) = (Spread(), Spread(), Spread(), Spread(), Spread(), Spread(), Spread());
        var (nose, width, mouth, lips, ears, hair) = (Spread(), Spread(), Spread(), Spread(), Spread(), Deal(HairColors));
        var (pitch, tract, accent2, accent3, breath, bright, rate) = (Spread(), Spread(), Spread(), Spread(), Spread(), Spread(), Spread());
        var (vibrato, depth, eyeColor, glasses) = (Spread(), Spread(), Deal(EyeColors), Deal([0, 1, 0, 2, 0]));
        var (male, female, beard, freckles, rings) = (Deal(MaleStyles), Deal(FemaleStyles), Deal(Beards), Deal([true, false, false]),
            Deal([true, false]));
        var cast = new Speaker[count];
        for (int i = 0; i < count; i++)
        {
            bool woman = i % 2 == 0;
            var style = woman ? female[i / 2] : male[i / 2];
            cast[i] = new Speaker
            {
                Index = i,
                Female = woman,
                Skin = Blend(SkinTones, skin[i]),
                HairColor = hair[i],
                EyeColor = eyeColor[i],
                Hair = style,
                Beard = woman ? BeardStyle.None : beard[i / 2],
                Glasses = glasses[i],
                Freckles = freckles[i],
                Earrings = woman && rings[i / 2],
                CheekWidth = float.Lerp(0.72f, 0.88f, cheek[i]),
                JawWidth = float.Lerp(0.46f, 0.66f, jaw[i]) + (woman ? -0.03f : 0.06f),
                EyeSize = float.Lerp(0.85f, 1.12f, eye[i]),
                EyeDistance = float.Lerp(0.31f, 0.385f, distance[i]),
                BrowThickness = float.Lerp(0.038f, 0.075f, brow[i]) * (woman ? 0.8f : 1.15f),
                BrowHeight = float.Lerp(-0.42f, -0.35f, height[i]),
                NoseLength = float.Lerp(0.22f, 0.36f, nose[i]),
                NoseWidth = float.Lerp(0.1f, 0.19f, width[i]),
                MouthWidth = float.Lerp(0.27f, 0.36f, mouth[i]),
                LipThickness = float.Lerp(0.04f, 0.09f, lips[i]) + (woman ? 0.015f : 0),
                EarSize = float.Lerp(0.14f, 0.24f, ears[i]),
                Pitch = woman ? 165 * Math.Pow(250.0 / 165, pitch[i]) : 88 * Math.Pow(150.0 / 88, pitch[i]),
                Formants = woman ? double.Lerp(1.08, 1.24, tract[i]) : double.Lerp(0.9, 1.06, tract[i]),
                Accent2 = double.Lerp(0.9, 1.1, accent2[i]),
                Accent3 = double.Lerp(0.92, 1.1, accent3[i]),
                Breath = double.Lerp(0.002, 0.02, breath[i]),
                Bright = double.Lerp(-4, 4, bright[i]),
                VibratoRate = double.Lerp(4.5, 6.5, vibrato[i]),
                VibratoDepth = double.Lerp(0.05, 0.35, depth[i]),
                Rate = double.Lerp(4.2, 5.4, rate[i]),
            };
        }
        return cast;
    }

    public static Vector4 Rgb(int hex) => new Vector4(hex >> 16, (hex >> 8) & 255, hex & 255, 0) / 255;

    private static Vector4 Blend(Vector4[] scale, float t)
    {
        float place = t * (scale.Length - 1);
        int lower = Math.Min((int)place, scale.Length - 2);
        return Vector4.Lerp(scale[lower], scale[lower + 1], place - lower);
    }
}

/// <summary>The random streams of a corpus, so that no two draws share one: one for the cast, one for the plan, eight for each
/// clip.</summary>
public static class Streams
{
    public const ulong Cast = 0;
    public const ulong Plan = 1;

    public static ulong Scene(int clip) => 16 + (8 * (ulong)clip);

    public static ulong Motion(int clip) => Scene(clip) + 1;

    public static ulong Speech(int clip) => Scene(clip) + 2;

    public static ulong Voice(int clip) => Scene(clip) + 3;

    public static ulong Camera(int clip) => Scene(clip) + 4;
}
