using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests;

public sealed class MemoryPlanTests
{

    private static Tensor[] Chain(Device device, int count) =>
        [.. Enumerable.Range(0, count).Select(i => device.Transient($"t{i}", new Shape(1000 + i), DType.F32))];

    [Test]
    public void Tensors_that_live_at_the_same_time_never_overlap_and_others_share()
    {
        using var device = new Device(new CpuBackend());
        var a = device.Transient("a", new Shape(1024), DType.F32);
        var b = device.Transient("b", new Shape(1024), DType.F32);
        var c = device.Transient("c", new Shape(1024), DType.F32);
        device.Plan(() =>
        {
            device.Ops.Zero(a);
            device.Ops.Copy(b, a); // a and b live together
            device.Ops.Copy(c, b); // a is dead: c may take its place
        });
        Assert.Multiple(() =>
        {
            Assert.That((long)Math.Abs(a.Address - b.Address), Is.GreaterThanOrEqualTo(4096));
            Assert.That((long)Math.Abs(b.Address - c.Address), Is.GreaterThanOrEqualTo(4096));
            Assert.That(c.Address, Is.EqualTo(a.Address));
            Assert.That(device.Memory!.TransientBytes, Is.EqualTo(2 * 4096));
            Assert.That(device.Memory.TransientBytesUnshared, Is.EqualTo(3 * 4096));
        });
    }

    [Test]
    public void A_tensor_used_in_two_kinds_of_step_keeps_clear_of_both()
    {
        using var device = new Device(new CpuBackend());
        var both = device.Transient("both", new Shape(64), DType.F32);
        var first = device.Transient("first", new Shape(64), DType.F32);
        var second = device.Transient("second", new Shape(64), DType.F32);
        device.Plan(() => device.Ops.Copy(both, first), () => device.Ops.Copy(both, second));
        Assert.Multiple(() =>
        {
            Assert.That(both.Address, Is.Not.EqualTo(first.Address));
            Assert.That(both.Address, Is.Not.EqualTo(second.Address));
            Assert.That(first.Address, Is.EqualTo(second.Address), "they are never used in one step");
        });
    }

    /// <summary>What runs second beside something else may run at any time from its beginning to its end.</summary>
    [TestCase("cpu", true)] // runs one after the other, so that b's memory is free again
    [TestCase("emulated", false)]
    public void What_runs_side_by_side_shares_no_memory(string backend, bool shares)
    {
        if (Backends.All().FirstOrDefault(each => each.Name == backend) is not { } found)
            return; // another backend was asked for
        found.Require();
        using var device = new Device(found.Open());
        Tensor[] t = Chain(device, 4);
        device.Plan(() => device.SideBySide(
            () =>
            {
                device.Ops.Zero(t[0]);
                device.Ops.Copy(t[1].Part("a", new Shape(1000), 0), t[0]);
            },
            () =>
            {
                device.Ops.Zero(t[2]);
                device.Ops.Copy(t[3].Part("b", new Shape(1002), 0), t[2]);
            }));
        var places = t.Select(tensor => (tensor.Address, End: tensor.Address + (nint)tensor.Bytes)).ToList();
        bool Overlap(int a, int b) => places[a].Address < places[b].End && places[b].Address < places[a].End;
        Assert.That(Overlap(0, 2) || Overlap(0, 3) || Overlap(1, 2) || Overlap(1, 3), Is.EqualTo(shares));
    }

    [Test]
    public void Random_steps_keep_live_values()
    {
        // each tensor is filled with its own number, others are written in between, then it is read back
        var random = new Philox(7, 1);
        for (int round = 0; round < 20; round++)
        {
            using var device = new Device(new CpuBackend());
            var tensors = Chain(device, 12);
            var program = Enumerable.Range(0, 40).Select(_ => (From: random.Next(12), To: random.Next(12))).ToArray();
            void Step()
            {
                var written = new HashSet<int>();
                foreach (var (from, to) in program)
                {
                    if (written.Add(from))
                        device.Ops.Upload<float>(tensors[from], Enumerable.Repeat((float)from, (int)tensors[from].Count).ToArray());
                    var value = new float[tensors[from].Count];
                    device.Ops.Download<float>(value, tensors[from]);
                    if (device.Memory is not null)
                        Assert.That(value, Is.All.EqualTo((float)from), $"tensor {from} in round {round}");
                    if (written.Add(to))
                        device.Ops.Upload<float>(tensors[to], Enumerable.Repeat((float)to, (int)tensors[to].Count).ToArray());
                }
            }
            device.Plan(Step);
            Step();
        }
    }

    [Test]
    public void Persistent_tensors_start_as_zeros_and_share_with_nobody()
    {
        using var device = new Device(new CpuBackend());
        var state = device.Persistent("state", new Shape(100), DType.F32);
        var scratch = device.Transient("scratch", new Shape(100), DType.F32);
        device.Plan(() => device.Ops.Upload<float>(scratch, new float[100]));
        device.Ops.Upload<float>(scratch, Enumerable.Repeat(1f, 100).ToArray());
        var values = new float[100];
        device.Ops.Download<float>(values, state);
        Assert.That(values, Is.All.Zero);
    }

    [Test]
    public void Declaring_after_the_plan_is_refused()
    {
        using var device = new Device(new CpuBackend());
        device.Plan(() => { });
        Assert.That(() => device.Transient("late", new Shape(1), DType.F32), Throws.InvalidOperationException.With.Message.Contains("late"));
    }
}
