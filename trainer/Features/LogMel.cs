using Avedis.Engine;
using NWaves.FeatureExtractors;
using NWaves.FeatureExtractors.Options;
using NWaves.Filters.Fda;
using NWaves.Utils;
using NWaves.Windows;

namespace Avedis.Trainer.Features;

/// <summary>
/// Log-mel energies by one of four published conventions, computed in double precision from samples in [-1, 1], or by a library:
/// <code>
///                 avedis              torchaudio          librosa             kaldi
/// 1 amplitude     as it is            as it is            as it is            times 32768
/// 2 frames        centred             centred             centred             inside the signal
/// 3 edges         zeros               mirrored            zeros               -
/// 4 per frame     -                   -                   -                   mean removed, then x[i] -= 0.97 x[i-1] (x[-1] = x[0])
/// 5 window        Hann, periodic      Hann, periodic      Hann, periodic      Hann, symmetric, to the power 0.85
/// 6 FFT length    next power of two   the window          the window          next power of two
/// 7 spectrum      power               power               power               power, bin at half the sample rate left out
/// 8 mel scale     1127 ln(1+f/700)    1127 ln(1+f/700)    Slaney              1127 ln(1+f/700)
/// 9 triangles in  Hz                  Hz                  Hz                  mel
/// 10 range        0 .. rate/2         0 .. rate/2         0 .. rate/2         20 Hz .. rate/2
/// 11 filter norm  none                none                2 / width in Hz     none
/// 12 logarithm    ln max(x, 1e-6)     ln(x + 1e-6)        ln max(x, 1e-10)    ln max(x, 2^-23)
/// </code>
/// A centred frame t has its middle at sample t * hop, and there are 1 + samples / hop of them; inside the signal there are
/// 1 + (samples - window) / hop, none if it is shorter than a window. Step 12 is torchaudio's "log_mels" form, and librosa's power_to_db
/// without its clip-wide top_db (times 10 / ln 10).
///
/// The preset nwaves is NWaves' FilterbankExtractor itself, in F32, with its own choices where there is a choice: frames inside the
/// signal, symmetric
/// Hamming window, FFT of the next power of two, power spectrum, overlapping triangles in Hz over 1127 ln(1+f/700), ln max(x, 1e-6).
///
/// Holds scratch memory: one object per thread.
/// </summary>
public sealed class LogMel
{
    private const double KaldiAmplitude = 32768, PreEmphasis = 0.97;

    private readonly FeatureOptions options;
    private readonly int window, hop, fftLength;
    private readonly double[] taper, frame, power;
    private readonly (int First, double[] Weights)[] filters;
    private readonly double floor;
    private readonly Fft? fft;
    private readonly FilterbankExtractor? extractor; // of the preset nwaves, in place of the FFT
    private readonly float[][] extracted = [];

    public LogMel(FeatureOptions options)
    {
        this.options = options;
        window = (int)Math.Round(options.SampleRate * options.WindowMs / 1000);
        hop = (int)Math.Round(options.SampleRate * options.HopMs / 1000);
        bool ownLength = options.MelPreset is MelPreset.Torchaudio or MelPreset.Librosa;
        fftLength = ownLength ? window : (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)window);
        floor = Floor(options);
        frame = new double[window];
        power = new double[(fftLength / 2) + 1];
        if (options.MelPreset == MelPreset.Nwaves)
        {
            extractor = Extractor();
            extracted = [.. Enumerable.Range(0, options.MelFrames).Select(_ => new float[options.MelBins])];
            taper = [.. Window.OfType(WindowType.Hamming, window)];
            filters = [.. extractor.FilterBank.Select(row => Trimmed([.. row]))];
            return;
        }
        taper = Taper(options.MelPreset, window);
        filters = Filters();
        fft = new Fft(fftLength);
    }

    /// <summary>Mel bins whose triangle contains no bin of the FFT: they hold the floor for ever. More than 0 deserves a warning.</summary>
    public int EmptyFilters => filters.Count(filter => filter.Weights.Length == 0);

    /// <summary>
    /// Everything that decides the numbers, in words that go into the hash of prepared data; raise the version with the arithmetic.
    /// </summary>
    public string Definition => string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"logmel 1: {options.MelPreset} window {window} hop {hop} fft {fftLength} mels {options.MelBins} rate {options.SampleRate} "
        + $"floor {floor:R}");

    /// <summary>What the device's operation takes.</summary>
    internal LogMelGeometry Geometry => new(hop, (float)floor, options.MelPreset == MelPreset.Torchaudio);

    /// <summary>Samples from the start of the first frame to the end of the last, in front of the signal or behind it as well.</summary>
    internal int Reach => ((options.MelFrames - 1) * hop) + window;

    private bool Inside => options.MelPreset is MelPreset.Kaldi or MelPreset.Nwaves;

    // the taper sits in the middle of the FFT frame, whose own middle is at t * hop; the power does not see where the frame starts
    private int FirstSample => Inside ? 0 : -(fftLength / 2) + ((fftLength - window) / 2);

    /// <summary>Steps 2 and 3: the samples that the frames lie in, edges included, from the start of the first frame on.</summary>
    internal void Stage(ReadOnlySpan<float> samples, Span<float> staged)
    {
        for (int i = 0; i < staged.Length; i++)
            staged[i] = Sample(samples, FirstSample + i);
    }

    /// <summary>
    /// Taper times cosine and sine of every frequency, laid out [coarse, fine; frequencies, 2, window], the fine part being what F32
    /// leaves of the coarse.
    /// Steps 1 and 4 are linear in the frame, and are in it.
    /// </summary>
    internal (float[] Values, Shape Shape) Basis()
    {
        int count = power.Length * 2 * window;
        var values = new float[2 * count];
        var rows = new double[2][] { new double[window], new double[window] };
        for (int f = 0; f < power.Length; f++)
        {
            for (int i = 0; i < window; i++)
            {
                // the angle's whole turns are taken out in integers
                var (sine, cosine) = Math.SinCos(2 * Math.PI * ((long)f * i % fftLength) / fftLength);
                (rows[0][i], rows[1][i]) = (taper[i] * cosine, taper[i] * sine);
            }
            for (int part = 0; part < 2; part++)
            {
                if (options.MelPreset == MelPreset.Kaldi)
                    TakeInKaldiFrame(rows[part]);
                for (int i = 0; i < window; i++)
                {
                    int at = (((2 * f) + part) * window) + i;
                    values[at] = (float)rows[part][i];
                    values[count + at] = (float)(rows[part][i] - values[at]);
                }
            }
        }
        return (values, new Shape(2, power.Length, 2, window));
    }

    /// <summary>
    /// Makes of a row for what <see cref="TakeKaldiFrame"/> yields one for the samples: its steps transposed, in the opposite order.
    /// </summary>
    private void TakeInKaldiFrame(double[] row)
    {
        row[0] -= PreEmphasis * row[0];
        for (int i = 0; i + 1 < window; i++)
            row[i] -= PreEmphasis * row[i + 1];
        double mean = row.Sum() / window;
        for (int i = 0; i < window; i++)
            row[i] = KaldiAmplitude * (row[i] - mean);
    }

    /// <summary>The triangles, laid out [MelBins, frequencies].</summary>
    internal (float[] Values, Shape Shape) FilterMatrix()
    {
        var values = new float[filters.Length * power.Length];
        for (int bin = 0; bin < filters.Length; bin++)
            for (int k = 0; k < filters[bin].Weights.Length; k++)
                values[(bin * power.Length) + filters[bin].First + k] = (float)filters[bin].Weights[k];
        return (values, new Shape(filters.Length, power.Length));
    }

    /// <summary>
    /// Fills <paramref name="output"/>, laid out [MelBins, MelFrames], and returns how many of its frames come from the signal; the others
    /// hold
    /// the value of silence, or 0 after normalisation. Samples beyond what the frames need are not read.
    /// </summary>
    public int Compute(ReadOnlySpan<float> samples, Span<float> output)
    {
        int valid = ValidFrames(samples.Length, output);
        if (extractor is null)
            Energies(samples, valid, output);
        else if (valid > 0)
            Extract(samples, valid, output);
        Finish(output, valid);
        return valid;
    }

    private void Energies(ReadOnlySpan<float> samples, int valid, Span<float> output)
    {
        int frames = options.MelFrames;
        for (int t = 0; t < valid; t++)
        {
            TakeFrame(samples, t);
            fft!.PowerSpectrum(frame, power);
            for (int bin = 0; bin < filters.Length; bin++)
            {
                var (first, weights) = filters[bin];
                double energy = 0;
                for (int k = 0; k < weights.Length; k++)
                    energy += weights[k] * power[first + k];
                output[(bin * frames) + t] = (float)Log(energy);
            }
        }
    }

    private void Extract(ReadOnlySpan<float> samples, int valid, Span<float> output)
    {
        extractor!.ComputeFrom(samples[..(((valid - 1) * hop) + window)].ToArray(), extracted);
        for (int bin = 0; bin < options.MelBins; bin++)
            for (int t = 0; t < valid; t++)
                output[(bin * options.MelFrames) + t] = extracted[t][bin];
    }

    /// <summary>Frames of <paramref name="output"/> that come from so many samples.</summary>
    internal int ValidFrames(int samples, ReadOnlySpan<float> output) => output.Length == options.MelCount
        ? Math.Min(options.MelFrames, FrameCount(samples))
        : throw new ArgumentException($"output holds {output.Length} values, [{options.MelBins}, {options.MelFrames}] are needed");

    /// <summary>The frames behind the valid ones, and normalisation.</summary>
    internal void Finish(Span<float> output, int valid)
    {
        int frames = options.MelFrames;
        for (int bin = 0; bin < filters.Length; bin++)
            output.Slice((bin * frames) + valid, frames - valid).Fill((float)Log(0));
        if (options.Normalisation == MelNormalisation.Clip)
            Normalise(output, filters.Length, frames, valid);
    }

    /// <summary>What a padded frame holds.</summary>
    public static float Silence(FeatureOptions options) =>
        options.Normalisation == MelNormalisation.Clip ? 0 : (float)Math.Log(Floor(options));

    private double Log(double energy) => Math.Log(options.MelPreset == MelPreset.Torchaudio ? energy + floor : Math.Max(energy, floor));

    private int FrameCount(int samples)
    {
        if (Inside)
            return samples < window ? 0 : 1 + ((samples - window) / hop);
        return samples == 0 ? 0 : 1 + ((samples + (2 * (fftLength / 2)) - fftLength) / hop);
    }

    /// <summary>Steps 1 to 5: frame t of the signal, tapered.</summary>
    private void TakeFrame(ReadOnlySpan<float> samples, int t)
    {
        if (options.MelPreset == MelPreset.Kaldi)
        {
            TakeKaldiFrame(samples.Slice(t * hop, window));
            return;
        }
        int start = (t * hop) + FirstSample;
        for (int i = 0; i < window; i++)
            frame[i] = Sample(samples, start + i) * taper[i];
    }

    /// <summary>A sample of a signal that is not empty, or of its edges.</summary>
    private float Sample(ReadOnlySpan<float> samples, int at)
    {
        if ((uint)at < (uint)samples.Length)
            return samples[at];
        return options.MelPreset == MelPreset.Torchaudio ? samples[Mirror(at, samples.Length)] : 0;
    }

    private void TakeKaldiFrame(ReadOnlySpan<float> samples)
    {
        double mean = 0;
        for (int i = 0; i < window; i++)
            mean += frame[i] = samples[i] * KaldiAmplitude;
        mean /= window;
        double previous = frame[0] - mean;
        for (int i = 0; i < window; i++)
        {
            double value = frame[i] - mean;
            frame[i] = (value - (PreEmphasis * previous)) * taper[i];
            previous = value;
        }
    }

    /// <summary>Reflects an index at the first and the last sample, neither of which is repeated, as often as it takes.</summary>
    private static int Mirror(int at, int length)
    {
        if (length == 1)
            return 0;
        int period = 2 * (length - 1);
        int folded = ((at % period) + period) % period;
        return folded < length ? folded : period - folded;
    }

    /// <summary>Mean 0 and variance 1 per bin over the valid frames, the variance raised by 1e-5 as instance normalisation does.</summary>
    private static void Normalise(Span<float> values, int bins, int frames, int valid)
    {
        for (int bin = 0; bin < bins; bin++)
        {
            var row = values.Slice(bin * frames, frames);
            double mean = 0, squares = 0;
            foreach (float value in row[..valid])
                mean += value;
            mean /= Math.Max(valid, 1);
            foreach (float value in row[..valid])
                squares += (value - mean) * (value - mean);
            double scale = 1 / Math.Sqrt((squares / Math.Max(valid, 1)) + 1e-5);
            for (int t = 0; t < valid; t++)
                row[t] = (float)((row[t] - mean) * scale);
            row[valid..].Clear();
        }
    }

    private static double[] Taper(MelPreset preset, int length)
    {
        int period = preset == MelPreset.Kaldi ? length - 1 : length;
        double exponent = preset == MelPreset.Kaldi ? 0.85 : 1;
        var taper = new double[length];
        for (int i = 0; i < length; i++)
            taper[i] = Math.Pow(0.5 - (0.5 * Math.Cos(2 * Math.PI * i / period)), exponent);
        return taper;
    }

    private FilterbankExtractor Extractor() => new(new FilterbankOptions
    {
        SamplingRate = options.SampleRate,
        FrameSize = window,
        HopSize = hop,
        FftSize = fftLength,
        FilterBank = FilterBanks.Triangular(fftLength, options.SampleRate, FilterBanks.MelBands(options.MelBins, options.SampleRate)),
        Window = WindowType.Hamming,
        NonLinearity = NonLinearityType.LogE,
        LogFloor = (float)floor,
    });

    /// <summary>The weights of a filter from the first above 0 to the last.</summary>
    private static (int First, double[] Weights) Trimmed(double[] row)
    {
        int first = Math.Max(Array.FindIndex(row, weight => weight > 0), 0);
        return (first, row[first..(Array.FindLastIndex(row, weight => weight > 0) + 1)]);
    }

    /// <summary>Triangles over the FFT bins, steps 7 to 11; only the bins with a weight above 0 are kept.</summary>
    private (int First, double[] Weights)[] Filters()
    {
        var preset = options.MelPreset;
        var bands = preset == MelPreset.Librosa
            ? FilterBanks.MelBandsSlaney(options.MelBins, options.SampleRate)
            : FilterBanks.MelBands(options.MelBins, options.SampleRate, preset == MelPreset.Kaldi ? 20 : 0);
        Func<double, double> unit = preset == MelPreset.Kaldi ? Scale.HerzToMel : hertz => hertz; // in which triangles are straight
        int bins = preset == MelPreset.Kaldi ? fftLength / 2 : (fftLength / 2) + 1;
        return [.. bands.Select(band =>
        {
            double left = unit(band.Item1), top = unit(band.Item2), right = unit(band.Item3),
                norm = preset == MelPreset.Librosa ? 2 / (right - left) : 1;
            var row = new double[bins];
            for (int k = 0; k < bins; k++)
            {
                double x = unit((double)k * options.SampleRate / fftLength);
                row[k] = norm * Math.Max(0, Math.Min((x - left) / (top - left), (right - x) / (right - top)));
            }
            return Trimmed(row);
        })];
    }

    private static double Floor(FeatureOptions options)
    {
        double floor = options.LogFloor ?? options.MelPreset switch
        {
            MelPreset.Kaldi => 1.0 / (1 << 23),
            MelPreset.Librosa => 1e-10,
            _ => 1e-6,
        };
        return options.MelPreset == MelPreset.Nwaves ? (float)floor : floor;
    }
}
