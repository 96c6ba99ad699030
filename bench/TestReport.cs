namespace Avedis.Bench;

/// <summary>A test that failed, and why.</summary>
public sealed record TestFailure(string Name, string Message);

/// <summary>A test method with all its cases.</summary>
public sealed record TestMethod(string Name, int Cases, double Seconds);

/// <summary>What a run of the tests' own program came to: the contents of its --out file.</summary>
public sealed record TestReport(int Passed, int Failed, int Skipped, double Seconds, TestFailure[] Failures)
{
    /// <summary>The slowest first.</summary>
    public TestMethod[] Methods { get; init; } = [];
}
