using System.Text.Json;
using Avedis.Bench;
using Avedis.Engine;
using Avedis.Trainer.Benchmark;
using Avedis.Trainer.Model;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>What the floor is made of; the numbers of the paper's network are also derived by hand from its table of layers.</summary>
public sealed class StepArithmeticTests
{
    [Test]
    public void One_clip_of_the_paper_takes_346_gigaflops()
    {
        double face = StepArithmetic.Stream(ConvStack.FaceRows, NetworkOptions.Paper.FaceChannels, 224, 224);
        double voice = StepArithmetic.Stream(ConvStack.VoiceRows, NetworkOptions.Paper.VoiceChannels, 40, 1200);
        Assert.That(face / 1e9, Is.EqualTo(4.538).Within(0.0005));
        Assert.That(voice / 1e9, Is.EqualTo(119.0).Within(0.05));
        Assert.That(((50 * face) + voice) / 1e9, Is.EqualTo(345.9).Within(0.05));
        // embeddings of 2048 and 64 numbers over 1024, heads of 5 and 1251 classes, three passes
        double branches = 3 * 2.0 * ((1024 * (2048 + 64)) + (2048 * 5) + (64 * 1251));
        Assert.That(StepArithmetic.Flops(new Workload("paper", 1)), Is.EqualTo((50 * face) + voice + branches).Within(1));
    }

    [Test]
    public void A_batch_takes_as_many_times_as_much_as_it_has_clips()
    {
        double one = StepArithmetic.Flops(new Workload("demo", 1));
        Assert.That(StepArithmetic.Flops(new Workload("demo", 32)), Is.EqualTo(32 * one).Within(1));
        Assert.That(StepArithmetic.Flops(new Workload("demo", 1, Frames: 16)), Is.GreaterThan(one));
        Assert.That(StepArithmetic.Flops(new Workload("demo", 1, Speakers: 1024, Embedding: 100)) - StepArithmetic.Flops(new Workload("demo", 1, Speakers: 24, Embedding: 100)),
            Is.EqualTo(3 * 2.0 * 100 * 1000).Within(1));
    }

    [Test]
    public void It_is_what_the_operations_of_a_step_report()
    {
        var workload = new Workload("demo", 2);
        using var backend = new TimingBackend(new CpuBackend());
        using var engine = new AvedisEngine(backend, workload, Trainer.Training.Precision.Fp32);
        backend.TakeCalls();
        engine.Step();
        Assert.That(backend.TakeCalls().Sum(call => call.Flops), Is.EqualTo(StepArithmetic.Flops(workload)).Within(1));
    }

    [Test]
    public void The_peak_rates_of_the_processor_are_measured_in_both_precisions()
    {
        var rates = PeakRates.Measure(threads: 1);
        Assert.That(rates.Fp32, Is.Positive);
        Assert.That(rates.Bf16, Is.Positive);
        Assert.That(rates["tf32"], Is.Null);
        Assert.That(JsonSerializer.Deserialize<PeakRates>(JsonSerializer.Serialize(rates, BenchJson.Options), BenchJson.Options), Is.EqualTo(rates));
    }

    [TestCase("NVIDIA H100 80GB HBM3, sm_90", 495e3)]
    [TestCase("NVIDIA A100-SXM4-40GB, sm_80", 156e3)]
    [TestCase("A GPU that nobody knows", null)]
    public void The_peak_rate_of_a_gpu_is_that_of_its_data_sheet(string description, double? tf32) =>
        Assert.That(PeakRates.OfGpu(description)["tf32"], Is.EqualTo(tf32));
}
