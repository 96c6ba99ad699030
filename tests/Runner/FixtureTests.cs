using System.Diagnostics;
using System.Text.RegularExpressions;
using Avedis.Engine;
using Avedis.Tests.Ops;
using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Avedis.Tests.Runner;

/// <summary>
/// That the operation tests run where they are meant to. A fixture source on a class makes NUnit ignore the source of its base class, so attributes do not
/// tell: these tests look at the fixtures that NUnit made.
/// </summary>
public sealed class FixtureTests
{
    private const string Cpu = "cpu", Hopper = "emulated", Sm80 = "emulated sm_80", Tf32 = "emulated tf32";

    /// <summary>The classes whose operations have kernels of their own in these modes.</summary>
    private static readonly Dictionary<string, Type[]> about = new()
    {
        [Sm80] = [typeof(Conv2dTests), typeof(MomentsTests)],
        [Tf32] = [typeof(Conv2dTests), typeof(MomentsTests), typeof(StemTests)],
    };

    private static IEnumerable<Type> Classes => typeof(OpTests).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(OpTests)) && !type.IsAbstract);

    [TestCaseSource(nameof(Classes))]
    public void A_class_of_operation_tests_has_a_fixture_for_every_backend_that_it_is_about(Type type)
    {
        if (Backends.Forced is not null)
            Assert.Ignore($"only {Backends.Forced} was asked for");
        string[] expected = [Cpu, Hopper, .. about.Where(mode => mode.Value.Contains(type)).Select(mode => mode.Key)];
        Assert.That(Made().Where(fixture => fixture.Type == type).Select(fixture => fixture.Backend), Is.EquivalentTo(expected));
    }

    /// <summary>Whoever asks for a backend by name gets all that there is of it.</summary>
    [TestCase("cpu", new[] { "cpu" }, new string[0])]
    [TestCase("emulated", new[] { Hopper }, new[] { Sm80, Tf32 })]
    [TestCase("cuda", new[] { "cuda" }, new[] { "cuda tf32" })]
    public void A_backend_that_is_named_runs_every_class(string backend, string[] all, string[] someClasses)
    {
        var listed = Listed(backend);
        Assert.Multiple(() =>
        {
            foreach (var type in Classes)
            {
                string[] modes = [.. someClasses.Where(mode => about[mode.Replace("cuda", "emulated", StringComparison.Ordinal)].Contains(type))];
                Assert.That(listed.GetValueOrDefault(type.FullName!, []), Is.EquivalentTo(all.Concat(modes)), type.Name);
            }
        });
    }

    [Test]
    public void Every_operation_is_in_the_table_of_what_tests_ran()
    {
        string[] transfers = [nameof(IBackend.Upload), nameof(IBackend.Download), nameof(IBackend.AllReduce)];
        Type[] operands = [typeof(Tensor), typeof(IReadOnlyList<Conv2dWeights>)];
        var methods = typeof(IBackend).GetMethods()
            .Where(method => method.GetParameters().Any(p => operands.Contains(p.ParameterType))).Select(method => method.Name);
        Assert.That(Coverage.Operations.Select(operation => operation.Method), Is.EquivalentTo(methods.Except(transfers)));
    }

    [Test]
    public void The_committed_table_has_a_row_for_each_and_no_cell_of_nothing()
    {
        string[][] rows = [.. File.ReadLines(Coverage.CommittedFile).Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Skip(1).Select(line => line.Split('|', StringSplitOptions.TrimEntries))];
        Assert.That(rows.Select(cells => cells[1]), Is.EqualTo(Coverage.Operations.Select(operation => operation.Name)));
        Assert.That(rows.Where(cells => cells.Contains("0")).Select(cells => cells[1]), Is.Empty);
    }

    [Test]
    public void A_table_of_nothing_names_every_operation_on_every_backend()
    {
        string[] gaps = [.. new Coverage().Gaps()];
        foreach (string gap in new[] { "conv2d forward on cpu F32", "conv2d backward weight on emulated sm_80 BF16", "stem backward on emulated tf32 F32", "adam on emulated F32" })
            Assert.That(gaps, Does.Contain($"no test ran {gap}"));
        Assert.That(gaps, Has.None.Contains("adam on cpu BF16"), "Adam has no such form");
    }

    /// <summary>Of the whole tree of tests, whichever of them run.</summary>
    private static IEnumerable<(Type Type, string Backend)> Made()
    {
        ITest root = TestExecutionContext.CurrentContext.CurrentTest;
        while (root.Parent is { } parent)
            root = parent;
        return Fixtures(root).Select(fixture => (fixture.TypeInfo!.Type, fixture.Arguments.OfType<BackendCase>().Single().ToString()));

        static IEnumerable<ITest> Fixtures(ITest test) =>
            test is TestFixture ? typeof(OpTests).IsAssignableFrom(test.TypeInfo!.Type) ? [test] : [] : test.Tests.SelectMany(Fixtures);
    }

    /// <summary>Backends by class, as the tests list them where one is named.</summary>
    private static Dictionary<string, string[]> Listed(string backend)
    {
        var start = TestProgram.Again("--list", "--filter", @"^Avedis\.Tests\.Ops\.");
        start.RedirectStandardOutput = true;
        start.Environment["AVEDIS_TEST_BACKEND"] = backend;
        using var list = Process.Start(start)!;
        var names = list.StandardOutput.ReadToEnd().Split('\n');
        list.WaitForExit();
        Assert.That(list.ExitCode, Is.Zero);
        return names.Select(name => Regex.Match(name, @"^([\w.]+)\(([\w ]+)\)\.")).Where(match => match.Success)
            .GroupBy(match => match.Groups[1].Value, match => match.Groups[2].Value).ToDictionary(group => group.Key, group => group.Distinct().ToArray());
    }
}
