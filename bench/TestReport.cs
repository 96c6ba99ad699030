namespace Avedis.Bench;

/// <summary>A test that failed, and why.</summary>
public sealed record TestFailure(string Name, string Message);

/// <summary>A test method with all its cases.</summary>
public sealed record TestMethod(string Name, int Cases, double Seconds);

/// <summary>
/// A line of the tests' log, which is written while they run: kind "started" names a test that begins, "ended" says how it ended. check-gpu
/// writes "part" lines between, each naming the part that the tests behind it belong to.
/// </summary>
/// <param name="Outcome">Passed, Failed, Skipped, <see cref="Hung"/> or <see cref="NotTried"/>.</param>
/// <param name="Text">Why it failed, was skipped or not tried; what it printed.</param>
public sealed record TestEvent(string Kind, string Name, string? Outcome = null, double? Seconds = null, string? Text = null)
{
    /// <summary>It did not end within its limit.</summary>
    public const string Hung = "Hung";

    /// <summary>An earlier test of its fixture hung, or too many ended their process.</summary>
    public const string NotTried = "NotTried";
}

/// <summary>What a run of the tests' own program came to: the contents of its --out file.</summary>
/// <param name="Failed">Those that hung and those that were not tried among them.</param>
public sealed record TestReport(int Passed, int Failed, int Skipped, double Seconds, TestFailure[] Failures)
{
    /// <summary>The slowest first.</summary>
    public TestMethod[] Methods { get; init; } = [];

    /// <summary>Names of the kernels that were launched, where that was under the emulated driver.</summary>
    public string[] Kernels { get; init; } = [];
}
