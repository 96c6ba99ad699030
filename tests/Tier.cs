namespace Avedis.Tests;

/// <summary>
/// Which tests run. The fast tier is what a person runs before every commit: everything that can be wrong, in minutes. All tests run everything: more shapes,
/// the third order of threads, trainings in processes of their own. ./test runs the fast tier, ./test --all and "dotnet test" run all.
/// </summary>
internal static class Tier
{
    /// <summary>Category of tests that the fast tier leaves out.</summary>
    public const string Long = "Long";

    /// <summary>Environment variable that says "fast" to the processes of the fast tier.</summary>
    public const string Variable = "AVEDIS_TEST_TIER";

    /// <summary>Whether this process runs the fast tier.</summary>
    public static bool Fast { get; } = Environment.GetEnvironmentVariable(Variable) == "fast";
}
