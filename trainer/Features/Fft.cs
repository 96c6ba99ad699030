using System.Numerics;
using NWaves.Transforms;

namespace Avedis.Trainer.Features;

/// <summary>
/// Fourier transform of one fixed length in double precision, without allocation. Powers of two are NWaves'; it has no others, and those
/// are here, fast where
/// the prime factors are small (400 = 4 4 5 5). Stockham's form: each pass reads one buffer and writes the other, and the result comes out
/// in order.
/// Not thread-safe: the buffers belong to the object.
/// </summary>
internal sealed class Fft
{
    private readonly int length;
    private readonly RealFft64? powerOfTwo;
    private readonly int[] radices = [];
    private readonly double[] cosine = [], sine = []; // exp(-2 pi i k / length)
    private double[] re, im, nextRe, nextIm;

    public Fft(int length)
    {
        this.length = length;
        (re, im, nextRe, nextIm) = (new double[length], new double[length], new double[length], new double[length]);
        if (length > 2 && BitOperations.IsPow2(length))
        {
            powerOfTwo = new RealFft64(length);
            return;
        }
        radices = Factor(length);
        (cosine, sine) = (new double[length], new double[length]);
        for (int k = 0; k < length; k++)
            (sine[k], cosine[k]) = Math.SinCos(-2 * Math.PI * k / length);
    }

    /// <summary>
    /// Squared magnitude of bins 0 .. length / 2 of a real signal; a signal shorter than the transform is continued with zeros.
    /// </summary>
    public void PowerSpectrum(ReadOnlySpan<double> signal, Span<double> power)
    {
        signal.CopyTo(re);
        re.AsSpan(signal.Length).Clear();
        if (powerOfTwo is null)
            Transform();
        else
        {
            (re, nextRe) = (nextRe, re);
            powerOfTwo.Direct(nextRe, re, im);
        }
        for (int k = 0; k <= length / 2; k++)
            power[k] = (re[k] * re[k]) + (im[k] * im[k]);
    }

    private void Transform()
    {
        im.AsSpan().Clear();
        int rest = length, stride = 1;
        foreach (int radix in radices)
        {
            rest /= radix;
            Pass(radix, rest, stride);
            (re, nextRe) = (nextRe, re);
            (im, nextIm) = (nextIm, im);
            stride *= radix;
        }
    }

    /// <summary>
    /// One pass: transforms of <paramref name="radix"/> points that lie <paramref name="rest"/> * stride apart, then the twiddle.
    /// </summary>
    private void Pass(int radix, int rest, int stride)
    {
        int turn = length / radix;
        for (int p = 0; p < rest; p++)
            for (int u = 0; u < radix; u++)
            {
                int twiddle = p * u * stride % length;
                double wr = cosine[twiddle], wi = sine[twiddle];
                int q = 0;
                // neighbours go through the same steps in the same order: the numbers are those of one by one
                for (; q + Vector<double>.Count <= stride; q += Vector<double>.Count)
                {
                    Vector<double> sumRe = default, sumIm = default;
                    for (int t = 0, from = q + (stride * p), angle = 0; t < radix; t++, from += stride * rest)
                    {
                        var (fromRe, fromIm) = (new Vector<double>(re, from), new Vector<double>(im, from));
                        sumRe += (fromRe * cosine[angle]) - (fromIm * sine[angle]);
                        sumIm += (fromRe * sine[angle]) + (fromIm * cosine[angle]);
                        angle += u * turn;
                        if (angle >= length)
                            angle -= length;
                    }
                    int to = q + (stride * ((radix * p) + u));
                    ((sumRe * wr) - (sumIm * wi)).CopyTo(nextRe, to);
                    ((sumRe * wi) + (sumIm * wr)).CopyTo(nextIm, to);
                }
                for (; q < stride; q++)
                {
                    double sumRe = 0, sumIm = 0;
                    for (int t = 0, from = q + (stride * p), angle = 0; t < radix; t++, from += stride * rest)
                    {
                        sumRe += (re[from] * cosine[angle]) - (im[from] * sine[angle]);
                        sumIm += (re[from] * sine[angle]) + (im[from] * cosine[angle]);
                        angle += u * turn;
                        if (angle >= length)
                            angle -= length;
                    }
                    int to = q + (stride * ((radix * p) + u));
                    nextRe[to] = (sumRe * wr) - (sumIm * wi);
                    nextIm[to] = (sumRe * wi) + (sumIm * wr);
                }
            }
    }

    private static int[] Factor(int length)
    {
        var factors = new List<int>();
        for (int radix = 4; length > 1; radix = radix == 4 ? 2 : radix == 2 ? 3 : radix + 2)
            for (; length % radix == 0; length /= radix)
                factors.Add(radix);
        return [.. factors];
    }
}
