using System.Globalization;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>How much a test of reliability does: a sample in ./test, all of it under tests/soak.</summary>
internal static class Soak
{
    public const string Category = "Reliability";

    public static bool IsLong { get; } = Environment.GetEnvironmentVariable("AVEDIS_SOAK") == "1";

    public static int Count(int sample, int all) => IsLong ? all : sample;

    /// <summary>Evenly spaced numbers of 1 to <paramref name="last"/>: all of them under tests/soak.</summary>
    public static IEnumerable<int> Spread(int last, int sample) => Enumerable.Range(0, Count(Math.Min(sample, last), last))
        .Select(i => 1 + (int)((long)i * last / Count(Math.Min(sample, last), last)));

    /// <summary>A figure for RELIABILITY.md.</summary>
    public static void Say(FormattableString text) => TestContext.Progress.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
