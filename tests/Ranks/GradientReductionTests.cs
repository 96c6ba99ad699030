using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

public sealed class GradientReductionTests
{
    /// <summary>Two ranks that have the same values, whose sums are twice these.</summary>
    private sealed class Twin(bool overlaps) : ICollective
    {
        public List<string> Calls { get; } = [];

        /// <summary>Held back while it is not set.</summary>
        public ManualResetEventSlim Line { get; } = new(true);

        public int Rank => 0;

        public int Size => 2;

        public int LocalRank => 0;

        public string Description => "twins";

        public string NameOf(int rank) => $"twin {rank}";

        public bool Overlaps => overlaps;

        public void AllReduce(Span<float> values, string name)
        {
            Line.Wait();
            lock (Calls)
                Calls.Add(name);
            foreach (ref float value in values)
                value *= 2;
        }

        public void Broadcast(Span<byte> bytes, string name)
        {
        }

        public byte[] AllGather(ReadOnlySpan<byte> bytes, string name) => [.. bytes, .. bytes];
    }

    private sealed class Rig : IDisposable
    {
        private const int Batch = 2;
        private readonly Tensor x, dY;

        public Rig(Twin twin, int bucketBytes)
        {
            Device = new Device(new CpuBackend(1), twin);
            Group = new ParameterGroup(Device, "group");
            Layers = [.. Enumerable.Range(0, 3).Select(i => new Linear(Device, Group, $"layer{i}", Batch, 16, 16))];
            Group.Seal();
            x = Device.Persistent("x", new Shape(Batch, 16), DType.F32);
            dY = Device.Persistent("dY", new Shape(Batch, 16), DType.F32);
            Device.Reduce([Group], bucketBytes);
            Device.Plan(() => Backward());
            Device.Ops.Upload<float>(x, [.. Enumerable.Range(0, Batch * 16).Select(i => i / 10f)]);
            Device.Ops.Upload<float>(dY, [.. Enumerable.Range(0, Batch * 16).Select(i => 1 - (i / 20f))]);
            Group.Initialise(1);
        }

        public Device Device { get; }

        public ParameterGroup Group { get; }

        public Linear[] Layers { get; }

        /// <summary>A forward pass and a backward pass, through the last <paramref name="layers"/> alone if so many are named.</summary>
        public void Backward(Action<int>? behind = null, int layers = int.MaxValue)
        {
            _ = Layers.Aggregate(x, (value, layer) => layer.Forward(value));
            var gradient = dY;
            for (int i = Layers.Length - 1; i >= Math.Max(0, Layers.Length - layers); i--)
            {
                gradient = Layers[i].Backward(gradient)!;
                behind?.Invoke(i);
            }
        }

        public float[] Gradients()
        {
            var values = new float[Group.Gradients.Count];
            Device.Ops.Download<float>(values, Group.Gradients);
            return values;
        }

        public void Dispose() => Device.Dispose();
    }

    // what one rank has
    private static float[] Alone()
    {
        using var rig = new Rig(new Twin(false), 1 << 20);
        rig.Backward();
        float[] sums = rig.Gradients();
        return [.. sums.Select(value => value / 2)];
    }

    [Test]
    public void Every_gradient_is_summed_once_whatever_the_buckets([Values(1024, 2000, 1 << 20)] int bucketBytes, [Values] bool overlaps)
    {
        const int LayerBytes = 1024 + 64;
        var twin = new Twin(overlaps);
        using var rig = new Rig(twin, bucketBytes);
        rig.Backward();
        rig.Device.Reduction!.Finish(rig.Group);
        Assert.That(rig.Gradients(), Is.EqualTo(Alone().Select(value => 2 * value)));
        Assert.That(twin.Calls, Has.Count.EqualTo(bucketBytes <= LayerBytes ? 3 : bucketBytes <= 2 * LayerBytes ? 2 : 1));
        Assert.That(rig.Device.Reduction.Bytes, Is.EqualTo(rig.Group.Gradients.Bytes));
        rig.Device.Reduction.Finish(rig.Group);
        Assert.That(rig.Device.Reduction.Bytes, Is.EqualTo(rig.Group.Gradients.Bytes), "nothing was added since");
    }

    [Test]
    public void A_bucket_is_under_way_while_the_pass_goes_on()
    {
        var twin = new Twin(overlaps: true);
        using var rig = new Rig(twin, 1024);
        rig.Backward(behind: layer =>
        {
            if (layer == 2)
                Assert.That(() => twin.Calls, Has.Count.EqualTo(1).After(5000, 5), "the last layer's gradients are on their way behind it");
        });
        rig.Device.Reduction!.Finish(rig.Group);
        Assert.That(twin.Calls, Is.EqualTo(new[] { "group.gradients.bucket0", "group.gradients.bucket1", "group.gradients.bucket2" }));
    }

    [Test]
    public void Finish_waits_for_a_slow_line()
    {
        var twin = new Twin(overlaps: true);
        using var rig = new Rig(twin, 1024);
        twin.Line.Reset();
        rig.Backward();
        var finish = Task.Run(() => rig.Device.Reduction!.Finish(rig.Group));
        Assert.That(finish.Wait(100), Is.False);
        twin.Line.Set();
        Assert.That(finish.Wait(5000));
        Assert.That(rig.Device.Reduction!.WaitSeconds, Is.GreaterThan(0.05));
    }

    [Test]
    public void Adding_behind_the_reduction_is_a_mistake_that_is_seen()
    {
        using var rig = new Rig(new Twin(overlaps: false), 1024);
        rig.Backward();
        Assert.That(() => rig.Backward(), Throws.InvalidOperationException.With.Message.Contains("behind its reduction"));
    }

    /// <summary>A pass through some of the layers, as an adversary's may be.</summary>
    [Test]
    public void What_no_layer_has_added_to_is_left_alone()
    {
        var twin = new Twin(overlaps: false);
        using var rig = new Rig(twin, 1024);
        rig.Backward(layers: 1);
        rig.Device.Reduction!.Finish(rig.Group);
        Assert.That(twin.Calls, Has.Count.EqualTo(1));
    }
}
