using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>
/// Speaks an utterance: a source of glottal pulses (Rosenberg 1971) and aspiration noise, filtered by five formants in cascade (Klatt
/// 1980), consonants from shaped noise, then the room (Schroeder 1962) and background noise.
/// </summary>
public static class Voice
{
    public const int SampleRate = 16000;
    private const int ControlStep = 80;           // samples between changes of the filters: 5 ms
    private const double LowShare = 0.445;         // 1 - exp(-2 pi 1500 / 16000): a pole at 1.5 kHz
    private const double NeutralLevel = -26;      // dBFS, root mean square over the voiced part
    private const double Ceiling = 0.7079;        // -3 dBFS

    private static readonly double[] Bandwidths = [70, 90, 130, 200, 280]; // Hz

    public static int SampleCount(double seconds) => (int)Math.Round(seconds * SampleRate);

    /// <summary>One clip of mono speech, 16 bit, <paramref name="seconds"/> long, peaks at or below -3 dBFS.</summary>
    public static short[] Speak(Scene scene, Utterance utterance, double seconds, Philox random)
    {
        int count = SampleCount(seconds);
        var prosody = Prosody.All[(int)scene.Emotion].At(scene.Intensity);
        var signal = Vocalize(scene, prosody, utterance, count, random);
        double energy = 0;
        int voiced = 0;
        foreach (var syllable in utterance.Syllables)
            for (int n = (int)(syllable.Start * SampleRate); n < Math.Min(count,
                (int)((syllable.Start + syllable.Length) * SampleRate)); n++, voiced++)
                energy += signal[n] * signal[n];
        double level = Math.Sqrt(energy / Math.Max(1, voiced)), wanted = Decibel(NeutralLevel + prosody.Energy + scene.GainDb);
        for (int n = 0; n < count; n++)
            signal[n] *= wanted / Math.Max(level, 1e-9);
        AddRoom(signal, scene);
        AddBackground(signal, Decibel(NeutralLevel + scene.GainDb - scene.SnrDb), random);
        double peak = signal.Max(Math.Abs), gain = peak > Ceiling ? Ceiling / peak : 1;
        var samples = new short[count];
        for (int n = 0; n < count; n++)
            samples[n] = (short)Math.Round(signal[n] * gain * 32767);
        return samples;
    }

    private static double[] Vocalize(Scene scene, in Prosody prosody, Utterance utterance, int count, Philox random)
    {
        var speaker = scene.Speaker;
        var signal = new double[count];
        Span<Resonator> tract = stackalloc Resonator[5];
        Span<double> formants = [500, 1500, 2500, 3500, 4500], goals = [500, 1500, 2500, 3500, 4500];
        var hiss = default(Resonator);
        double scale = speaker.Formants * prosody.Lips, breath = speaker.Breath + prosody.Breath;
        double bright = Decibel(8 + speaker.Bright + prosody.Bright), hissing = Decibel(0.5 * prosody.Bright);
        double openPart = Math.Clamp(0.62 - (0.012 * prosody.Bright), 0.45, 0.75), rise = 0.65 * openPart, fall = 0.35 * openPart;
        double phase = 0, period = 1, flow = 0, low = 0, loudness = 0, friction = 0, pitch = scene.Pitch, tremor = 0;
        for (int n = 0; n < count; n++)
        {
            if (n % ControlStep == 0)
            {
                double time = (double)n / SampleRate;
                var now = utterance.At(time);
                double voicedGoal = 0, frictionGoal = 0, semitones = 0;
                if (now is { } syllable)
                {
                    bool onset = time < syllable.Start + syllable.OnsetLength;
                    (goals[0], goals[1], goals[2]) = (syllable.Vowel.F1, syllable.Vowel.F2 * speaker.Accent2,
                        syllable.Vowel.F3 * speaker.Accent3);
                    voicedGoal = syllable.Envelope(time);
                    if (onset)
                        (voicedGoal, frictionGoal) = Begin(syllable, time, goals, ref hiss, scale);
                    semitones = Melody(prosody, syllable, time);
                }
                tremor = Math.Sin(2 * Math.PI * 7 * time);
                semitones += (prosody.Tremor * tremor) + (speaker.VibratoDepth * Math.Sin(2 * Math.PI * speaker.VibratoRate * time));
                pitch += 0.35 * ((scene.Pitch * Math.Pow(2, semitones / 12)) - pitch);
                loudness += 0.45 * ((voicedGoal * (1 + (0.25 * prosody.Tremor * tremor))) - loudness);
                friction += 0.6 * (frictionGoal - friction);
                for (int i = 0; i < 5; i++)
                {
                    formants[i] += 0.28 * (goals[i] - formants[i]);
                    double wider = i == 0 ? 1 + (1.5 * prosody.Nasal) + (12 * breath) : 1 + (6 * breath);
                    tract[i].Tune(formants[i] * scale, Bandwidths[i] * wider);
                }
            }
            phase += pitch * period / SampleRate;
            if (phase >= 1)
            {
                phase -= 1;
                period = Math.Max(0.7, 1 + ((0.006 + prosody.Rough) * random.NextGaussian()));
            }
            double glottis = phase < rise ? 0.5 * (1 - Math.Cos(Math.PI * phase / rise)) : phase < openPart
                ? Math.Cos(0.5 * Math.PI * (phase - rise) / fall) : 0;
            double noise = random.NextGaussian(), source = (glottis - flow) * 4; // the lips radiate the change of the flow
            flow = glottis;
            source += breath * noise * (0.3 + glottis);
            low += LowShare * (source - low);
            double value = (low + (bright * (source - low))) * loudness;
            for (int i = 0; i < 5; i++)
                value = tract[i].Next(value);
            signal[n] = value + (friction * hiss.Next(noise) * hissing);
        }
        return signal;
    }

    /// <summary>The consonant that opens a syllable: sets the formants and the noise band, returns the levels of voice and of
    /// noise.</summary>
    private static (double Voice, double Noise) Begin(Syllable syllable, double time, Span<double> goals, ref Resonator hiss, double scale)
    {
        double into = (time - syllable.Start) / syllable.OnsetLength;
        switch (syllable.Onset)
        {
            case Onset.Sibilant:
                hiss.Tune(Math.Min(5600 * scale, 7200), 1200);
                return (0, 0.045 * Math.Sin(Math.PI * Math.Min(1, into)));
            case Onset.Hush:
                hiss.Tune(2900 * scale, 900);
                return (0, 0.07 * Math.Sin(Math.PI * Math.Min(1, into)));
            case Onset.Stop:
                hiss.Tune(1800 * scale, 1500);
                return (0, into > 0.6 ? 0.12 : 0);
            case Onset.Nasal:
                (goals[0], goals[1]) = (250, 1200);
                return (0.35, 0);
            default:
                (goals[0], goals[1]) = (320, goals[1] > 1500 ? 2200 : 700);
                return (0.5, 0);
        }
    }

    /// <summary>Pitch against the clip's mean, in semitones: falling through the phrase, up on stress, and its own end.</summary>
    private static double Melody(in Prosody prosody, in Syllable syllable, double time)
    {
        double into = (time - syllable.Start) / syllable.Length;
        double accent = 2.2 * syllable.Stress * Math.Sin(Math.PI * into), fall = 1.2 * (0.5 - syllable.Place);
        return (prosody.Range * (accent + fall - 0.8)) + (syllable.Place == 1 ? prosody.Final * into : 0);
    }

    private static void AddRoom(double[] signal, Scene scene)
    {
        if (scene.Wet <= 0)
            return;
        var echo = new double[signal.Length];
        foreach (int delay in (ReadOnlySpan<int>)[475, 594, 658, 699]) // samples: 29.7, 37.1, 41.1 and 43.7 ms, mutually prime
        {
            double feedback = Math.Pow(10, -3.0 * delay / (scene.Reverb * SampleRate));
            var line = new double[delay];
            for (int n = 0; n < signal.Length; n++)
            {
                double late = line[n % delay];
                echo[n] += late;
                line[n % delay] = signal[n] + (feedback * late);
            }
        }
        foreach (int delay in (ReadOnlySpan<int>)[80, 27])
        {
            var line = new double[delay];
            for (int n = 0; n < signal.Length; n++)
            {
                double late = line[n % delay], into = echo[n] + (0.7 * late);
                echo[n] = late - (0.7 * into);
                line[n % delay] = into;
            }
        }
        for (int n = 0; n < signal.Length; n++)
            signal[n] += scene.Wet * echo[n];
    }

    /// <summary>Room noise: white noise and a slower, deeper rumble, <paramref name="level"/> strong (root mean square).</summary>
    private static void AddBackground(double[] signal, double level, Philox random)
    {
        double rumble = 0;
        for (int n = 0; n < signal.Length; n++)
        {
            double noise = random.NextGaussian();
            rumble = (0.97 * rumble) + (0.243 * noise); // unit variance
            signal[n] += level * ((0.35 * noise) + (0.8 * rumble));
        }
    }

    private static double Decibel(double value) => Math.Pow(10, value / 20);

    /// <summary>A digital resonator, gain 1 at frequency 0 (Klatt 1980, equations 1 and 2).</summary>
    private struct Resonator
    {
        private double a, b, c, last, before;

        public void Tune(double frequency, double bandwidth)
        {
            double radius = Math.Exp(-Math.PI * bandwidth / SampleRate);
            c = -radius * radius;
            b = 2 * radius * Math.Cos(2 * Math.PI * Math.Min(frequency, 7600) / SampleRate);
            a = 1 - b - c;
        }

        public double Next(double input)
        {
            double output = (a * input) + (b * last) + (c * before);
            (before, last) = (last, output);
            return output;
        }
    }
}
