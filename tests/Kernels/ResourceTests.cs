using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>What the compiler made of the kernels, which no run under emulation can show: registers, spills, shared memory, matrix instructions.</summary>
public sealed class ResourceTests
{
    private const int RegistersOfAMultiprocessor = 65536, StaticSharedBytes = 48 << 10;

    [Test]
    public void Every_kernel_is_accounted_for_on_every_architecture()
    {
        CompiledKernels.Require();
        var architectures = CompiledKernels.AllResources.GroupBy(r => r.Architecture).ToList();
        Assert.That(architectures, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var architecture in architectures)
                Assert.That(architecture.Select(r => r.Kernel), Is.EquivalentTo(CompiledKernels.Entries.Keys), architecture.Key);
            foreach (var r in CompiledKernels.AllResources)
                Assert.That(new[] { r.StackFrame, r.SpillBytes, r.Registers, r.SharedBytes }, Is.All.Not.Negative, $"{r.Kernel} on {r.Architecture}: ptxas said all");
        });
    }

    /// <summary>
    /// Products of a warpgroup that the compiler runs one after the other, or registers that it does not hand over, are no warning to it.
    /// </summary>
    [Test]
    public void The_compiler_reports_no_loss_of_performance()
    {
        CompiledKernels.Require();
        Assert.That(CompiledKernels.PerformanceLosses, Is.Empty);
    }

    [Test]
    public void No_kernel_spills_registers_or_keeps_arrays_in_memory()
    {
        CompiledKernels.Require();
        Assert.Multiple(() =>
        {
            foreach (var r in CompiledKernels.AllResources)
            {
                Assert.That(r.SpillBytes, Is.Zero, $"{r.Kernel} on {r.Architecture}: bytes of spills");
                Assert.That(r.StackFrame, Is.Zero, $"{r.Kernel} on {r.Architecture}: bytes of stack");
            }
        });
    }

    /// <summary>
    /// 168 of each of the 384 threads at their launch: what copies keeps 152, the two groups that multiply take 176 each.
    /// </summary>
    [Test]
    public void Kernels_for_Hopper_are_launched_with_the_registers_that_they_share_out()
    {
        CompiledKernels.Require();
        var kernels = CompiledKernels.AllResources
            .Where(r => r.Architecture == "sm_90a" && IsHopperKernel(r.Kernel) && IsMatrixKernel(r.Kernel)).ToList();
        Assert.That(kernels, Has.Count.EqualTo(7));
        Assert.Multiple(() =>
        {
            foreach (var r in kernels)
                Assert.That((r.Registers, CompiledKernels.Entries[r.Kernel].Threads), Is.EqualTo((168, 384)), r.Kernel);
        });
    }

    [Test]
    public void Blocks_fit_a_multiprocessor()
    {
        CompiledKernels.Require();
        Assert.Multiple(() =>
        {
            foreach (var r in CompiledKernels.AllResources)
            {
                var entry = CompiledKernels.Entries[r.Kernel];
                Assert.That(entry.Threads, Is.InRange(1, 1024), $"{r.Kernel}: launch bounds");
                // a warp takes registers in units of 256
                int registers = (r.Registers + 7) / 8 * 8 * ((entry.Threads + 31) / 32 * 32) * entry.BlocksPerMultiprocessor;
                Assert.That(registers, Is.AtMost(RegistersOfAMultiprocessor), $"{r.Kernel} on {r.Architecture}: registers of its blocks");
                Assert.That(r.SharedBytes, Is.AtMost(StaticSharedBytes), $"{r.Kernel} on {r.Architecture}: bytes of its shared arrays");
            }
        });
    }

    /// <summary>
    /// By the registers that ptxas gave it and the shared memory that the engine asks for: the blocks that its launch bounds promise find room beside each other.
    /// </summary>
    [Test]
    public void As_many_blocks_of_a_convolution_run_at_once_as_its_launch_bounds_say()
    {
        CompiledKernels.Require();
        Assert.Multiple(() =>
        {
            foreach (var r in CompiledKernels.AllResources.Where(r => r.Kernel.StartsWith("conv2d_", StringComparison.Ordinal) && !r.Kernel.Contains("prepare")))
            {
                if (IsHopperKernel(r.Kernel) && r.Architecture != "sm_90a")
                    continue;
                var entry = CompiledKernels.Entries[r.Kernel];
                int[] tile = [.. r.Kernel.Replace("_general", "").Split('_')[^1].Split('x').Select(int.Parse)];
                int shared = (IsHopperKernel(r.Kernel) ? CudaBackend.HopperSharedBytes(tile[0], tile[1]) : CudaBackend.Conv2dSharedBytes(tile[0], tile[1])) + r.SharedBytes;
                // the driver keeps 1 KiB of each block's for itself
                int most = r.Architecture == "sm_80" ? 164 << 10 : 228 << 10, byShared = most / (shared + 1024);
                int byRegisters = RegistersOfAMultiprocessor / ((r.Registers + 7) / 8 * 8 * entry.Threads);
                TestContext.Out.WriteLine(
                    $"{r.Kernel} on {r.Architecture}: {r.Registers} registers, {shared} bytes; blocks: {byRegisters} by registers, {byShared} by shared memory");
                Assert.That(Math.Min(byRegisters, byShared), Is.AtLeast(entry.BlocksPerMultiprocessor), $"{r.Kernel} on {r.Architecture}");
            }
        });
    }

    [Test]
    [Category(Tier.Long)]
    public void Matrix_kernels_run_on_the_matrix_units_and_others_do_not()
    {
        CompiledKernels.RequireDisassembler();
        Assert.That(CompiledKernels.Instructions.Keys.Where(k => IsMatrixKernel(k.Kernel)), Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
            {
                if (IsHopperKernel(kernel))
                    continue;
                Assert.That(instructions.ContainsKey("HMMA"), Is.EqualTo(IsMatrixKernel(kernel)), $"{kernel} on {architecture}: HMMA");
                Assert.That(instructions.ContainsKey("HGMMA"), Is.False, $"{kernel} on {architecture}: HGMMA");
                // filters always come by asynchronous copies, images where the channels fill vectors
                bool copies = kernel.StartsWith("conv2d_gather", StringComparison.Ordinal) ||
                    (kernel.StartsWith("conv2d_weight", StringComparison.Ordinal) && !kernel.EndsWith("general", StringComparison.Ordinal));
                Assert.That(instructions.ContainsKey("LDGSTS"), Is.EqualTo(copies), $"{kernel} on {architecture}: LDGSTS");
                // fragments by ldmatrix, but for TF32 where the depth is not contiguous: it cannot transpose 32-bit numbers
                bool fragments = kernel.StartsWith("conv2d_weight_bf16", StringComparison.Ordinal) ||
                    kernel.StartsWith("conv2d_gather_bf16", StringComparison.Ordinal) || kernel.StartsWith("conv2d_gather_tf32", StringComparison.Ordinal);
                Assert.That(instructions.ContainsKey("LDSM"), Is.EqualTo(fragments), $"{kernel} on {architecture}: LDSM");
            }
        });
    }

    /// <summary>
    /// On sm_90a: four products of a warpgroup in the loop for each 64 rows that it has, copies of 16 bytes, the copy engine for the weights of a gather. Elsewhere
    /// they are empty.
    /// </summary>
    [Test]
    [Category(Tier.Long)]
    public void Kernels_for_Hopper_multiply_by_warpgroups()
    {
        CompiledKernels.RequireDisassembler();
        var kernels = CompiledKernels.Instructions.Where(pair => IsHopperKernel(pair.Key.Kernel) && IsMatrixKernel(pair.Key.Kernel)).ToList();
        Assert.That(kernels.Count(pair => pair.Key.Architecture == "sm_90a"), Is.EqualTo(7));
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in kernels)
            {
                bool hopper = architecture == "sm_90a";
                int[] tile = [.. kernel.Split('_')[^1].Split('x').Select(int.Parse)];
                int products = hopper ? 4 * tile[0] / 128 : 0;
                Assert.That(instructions.GetValueOrDefault($"HGMMA.64x{tile[1]}x16.F32.BF16"), Is.EqualTo(products), $"{kernel} on {architecture}: HGMMA");
                Assert.That(instructions.GetValueOrDefault("HGMMA"), Is.EqualTo(products), $"{kernel} on {architecture}: HGMMA of another shape");
                Assert.That(instructions.ContainsKey("UBLKCP"), Is.EqualTo(hopper && kernel.Contains("gather")), $"{kernel} on {architecture}: the copy engine");
                Assert.That(instructions.ContainsKey("LDGSTS"), Is.EqualTo(hopper), $"{kernel} on {architecture}: LDGSTS");
                Assert.That(instructions.ContainsKey("HMMA"), Is.False, $"{kernel} on {architecture}: HMMA");
                foreach (string name in new[] { "USETMAXREG.DEALLOC.CTAPOOL", "USETMAXREG.TRY_ALLOC.CTAPOOL" })
                    Assert.That(instructions.GetValueOrDefault(name), Is.EqualTo(hopper ? 1 : 0), $"{kernel} on {architecture}: {name}");
            }
        });
    }

    /// <summary>
    /// Where channels fill vectors, a convolution copies 16 bytes at a time, and the matrix units' gathers store as much; other results come in neighbours of two or four.
    /// No local memory, which would be a register array that is indexed at run time.
    /// </summary>
    [Test]
    [Category(Tier.Long)]
    public void Convolutions_move_16_bytes_at_a_time_and_use_no_local_memory()
    {
        CompiledKernels.RequireDisassembler();
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
            {
                if (!kernel.StartsWith("conv2d_", StringComparison.Ordinal))
                    continue;
                string where = $"{kernel} on {architecture}";
                Assert.That(instructions.Keys.Intersect(["LDL", "STL"]), Is.Empty, $"{where}: local memory");
                if (kernel.Contains("prepare") || kernel.EndsWith("general", StringComparison.Ordinal) || (IsHopperKernel(kernel) && architecture != "sm_90a"))
                    continue;
                Assert.That(instructions.Keys.Where(name => name.StartsWith("LDGSTS.", StringComparison.Ordinal)), Is.Not.Empty.And.All.Contains(".128"), $"{where}: copies");
                string stores = string.Join(' ', instructions.Keys.Where(name => name.StartsWith("STG.", StringComparison.Ordinal)));
                Assert.That(stores, kernel.Contains("gather") && IsMatrixKernel(kernel) ? Does.Contain(".128") : Does.Contain(".128").Or.Contain(".64"), $"{where}: results");
            }
        });
    }

    /// <summary>Those of gradient projection are of many numbers, but it waits for memory all the same; log-mels are not part of a training step.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Only_sums_of_few_numbers_are_in_double()
    {
        CompiledKernels.RequireDisassembler();
        string[] doubles = ["DADD", "DMUL", "DFMA"], allowed = ["stem_merge", "stem_statistics", "stem_finish", "gradient_projection", "log_mel"];
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
                if (!allowed.Any(name => kernel.StartsWith(name, StringComparison.Ordinal)))
                    Assert.That(instructions.Keys.Intersect(doubles), Is.Empty, $"{kernel} on {architecture}");
        });
    }

    private static bool IsHopperKernel(string kernel) => kernel.StartsWith("conv2d_hopper", StringComparison.Ordinal);

    private static bool IsMatrixKernel(string kernel) =>
        new[] { "conv2d_gather", "conv2d_weight", "stem_forward", "conv2d_hopper_gather", "conv2d_hopper_weight" }.Any(name => kernel.StartsWith(name, StringComparison.Ordinal)) &&
        !kernel.Contains("_f32", StringComparison.Ordinal);
}
