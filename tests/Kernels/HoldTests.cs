using Avedis.Bench.Kernels;
using Avedis.Bindings.Cuda;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>A device that is held works on nothing, and nothing waits for it for ever.</summary>
[NonParallelizable]
public sealed class HoldTests
{
    private CudaBackend? backend;
    private Tensor? x;

    private CudaBackend Gpu => backend!;

    private Tensor X => x!;

    [SetUp]
    public void Open()
    {
        if (Backends.Forced is { } forced and not ("cuda" or "emulated"))
            Assert.Ignore($"the tests are to use {forced}");
        if (Backends.Forced != "cuda" && Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        backend = Backends.Forced == "cuda" ? new CudaBackend(KernelImage.Read()) : (CudaBackend)Emulation.Open(tf32: false);
        x = new Tensor("x", new Shape(4), DType.F32, backend.Allocate(16));
        backend.Add(x, x); // its kernel is loaded now
        backend.Synchronize();
    }

    [TearDown]
    public void Close()
    {
        backend?.Dispose();
        backend = null;
    }

    /// <summary>A gate that had to open by itself would say so.</summary>
    [TestCase("download")]
    [TestCase("upload")]
    [TestCase("synchronize")]
    [TestCase("time")]
    [TestCase("allocate")]
    [TestCase("free")]
    [TestCase("another kernel")]
    public void Whatever_may_wait_for_the_device_releases_it(string call)
    {
        nint memory = Gpu.Allocate(16);
        Gpu.Hold();
        long from = Gpu.Mark();
        Gpu.Add(X, X);
        long to = Gpu.Mark();
        Assert.That(Gpu.Held, Is.True);
        switch (call)
        {
            case "download": Gpu.Download(new float[4], X); break;
            case "upload": Gpu.Upload<float>(X, new float[4]); break;
            case "synchronize": Gpu.Synchronize(); break;
            case "time": Assert.That(Gpu.Microseconds(from, to), Is.Not.Negative); break;
            case "allocate": Gpu.Allocate(16); break;
            case "free": Gpu.Free(memory); break;
            default: Gpu.ReluForward(X, X); break;
        }
        Assert.That(Gpu.Held, Is.False);
        Gpu.Synchronize();
        Gpu.Hold();
        Assert.That(Gpu.Held, Is.True, "the gate had not given up");
    }

    /// <summary>Beyond the length of the driver's queue the host would wait for the device.</summary>
    [Test]
    public void A_long_queue_releases_the_device()
    {
        Gpu.Hold();
        int queued = 0;
        for (; Gpu.Held && queued < 1024; queued++)
            Gpu.Add(X, X);
        Assert.That(queued, Is.InRange(300, 800));
        Gpu.Synchronize();
    }

    [Test]
    public void A_device_that_is_held_and_released_many_times_works_through_all()
    {
        Gpu.Upload<float>(X, [1, 1, 1, 1]);
        for (int i = 0; i < 5; i++)
        {
            Gpu.Hold();
            Gpu.Add(X, X);
            Gpu.Release();
        }
        var result = new float[4];
        Gpu.Download(result, X);
        Assert.That(result, Is.All.EqualTo(32));
        Gpu.Hold();
        Assert.That(Gpu.Held, Is.True, "the gate had not given up");
    }

    /// <summary>Straight through the driver, which knows nothing of the gate.</summary>
    [Test]
    public void A_gate_that_nobody_opens_gives_up_and_stays_open()
    {
        using var stream = CudaStream.Create();
        using var gate = new CudaGate(stream);
        gate.Close();
        Assert.That((gate.Closed, gate.GaveUp), Is.EqualTo((true, false)));
        CudaDriver.Check(CudaDriver.StreamSynchronize(stream));
        Assert.That((gate.Closed, gate.GaveUp), Is.EqualTo((false, true)));
        gate.Close();
        Assert.That(gate.Closed, Is.False);
    }

    [Test]
    public void Marks_that_were_forgotten_serve_again()
    {
        long first = Gpu.Mark(), second = Gpu.Mark();
        Assert.That(Gpu.Microseconds(first, second), Is.Not.Negative);
        Gpu.ForgetMarks();
        Assert.That((Gpu.Mark(), Gpu.Mark()), Is.EqualTo((first, second)));
        Assert.That(Gpu.Microseconds(first, second), Is.Not.Negative);
    }

    [Test]
    public void The_clock_of_kernels_holds_the_device_and_lets_all_take_turns()
    {
        using var clock = new KernelClock(Gpu);
        var turns = new List<int>();
        var held = new List<bool>();
        Action Contestant(int number) => () =>
        {
            turns.Add(number);
            held.Add(Gpu.Held);
            Gpu.Add(X, X);
        };
        double[] times = clock.Median([Contestant(0), Contestant(1)], fewestRounds: 3);
        Assert.That(times, Has.Length.EqualTo(2).And.All.Positive);
        Assert.That(turns.Where((number, i) => number != i % 2), Is.Empty, "in turn");
        Assert.That(held.Count(was => was), Is.GreaterThanOrEqualTo(2 * 3));
        Assert.That(held.IndexOf(true), Is.Positive.And.EqualTo(held.LastIndexOf(false) + 1), "warm-up, then rounds");
    }
}
