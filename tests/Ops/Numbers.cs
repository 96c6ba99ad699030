using System.Runtime.InteropServices;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>Test data: doubles that are exact in the type they will be stored in, and their bytes.</summary>
internal static class Numbers
{
    /// <summary>Uniform in [low, high), rounded to the type.</summary>
    public static double[] Uniform(Random random, long count, DType type = DType.F32, double low = -1, double high = 1) =>
        Fill(count, () => Round(low + (high - low) * random.NextDouble(), type));

    /// <summary>Normal with mean 0, rounded to F32 (Box and Muller).</summary>
    public static double[] Normal(Random random, long count, double deviation) => Fill(count, () => Round(
        deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()), DType.F32));

    /// <summary>Integers in [low, high]; sums of products of small ones are exact and can be compared bit by bit.</summary>
    public static double[] Integers(Random random, long count, int low, int high) => Fill(count, () => random.Next(low, high + 1));

    /// <summary>Values at least <paramref name="gap"/> apart, in random order: no two tie, no small step changes their order.</summary>
    public static double[] Distinct(Random random, long count, double gap)
    {
        var values = Enumerable.Range(0, checked((int)count)).Select(i => (i - count / 2 + 0.25) * gap).ToArray();
        random.Shuffle(values);
        return values;
    }

    public static double[] Constant(long count, double value) => Fill(count, () => value);

    public static double[] Of(int[] values) => Array.ConvertAll(values, value => (double)value);

    public static double[] Abs(double[] values) => Array.ConvertAll(values, Math.Abs);

    public static double[] Round(double[] values, DType type) => Array.ConvertAll(values, value => Round(value, type));

    /// <summary>
    /// Nearest value of the type, ties to even. For BF16 by arithmetic on its eight significant bits and not by the usual shift of
    /// the bit pattern, so that it checks the latter.
    /// </summary>
    public static double Round(double value, DType type)
    {
        if (type == DType.F32 || value == 0)
            return (float)value;
        int exponent = Math.ILogB(value) - 7;
        return Math.ScaleB(Math.Round(Math.ScaleB(value, -exponent), MidpointRounding.ToEven), exponent);
    }

    /// <summary>Nearest values of TF32, eleven significant bits, ties away from zero.</summary>
    public static double[] RoundToTf32(double[] values) => Array.ConvertAll(values, value =>
    {
        if (value == 0)
            return value;
        int exponent = Math.ILogB(value) - 10;
        return Math.ScaleB(Math.Round(Math.ScaleB(value, -exponent), MidpointRounding.AwayFromZero), exponent);
    });

    public static byte[] Encode(double[] values, DType type)
    {
        var bytes = type switch
        {
            DType.F32 => Bytes(Array.ConvertAll(values, value => (float)value)),
            DType.BF16 => Bytes(Array.ConvertAll(values, value => (ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16))),
            DType.U8 => Array.ConvertAll(values, value => (byte)value),
            _ => Bytes(Array.ConvertAll(values, value => (int)value)),
        };
        Assert.That(Decode(bytes, type).AsSpan().SequenceEqual(values), $"test data that {type} holds exactly");
        return bytes;
    }

    public static double[] Decode(byte[] bytes, DType type) => type switch
    {
        DType.F32 => Array.ConvertAll(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), value => (double)value),
        DType.BF16 => Array.ConvertAll(
            MemoryMarshal.Cast<byte, ushort>(bytes).ToArray(), bits => (double)BitConverter.UInt32BitsToSingle((uint)bits << 16)),
        DType.U8 => Array.ConvertAll(bytes, value => (double)value),
        _ => Of(MemoryMarshal.Cast<byte, int>(bytes).ToArray()),
    };

    private static byte[] Bytes<T>(T[] values) where T : unmanaged => MemoryMarshal.AsBytes<T>(values).ToArray();

    private static double[] Fill(long count, Func<double> next)
    {
        var values = new double[count];
        for (long i = 0; i < count; i++)
            values[i] = next();
        return values;
    }
}
