using Avedis.Bench;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class OpBenchmarkTests
{
    private static readonly Tensor First = new("face.conv1.output", new Shape(2, 3), DType.F32);
    private static readonly Tensor Second = new("face.conv2.output", new Shape(4, 5), DType.F32);

    [Test]
    public void Rows_are_medians_over_the_steps_per_operation_and_tensor()
    {
        OpCall[] Step(double seconds) =>
        [
            new("conv2d forward", First, seconds, 6e9, 3_000_000_000, []),
            new("conv2d forward", Second, 1, 5e9, 1_000_000_000, []),
            new("add", First, 0.5, 0, 1_000_000_000, []),
            new("add", First, 0.5, 0, 1_000_000_000, []),
        ];
        OpRow[] rows = OpBenchmark.Rows([Step(100), Step(2), Step(1)]);
        Assert.That(rows.Select(row => (row.Op, row.Tensor)), Is.EqualTo(new[]
        {
            ("conv2d forward", First.Name), ("conv2d forward", Second.Name), ("add", First.Name),
        }));
        Assert.That(rows[0], Is.EqualTo(new OpRow("conv2d forward", First.Name, "[2, 3]", 2e6, 3, 1.5, 0.5)));
        Assert.That(rows[2], Is.EqualTo(new OpRow("add", First.Name, "[2, 3]", 1e6, null, 2, 0.25)));
    }

    [Test]
    public void The_engine_under_test_starts_from_the_losses_that_pytorch_has_there()
    {
        // python3 bench/peers/pytorch/step.py --preset demo --batch 2 prints these losses
        double[] expected = [2.320383, 2.383963, 2.163867];
        using var engine = new AvedisEngine(new CpuBackend(), "demo", Avedis.Trainer.Training.Precision.Fp32, clips: 2);
        foreach (double loss in expected)
            Assert.That(engine.Step().Loss, Is.EqualTo(loss).Within(1e-4 * loss));
    }
}
