using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench;
using Avedis.Tests.Ops;
using Avedis.Trainer;
using Avedis.Trainer.Benchmark;
using NUnit.Framework;

namespace Avedis.Tests.Runner;

/// <summary>The tests' own program, where a kernel takes the process that launched it along: the emulated driver stands for a
/// GPU's.</summary>
public sealed class TestPoolTests
{
    private const string Relu = @"Ops\.ReluTests\(cuda\)\.", Sums = @"Ops\.MaskedMeanTests\(cuda\)\.";

    private string log = "";

    [SetUp]
    public void SetUp()
    {
        log = Path.GetTempFileName();
        if (Emulation.AbsenceToPrograms is { } absence)
            Assert.Ignore(absence);
    }

    [TearDown]
    public void TearDown() => File.Delete(log);

    /// <param name="fault">What AVEDIS_EMULATION_ and its name say of a kernel.</param>
    /// <returns>The log's last word of each test.</returns>
    private Dictionary<string, TestEvent> Run(int code, (string Name, string Value) fault, params string[] arguments)
    {
        var start = TestProgram.Again(["--jobs", "1", "--log", log, .. arguments]);
        start.RedirectStandardOutput = true;
        start.Environment[Backends.Variable] = "cuda";
        start.Environment["AVEDIS_CUDA_LIBRARY"] = Emulation.Library;
        start.Environment[$"AVEDIS_EMULATION_{fault.Name}"] = fault.Value;
        using var tests = Process.Start(start)!;
        string output = tests.StandardOutput.ReadToEnd();
        tests.WaitForExit();
        Assert.That(tests.ExitCode, Is.EqualTo(code), output);
        return Events().GroupBy(line => line.Name).ToDictionary(test => test.Key, test => test.Last());
    }

    private IEnumerable<TestEvent> Events() =>
        File.ReadLines(log).Select(line => JsonSerializer.Deserialize<TestEvent>(line, BenchJson.Options)!);

    private static string[] Outcomes(Dictionary<string, TestEvent> tests, string fixture) =>
        [.. tests.Where(test => test.Key.Contains(fixture, StringComparison.Ordinal)).Select(test => test.Value.Outcome!)];

    [Category(Tier.Long)]
    [Test]
    [Category(Tier.Long)]
    public void A_kernel_that_never_ends_is_named_and_the_next_fixture_runs()
    {
        var tests = Run(
            1, ("HANG", "relu_backward_f32"),
            "--apart", "--filter", $"({Relu}Backward.*F32)|({Sums}Forward.*F32)", "--limit", "15", "--order", "ReluTests");
        string[] relu = Outcomes(tests, "ReluTests");
        Assert.That(relu[0], Is.EqualTo(TestEvent.Hung));
        Assert.That(relu[1..], Is.Not.Empty.And.All.EqualTo(TestEvent.NotTried));
        Assert.That(Outcomes(tests, "MaskedMeanTests"), Is.Not.Empty.And.All.EqualTo("Passed"));
        Assert.That(Events().Take(2).Select(line => line.Kind), Is.EqualTo(new[] { "started", "ended" }), "its name comes first");
    }

    /// <summary>As a bundle's user runs them, on a machine that has no sources.</summary>
    [Test]
    [Category(Tier.Long)]
    public void Operations_are_tested_outside_the_repository()
    {
        string folder = Directory.CreateTempSubdirectory("avedis-outside").FullName;
        foreach (string file in Directory.GetFiles(AppContext.BaseDirectory))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        string output = "";
        var ended = ChildProgram.Run(
            "env",
            [
                $"{Backends.Variable}=cuda", $"AVEDIS_CUDA_LIBRARY={Emulation.Library}",
                "dotnet", Path.Combine(folder, "Avedis.Tests.dll"), "--jobs", "1", "--filter", Relu,
            ],
            TimeSpan.FromMinutes(5), readOutput: stream => output = new StreamReader(stream).ReadToEnd());
        Directory.Delete(folder, recursive: true);
        Assert.That(ended.Succeeded, Is.True, output);
    }

    /// <summary>
    /// What check-gpu runs under compute-sanitizer: short, and every kernel that a Hopper runs. Those of its large tiles take long under
    /// emulation, so here it is enough that their tests are there.
    /// </summary>
    [Test]
    [Category(Tier.Long)]
    public void The_short_list_for_the_sanitizer_launches_every_kernel()
    {
        string[] list = File.ReadAllLines(Path.Combine(Repository.Root, "tests", "sanitizer-tests.txt"));
        string[] large = [.. list.Where(name => Regex.IsMatch(name, @"\(\[(1, 92|1, 107|1, 131|2, 6, 6, 256)"))];
        (string most, string report) = (Path.GetTempFileName(), Path.GetTempFileName());
        File.WriteAllLines(most, list.Except(large));
        var tests = Run(0, ("TESTS", "all of them pass"), "--all", "--tests", most, "--out", report);
        Assert.That(tests.Keys, Is.EquivalentTo(list.Except(large)), "each of the list is there");
        string[] launched = JsonSerializer.Deserialize<TestReport>(File.ReadAllText(report), BenchJson.Options)!.Kernels;
        File.Delete(most);
        File.Delete(report);
        string[] kernels = [.. Emulation.Kernels().Keys.Where(kernel => !kernel.StartsWith("probe_", StringComparison.Ordinal))];
        // with channels in eights a Hopper has kernels of its own for the first two
        Assert.That(kernels.Except(launched), Is.EquivalentTo(new[]
        {
            "conv2d_gather_bf16_128x96", "conv2d_weight_bf16_128x128",
            "conv2d_hopper_gather_bf16_128x192", "conv2d_hopper_gather_bf16_128x256",
            "conv2d_hopper_gather_bf16_256x128", "conv2d_hopper_gather_bf16_256x96", "conv2d_hopper_weight_bf16_128x256",
        }));
        Assert.That(large, Has.Length.EqualTo(5));
    }

    [TestCase(700)]
    [TestCase(719)]
    public void An_error_that_stays_ends_its_process_and_not_the_tests_behind_it(int error)
    {
        var tests = Run(1, ("FAIL", $"relu_backward_f32:{error}"), "--apart", "--filter", $"{Relu}.*F32");
        string[] forward = Outcomes(tests, ".Forward"), backward = Outcomes(tests, ".Backward");
        Assert.That(backward, Has.Some.EqualTo("Failed").And.Some.EqualTo(TestEvent.NotTried), "three processes are enough");
        Assert.That(backward, Has.Exactly(3).EqualTo("Failed"));
        Assert.That(forward, Has.None.EqualTo("Failed"));
        Assert.That(tests.Values.First(test => test.Outcome == "Failed").Text, Does.Contain($"({error})"));
    }

    [Test]
    public void Neither_does_one_that_only_the_driver_has_named()
    {
        var tests = Run(
            1, ("FAIL", "probe_ldmatrix:719"),
            "--apart", "--filter", @"Kernels\.EmulationTests.*\.(Ldmatrix|Parts_of_a_warp|Sums_and_maxima)");
        Assert.That(Outcomes(tests, ".Ldmatrix"), Is.EqualTo(new[] { "Failed", "Failed" }));
        Assert.That(Outcomes(tests, ".Parts").Concat(Outcomes(tests, ".Sums")), Is.EqualTo(new[] { "Passed", "Passed" }));
    }
}
