using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>The double of NCCL (tests/native/nccl_double.cpp), with which a training on the emulated driver sums its gradients.</summary>
internal static class NcclDouble
{
    private static string Library => Path.Combine(Path.GetDirectoryName(Disturbed.Faults)!, "libnccl_double.so");

    /// <summary>Leaves out tests where it cannot run.</summary>
    public static void Require()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        if (!File.Exists(Library) || !File.Exists(Path.Combine(Path.GetDirectoryName(TinyCorpus.ProgramPath)!, "avedis_kernels.fatbin")))
            Assert.Ignore("no double of NCCL, or no avedis_kernels.fatbin (there is no CUDA compiler), without which the program opens no GPU, an emulated one included");
    }

    /// <summary>Environment of a training.</summary>
    /// <param name="fault">"RANK KIND N", as the double's source says; null: none.</param>
    public static (string Name, string Value)[] Variables(string? fault = null) =>
        [("AVEDIS_CUDA_LIBRARY", Emulation.Library), ("AVEDIS_NCCL_LIBRARY", Library), .. fault is null ? Array.Empty<(string, string)>() : [("AVEDIS_NCCL_FAULT", fault)]];
}
