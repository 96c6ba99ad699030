using Avedis.Bench;
using NUnit.Framework;

namespace Avedis.Tests.Bench;

public sealed class KernelPredictionTests
{
    private static readonly StepPrediction step = KernelPrediction.Of(GpuCeilings.Known[0], "paper", batch: 16);

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

    /// <summary>The moments of 1,057 tiles of 128 x 256, written and read, instead of 69 MB; they keep the units for 18,000 of some 350,000 cycles.</summary>
    [Test]
    public void Statistics_come_from_the_moments_that_the_convolution_leaves()
    {
        PassPrediction Pass(string name) => step.Passes.Single(p => p.Layer == "face.conv3" && p.Pass == name);
        Assert.That(Pass("batch norm: statistics").Megabytes, Is.EqualTo(1057 * 4 * 256 * 4e-6).Within(1e-6));
        Assert.That(Pass("forward").Planned / (Pass("forward").Wgmma / Pass("forward").Useful), Is.EqualTo(1.04).Within(0.005));
        Assert.That(step.Passes.Single(p => p is { Layer: "face.conv6", Pass: "batch norm: statistics" }).Megabytes, Is.EqualTo(800 * 512 * 2e-6).Within(1e-6), "in slices");
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
