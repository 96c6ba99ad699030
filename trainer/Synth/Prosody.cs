namespace Avedis.Trainer.Synth;

/// <summary>What an emotion does to a voice at full intensity; factors are 1 and amounts 0 where neutral speech is left alone.</summary>
/// <param name="Pitch">Factor on the mean fundamental frequency.</param>
/// <param name="Range">Factor on the size of pitch movements.</param>
/// <param name="Rate">Factor on syllables per second.</param>
/// <param name="Energy">Change of level, dB.</param>
/// <param name="Bright">Change of the level above 1.5 kHz, dB: a pressed voice is bright, a slack one dull.</param>
/// <param name="Breath">Aspiration added.</param>
/// <param name="Rough">Irregularity of the pulses: standard deviation of the period, as a share of it.</param>
/// <param name="Tremor">Depth of an unsteadiness of 7 Hz in pitch and level, semitones.</param>
/// <param name="Final">Pitch movement over the last syllable of a phrase, semitones.</param>
/// <param name="Pause">Factor on the length of pauses.</param>
/// <param name="Nasal">Widening of the first formant as through a wrinkled nose, 0..1.</param>
/// <param name="Lips">Factor on the formants: a smile shortens the vocal tract.</param>
public readonly record struct Prosody(
    double Pitch = 1, double Range = 1, double Rate = 1, double Energy = 0, double Bright = 0, double Breath = 0, double Rough = 0,
        double Tremor = 0,
    double Final = -2, double Pause = 1, double Nasal = 0, double Lips = 1)
{
    public static readonly Prosody[] All =
    [
        new(Pitch: 1),
        // happiness
        new(Pitch: 1.38, Range: 2.6, Rate: 1.12, Energy: 4, Bright: 3, Final: 1, Pause: 0.8, Lips: 1.06),
        // surprise
        new(Pitch: 1.6, Range: 3.2, Rate: 0.95, Energy: 4, Bright: 1, Breath: 0.012, Final: 9, Pause: 1.2),
        // sadness
        new(Pitch: 0.88, Range: 0.45, Rate: 0.66, Energy: -7, Bright: -9, Breath: 0.03, Tremor: 0.2, Final: -4, Pause: 2),
        // anger
        new(Pitch: 1.2, Range: 1.9, Rate: 1.25, Energy: 8, Bright: 9, Rough: 0.05, Final: -7, Pause: 0.6),
        // disgust
        new(Pitch: 0.86, Range: 1.3, Rate: 0.76, Energy: -1, Bright: 0, Rough: 0.03, Final: -5, Pause: 1.3, Nasal: 1, Lips: 0.95),
        // fear
        new(Pitch: 1.52, Range: 0.9, Rate: 1.35, Energy: 0, Bright: -4, Breath: 0.035, Rough: 0.015, Tremor: 1.1, Final: 2, Pause: 0.9),
        // contempt
        new(Pitch: 0.92, Range: 1.1, Rate: 0.82, Energy: -3, Bright: -3, Rough: 0.012, Final: -6, Pause: 1.4, Nasal: 0.6, Lips: 0.98),
    ];

    /// <summary>The same manner of speaking at a share <paramref name="k"/> of its strength.</summary>
    public Prosody At(double k) => new(
        Math.Pow(Pitch, k), Math.Pow(Range, k), Math.Pow(Rate, k), Energy * k, Bright * k, Breath * k, Rough * k, Tremor * k,
            double.Lerp(-2, Final, k), Math.Pow(Pause, k),
        Nasal * k, Math.Pow(Lips, k));
}
