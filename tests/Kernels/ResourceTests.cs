using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>What the compiler made of the kernels, which no run under emulation can show: registers, spills, shared memory, matrix instructions.</summary>
public sealed class ResourceTests
{
    private const int RegistersOfAMultiprocessor = 65536, StaticSharedBytes = 48 << 10;

    // the kernels that a training step spends its time in
    private static readonly string[] hot = ["conv2d", "linear", "stem", "batch_norm", "max_pool"];

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

    [Test]
    public void No_hot_kernel_spills_registers_or_keeps_arrays_in_memory()
    {
        CompiledKernels.Require();
        Assert.Multiple(() =>
        {
            foreach (var r in CompiledKernels.AllResources.Where(r => hot.Any(name => r.Kernel.StartsWith(name, StringComparison.Ordinal))))
            {
                Assert.That(r.SpillBytes, Is.Zero, $"{r.Kernel} on {r.Architecture}: bytes of spills");
                Assert.That(r.StackFrame, Is.Zero, $"{r.Kernel} on {r.Architecture}: bytes of stack");
            }
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

    [Test]
    public void Matrix_kernels_run_on_the_matrix_units_and_others_do_not()
    {
        CompiledKernels.RequireDisassembler();
        Assert.That(CompiledKernels.Instructions.Keys.Where(k => IsMatrixKernel(k.Kernel)), Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
            {
                Assert.That(instructions.Contains("HMMA"), Is.EqualTo(IsMatrixKernel(kernel)), $"{kernel} on {architecture}: HMMA");
                // filters always come by asynchronous copies, images where the channels fill vectors
                bool copies = kernel.StartsWith("conv2d_gather", StringComparison.Ordinal) ||
                    (kernel.StartsWith("conv2d_weight", StringComparison.Ordinal) && !kernel.EndsWith("general", StringComparison.Ordinal));
                Assert.That(instructions.Contains("LDGSTS"), Is.EqualTo(copies), $"{kernel} on {architecture}: LDGSTS");
                // fragments by ldmatrix, but for TF32 where the depth is not contiguous: it cannot transpose 32-bit numbers
                bool fragments = kernel.StartsWith("conv2d_weight_bf16", StringComparison.Ordinal) ||
                    kernel.StartsWith("conv2d_gather_bf16", StringComparison.Ordinal) || kernel.StartsWith("conv2d_gather_tf32", StringComparison.Ordinal);
                Assert.That(instructions.Contains("LDSM"), Is.EqualTo(fragments), $"{kernel} on {architecture}: LDSM");
            }
        });
    }

    /// <summary>Those of gradient projection are of many numbers, but it waits for memory all the same; log-mels are not part of a training step.</summary>
    [Test]
    public void Only_sums_of_few_numbers_are_in_double()
    {
        CompiledKernels.RequireDisassembler();
        string[] doubles = ["DADD", "DMUL", "DFMA"], allowed = ["stem_merge", "stem_statistics", "stem_finish", "gradient_projection", "log_mel"];
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
                if (!allowed.Any(name => kernel.StartsWith(name, StringComparison.Ordinal)))
                    Assert.That(instructions.Intersect(doubles), Is.Empty, $"{kernel} on {architecture}");
        });
    }

    private static bool IsMatrixKernel(string kernel) =>
        new[] { "conv2d_gather", "conv2d_weight", "stem_forward" }.Any(name => kernel.StartsWith(name, StringComparison.Ordinal)) &&
        !kernel.Contains("_f32", StringComparison.Ordinal);
}
