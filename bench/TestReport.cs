namespace Avedis.Bench;

/// <summary>A test that failed, and why.</summary>
public sealed record TestFailure(string Name, string Message);

/// <summary>What a run of the tests' own program came to: the contents of its --out file.</summary>
public sealed record TestReport(int Passed, int Failed, int Skipped, double Seconds, TestFailure[] Failures);
