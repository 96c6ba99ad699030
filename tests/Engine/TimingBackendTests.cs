using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What the stop watch asks of the backend that it times: a device that is held while the host queues, and no more marks than between two
/// readings.
/// </summary>
public sealed class TimingBackendTests
{
    private readonly List<string> said = [];

    private sealed class Recording(IBackend inner, List<string> said) : WatchedBackend(inner)
    {
        public override void Hold() => said.Add("hold");

        public override void Release() => said.Add("release");

        public override void ForgetMarks() => said.Add("forget");
    }

    [Test]
    public void A_step_is_queued_as_a_whole_before_the_device_begins()
    {
        using var timing = Open(out var x);
        timing.Replay("step", () =>
        {
            timing.Zero(x);
            timing.Add(x, x);
        });
        Assert.That(said, Is.EqualTo(new[] { "hold", "zero", "add", "release" }));
        Assert.That(timing.TakeCalls().Select(call => call.Op), Is.EqualTo(new[] { "zero", "add" }));
        Assert.That(said[^1], Is.EqualTo("forget"));
    }

    [Test]
    public void An_operation_by_itself_is_held_too()
    {
        using var timing = Open(out var x);
        timing.Zero(x);
        Assert.That(said, Is.EqualTo(new[] { "hold", "zero", "release" }));
    }

    [Test]
    public void A_step_that_fails_holds_nothing()
    {
        using var timing = Open(out _);
        Assert.Throws<InvalidOperationException>(() => timing.Replay("step", () => throw new InvalidOperationException()));
        Assert.That(said, Is.EqualTo(new[] { "hold", "release" }));
    }

    private TimingBackend Open(out Tensor x)
    {
        said.Clear();
        var cpu = new CpuBackend();
        x = new Tensor("x", new Shape(4), DType.F32, cpu.Allocate(16));
        return new TimingBackend(new Recording(cpu, said) { Before = said.Add });
    }
}
