using System.Runtime.InteropServices;
using System.Text.Json;
using NUnit.Framework;
using NUnit.Framework.Interfaces;

[assembly: Avedis.Tests.Runner.Announced]

namespace Avedis.Tests.Runner;

/// <summary>
/// A line from a process that runs tests to the one that started it. <see cref="Kind"/>: "ready" once, when it can take orders; "started"
/// and "ended" name a test, "done" a unit; "coverage" has what the process ran, once, at its end.
/// </summary>
internal sealed record TestMessage(string Kind, string Name)
{
    public const string Ready = "ready";

    public string Method { get; init; } = "";

    /// <summary>Passed, Failed or Skipped; what a process cannot say of itself, <see cref="Avedis.Bench.TestEvent.Hung"/> and
    /// <see cref="Avedis.Bench.TestEvent.NotTried"/>.</summary>
    public string Outcome { get; init; } = "";

    public double Seconds { get; init; }

    /// <summary>Why it failed or was skipped; what it printed.</summary>
    public string Text { get; init; } = "";

    public Coverage? Coverage { get; init; }
}

/// <summary>What a process that runs tests is to do: a unit, but for the tests that another process has run.</summary>
internal sealed record TestOrder(string Fixture, string[] Without);

/// <summary>Has every test announced; where another host runs the tests, nobody listens.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class AnnouncedAttribute : Attribute, ITestAction
{
    public ActionTargets Targets => ActionTargets.Test;

    public void BeforeTest(ITest test) => TestWorker.Announce(test);

    public void AfterTest(ITest test)
    {
    }
}

/// <summary>A process that runs the units that come in by its standard input as <see cref="TestOrder"/>s, one by one, and tells how their
/// tests end.</summary>
internal static partial class TestWorker
{
    /// <summary>Makes the program a worker; its value is the filter.</summary>
    public const string Option = "--worker";

    private const int StandardOutput = 1, StandardError = 2;

    private static Listener? listener;

    /// <summary>Says that a test begins, before it does: what NUnit tells a listener comes from a thread of its own, perhaps too
    /// late.</summary>
    public static void Announce(ITest test) => listener?.Send(new("started", test.FullName));

    public static int Serve(string filter)
    {
        // what tests and native code print must not come between the messages
        using var output = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        _ = Duplicate(StandardError, StandardOutput);
        var tree = new TestTree(filter);
        listener = new Listener(output);
        listener.Send(new(TestMessage.Ready, ""));
        while (Console.ReadLine() is { } line)
        {
            var order = JsonSerializer.Deserialize<TestOrder>(line)!;
            tree.Run(order.Fixture, order.Without, listener);
            listener.Send(new("done", order.Fixture));
        }
        listener.Send(new("coverage", "") { Coverage = Coverage.Take() });
        return 0;
    }

    private sealed class Listener(StreamWriter output) : ITestListener
    {
        public void Send(TestMessage message)
        {
            lock (output)
                output.WriteLine(JsonSerializer.Serialize(message));
        }

        public void TestStarted(ITest test)
        {
            if (!test.IsSuite)
                TinyCorpus.TakeSeconds(); // what a set-up before it took is no part of its duration
        }

        public void TestFinished(ITestResult result)
        {
            // a suite that fails because of its tests says nothing new; one that could not be set up fails its tests as well
            if (result.Test.IsSuite)
                return;
            string outcome = result.ResultState.Status switch
            {
                TestStatus.Failed => "Failed",
                TestStatus.Skipped or TestStatus.Inconclusive => "Skipped",
                _ => "Passed",
            };
            string text = outcome == "Passed" ? "" : $"{result.Message?.Trim()}\n{result.StackTrace?.TrimEnd()}".Trim();
            Send(new("ended", result.FullName)
            {
                Method = $"{result.Test.ClassName}.{result.Test.MethodName}", Outcome = outcome, Text = text,
                Seconds = result.Duration - TinyCorpus.TakeSeconds(),
            });
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(NUnit.Framework.Interfaces.TestMessage message)
        {
        }
    }

    [LibraryImport("libc", EntryPoint = "dup2")]
    private static partial int Duplicate(int from, int to);
}
