using System.Diagnostics;
using System.Runtime.InteropServices;
using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// What the program says about a GPU that is not there. In processes of their own: a process loads one driver, and this one may have loaded the emulated.
/// </summary>
public sealed class DeviceTests
{
    private const string Variable = "AVEDIS_CUDA_LIBRARY";

    private string folder = "";

    [SetUp]
    public void SetUp()
    {
        folder = Directory.CreateTempSubdirectory("avedis-device").FullName;
        if (NativeLibrary.TryLoad("libcuda.so.1", out nint driver))
        {
            NativeLibrary.Free(driver);
            Assert.Ignore("this machine has a CUDA driver: what is said without one cannot be seen here");
        }
    }

    [TearDown]
    public void TearDown() => Directory.Delete(folder, recursive: true);

    [Test]
    public void Cuda_without_a_driver_names_every_library_that_was_tried_and_why_it_failed()
    {
        var (code, text) = Run(null, "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--device", "cuda");
        Assert.That(code, Is.EqualTo(ExitCode.DeviceUnavailable), text);
        string line = text.Split('\n').Single(l => l.StartsWith("avedis:", StringComparison.Ordinal));
        Assert.Multiple(() =>
        {
            foreach (string library in (string[])["libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"])
                Assert.That(line, Does.Contain($"{library}: cannot open shared object file: No such file or directory"));
            Assert.That(line, Does.Contain("--device cpu"));
            Assert.That(Directory.Exists(Path.Combine(folder, "run", "checkpoints")), Is.False);
        });
    }

    [Test]
    public void Preparing_on_a_device_that_is_not_there_does_not_fall_back()
    {
        string target = Path.Combine(folder, "prepared");
        var (code, text) = Run(null, "prepare", Path.Combine(TinyCorpus.Corpus, "manifest.csv"), "--out", target, "--device", "cuda");
        Assert.That(code, Is.EqualTo(ExitCode.DeviceUnavailable), text);
        Assert.That(text, Does.Contain("device cuda"));
        Assert.That(File.Exists(Path.Combine(target, "dataset.json")), Is.False);
    }

    [Test]
    public void A_named_driver_is_the_only_one_tried()
    {
        string named = Path.Combine(folder, "libcuda_of_mine.so");
        var (code, text) = Run(named, "train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), "--device", "cuda");
        Assert.That(code, Is.EqualTo(ExitCode.DeviceUnavailable), text);
        Assert.That(text, Does.Contain(named).And.Not.Contain("libcuda.so.1"));
    }

    [Test]
    public void Auto_picks_the_processor_and_says_why()
    {
        var (code, text) = Run(
            null, ["train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), .. TinyCorpus.SmallNetwork, "--epochs", "1", "--device", "auto"]);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), text);
        Assert.That(text, Does.Contain("device auto: the processor (there is no CUDA driver; avedis doctor shows what was tried)"));
    }

    /// <summary>The emulated driver is for tests: naming it does not make auto pick it.</summary>
    [Test]
    public void Auto_never_picks_a_driver_that_was_only_named()
    {
        string emulated = Path.Combine(AppContext.BaseDirectory, "libcuda_emulated.so");
        var (code, text) = Run(
            emulated, ["train", TinyCorpus.Prepared, "--run", Path.Combine(folder, "run"), .. TinyCorpus.SmallNetwork, "--epochs", "1", "--device", "auto"]);
        Assert.That(code, Is.EqualTo(ExitCode.Ok), text);
        Assert.That(text, Does.Contain("device auto: the processor").And.Contain(Variable).And.Not.Contain("emulated GPU"));
    }

    [Test]
    public void Doctor_shows_every_attempt()
    {
        var (_, text) = Run(null, "doctor");
        string line = text.Split('\n').Single(l => l.StartsWith("cuda", StringComparison.Ordinal));
        Assert.That(line, Does.Contain("MISSING"));
        foreach (string library in CudaLibrary.Candidates.Where(c => c.Contains("libcuda.so.1")))
            Assert.That(line, Does.Contain(library));
    }

    [Test]
    public void Doctor_does_not_wait_for_ever_for_a_driver_that_does_not_answer()
    {
        if (Emulation.Absence is { } absence)
            Assert.Ignore(absence);
        File.WriteAllText(Path.Combine(folder, "avedis_kernels.fatbin"), "the emulation has its own");
        var environment = new Dictionary<string, string> { ["AVEDIS_NATIVE_DIR"] = folder, ["AVEDIS_EMULATION_FAULT"] = "cuInit:9999" };
        var (_, text) = Run(Emulation.Library, environment, "doctor", "--gpu-seconds", "0.5");
        Assert.That(text, Does.Contain("the driver has not answered for 0.5 s").And.Contain("dmesg"));
        Assert.That(text.TrimEnd().Split('\n')[^1], Does.Contain("ready"), "it goes on to its last line");
    }

    private static (int Code, string Text) Run(string? driver, params string[] arguments) => Run(driver, [], arguments);

    private static (int Code, string Text) Run(string? driver, Dictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [TinyCorpus.ProgramPath, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Remove(Variable);
        if (driver is not null)
            start.Environment[Variable] = driver;
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }
}
