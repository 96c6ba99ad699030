using Avedis.Bench;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class AvedisEngineTests
{
    [Test]
    public void The_engine_under_test_starts_from_the_losses_that_pytorch_has_there()
    {
        // python3 bench/peers/pytorch/step.py --preset demo --batch 2 prints these losses
        double[] expected = [2.320383, 2.383963, 2.163867];
        using var engine = new AvedisEngine(new CpuBackend(), new Workload("demo", Clips: 2), Avedis.Trainer.Training.Precision.Fp32);
        foreach (double loss in expected)
            Assert.That(engine.Step().Loss, Is.EqualTo(loss).Within(1e-4 * loss));
    }
}
