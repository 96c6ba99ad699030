using System.Runtime.InteropServices;
using Avedis.Engine;

namespace Avedis.Bench;

/// <summary>Sizes of the golden batches: N clips of F frames of S x S pixels and M mel bins by T mel steps.</summary>
public readonly record struct GoldenBatchSize(int Clips, int Frames, int Pixels, int Mels, int MelSteps, int Speakers, int Emotions);

/// <summary>
/// Weights and inputs from a formula, the same numbers here and in bench/peers/pytorch/golden.py, which documents it: so both engines start from
/// the same network and see the same clips, and no weights have to be stored.
/// </summary>
public static class GoldenFormula
{
    /// <summary>Output <paramref name="index"/> of splitmix64; the seed is the hash of a name.</summary>
    public static ulong Bits(ulong seed, long index)
    {
        ulong z = seed + ((ulong)index + 1) * 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    /// <summary>In [-1, 1), exact in single precision.</summary>
    public static double Uniform(ulong seed, long index) => ((double)(Bits(seed, index) >> 40) - (1 << 23)) / (1 << 23);

    /// <summary>
    /// A trained parameter in PyTorch's element order. <paramref name="inputs"/> is the number of weights behind one output (C * R * S of a
    /// convolution, columns of a linear layer), also for the bias of a linear layer; not used for batch norm (names with ".bn").
    /// </summary>
    public static float[] Parameter(string name, long count, int inputs)
    {
        var values = new float[count];
        ulong seed = StableHash.Of(name);
        if (name.Contains(".bn", StringComparison.Ordinal))
        {
            double centre = name.EndsWith(".weight", StringComparison.Ordinal) ? 1 : 0;
            for (long i = 0; i < count; i++)
                values[i] = (float)(centre + 0.1 * Uniform(seed, i));
        }
        else
        {
            double bound = 1 / Math.Sqrt(inputs);
            for (long i = 0; i < count; i++)
                values[i] = (float)(Uniform(seed, i) * bound);
        }
        return values;
    }

    /// <summary>Face pixels [N, F, S, S] of batch <paramref name="batch"/>.</summary>
    public static byte[] Faces(int batch, in GoldenBatchSize size)
    {
        ulong coarse = StableHash.Of($"faces.coarse/{batch}"), fine = StableHash.Of($"faces/{batch}");
        int across = (size.Pixels + 7) / 8;
        var faces = new byte[(long)size.Clips * size.Frames * size.Pixels * size.Pixels];
        long i = 0;
        for (long frame = 0; frame < (long)size.Clips * size.Frames; frame++)
            for (int y = 0; y < size.Pixels; y++)
                for (int x = 0; x < size.Pixels; x++, i++)
                {
                    ulong pattern = Bits(coarse, (frame * across + y / 8) * across + x / 8) >> 56;
                    faces[i] = (byte)((3 * pattern + (Bits(fine, i) >> 56)) / 4);
                }
        return faces;
    }

    /// <summary>Log-mel features [N, M, T] of batch <paramref name="batch"/>.</summary>
    public static float[] Mels(int batch, in GoldenBatchSize size)
    {
        ulong coarse = StableHash.Of($"mels.coarse/{batch}"), fine = StableHash.Of($"mels/{batch}");
        int rows = size.Mels / 4, across = (size.MelSteps + 15) / 16;
        var mels = new float[(long)size.Clips * size.Mels * size.MelSteps];
        long i = 0;
        for (int n = 0; n < size.Clips; n++)
            for (int m = 0; m < size.Mels; m++)
                for (int t = 0; t < size.MelSteps; t++, i++)
                    mels[i] = (float)(1.5 * Uniform(coarse, ((long)n * rows + m / 4) * across + t / 16) + Uniform(fine, i));
        return mels;
    }

    public static int[] EmotionLabels(int batch, in GoldenBatchSize size) => Labels($"emotions/{batch}", size.Clips, size.Emotions);

    public static int[] SpeakerLabels(int batch, in GoldenBatchSize size) => Labels($"speakers/{batch}", size.Clips, size.Speakers);

    /// <summary>Batches 0 and 1 as bench/peers/pytorch/step.py --batches reads them: of each its faces, mels (F32), emotions and speakers
    /// (64 bits).</summary>
    public static void WriteBatches(string file, in GoldenBatchSize size)
    {
        using var stream = File.Create(file);
        for (int batch = 0; batch < 2; batch++)
        {
            stream.Write(Faces(batch, size));
            stream.Write(MemoryMarshal.AsBytes<float>(Mels(batch, size)));
            stream.Write(MemoryMarshal.AsBytes<long>([.. EmotionLabels(batch, size)]));
            stream.Write(MemoryMarshal.AsBytes<long>([.. SpeakerLabels(batch, size)]));
        }
    }

    private static int[] Labels(string name, int clips, int classes)
    {
        ulong seed = StableHash.Of(name);
        var labels = new int[clips];
        for (int n = 0; n < clips; n++)
            labels[n] = (int)((Bits(seed, n) >> 32) % (ulong)classes);
        return labels;
    }
}
