using System.Text.RegularExpressions;
using Avedis.Bindings.Cpu;
using Avedis.Trainer;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// Much of the processor's code is compiled for several instruction sets (bindings/native/instruction_sets.h), and a process takes the best. Here the
/// operations that have such code are tested with each of the others that this processor has, on a selection of their cases, in processes that may use no more.
/// </summary>
public sealed class InstructionSetTests
{
    /// <param name="Name">As the processor library calls it.</param>
    /// <param name="Cap">As oneDNN calls it, whose cap counts for our own code too.</param>
    /// <param name="Flags">What /proc/cpuinfo says of a processor that has it, besides those of the sets before it.</param>
    public sealed record InstructionSet(string Name, string Cap, params string[] Flags)
    {
        public override string ToString() => Name;
    }

    /// <summary>oneDNN's names of the variable, the newer one first.</summary>
    private static readonly string[] variables = ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"];

    private static readonly InstructionSet[] sets =
    [
        new("SSE4.1", "SSE41", "sse4_1"),
        new("AVX2", "AVX2", "avx2", "fma"),
        new("AVX-512", "AVX512_CORE", "avx512f", "avx512bw", "avx512vl", "avx512dq"),
        new("AVX-512, BF16", "AVX512_CORE_BF16", "avx512_bf16"),
        new("AVX-512, AMX", "AVX512_CORE_AMX", "amx_tile", "amx_int8", "amx_bf16"),
    ];

    /// <summary>Shapes of all kinds, but small: the processes take some seconds together.</summary>
    private static readonly string cases = string.Join('|',
    [
        $"{nameof(InstructionSetTests)}.{nameof(The_best_that_is_allowed_is_used)}",
        CasesOf(nameof(Conv2dTests), @"\[\d, \d, \d\d?, \d\d?\] by \[\d\d?, ", nameof(Conv2dTests.All_passes_are_exact_on_small_integers), nameof(Conv2dTests.Forward)),
        CasesOf(
            nameof(Conv2dWinogradTests), "", nameof(Conv2dWinogradTests.Agrees_with_the_reference_at_the_tolerance_of_direct_sums)),
        CasesOf(nameof(StemTests), @"\[\d, \d\d?, (\d|[12]\d), .*, Plain", nameof(StemTests.Training_forward), nameof(StemTests.Backward_adds_to_the_gradients_of_the_parameters)),
        CasesOf(nameof(BatchNormTests), @"\[\d, \d\d?, (\d|[12]\d), \d\d?\]", nameof(BatchNormTests.Training_forward), nameof(BatchNormTests.Backward_overwrites_dX_and_adds_to_dGamma_and_dBeta)),
        CasesOf(nameof(MaxPoolTests), @"\[", nameof(MaxPoolTests.Forward), nameof(MaxPoolTests.Backward)),
        // which convolutions are oneDNN's own products of unfolded images differs, and these have other bits for other numbers of threads
        CasesOf(nameof(DeterminismTests), "F32,Direct,\"gradient", nameof(DeterminismTests.Convolutions_with_any_number_of_threads)),
    ]);

    private static string CasesOf(string fixture, string arguments, params string[] methods) =>
        $@"{fixture}(\(cpu\))?\.({string.Join('|', methods)})\({arguments}";

    /// <summary>The fast tier takes AVX2, what most processors without AVX-512 have.</summary>
    private static IEnumerable<TestCaseData> Cases() =>
        sets.Select(set => set.Name == "AVX2" ? new TestCaseData(set) : new TestCaseData(set).SetCategory(Tier.Long));

    [TestCaseSource(nameof(Cases))]
    public void Operations_agree_with_their_references(InstructionSet set)
    {
        if (Backends.Forced is not null and not "cpu")
            Assert.Ignore($"the tests of this run are those of {Backends.Forced}");
        string[] lacking = Lacking(set);
        if (lacking.Length > 0)
            Assert.Ignore($"{set}: this processor lacks {string.Join(", ", lacking)}");
        if (set == Best)
        {
            TestContext.Out.WriteLine($"{set}: what the other tests of operations run with");
            return;
        }
        var (program, arguments) = OwnProgram.Command(typeof(InstructionSetTests).Assembly, "--jobs", "1", "--filter", cases);
        string output = "";
        var result = ChildProgram.Run(
            "env", [.. variables.Select(name => $"{name}={set.Cap}"), $"{Backends.Variable}=cpu", program, .. arguments], TimeSpan.FromMinutes(10),
            readOutput: stream => output = new StreamReader(stream).ReadToEnd());
        TestContext.Out.WriteLine($"{set}: {Regex.Match(output, @"^\d+ passed.*", RegexOptions.Multiline)}");
        Assert.That(result.Succeeded, Is.True, $"with {set} (exit code {result.ExitCode}):\n{output}\n{result.Errors}");
    }

    [Test]
    public void The_best_that_is_allowed_is_used() => Assert.That(CpuNative.InstructionSet, Is.EqualTo(Best.Name));

    /// <summary>Of this processor, within what the environment allows.</summary>
    private static InstructionSet Best
    {
        get
        {
            string? cap = variables.Select(Environment.GetEnvironmentVariable).FirstOrDefault(value => value is not null);
            int most = Array.FindIndex(sets, set => set.Cap == cap);
            return sets.Take(most < 0 ? sets.Length : most + 1).Last(set => Lacking(set).Length == 0);
        }
    }

    private static string[] Lacking(InstructionSet set)
    {
        string flags = File.ReadLines("/proc/cpuinfo").First(line => line.StartsWith("flags", StringComparison.Ordinal));
        return [.. set.Flags.Except(flags.Split(' '))];
    }
}
