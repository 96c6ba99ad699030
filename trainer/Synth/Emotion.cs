namespace Avedis.Trainer.Synth;

/// <summary>The eight classes of EmoVoxCeleb, in its column order.</summary>
public enum Emotion
{
    Neutral,
    Happiness,
    Surprise,
    Sadness,
    Anger,
    Disgust,
    Fear,
    Contempt,
}

/// <summary>
/// What an emotion does to a face at full intensity, as departures from the neutral face (all zero). Lengths are in half head heights
/// (about 80 pixels), angles in radians; up, in and open are positive.
/// </summary>
public readonly record struct Expression
{
    public static readonly Expression[] All =
    [
        new(),
        new() // happiness: lifted cheeks squeeze the eyes to crescents, a wide open smile with the upper teeth
        {
            BrowInner = 0.07f, BrowOuter = 0.07f, BrowArch = 0.05f, LidOpen = -0.12f, LowerLid = 0.62f, MouthCorner = 1.1f,
            MouthWidth = 0.34f,
            MouthOpen = 0.15f, Teeth = 0.5f, Cheek = 1, Flush = 0.5f, Nod = -0.03f, Bob = 1,
        },
        new() // surprise: everything round; brows high, eyes wide, jaw dropped
        {
            BrowInner = 0.2f, BrowOuter = 0.2f, BrowArch = 0.09f, LidOpen = 0.55f, MouthWidth = -0.4f, MouthOpen = 0.36f, MouthRound = 1,
            ForeheadLines = 1, Pupil = -0.1f, Nod = -0.08f,
        },
        new() // sadness: inner brows up, lids sloping outwards, corners down, a tear, the head sunk and tilted
        {
            BrowInner = 0.17f, BrowOuter = -0.13f, BrowSqueeze = 0.05f, LidOpen = -0.32f, LidSlant = -0.8f, MouthCorner = -1.05f,
            MouthWidth = -0.12f,
            Pout = 1, Tear = 1, Flush = -0.25f, Tilt = 0.13f, Nod = 0.12f, GazeY = 0.5f,
        },
        new() // anger: brows down and together over glaring eyes, bared teeth, a red face thrust forward
        {
            BrowInner = -0.15f, BrowOuter = 0.13f, BrowSqueeze = 0.08f, LidOpen = 0.02f, LidSlant = 1.1f, LowerLid = 0.25f,
            MouthCorner = -0.55f,
            MouthWidth = 0.12f, MouthOpen = 0.15f, MouthSquare = 1, Teeth = 1, Furrow = 1, NoseWrinkle = 0.4f, Flush = 1, Nod = 0.09f,
        },
        new() // disgust: a wrinkled nose, one side of the upper lip drawn up, tongue out, eyes narrowed, turned away
        {
            BrowInner = -0.1f, BrowOuter = -0.06f, BrowSqueeze = 0.03f, LidOpen = -0.42f, LowerLid = 0.5f, MouthCorner = -0.75f,
            MouthOpen = 0.13f,
            Sneer = 1, Tongue = 1, NoseWrinkle = 1, Furrow = 0.3f, Cheek = 0.4f, Sick = 1, Tilt = -0.12f, Nod = -0.05f,
        },
        new() // fear: brows up and together, eyes wide with tiny pupils, a stretched trembling mouth, pale and sweating
        {
            BrowInner = 0.24f, BrowOuter = 0.03f, BrowSqueeze = 0.07f, LidOpen = 0.5f, MouthCorner = -0.75f, MouthWidth = 0.3f,
            MouthOpen = 0.1f,
            MouthSquare = 0.7f, Teeth = 1, ForeheadLines = 0.7f, Pupil = -0.5f, Flush = -1, Sweat = 1, Tremble = 1, Nod = -0.03f,
        },
        new() // contempt: half-closed eyes looking sideways, one brow up, one corner of a closed mouth up, chin raised
        {
            BrowInner = -0.03f, BrowOuter = -0.02f, BrowLift = 0.2f, LidOpen = -0.48f, LowerLid = 0.1f, Smirk = 1, GazeX = 0.6f,
            Tilt = 0.1f,
            Nod = -0.13f,
        },
    ];

    public float BrowInner { get; init; }

    public float BrowOuter { get; init; }

    public float BrowArch { get; init; }

    public float BrowSqueeze { get; init; }

    /// <summary>Lift of the one brow on the viewer's right.</summary>
    public float BrowLift { get; init; }

    /// <summary>Share of the neutral opening that the upper lid gains.</summary>
    public float LidOpen { get; init; }

    /// <summary>Slope of the upper lid: positive is low at the nose (a glare), negative low at the temple.</summary>
    public float LidSlant { get; init; }

    public float LowerLid { get; init; }

    public float Pupil { get; init; }

    public float GazeX { get; init; }

    public float GazeY { get; init; }

    public float MouthCorner { get; init; }

    public float MouthWidth { get; init; }

    /// <summary>Opening of the silent mouth; speech adds to it.</summary>
    public float MouthOpen { get; init; }

    public float MouthSquare { get; init; }

    public float MouthRound { get; init; }

    public float Teeth { get; init; }

    public float Pout { get; init; }

    public float Smirk { get; init; }

    public float Sneer { get; init; }

    public float Tongue { get; init; }

    public float Cheek { get; init; }

    public float NoseWrinkle { get; init; }

    public float Furrow { get; init; }

    public float ForeheadLines { get; init; }

    /// <summary>1 is red with rage, -1 white with fear.</summary>
    public float Flush { get; init; }

    public float Sick { get; init; }

    public float Tear { get; init; }

    public float Sweat { get; init; }

    public float Tilt { get; init; }

    /// <summary>Positive looks down.</summary>
    public float Nod { get; init; }

    public float Tremble { get; init; }

    public float Bob { get; init; }

    /// <summary>The same expression at a share <paramref name="intensity"/> of its strength.</summary>
    public Expression At(float intensity)
    {
        var scaled = this;
        foreach (ref float value in System.Runtime.InteropServices.MemoryMarshal.Cast<Expression, float>(new Span<Expression>(ref scaled)))
            value *= intensity;
        return scaled;
    }
}
