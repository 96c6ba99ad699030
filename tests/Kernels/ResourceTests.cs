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
    public void Matrix_kernels_run_on_the_matrix_units()
    {
        CompiledKernels.RequireDisassembler();
        var matrix = CompiledKernels.Instructions.Where(k => IsMatrixKernel(k.Key.Kernel)).ToList();
        Assert.That(matrix, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in matrix)
            {
                Assert.That(instructions, Does.Contain("HMMA"), $"{kernel} on {architecture}: matrix instructions");
                Assert.That(instructions, Does.Contain("LDGSTS"), $"{kernel} on {architecture}: asynchronous copies");
            }
        });
    }

    [Test]
    public void No_kernel_but_those_uses_the_matrix_units_and_none_computes_in_double()
    {
        CompiledKernels.RequireDisassembler();
        string[] doubles = ["DADD", "DMUL", "DFMA"];
        Assert.Multiple(() =>
        {
            foreach (var ((kernel, architecture), instructions) in CompiledKernels.Instructions)
            {
                if (!IsMatrixKernel(kernel))
                    Assert.That(instructions, Does.Not.Contain("HMMA"), $"{kernel} on {architecture}");
                Assert.That(instructions.Intersect(doubles), Is.Empty, $"{kernel} on {architecture}");
            }
        });
    }

    private static bool IsMatrixKernel(string kernel) =>
        kernel.Contains("conv2d", StringComparison.Ordinal) &&
        (kernel.Contains("tf32", StringComparison.Ordinal) || kernel.Contains("bf16", StringComparison.Ordinal));
}
