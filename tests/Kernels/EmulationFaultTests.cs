using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>Misuse is reported, with the kernel's name and the line, and stays until it is forgotten. Not for a GPU, where most of it hangs or gives chance results.</summary>
[TestFixtureSource(nameof(Orders))]
public sealed class EmulationFaultTests(string order) : ProbeTests(order)
{
    private static readonly string[] source = File.ReadAllLines(Path.Combine(Repository.Root, "kernels", "emulation", "probes.cu"));

    /// <summary>probes.cu:line of the n-th line with this text within a kernel.</summary>
    private static string At(string kernel, string text, int n = 1)
    {
        int start = Array.FindIndex(source, line => line.Contains($" {kernel},", StringComparison.Ordinal));
        for (int i = start; i < source.Length; i++)
            if (source[i].Contains(text, StringComparison.Ordinal) && --n == 0)
                return $"probes.cu:{i + 1}";
        throw new ArgumentException($"{kernel} has no {text}");
    }

    private string Fault(Action launch)
    {
        var error = Assert.Throws<CudaException>(() =>
        {
            launch();
            Rig.Synchronize();
        })!;
        TestContext.Out.WriteLine(error.Message);
        return error.Message;
    }

    private string FaultOf(string kernel, int threads, params object[] arguments)
    {
        string message = Fault(() => Rig.Launch(kernel, threads, arguments));
        Assert.That(message, Does.Contain(kernel), "names the kernel");
        return message;
    }

    private nint Result => Rig.Room(64 * 4);

    [Test]
    public void Barrier_divergence() =>
        Assert.That(FaultOf("probe_barrier_divergence", 64, Result),
            Does.Contain("barrier divergence")
                .And.Contain(At("probe_barrier_divergence", "__syncthreads")).And.Contain(At("probe_barrier_divergence", "__syncthreads", 2)));

    [Test]
    public void A_thread_that_ended_before_a_barrier() =>
        Assert.That(FaultOf("probe_barrier_exited", 64, Result), Does.Contain("ended").And.Contain(At("probe_barrier_exited", "__syncthreads")));

    [Test]
    public void Deadlock() =>
        Assert.That(FaultOf("probe_deadlock", 32, Result),
            Does.Contain("deadlock").And.Contain("1 wait at the barrier").And.Contain("31 wait for other lanes")
                .And.Contain(At("probe_deadlock", "__syncthreads")).And.Contain(At("probe_deadlock", "__shfl")));

    [Test]
    public void Masks_that_differ() =>
        Assert.That(FaultOf("probe_mask_mismatch", 32, Result),
            // unless the upper half has met, and gone, before the lower comes
            (Order == "forward" ? Does.Contain("do not meet").And.Contain("ffff0000") : Does.Contain("do not meet").Or.Contain("deadlock"))
                .And.Contain(At("probe_mask_mismatch", "__shfl")));

    [Test]
    public void A_mask_without_the_lane_itself() =>
        Assert.That(FaultOf("probe_mask_without_self", 32, Result), Does.Contain("own mask").And.Contain(At("probe_mask_without_self", "__shfl")));

    [Test]
    public void A_mask_with_lanes_that_do_not_exist() =>
        Assert.That(FaultOf("probe_mask_of_absent_lanes", 16, Result), Does.Contain("do not exist").And.Contain(At("probe_mask_of_absent_lanes", "__shfl")));

    [Test]
    public void Lanes_at_different_places() =>
        Assert.That(FaultOf("probe_places_mismatch", 32, Result),
            Does.Contain("do not meet").And.Contain(At("probe_places_mismatch", "__shfl")).And.Contain(At("probe_places_mismatch", "__shfl", 2)));

    [Test]
    public void A_shuffle_from_beyond_the_warp() =>
        Assert.That(FaultOf("probe_lane_out_of_range", 32, Result), Does.Contain("lane").And.Contain(At("probe_lane_out_of_range", "__shfl")));

    [TestCase("probe_write_beyond", 0, 0, Description = "just behind an array, in its padding")]
    [TestCase("probe_write_beyond", 0, 3, Description = "just behind the padding, where nothing else follows")]
    [TestCase("probe_write_beyond", 0, 100, Description = "a row too far")]
    [TestCase("probe_write_beyond", 1, -1, Description = "in front of it")]
    [TestCase("probe_write_beyond", 2, 0, Description = "just behind the dynamic memory")]
    [TestCase("probe_write_beyond", 2, 100, Description = "a row too far")]
    [TestCase("probe_write_beyond", 2, -33, Description = "in front of it")]
    public void A_write_beyond_shared_memory(string kernel, int which, int offset)
    {
        string message = Fault(() => Rig.Launch(kernel, (1, 1, 1), (32, 1, 1), 128, Rig.Stream, which, offset, 128));
        Assert.That(message, Does.Contain(kernel).And.Contain("wrote beyond").And.Contain(which == 2 ? "128 bytes" : At(kernel, "SHARED(")));
    }

    [TestCase(0, -1)]
    [TestCase(1, 0)]
    [TestCase(2, -1)]
    public void A_write_within_shared_memory_is_no_fault(int which, int offset)
    {
        Rig.Launch("probe_write_beyond", (1, 1, 1), (32, 1, 1), 128, Rig.Stream, which, offset, 128);
        Assert.That(Rig.Synchronize, Throws.Nothing);
    }

    [Test]
    public void Too_deep_a_stack()
    {
        // 40 KiB fit; from 64 KiB on the neighbour's stack is overwritten
        nint y = Result;
        Rig.Launch("probe_deep_stack", 32, y, 40 << 10);
        Assert.That(Rig.Read<uint>(y, 32), Is.All.EqualTo(0));
        Assert.That(FaultOf("probe_deep_stack", 32, y, 66 << 10), Does.Contain("stack"));
    }

    [Test]
    public void More_shared_memory_than_a_block_may_have()
    {
        // not allowed
        Assert.That(Fault(() => Rig.Launch("probe_fresh_shared", (1, 1, 1), (32, 1, 1), 49 << 10, Rig.Stream, Result)),
            Does.Contain("probe_fresh_shared").And.Contain("shared memory"));
        Emulation.ClearError();
        // allowed, but no device has it
        Assert.That(() => Rig.AllowShared("probe_fresh_shared", 228 << 10), Throws.TypeOf<CudaException>());
        Emulation.ClearError();
        // allowed, but not beside the kernel's own array
        Rig.AllowShared("probe_large_array", 200 << 10);
        Assert.That(Fault(() => Rig.Launch("probe_large_array", (1, 1, 1), (32, 1, 1), 128, Rig.Stream, Result)),
            Does.Contain("probe_large_array").And.Contain("shared memory").And.Contain(At("probe_large_array", "SHARED(")));
        Emulation.ClearError();
        Rig.AllowShared("probe_large_array", 100 << 10);
    }

    [TestCase(0, 1, 1, 32, 1, 1)]
    [TestCase(1, 65536, 1, 32, 1, 1)]
    [TestCase(1, 1, 65536, 32, 1, 1)]
    [TestCase(0x80000000, 1, 1, 32, 1, 1)]
    [TestCase(1, 1, 1, 0, 1, 1)]
    [TestCase(1, 1, 1, 65, 1, 1, Description = "more than the launch bounds")]
    [TestCase(1, 1, 1, 1, 1, 65)]
    [TestCase(1, 1, 1, 2048, 1, 1)]
    [TestCase(1, 1, 1, 65537, 65535, 1, Description = "whose product wraps round to -1")]
    [TestCase(1, 1, 1, 65536, 65536, 1, Description = "to 0")]
    public void Grids_and_blocks_that_no_gpu_takes(long gx, long gy, long gz, long bx, long by, long bz) =>
        Assert.That(Fault(() => Rig.Launch("probe_indices", (gx, gy, gz), (bx, by, bz), 0, Rig.Stream, Result)), Does.Contain("probe_indices"));

    [Test]
    public void Copies_and_rows_at_the_wrong_address()
    {
        nint x = Rig.Place(new uint[256]);
        Assert.That(FaultOf("probe_cp_async_unaligned", 32, x), Does.Contain("aligned").And.Contain(At("probe_cp_async_unaligned", "cp_async_16")));
        Emulation.ClearError();
        Assert.That(FaultOf("probe_cp_async_elsewhere", 32, x, x), Does.Contain("shared memory").And.Contain(At("probe_cp_async_elsewhere", "cp_async_16")));
        Emulation.ClearError();
        Assert.That(FaultOf("probe_ldmatrix_unaligned", 32, x), Does.Contain("ldmatrix").And.Contain(At("probe_ldmatrix_unaligned", "ldmatrix_x4")));
    }

    [Test]
    public void A_vector_at_an_address_that_is_not_aligned_to_it()
    {
        nint x = Rig.Place(1f, 2, 3, 4, 5, 6, 7, 8), y = Result;
        Rig.Launch("probe_vector_load", 32, y, x + 16);
        Assert.That(Rig.Read<float>(y, 32), Is.All.EqualTo(8f));
        Assert.That(FaultOf("probe_vector_load", 32, y, x + 4), Does.Contain("aligned").And.Contain("kernel.cuh:"));
    }

    [Test]
    public void A_copy_whose_group_was_not_closed_has_not_come()
    {
        nint x = Rig.Place(new uint[128]), y = Rig.Room(512);
        Rig.Launch("probe_cp_async_uncommitted", 32, y, x);
        Assert.That(Rig.Read<uint>(y, 128), Is.All.EqualTo(0xffffffffu));
    }

    [Test]
    public void An_error_stays_until_it_is_forgotten()
    {
        nint y = Result;
        string first = FaultOf("probe_deadlock", 32, y);
        Assert.Multiple(() =>
        {
            Assert.That(
                Fault(() => Rig.Launch("probe_indices", 32, y)),
                Is.EqualTo(first.Replace("StreamSynchronize", "ModuleGetFunction probe_indices", StringComparison.Ordinal)));
            Assert.That(() => Rig.Read<int>(y, 1), Throws.TypeOf<CudaException>());
            Assert.That(() => CudaDeviceMemory.Allocate(16), Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Sticky)).True);
        });
        Emulation.ClearError();
        Rig.Launch("probe_indices", 32, y);
        Assert.That(Rig.Read<int>(y, 32), Is.EqualTo(Enumerable.Range(0, 32)));
    }

    [Test]
    public void A_fault_in_one_of_many_blocks_ends_the_launch()
    {
        nint y = Rig.Room(64 * 4);
        string message = Fault(() => Rig.Launch("probe_barrier_exited", (500, 1, 1), (64, 1, 1), 0, Rig.Stream, y));
        Assert.That(message, Does.Contain("probe_barrier_exited"));
        Emulation.ClearError();
        Rig.Launch("probe_indices", 32, y);
        Assert.That(Rig.Read<int>(y, 32), Is.EqualTo(Enumerable.Range(0, 32)));
    }
}
