using Avedis.Bench.Kernels;
using Avedis.Bindings.Cuda;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>A wait for a barrier in memory that would never end does end, and says which.</summary>
public sealed class WaitReportTests() : ProbeTests(Backends.Forced == "cuda" ? "gpu" : "forward")
{
    /// <summary>
    /// On a GPU the kernel ends itself after two seconds and takes the context with it, and with the context every later test of the
    /// process: it runs there in a process of its own, where the variable says so.
    /// </summary>
    [Test]
    public void A_wait_in_vain_ends_with_a_report()
    {
        if (OnGpu && Environment.GetEnvironmentVariable("AVEDIS_TEST_LOSE_CONTEXT") is null)
            Assert.Ignore("the test loses the context of its process: it needs one of its own, with AVEDIS_TEST_LOSE_CONTEXT=1");
        if (OnGpu && Rig.ComputeCapability != (9, 0))
            Assert.Ignore("not a Hopper");
        Rig.ReportWaits();
        Rig.Launch("probe_wait_in_vain", (1, 3, 1), (64, 1, 1), 0, Rig.Stream);
        var failure = Assert.Throws<CudaException>(Rig.Synchronize)!;
        TestContext.Out.WriteLine(failure.Message);
        Assert.That(failure.Sticky);
        Assert.That(failure.Message, Does.Match(
            "probe_wait_in_vain has waited in vain for barrier " +
            @"barrier\[3\] \(block 0, [0-2], thread (3[2-9]|[45]\d|6[0-3])\); AVEDIS_HOPPER=off"));
    }

    /// <summary>An arrival at a barrier of a convolution is lost: the first, of a thread that copies, or one in the middle.</summary>
    [TestCase("Forward", 0, "gather", @"(full|empty)\[0\]")]
    [TestCase("Forward", 30, "gather", @"(full|empty)\[\d\]")]
    [TestCase("BackwardWeight", 0, "weight", @"full\[0\]")]
    public void The_message_names_kernel_barrier_and_block(string pass, int arrival, string kernel, string barrier)
    {
        if (OnGpu)
            Assert.Ignore("arrivals are lost under emulation only");
        using var backend = (CudaBackend)Emulation.Open(tf32: false);
        using var convolution = new ConvolutionRig(backend, "bf16", new Conv2dGeometry(1, 9, 9, 64, 64, 3, 3, 1, 1, 1, 1));
        Emulation.LoseArrival(arrival);
        var failure = Assert.Throws<CudaException>(() =>
        {
            convolution.Run(Enum.Parse<Conv2dPass>(pass));
            backend.Synchronize();
        })!;
        Emulation.ClearError();
        TestContext.Out.WriteLine(failure.Message);
        Assert.That(failure.Message, Does.Match(
            $@"conv2d_hopper_{kernel}_bf16_\d+x\d+ has waited in vain for barrier {barrier} \(block \d+, \d+, thread \d+\)"));
        Assert.That(failure.Message, Does.Contain("AVEDIS_HOPPER=off"));
    }

    [Test]
    public void An_error_of_another_kind_says_nothing_of_waits()
    {
        if (OnGpu)
            Assert.Ignore("a GPU hangs or gives chance results");
        Rig.ReportWaits();
        Rig.Launch("probe_deadlock", 32, Rig.Room(128));
        Assert.That(Assert.Throws<CudaException>(Rig.Synchronize)!.Message, Does.Not.Contain("in vain"));
    }
}
