using System.Text.Json;
using System.Text.Json.Serialization;
using Avedis.Bench;

namespace Avedis.Tests;

/// <summary>
/// What PyTorch computed in double precision for one small setting of the network: tests/golden/network_demo.json, written by
/// make_network_golden.py beside it. Weights and inputs are not in the file; <see cref="GoldenFormula"/> makes them.
/// </summary>
public sealed record Golden(
    GoldenSetting Setting, GoldenVectors Formula, GoldenOutputs Outputs, Dictionary<string, double[]> Running, GoldenCase Baseline, GoldenCase Auxiliary,
    GoldenCase Alt, GoldenCase Conf, GoldenCase Projected)
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectRequiredConstructorParameters = true,
        RespectNullableAnnotations = true,
    };

    /// <summary>Reads the file, which the build copies beside the tests.</summary>
    public static Golden Load()
    {
        string path = Path.Combine(AppContext.BaseDirectory, "golden", "network_demo.json");
        using FileStream file = File.OpenRead(path);
        return JsonSerializer.Deserialize<Golden>(file, Options) ?? throw new InvalidDataException($"{path} is empty");
    }
}

/// <summary>Sizes and settings of the golden batch. Channels are those of conv1 to conv6; lengths one per clip.</summary>
public sealed record GoldenSetting(
    int[] FaceChannels, int[] VoiceChannels, int Pixels, int Frames, int MelSteps, int Mels, int EmotionWidth, int SpeakerWidth,
    int Clips, int Speakers, int Emotions, int Batch, int[] FaceLengths, int[] MelLengths,
    float Reversal, float PrimaryWeight, float AuxiliaryWeight, float Rate, float AuxiliaryRate)
{
    [JsonIgnore]
    public GoldenBatchSize Size => new(Clips, Frames, Pixels, Mels, MelSteps, Speakers, Emotions);
}

/// <summary>Test vectors of the formula: [name, index, hexadecimal bits] and [index, value] pairs.</summary>
public sealed record GoldenVectors(
    JsonElement[][] Bits, Dictionary<string, double[][]> Parameters, double[][] Faces, double[][] Mels, int[] Emotions, int[] Speakers);

/// <summary>Embeddings and logits by name, row-major: in training mode, and in evaluation mode after that one step.</summary>
public sealed record GoldenOutputs(Dictionary<string, double[]> Training, Dictionary<string, double[]> Evaluation);

/// <summary>
/// One way to train: mean losses of the batch by term ("total" is weighted), gradients by parameter name, and the total losses of ten Adam steps
/// on batches b, b + 1, b, ... by precision ("float64", "float32"); "shaken" is how far ten single precisions part, relative to the loss of each step.
/// </summary>
public sealed record GoldenCase(
    Dictionary<string, double> Losses, Dictionary<string, GoldenGradient> Gradients, Dictionary<string, double[]> Adam);

/// <summary>A gradient in PyTorch's element order: every element up to 512, else 256 samples; sum and Euclidean norm are of all elements.</summary>
/// <param name="Single">How far PyTorch's own single precision is from it, where that may be far; else 0.</param>
public sealed record GoldenGradient(long Count, double Sum, double Norm, double[] Values, double Single = 0)
{
    /// <summary>Element that sample <paramref name="k"/> was taken from.</summary>
    public long ElementOf(int k) => k * Count / Values.Length;

    /// <summary>
    /// Largest difference of a sample, and of the norm, from the same gradient computed elsewhere; relative to the largest sample and to the norm.
    /// </summary>
    public double RelativeDifference(ReadOnlySpan<float> gradient)
    {
        if (gradient.Length != Count)
            throw new ArgumentException($"the gradient has {gradient.Length} elements, the golden one {Count}");
        double largest = 0, difference = 0, squares = 0;
        for (int k = 0; k < Values.Length; k++)
        {
            largest = Math.Max(largest, Math.Abs(Values[k]));
            difference = Math.Max(difference, Math.Abs(Values[k] - gradient[(int)ElementOf(k)]));
        }
        foreach (float g in gradient)
            squares += (double)g * g;
        return Math.Max(difference / largest, Math.Abs(Math.Sqrt(squares) - Norm) / Norm);
    }
}
