using System.Diagnostics;
using Avedis.Bench.Kernels;
using Avedis.Engine;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>AVEDIS_HOPPER=off keeps a Hopper on the kernels for all GPUs: by what is launched, and by what the program says.</summary>
[NonParallelizable]
public sealed class HopperKernelsTests
{
    private static readonly Conv2dGeometry geometry = new(1, 9, 9, 64, 64, 3, 3, 1, 1, 1, 1);

    [SetUp]
    public void RequireEmulation()
    {
        if (Backends.Forced is not null)
            Assert.Ignore("the emulated driver is not the one of this run");
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
    }

    [TearDown]
    public void Forget() => Environment.SetEnvironmentVariable(HopperKernels.Variable, null);

    [TestCase(null, true)]
    [TestCase("on", true)]
    [TestCase("off", false)]
    public void The_variable_chooses_the_family_of_every_pass(string? value, bool hopper)
    {
        Environment.SetEnvironmentVariable(HopperKernels.Variable, value);
        using var backend = (CudaBackend)Emulation.Open(tf32: false);
        using var convolution = new ConvolutionRig(backend, "bf16", geometry);
        foreach (var pass in Enum.GetValues<Conv2dPass>())
        {
            var before = Emulation.Launches();
            convolution.Run(pass);
            string[] launched = [.. Emulation.Launches().Where(kernel => kernel.Value > before[kernel.Key]).Select(kernel => kernel.Key)];
            bool Launched(string family) => launched.Any(kernel => kernel.StartsWith(family, StringComparison.Ordinal));
            Assert.That(Launched("conv2d_hopper"), Is.EqualTo(hopper), $"{pass}");
            Assert.That(Launched("conv2d_gather") || Launched("conv2d_weight"), Is.EqualTo(!hopper), $"{pass}");
            Assert.That(convolution.Check(pass), Is.Not.Negative);
        }
        Assert.That(backend.Description, Does.EndWith(hopper ? ", kernels for Hopper" : ", kernels for all GPUs (AVEDIS_HOPPER=off)"));
    }

    /// <summary>Cuts that were measured on the kernels for Hopper are none for the others.</summary>
    [Test]
    public void Measured_cuts_for_Hopper_do_not_count_without()
    {
        Conv2dTuningRow Row(bool hopper) => new(Conv2dPass.Forward, "bf16", geometry, new(hopper, 128, 128, 1), 1, 2);
        var table = new Conv2dTuning("sm90", "a GPU", [Row(hopper: true), Row(hopper: false)]);
        Assert.That(table.For(hopper: true).Rows, Is.EqualTo(table.Rows));
        Assert.That(table.For(hopper: false).Rows, Is.EqualTo(new[] { Row(hopper: false) }));
    }

    [Test]
    public void Another_value_is_refused()
    {
        Environment.SetEnvironmentVariable(HopperKernels.Variable, "no");
        Assert.That(
            Assert.Throws<DeviceUnavailableException>(() => Emulation.Open(tf32: false).Dispose())!.Message,
            Is.EqualTo("device cuda: AVEDIS_HOPPER is 'no'; it may be on (which is usual) or off"));
    }

    [TestCase("off", "kernels for all GPUs (AVEDIS_HOPPER=off)")]
    [TestCase("no", "MISSING: device cuda: AVEDIS_HOPPER is 'no'")]
    public void Doctor_says_so(string value, string expected)
    {
        var start = new ProcessStartInfo("dotnet", [TinyCorpus.ProgramPath, "doctor"]) { RedirectStandardOutput = true };
        start.Environment["AVEDIS_CUDA_LIBRARY"] = Emulation.Library;
        start.Environment[HopperKernels.Variable] = value;
        using var process = Process.Start(start)!;
        string[] lines = process.StandardOutput.ReadToEnd().Split('\n');
        process.WaitForExit();
        if (!File.Exists(Path.Combine(AppContext.BaseDirectory, "avedis_kernels.fatbin")))
            Assert.Ignore("no CUDA compiler: without the kernels the program has no device cuda");
        Assert.That(lines.Single(line => line.StartsWith("cuda ", StringComparison.Ordinal)), Does.Contain(expected));
        Assert.That(lines, Does.Contain($"AVEDIS_HOPPER={value}"));
    }
}
