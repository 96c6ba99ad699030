using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>The double of NCCL (tests/native/nccl_double.cpp), with which a training on the emulated driver sums its gradients.</summary>
internal static class NcclDouble
{
    private static string Library => Native("libnccl_double.so");

    private static string Native(string file) => Path.Combine(Path.GetDirectoryName(Disturbed.Faults)!, file);

    /// <summary>Leaves out tests where it cannot run.</summary>
    public static void Require()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        if (!File.Exists(Library) || !File.Exists(Path.Combine(Path.GetDirectoryName(TinyCorpus.ProgramPath)!, "avedis_kernels.fatbin")))
            Assert.Ignore(
                "no double of NCCL, or no avedis_kernels.fatbin (there is no CUDA compiler), without which the program opens no GPU, an " +
                "emulated one included");
    }

    /// <summary>Environment of a training.</summary>
    /// <param name="fault">"RANK KIND N", as the double's source says; null: none.</param>
    public static (string Name, string Value)[] Variables(string? fault = null) =>
        // the driver that the double is linked with: the loader takes another copy for another driver, with graphs of its own
        [("AVEDIS_CUDA_LIBRARY", Native("libcuda_emulated.so")), ("AVEDIS_NCCL_LIBRARY", Library), ("AVEDIS_NCCL_FAULT", fault ?? "")];
}
