using System.Globalization;
using System.Reflection;
using System.Security;
using System.Text.Json;
using Avedis.Bench;
using Avedis.Trainer.Benchmark;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Avedis.Tests;

/// <summary>
/// The tests as a program of their own, for machines without the .NET SDK: Avedis.Tests [--filter REGEX] [--out FILE]. Exit code 0 if all passed.
/// "dotnet test" brings its own host and does not come here.
/// </summary>
public static class TestProgram
{
    private const int Passed = 0, Failed = 1, Usage = 2;

    public static int Main(string[] arguments)
    {
        if (arguments is [Hdf5FuzzTests.PartOption, var part])
        {
            Hdf5FuzzTests.ReadPart(part);
            return Passed;
        }
        var options = new Dictionary<string, string>();
        for (int i = 0; i < arguments.Length; i += 2)
            if (arguments[i] is "--filter" or "--out" && i + 1 < arguments.Length)
                options[arguments[i]] = arguments[i + 1];
            else
            {
                Console.Error.WriteLine("Avedis.Tests [--filter REGEX of full names] [--out FILE.json]");
                return Usage;
            }

        var report = Run(options.GetValueOrDefault("--filter", ""), Console.Out);
        if (options.TryGetValue("--out", out string? file))
            File.WriteAllText(file, JsonSerializer.Serialize(report, BenchJson.Indented) + "\n");
        if (report.Passed + report.Failed == 0)
            Console.Error.WriteLine("no test ran");
        Console.WriteLine($"{report.Passed} passed, {report.Failed} failed, {report.Skipped} skipped");
        return report.Failed == 0 && report.Passed > 0 ? Passed : Failed;
    }

    private static TestReport Run(string pattern, TextWriter output)
    {
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(Assembly.GetExecutingAssembly(), new Dictionary<string, object>());
        var filter = pattern.Length == 0
            ? TestFilter.Empty
            : TestFilter.FromXml($"<filter><test re=\"1\">{SecurityElement.Escape(pattern)}</test></filter>");
        var listener = new Listener(output);
        var result = runner.Run(listener, filter);
        return new TestReport(result.PassCount + result.WarningCount, listener.Failures.Count, result.SkipCount + result.InconclusiveCount, result.Duration, [.. listener.Failures]);
    }

    /// <summary>Prints and keeps what fails, fixtures that cannot be set up included, while the rest runs.</summary>
    private sealed class Listener(TextWriter output) : ITestListener
    {
        public List<TestFailure> Failures { get; } = [];

        public void TestFinished(ITestResult result)
        {
            // a suite that fails because of its tests says nothing new; their set-up that fails is told by each of them
            if (result.ResultState.Status != TestStatus.Failed || result.Test.IsSuite)
                return;
            var failure = new TestFailure(result.FullName, (result.Message ?? "").Trim());
            Failures.Add(failure);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"FAILED {failure.Name}\n{failure.Message}\n{result.StackTrace}"));
        }

        public void TestStarted(ITest test)
        {
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(TestMessage message)
        {
        }
    }
}
