namespace Avedis.Engine;

/// <summary>
/// Measures <see cref="PrecisionRates"/> on a layer like those in the middle of a network, a 3x3 convolution of a small batch, forward and
/// both gradients. What counts is how fast the engine's own convolutions are, whatever algorithm they use, not what the processor's units
/// could do. One thread is enough for the ratio of two formats, and its processor time does not count what other programs take: two threads
/// that the system had put on one core gave a third of the rate in one format and half in the other.
/// </summary>
public static class ConvolutionTrial
{
    // 0.3 GFLOP in three passes: some milliseconds, of either kind
    private static readonly Conv2dGeometry geometry = new(2, 13, 13, 128, 128, 3, 3, 1, 1, 1, 1);

    private const int Passes = 3;

    // the fastest of several runs is what the machine can do; on a busy one it takes longer to see it
    private const int MostRounds = 60, QuietRounds = 20;
    private const double Faster = 0.98;

    private const ulong Seed = 1, Stream = 0x5452_4941UL; // "TRIA"

    /// <summary>Takes some tens of milliseconds, on a busy machine more.</summary>
    /// <param name="backend">Of one thread, each call of which has finished when it returns. It is taken over and disposed.</param>
    /// <returns>In GFLOP/s.</returns>
    public static PrecisionRates Measure(IBackend backend)
    {
        using var device = new Device(backend);
        var group = new ParameterGroup(device, "trial");
        Layer fp32 = new(device, group, DType.F32), bf16 = new(device, group, DType.BF16);
        group.Seal();
        device.Plan(fp32.Step, bf16.Step);
        group.Initialise(Seed);
        fp32.Fill();
        bf16.Fill();
        double[] seconds = Fastest(fp32.Seconds, bf16.Seconds);
        double gflop = Passes * 2e-9 * geometry.Output.Count * geometry.R * geometry.S * geometry.C;
        return new(gflop / seconds[0], gflop / seconds[1], "GFLOP/s");
    }

    /// <summary>
    /// Shortest time of each, all taking turns, until none has become clearly shorter for some rounds: whoever disturbs for a while
    /// disturbs all of them.
    /// </summary>
    /// <param name="runs">Each returns the processor time that it took.</param>
    internal static double[] Fastest(params IReadOnlyList<Func<double>> runs)
    {
        double[] best = [.. runs.Select(run => run())]; // touches memory for the first time and builds kernels
        for (int round = 0, quiet = 0; round < MostRounds && quiet < QuietRounds; round++)
        {
            quiet++;
            for (int i = 0; i < best.Length; i++)
            {
                double seconds = runs[i]();
                if (seconds < Faster * best[i])
                    quiet = 0;
                best[i] = Math.Min(best[i], seconds);
            }
        }
        return best;
    }

    /// <summary>The convolution in one type of activations. One tensor serves as the input and as the gradient of the output.</summary>
    private sealed class Layer
    {
        private readonly Device device;
        private readonly Conv2d convolution;
        private readonly Tensor values;

        public Layer(Device device, ParameterGroup group, DType act)
        {
            this.device = device;
            convolution = new Conv2d(device, group, $"{act}", geometry, act, prepared: true);
            values = device.Persistent($"{act}.values", geometry.Input, act);
        }

        public void Step()
        {
            if (convolution.Prepared is { } weights)
                device.Ops.Conv2dPrepare([weights], backward: true);
            convolution.Forward(values);
            convolution.Backward(values);
        }

        /// <summary>Uniform in -1..1; the upper half of a float is a BF16.</summary>
        public void Fill()
        {
            var random = new Philox(Seed, Stream);
            var numbers = new float[values.Count];
            for (int i = 0; i < numbers.Length; i++)
                numbers[i] = (float)random.NextDouble(-1, 1);
            if (values.Type == DType.F32)
                device.Ops.Upload<float>(values, numbers);
            else
                device.Ops.Upload<ushort>(values, [.. numbers.Select(number => (ushort)(BitConverter.SingleToUInt32Bits(number) >> 16))]);
        }

        public double Seconds()
        {
            var start = Environment.CpuUsage.TotalTime;
            Step();
            return (Environment.CpuUsage.TotalTime - start).TotalSeconds;
        }
    }
}
