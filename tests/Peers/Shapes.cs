using Avedis.Engine;
using Avedis.Tests.Ops;

namespace Avedis.Peers;

/// <summary>How shapes are drawn: small, often odd, so that vectors and tiles end everywhere.</summary>
internal static class Shapes
{
    /// <summary>An extent of 1 to <paramref name="most"/>: one in four is 1, others often small.</summary>
    public static int Extent(Random random, int most) =>
        random.Next(4) == 0 ? 1 : 1 + (int)(most * random.NextDouble() * random.NextDouble());

    /// <summary>Channels of a convolution: half of them fill vectors of 8.</summary>
    public static int Channels(Random random) => random.Next(2) == 0 ? 8 * random.Next(1, 7) : Extent(random, 50);

    public static Pool2dGeometry Pool(Random random, int n, int h, int w, int channels)
    {
        int r = Extent(random, Math.Min(h, 15)), s = Extent(random, Math.Min(w, 17));
        return new(n, h, w, channels, r, s, Extent(random, 3), Extent(random, 3), random.Next(r), random.Next(s));
    }

    /// <summary>Values without two equal ones, in random order; in BF16 as far as there are so many of ordinary size.</summary>
    public static double[] Distinct(Random random, long count, DType type)
    {
        const double Gap = 1.0 / 1024;
        if (type == DType.F32)
            return Numbers.Distinct(random, count, Gap);
        // 256 values of both signs between a power of two and the next
        const int Significands = 128, Exponents = 40;
        var values = new double[Math.Max(count, 2 * Significands * Exponents)];
        for (int i = 0; i < values.Length; i++)
        {
            int number = i % (2 * Significands * Exponents), exponent = number / (2 * Significands) - Exponents / 2;
            values[i] = (number % 2 == 0 ? 1 : -1) * Math.ScaleB(1 + number / 2 % Significands / (double)Significands, exponent);
        }
        random.Shuffle(values);
        return values[..(int)count];
    }
}
