using System.Runtime.CompilerServices;

namespace Avedis.Engine;

/// <summary>
/// Counter-based random numbers, Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// The n-th number is a pure function of (seed, stream, n): give every clip, layer or epoch a stream of its own, and nothing depends on the
/// order in which they are drawn or on the number of threads. The key is the seed; the low half of the counter counts blocks of four words,
/// the high half is the stream. Not safe for use by several threads at once: make one per thread of work, they are cheap.
/// </summary>
public sealed class Philox(ulong seed, ulong stream)
{
    private ulong block;      // number of the next block of four words
    private int used = 4;     // words of the current block already handed out
    private uint w0, w1, w2, w3;
    private double spare;     // the second of the last pair of normal deviates
    private bool hasSpare;

    /// <summary>The ten-round bijection itself: counter in, four words out.</summary>
    /// <param name="low">Words 0 and 1 of the counter, word 0 in the low half.</param>
    /// <param name="high">Words 2 and 3 of the counter.</param>
    /// <param name="key">Words 0 and 1 of the key.</param>
    public static (uint W0, uint W1, uint W2, uint W3) Block(ulong low, ulong high, ulong key)
    {
        uint c0 = (uint)low, c1 = (uint)(low >> 32), c2 = (uint)high, c3 = (uint)(high >> 32);
        uint k0 = (uint)key, k1 = (uint)(key >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0, p1 = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9; // the golden ratio and the square root of 3, less 1
            k1 += 0xBB67AE85;
        }
        return (c0, c1, c2, c3);
    }

    /// <summary>32 random bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint NextUInt()
    {
        if (used == 4)
        {
            (w0, w1, w2, w3) = Block(block++, stream, seed);
            used = 0;
        }
        return used++ switch { 0 => w0, 1 => w1, 2 => w2, _ => w3 };
    }

    /// <summary>Uniform in [0, 1), 24 bits.</summary>
    public float NextFloat() => (NextUInt() >> 8) * (1f / (1 << 24));

    /// <summary>Uniform in [low, high).</summary>
    public double NextDouble(double low, double high) => low + ((high - low) * NextDouble());

    /// <summary>Uniform in [0, 1), 53 bits.</summary>
    public double NextDouble()
    {
        ulong high = NextUInt() >> 5, low = NextUInt() >> 6;
        return ((high << 26) | low) * (1.0 / (1UL << 53));
    }

    /// <summary>Normal deviate, mean 0 and variance 1 (Box and Muller 1958).</summary>
    public double NextGaussian()
    {
        if (hasSpare)
        {
            hasSpare = false;
            return spare;
        }
        double radius = Math.Sqrt(-2 * Math.Log(1 - NextDouble())); // 1 - u is never 0
        var (sine, cosine) = Math.SinCos(2 * Math.PI * NextDouble());
        spare = radius * sine;
        hasSpare = true;
        return radius * cosine;
    }

    /// <summary>Uniform in 0 .. n - 1 without bias (Lemire 2019).</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="n"/> is not positive.</exception>
    public int Next(int n)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(n);
        ulong product = (ulong)NextUInt() * (uint)n;
        if ((uint)product < (uint)n)
        {
            uint reject = (uint)(-n) % (uint)n; // 2^32 mod n
            while ((uint)product < reject)
                product = (ulong)NextUInt() * (uint)n;
        }
        return (int)(product >> 32);
    }

    /// <summary>Puts <paramref name="items"/> in uniformly random order (Fisher and Yates).</summary>
    public void Shuffle<T>(Span<T> items)
    {
        for (int i = items.Length - 1; i > 0; i--)
        {
            int j = Next(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}
