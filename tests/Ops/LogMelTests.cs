using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Data;
using Avedis.Trainer.Features;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class LogMelTests(BackendCase backend) : OpTests(backend)
{
    /// <summary>Of ln energies on the device beside those of the features in double precision: energies in F32 are off by some 1e-6.</summary>
    private const double Ln = 1e-4;

    public sealed record Problem(int Rows, int Length, int Window, int Frequencies, int Bins, int Frames, LogMelGeometry Geometry);

    private static IEnumerable<Problem> Problems() =>
    [
        new(1, 1, 1, 1, 1, 1, new(1, 1e-3f, false)),
        // inside the signal
        new(2, 100, 20, 11, 5, 9, new(10, 1e-3f, false)),
        // ends behind it, in whole frames too; several tiles of frames and of frequencies, odd everywhere
        new(3, 331, 17, 67, 7, 71, new(5, 1e-2f, true)),
        new(1, 64, 48, 33, 40, 33, new(3, 1e-6f, false)),
        // gaps between frames; more bins than threads
        new(2, 500, 16, 9, 300, 12, new(40, 1e-3f, true)),
    ];

    [TestCaseSource(nameof(Problems))]
    public void Agrees_with_double_precision(Problem p)
    {
        var random = Seeded(1);
        double[] samples = Numbers.Uniform(random, (long)p.Rows * p.Length), basis = Numbers.Uniform(random, 4L * p.Frequencies * p.Window);
        double[] filters = Numbers.Uniform(random, (long)p.Bins * p.Frequencies, low: 0);
        filters.AsSpan(0, p.Frequencies).Clear(); // a bin that contains no frequency
        var tensorSamples = Op.Input("samples", new Shape(p.Rows, p.Length), DType.F32, samples);
        var tensorBasis = Op.Input("basis", new Shape(2, p.Frequencies, 2, p.Window), DType.F32, basis);
        var tensorFilters = Op.Input("filters", new Shape(p.Bins, p.Frequencies), DType.F32, filters);
        var y = Op.Output("y", new Shape(p.Rows, p.Bins, p.Frames), DType.F32);

        Op.Run(device => device.LogMel(y, tensorSamples, tensorBasis, tensorFilters, p.Geometry));

        var (expected, allowed) = Reference(p, samples, basis, filters);
        Op.Expect(y, expected, allowed);
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var problem = new Problem(
            Extent(random, 3), Extent(random, 400), Extent(random, 60), Extent(random, 70), Extent(random, 50), Extent(random, 40),
            new(Extent(random, 30), random.Next(2) == 0 ? 1e-2f : 1e-6f, random.Next(2) == 0));
        return [() => Agrees_with_double_precision(problem)];
    });

    private static IEnumerable<TestCaseData> GoldenCases() => LogMelGolden.Cases();

    [TestCaseSource(nameof(GoldenCases))]
    public void A_device_agrees_with_each_convention(LogMelGolden golden)
    {
        using var device = new DeviceLogMel(Backend, golden.Options);
        golden.Check(device.Compute);
    }

    private static IEnumerable<MelPreset> InDouble => Enum.GetValues<MelPreset>().Where(preset => preset != MelPreset.Nwaves);

    [Test]
    public void A_device_agrees_with_the_formula_of_nwaves([Values("speech", "clipping", "dc")] string signal)
    {
        DeviceLogMel? device = null;
        NwavesDefinition.Check(LogMelGolden.Signal(signal), options => (device = new DeviceLogMel(Backend, options)).Compute);
        device!.Dispose();
    }

    [Test]
    public void A_device_agrees_with_the_features_in_double_precision(
        [Values(0.0, 0.004, 0.49, 1.0, 1.3)] double seconds, [ValueSource(nameof(InDouble))] MelPreset preset)
    {
        var options = new FeatureOptions { ClipSeconds = 1, MelPreset = preset };
        float[] clip = Sound((int)(seconds * options.SampleRate));
        float[] expected = new float[options.MelCount], actual = new float[options.MelCount];
        int valid = new LogMel(options).Compute(clip, expected);

        using var device = new DeviceLogMel(Backend, options);
        // what an earlier, longer clip has left in memory must not come back
        device.Compute(Sound(2 * options.SampleRate), actual);
        int validOnDevice = device.Compute(clip, actual);

        Assert.That(validOnDevice, Is.EqualTo(valid));
        AssertClose(actual, expected);
    }

    /// <summary>A loud tone between two frequencies of the transform, and the bins far from it, whose energy is near the floor.</summary>
    [Test]
    public void Quiet_bins_beside_a_loud_tone_are_those_of_double_precision([ValueSource(nameof(InDouble))] MelPreset preset)
    {
        var options = new FeatureOptions { ClipSeconds = 0.5, MelPreset = preset, Normalisation = MelNormalisation.None };
        float[] clip = [.. Enumerable.Range(0, 8000).Select(i => (float)Math.Sin(2 * Math.PI * 220 * i / options.SampleRate))];
        float[] expected = new float[options.MelCount], actual = new float[options.MelCount];
        new LogMel(options).Compute(clip, expected);
        using var device = new DeviceLogMel(Backend, options);
        device.Compute(clip, actual);
        AssertClose(actual, expected);
    }

    [Test]
    public void Data_prepared_on_a_device_is_not_taken_for_that_of_the_processor() =>
        Assert.That(Preparer.DefinitionOf(FeatureOptions.Demo, "cuda"), Is.Not.EqualTo(Preparer.DefinitionOf(FeatureOptions.Demo, "cpu")));

    private static void AssertClose(float[] actual, float[] expected)
    {
        double worst = actual.Zip(expected).Max(pair => Math.Abs((double)pair.First - pair.Second));
        TestContext.Out.WriteLine($"largest difference {worst:g3}");
        Assert.That(worst, Is.LessThan(Ln));
    }

    /// <summary>Tones that come and go over noise.</summary>
    private static float[] Sound(int samples)
    {
        var random = Seeded(2);
        return [.. Enumerable.Range(0, samples).Select(i =>
            (float)((i / 3000 % 2 * 0.5 * Math.Sin(0.05 * i)) + (0.3 * Math.Sin(0.7 * i) * Math.Sin(1e-4 * i)) + (0.02 * (random.NextDouble() - 0.5))))];
    }

    /// <summary>
    /// The definition, and its error: the components of the spectrum are sums in double, and what is rounded to F32 afterwards is positive, the powers, the
    /// terms of the energy and their sum; the logarithm makes an absolute error of the relative one.
    /// </summary>
    private static (double[] Values, double[] Allowed) Reference(Problem p, double[] samples, double[] basis, double[] filters)
    {
        var values = new double[p.Rows * p.Bins * p.Frames];
        var allowed = new double[values.Length];
        var power = new double[p.Frequencies];
        int fine = basis.Length / 2;
        for (int n = 0; n < p.Rows; n++)
            for (int t = 0; t < p.Frames; t++)
            {
                for (int f = 0; f < p.Frequencies; f++)
                {
                    power[f] = 0;
                    for (int part = 0; part < 2; part++)
                    {
                        double sum = 0;
                        for (int i = 0; i < p.Window && t * p.Geometry.Hop + i < p.Length; i++)
                        {
                            int at = (2 * f + part) * p.Window + i;
                            sum += samples[n * p.Length + t * p.Geometry.Hop + i] * (basis[at] + basis[fine + at]);
                        }
                        power[f] += sum * sum;
                    }
                }
                for (int b = 0; b < p.Bins; b++)
                {
                    double energy = 0;
                    for (int f = 0; f < p.Frequencies; f++)
                        energy += filters[b * p.Frequencies + f] * power[f];
                    double off = Tolerance.Walk * Math.Sqrt(p.Frequencies + 2) * Tolerance.F32 * energy;
                    double argument = p.Geometry.AddFloor ? energy + p.Geometry.Floor : Math.Max(energy, p.Geometry.Floor);
                    int place = (n * p.Bins + b) * p.Frames + t;
                    values[place] = Math.Log(argument);
                    allowed[place] = off / argument + Tolerance.Transcendental * Tolerance.F32 * (1 + Math.Abs(values[place]));
                }
            }
        return (values, allowed);
    }
}
