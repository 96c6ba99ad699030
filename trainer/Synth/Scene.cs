using Avedis.Engine;

namespace Avedis.Trainer.Synth;

/// <summary>
/// What changes from clip to clip: how strong the emotion is, and camera, light, backdrop, clothes and room. All drawn from the clip's own
/// random stream, so that a clip is the same whichever clips are made before it.
/// </summary>
public sealed record Scene
{
    public required Speaker Speaker { get; init; }

    public required Emotion Emotion { get; init; }

    /// <summary>Strength of the emotion, 0.7 .. 1.</summary>
    public required float Intensity { get; init; }

    /// <summary>Mean turn of the head to the viewer's right and mean nod downwards, radians.</summary>
    public required float Yaw { get; init; }

    public required float Nod { get; init; }

    /// <summary>Half head height as a share of the picture's height.</summary>
    public required float Scale { get; init; }

    /// <summary>Centre of the head as a share of the picture.</summary>
    public required float X { get; init; }

    public required float Y { get; init; }

    /// <summary>Direction the light comes from, radians: 0 the viewer's right, -pi/2 above.</summary>
    public required float LightAngle { get; init; }

    /// <summary>Lightness gained per half head height towards the light.</summary>
    public required float LightStrength { get; init; }

    public required float Exposure { get; init; }

    /// <summary>Positive is reddish, negative bluish.</summary>
    public required float Warmth { get; init; }

    public required int Backdrop { get; init; }

    public required float BackdropHue { get; init; }

    public required float ShirtHue { get; init; }

    /// <summary>Standard deviation of the camera's noise, in steps of 1/255.</summary>
    public required float CameraNoise { get; init; }

    /// <summary>Level of the background sound below neutral speech, dB.</summary>
    public required double SnrDb { get; init; }

    /// <summary>Time in which the room's echo falls by 60 dB, seconds.</summary>
    public required double Reverb { get; init; }

    /// <summary>Level of the echo against the direct sound, 0..1.</summary>
    public required double Wet { get; init; }

    /// <summary>Recording level of the clip, dB against the usual.</summary>
    public required double GainDb { get; init; }

    /// <summary>This clip's own deviation of pitch and speaking rate, as factors.</summary>
    public required double PitchDrift { get; init; }

    public required double RateDrift { get; init; }

    /// <param name="noise">Scale of camera noise, background sound and echo: 0 a studio, 1 usual.</param>
    public static Scene Draw(Speaker speaker, Emotion emotion, int clip, double noise, ulong seed)
    {
        var random = new Philox(seed, Streams.Scene(clip));
        float Between(double low, double high) => (float)random.NextDouble(low, high);
        return new Scene
        {
            Speaker = speaker,
            Emotion = emotion,
            Intensity = Between(0.7, 1),
            Yaw = Between(-0.24, 0.24),
            Nod = Between(-0.08, 0.1),
            Scale = Between(0.345, 0.395),
            X = 0.5f + Between(-0.025, 0.025),
            Y = 0.5f + Between(-0.02, 0.035),
            LightAngle = Between(-Math.PI, 0),
            LightStrength = Between(0.08, 0.26),
            Exposure = Between(0.82, 1.05),
            Warmth = Between(-0.06, 0.08),
            Backdrop = random.Next(4),
            BackdropHue = Between(0, 1),
            ShirtHue = Between(0, 1),
            CameraNoise = (float)noise * Between(0.5, 2.5),
            SnrDb = random.NextDouble(18, 36) - (20 * Math.Log10(Math.Max(noise, 1e-3))),
            Reverb = random.NextDouble(0.15, 0.55),
            Wet = Math.Min(1, noise * random.NextDouble(0.03, 0.22)),
            GainDb = random.NextDouble(-2, 2),
            PitchDrift = Math.Exp(0.03 * random.NextGaussian()),
            RateDrift = Math.Exp(0.06 * random.NextGaussian()),
        };
    }

    /// <summary>Mean fundamental frequency of this clip, Hz.</summary>
    public double Pitch => Speaker.Pitch * PitchDrift * Prosody.All[(int)Emotion].At(Intensity).Pitch;
}
