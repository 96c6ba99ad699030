using Avedis.Bench;
using NUnit.Framework;

namespace Avedis.Tests.Bench;

public sealed class KernelPredictionTests
{
    private static readonly StepPrediction step = KernelPrediction.Of(GpuCeilings.Known[0], "paper", batch: 16);

    private static PassPrediction Pass(string layer, string pass) => step.Passes.Single(p => p.Layer == layer && p.Pass == pass);

    [Test]
    public void Conv3_of_the_faces_is_that_of_hand()
    {
        // 135,200 positions, 256 by 2,304: 159 GFLOP, at 990 TFLOP/s 161 us; 1,057 tiles are eight full rounds of 132 and one with a single tile
        var pass = step.Passes.Single(p => p is { Layer: "face.conv3", Pass: "forward" });
        Assert.Multiple(() =>
        {
            Assert.That(pass.Kernel, Is.EqualTo("conv2d_hopper_gather_bf16_128x256"));
            Assert.That(pass.Gigaflops, Is.EqualTo(2 * 135200 * 256 * 2304e-9).Within(1e-6));
            Assert.That(pass.Peak, Is.EqualTo(161).Within(0.5));
            Assert.That(pass.MmaSync, Is.EqualTo(pass.Peak / 0.64).Within(1e-9));
            Assert.That(pass.Wgmma, Is.EqualTo(pass.Peak / 0.75).Within(1e-9));
            Assert.That(pass.Useful, Is.EqualTo(135200 / (9 * 132 * 128.0)).Within(1e-9));
        });
    }

    [Test]
    public void A_pass_that_only_moves_bytes_takes_as_long_at_any_rate_of_products()
    {
        var pass = step.Passes.First(p => p.Pass == "batch norm: statistics");
        Assert.That(new[] { pass.MmaSync, pass.Wgmma, pass.Planned }, Is.All.EqualTo(pass.Peak));
    }

    /// <summary>The moments of 1,057 tiles of 128 x 256, written and read, instead of 69 MB.</summary>
    [Test]
    public void Statistics_come_from_the_moments_that_the_convolution_leaves()
    {
        Assert.That(Pass("face.conv3", "batch norm: statistics").Megabytes, Is.EqualTo(1057 * 4 * 256 * 4e-6).Within(1e-6));
        Assert.That(Pass("face.conv6", "batch norm: statistics").Megabytes, Is.EqualTo(800 * 512 * 2e-6).Within(1e-6), "in slices");
    }

    /// <summary>
    /// Nine rounds of 36 steps, each of which fetches 384 lines of 128 bytes at 30 a cycle; then 4,300 cycles for results and moments.
    /// </summary>
    [Test]
    public void A_convolution_takes_as_long_as_it_fetches()
    {
        Assert.That(Pass("face.conv3", "forward").Planned, Is.EqualTo(9 * (36 * 384 * 128 / 30.0 + 4300) / 1755).Within(0.01));
        Assert.That(Pass("face.conv3", "gradient of x").Planned, Is.EqualTo(9 * (36 * 384 * 128 / 30.0 + 1200) / 1755).Within(0.01));
    }

    /// <summary>
    /// 9,504,800 positions, 49 taps, 96 channels, pooled to 2,332,800 outputs. Gram matrix: 28 pairs of groups, 124 instructions of a warp
    /// at 32 positions; gradient: 9 reads of shared memory by each of 8 warps, for each output and 32 channels.
    /// </summary>
    [Test]
    public void The_first_block_multiplies_in_fp32_and_waits_for_shared_memory()
    {
        const double CyclesOfMicrosecond = 132 * 1755;
        PassPrediction gram = Pass("face.conv1", "Gram matrix"), forward = Pass("face.conv1", "forward to pool");
        var backward = Pass("face.conv1", "backward");
        Assert.Multiple(() =>
        {
            Assert.That(gram.Peak, Is.EqualTo(9504800.0 * 49 * 50 / 67e6).Within(0.01));
            Assert.That(new[] { gram.MmaSync, gram.Wgmma }, Is.All.EqualTo(gram.Peak), "no matrix units");
            Assert.That(gram.Planned, Is.EqualTo(9504800 / 32.0 * 28 * 31 / CyclesOfMicrosecond).Within(0.01));
            Assert.That(forward.Planned, Is.EqualTo(9504800 * 3.0 * 8 / CyclesOfMicrosecond).Within(0.01));
            Assert.That(backward.Peak, Is.EqualTo(2 * 2332800.0 * 49 * 96 / 67e6).Within(0.01));
            Assert.That(backward.Planned, Is.EqualTo(2332800.0 * 3 * 8 * 9 / CyclesOfMicrosecond).Within(0.01));
        });
    }

    [Test]
    public void No_time_is_below_the_floor_and_every_convolution_but_the_stem_is_there()
    {
        Assert.That(step.Passes.Where(p => p.Planned < p.Wgmma || p.Wgmma < p.Peak), Is.Empty);
        Assert.That(step.Passes.Count(p => p.Kernel.StartsWith("conv2d_hopper", StringComparison.Ordinal)), Is.EqualTo(2 * 5 * 3));
        Assert.That(step.Passes.Where(p => p.Useful is < 0.3 or > 1), Is.Empty);
    }

    [Test]
    public void The_table_says_that_it_is_arithmetic()
    {
        string text = KernelPrediction.Markdown(step);
        Assert.That(text, Does.Contain("Arithmetic, not measurement").And.Contain("| face.conv3 | forward |").And.Contain("clips/s"));
    }
}
