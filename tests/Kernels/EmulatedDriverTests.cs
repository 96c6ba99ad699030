using Avedis.Bindings;
using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>What the emulated driver does with streams, events, graphs and memory: it is as lazy as a driver may be.</summary>
public sealed class EmulatedDriverTests() : ProbeTests("forward")
{
    [Test]
    public void Streams_do_not_wait_for_each_other_unless_told([Values] bool told)
    {
        using var other = CudaStream.Create();
        using var done = CudaEvent.Create(timing: false);
        nint y = Rig.Place(1);
        Increment(y, other);
        CudaDriver.Check(CudaDriver.EventRecord(done, other));
        if (told)
            CudaDriver.Check(CudaDriver.StreamWaitEvent(Rig.Stream, done, 0));
        Rig.Launch("probe_double", 32, y);
        // untold: 2 * 1, and the increment has not come
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(told ? 4 : 2));
        Assert.That(ProbeRig.Read<int>(y, 1, other).Single(), Is.EqualTo(told ? 4 : 3));
    }

    [Test]
    public void A_wait_keeps_the_point_that_its_event_named_when_it_was_queued()
    {
        using var other = CudaStream.Create();
        using var mark = CudaEvent.Create(timing: false);
        nint y = Rig.Place(0);
        Increment(y, other);
        CudaDriver.Check(CudaDriver.EventRecord(mark, other));
        CudaDriver.Check(CudaDriver.StreamWaitEvent(Rig.Stream, mark, 0));
        Increment(y, other);
        CudaDriver.Check(CudaDriver.EventRecord(mark, other));
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(1), "the first record");
        CudaDriver.Check(CudaDriver.EventSynchronize(mark));
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(2), "the second");
    }

    [Test]
    public void An_event_that_was_never_recorded_is_not_waited_for()
    {
        using var mark = CudaEvent.Create(timing: false);
        CudaDriver.Check(CudaDriver.StreamWaitEvent(Rig.Stream, mark, 0));
        CudaDriver.Check(CudaDriver.EventSynchronize(mark));
        Assert.That(Rig.Synchronize, Throws.Nothing);
    }

    [Test]
    public void Destroying_an_event_waits_for_nothing()
    {
        using var other = CudaStream.Create();
        nint y = Rig.Place(0);
        Increment(y, other);
        using (var mark = CudaEvent.Create(timing: false))
            CudaDriver.Check(CudaDriver.EventRecord(mark, other));
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.Zero);
        CudaDriver.Check(CudaDriver.StreamSynchronize(other));
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(1));
    }

    [Test]
    public void Time_passes_between_events_that_take_it()
    {
        using CudaEvent from = CudaEvent.Create(timing: true), to = CudaEvent.Create(timing: true), without = CudaEvent.Create(timing: false);
        CudaDriver.Check(CudaDriver.EventRecord(from, Rig.Stream));
        Rig.Launch("probe_indices", (100, 1, 1), (64, 1, 1), 0, Rig.Stream, Rig.Room(100 * 64 * 4));
        CudaDriver.Check(CudaDriver.EventRecord(to, Rig.Stream));
        CudaDriver.Check(CudaDriver.EventRecord(without, Rig.Stream));
        Assert.That(CudaDriver.EventElapsedTime(out _, from, to), Is.EqualTo(600), "not ready");
        Rig.Synchronize();
        CudaDriver.Check(CudaDriver.EventElapsedTime(out float milliseconds, from, to));
        Assert.That(milliseconds, Is.Positive);
        Assert.That(CudaDriver.EventElapsedTime(out _, from, without), Is.Not.Zero);
    }

    [Test]
    public unsafe void A_copy_reads_its_source_when_it_runs()
    {
        using var host = CudaHostMemory.Allocate(4);
        nint y = Rig.Place(0);
        *(int*)host.Pointer = 1;
        CudaDriver.Check(CudaDriver.MemcpyHtoDAsync(y, host.Pointer, 4, Rig.Stream));
        *(int*)host.Pointer = 2; // too early
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(2));
    }

    [Test]
    public void Copies_stay_within_one_allocation()
    {
        nint y = Rig.Room(64);
        Assert.That(CudaDriver.MemsetD8Async(y, 0, 65, Rig.Stream), Is.Not.Zero, "beyond its end");
        Emulation.ClearError();
        Assert.That(CudaDriver.MemsetD8Async(y - 1, 0, 1, Rig.Stream), Is.Not.Zero, "in front of it");
        Emulation.ClearError();
        Assert.That(CudaDriver.MemcpyDtoDAsync(y, y + 32, 33, Rig.Stream), Is.Not.Zero, "from beyond its end");
        Emulation.ClearError();
        nint gone;
        using (var freed = CudaDeviceMemory.Allocate(64))
            gone = freed.Address;
        Assert.That(CudaDriver.MemsetD8Async(gone, 0, 1, Rig.Stream), Is.Not.Zero, "freed");
        Emulation.ClearError();
        Assert.That(CudaDriver.MemsetD8Async(y, 0, 64, Rig.Stream), Is.Zero);
    }

    [Test]
    public void A_graph_holds_what_was_recorded_and_runs_it_each_time()
    {
        nint y = Rig.Place(3);
        using var graph = CudaGraph.Record(Rig.Stream, () =>
        {
            Increment(y, Rig.Stream);
            Rig.Launch("probe_double", 32, y);
        });
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(3), "recorded, not run");
        CudaDriver.Check(CudaDriver.GraphLaunch(graph, Rig.Stream));
        CudaDriver.Check(CudaDriver.GraphLaunch(graph, Rig.Stream));
        Increment(y, Rig.Stream);
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(((3 + 1) * 2 + 1) * 2 + 1));
    }

    [Test]
    public void A_launched_graph_may_be_destroyed_before_it_has_run()
    {
        nint y = Rig.Place(0);
        using (var graph = CudaGraph.Record(Rig.Stream, () => Increment(y, Rig.Stream)))
            CudaDriver.Check(CudaDriver.GraphLaunch(graph, Rig.Stream));
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(1));
    }

    [Test]
    public void An_event_recorded_in_a_graph_orders_the_graph_only()
    {
        using var mark = CudaEvent.Create(timing: true);
        using var other = CudaStream.Create();
        using var graph = CudaGraph.Record(Rig.Stream, () =>
        {
            CudaDriver.Check(CudaDriver.EventRecord(mark, Rig.Stream));
            CudaDriver.Check(CudaDriver.StreamWaitEvent(Rig.Stream, mark, 0));
        });
        Assert.That(CudaDriver.EventSynchronize(mark), Is.Not.Zero);
        Emulation.ClearError();
        Assert.That(CudaDriver.StreamWaitEvent(other, mark, 0), Is.Not.Zero);
        Emulation.ClearError();
        Assert.That(CudaDriver.EventRecord(mark, other), Is.Zero, "recorded anew it is an event like any other");
        Assert.That(CudaDriver.EventSynchronize(mark), Is.Zero);
    }

    [Test]
    public void What_cannot_be_recorded_is_refused()
    {
        using var other = CudaStream.Create();
        using CudaEvent outside = CudaEvent.Create(timing: false), within = CudaEvent.Create(timing: false);
        CudaDriver.Check(CudaDriver.EventRecord(outside, other));
        Refused("waiting for the device", () => Rig.Synchronize());
        Refused("an allocation", () => CudaDeviceMemory.Allocate(16).Dispose());
        Refused("an allocation on the host", () => CudaHostMemory.Allocate(16).Dispose());
        Refused("waiting for work outside the graph", () => CudaDriver.Check(CudaDriver.StreamWaitEvent(Rig.Stream, outside, 0)));
        Refused("another stream that joins", () =>
        {
            CudaDriver.Check(CudaDriver.EventRecord(within, Rig.Stream));
            CudaDriver.Check(CudaDriver.StreamWaitEvent(other, within, 0));
        });
        Refused("recording twice", () => CudaGraph.Record(Rig.Stream, () => { }).Dispose());

        void Refused(string what, Action work)
        {
            Assert.That(() => CudaGraph.Record(Rig.Stream, work).Dispose(), Throws.TypeOf<CudaException>(), what);
            Emulation.ClearError();
        }
    }

    [Test]
    public void What_broke_a_recording_is_told_not_how_it_ended()
    {
        Assert.That(
            () => CudaGraph.Record(Rig.Stream, () => CudaDeviceMemory.Allocate(16).Dispose()),
            Throws.TypeOf<CudaException>().With.Message.Contains("cuMemAlloc:"));
        Emulation.ClearError();
        Assert.That(
            () => CudaGraph.Record(Rig.Stream, () => throw new ArgumentException("mine")),
            Throws.ArgumentException.With.Message.EqualTo("mine"));
        Rig.Synchronize(); // the stream records no more
    }

    [TestCase(3, "restart")]
    [TestCase(34, "stub")]
    [TestCase(35, "update the NVIDIA driver")]
    [TestCase(36, "update the NVIDIA driver")]
    [TestCase(46, "another program holds")]
    [TestCase(100, "CUDA_VISIBLE_DEVICES")]
    [TestCase(101, "CUDA_VISIBLE_DEVICES")]
    [TestCase(209, "sm_80")]
    [TestCase(218, "update the NVIDIA driver")]
    [TestCase(222, "update the NVIDIA driver")]
    [TestCase(802, "fabric manager")]
    [TestCase(803, "different versions")]
    [TestCase(804, "LD_LIBRARY_PATH")]
    [TestCase(999, "Xid")]
    public void An_error_that_people_meet_says_what_to_do(int result, string what) => Assert.That(
        () => CudaDriver.Check(result, "CudaDriver.Init(0)"),
        Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Result)).EqualTo(result)
            .And.Message.Contains("cuInit").And.Message.Contains(what));

    [Test]
    public void A_call_without_memory_is_out_of_memory() => Assert.That(
        () => CudaDriver.Check(2, "GraphInstantiate"),
        Throws.TypeOf<OutOfDeviceMemoryException>().With.Message.Contains("cuGraphInstantiate").And.Message.Contains("batch"));

    [Test]
    public void A_driver_older_than_the_kernels_is_refused()
    {
        CudaDriver.CheckVersion(12000);
        Assert.That(
            () => CudaDriver.CheckVersion(11080),
            Throws.TypeOf<CudaException>().With.Message.Contains("11.8").And.Message.Contains("update"));
    }

    /// <summary>By what cuda.h says of each; a call behind one that stays tells of the first.</summary>
    [Test]
    public void Errors_stay_where_the_driver_says_so(
        [Values(214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911, 999)] int error)
    {
        Emulation.Fail(1, error);
        Assert.That(Synchronize, Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Sticky)).True);
        Assert.That(CudaDriver.MemAlloc(out _, 16), Is.EqualTo(error));
        Emulation.ClearError();
        Assert.That(Synchronize, Throws.Nothing);
    }

    [Test]
    public void Other_errors_refuse_one_call([Values(1, 400, 701, 720, 801, 900)] int error)
    {
        Emulation.Fail(1, error);
        Assert.That(Synchronize, Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Sticky)).False);
        Assert.That(Synchronize, Throws.Nothing);
    }

    private void Synchronize() => CudaDriver.Check(CudaDriver.StreamSynchronize(Rig.Stream));

    private void Increment(nint y, CudaStream stream) => Rig.Launch("probe_increment", (1, 1, 1), (32, 1, 1), 0, stream, y);
}
