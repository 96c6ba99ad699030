using System.Reflection;
using System.Security;
using System.Text.RegularExpressions;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Avedis.Tests.Runner;

/// <summary>A fixture and those of its tests that are to run: what one process takes at a time.</summary>
internal sealed record TestUnit(string Fixture, string[] Tests);

/// <summary>The tests of this assembly as NUnit made them, less those that the tier and the filter leave out.</summary>
internal sealed class TestTree
{
    private readonly NUnitTestAssemblyRunner runner = new(new DefaultTestAssemblyBuilder());
    private readonly Regex pattern;
    private readonly string filter;

    /// <param name="filter">Regular expression of full names; empty for all.</param>
    public TestTree(string filter)
    {
        this.filter = filter;
        pattern = new(filter);
        runner.Load(Assembly.GetExecutingAssembly(), new Dictionary<string, object>());
        Units = [.. UnitsOf(runner.LoadedTest!)];
    }

    public IReadOnlyList<TestUnit> Units { get; }

    /// <summary>Runs the tests of a unit in this process, but for those that another process has run.</summary>
    public void Run(string fixture, IEnumerable<string> without, ITestListener listener)
    {
        string tier = Tier.Fast ? $"<not><cat>{Tier.Long}</cat></not>" : "";
        string chosen = filter.Length == 0 ? "" : $"<test re=\"1\">{SecurityElement.Escape(filter)}</test>";
        string rest = string.Concat(without.Select(test => $"<not><test>{SecurityElement.Escape(test)}</test></not>"));
        string unit = $"<test>{SecurityElement.Escape(fixture)}</test>";
        runner.Run(listener, TestFilter.FromXml($"<filter><and>{unit}{tier}{chosen}{rest}</and></filter>"));
    }

    private IEnumerable<TestUnit> UnitsOf(ITest test)
    {
        if (test is not TestFixture)
            return test.Tests.SelectMany(UnitsOf);
        string[] chosen = [.. Leaves(test).Where(Chosen).Select(leaf => leaf.FullName)];
        return chosen.Length == 0 ? [] : [new TestUnit(test.FullName, chosen)];
    }

    private static IEnumerable<ITest> Leaves(ITest test) => test.IsSuite ? test.Tests.SelectMany(Leaves) : [test];

    private bool Chosen(ITest test) => pattern.IsMatch(test.FullName) && !(Tier.Fast && IsLong(test));

    private static bool IsLong(ITest? test) => test is not null && (test.Properties["Category"].Contains(Tier.Long) || IsLong(test.Parent));
}
