using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>How a syllable begins.</summary>
public enum Onset
{
    None,
    Sibilant,
    Hush,
    Stop,
    Nasal,
    Glide,
}

/// <param name="F1">First formant of a vocal tract of 17.5 cm, Hz.</param>
/// <param name="Open">Opening of the jaw, 0..1.</param>
/// <param name="Wide">Lips: 1 spread, -1 rounded.</param>
public readonly record struct Vowel(double F1, double F2, double F3, float Open, float Wide);

/// <param name="Start">Seconds.</param>
/// <param name="Length">Seconds, onset included.</param>
/// <param name="Stress">0..1.</param>
/// <param name="Place">Position within its phrase, 0 at the first syllable, 1 at the last.</param>
public readonly record struct Syllable(double Start, double Length, Onset Onset, Vowel Vowel, double Stress, double Place)
{
    public double OnsetLength => Onset == Onset.None ? 0 : Math.Min(0.09, 0.3 * Length);

    /// <summary>Loudness of the vowel at a time, 0..1: up within 30 ms of the onset, down over the last 60 ms.</summary>
    public double Envelope(double time)
    {
        double since = time - Start - OnsetLength, left = Start + Length - time;
        return since <= 0 || left <= 0 ? 0 : Math.Min(1, since / 0.03) * Math.Min(1, left / 0.06) * (0.65 + (0.35 * Stress));
    }
}

/// <summary>
/// What is said in one clip: phrases of syllables with pauses between them, in no language. The same plan drives the voice and the lips.
/// </summary>
public sealed class Utterance
{
    // mean formants of ten American men's vowels after Peterson and Barney (1952), rounded
    private static readonly Vowel[] Vowels =
    [
        new(730, 1090, 2440, 1, 0.2f), new(530, 1840, 2480, 0.7f, 0.7f), new(270, 2290, 3010, 0.42f, 1), new(570, 840, 2410, 0.75f, -0.8f),
            new(300, 870, 2240, 0.38f, -1),
        new(500, 1500, 2500, 0.55f, 0), new(660, 1720, 2410, 0.9f, 0.5f),
    ];

    private static readonly Onset[] Onsets =
        [Onset.None, Onset.Sibilant, Onset.Hush, Onset.Stop, Onset.Stop, Onset.Nasal, Onset.Nasal, Onset.Glide];

    public Utterance(Scene scene, double seconds, Philox random)
    {
        var prosody = Prosody.All[(int)scene.Emotion].At(scene.Intensity);
        double length = 1 / (scene.Speaker.Rate * scene.RateDrift * prosody.Rate), time = random.NextDouble(0.06, 0.18);
        var syllables = new List<Syllable>();
        while (time < seconds - 0.12)
        {
            int count = 3 + random.Next(5), beat = random.Next(2);
            for (int i = 0; i < count && time < seconds - 0.12; i++)
            {
                double stress = i % 2 == beat ? random.NextDouble(0.7, 1) : random.NextDouble(0, 0.35);
                double lasts = length * random.NextDouble(0.8, 1.15) * (0.85 + (0.3 * stress)) * (i == count - 1 ? 1.4 : 1);
                lasts = Math.Min(lasts, seconds - 0.04 - time);
                syllables.Add(new Syllable(time, lasts, Onsets[random.Next(Onsets.Length)], Vowels[random.Next(Vowels.Length)], stress,
                    (double)i / Math.Max(1, count - 1)));
                time += lasts;
            }
            time += random.NextDouble(0.12, 0.26) * prosody.Pause;
        }
        Syllables = [.. syllables];
    }

    public IReadOnlyList<Syllable> Syllables { get; }

    /// <summary>The syllable spoken at a time, or null in a pause.</summary>
    public Syllable? At(double time)
    {
        foreach (var syllable in Syllables)
            if (time >= syllable.Start && time < syllable.Start + syllable.Length)
                return syllable;
        return null;
    }

    /// <summary>The lips at a time: how far speech opens them, 0..1, and their spread, -1..1.</summary>
    public (float Open, float Wide) Lips(double time)
    {
        // the jaw is slower than the voice: an average over 80 ms around the frame
        float open = 0, wide = 0;
        for (int i = -2; i <= 2; i++)
            if (At(time + (0.02 * i)) is { } syllable)
            {
                float envelope = (float)syllable.Envelope(time + (0.02 * i));
                open += 0.2f * envelope * syllable.Vowel.Open;
                wide += 0.2f * envelope * syllable.Vowel.Wide;
            }
        return (open, wide);
    }
}
