using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Avedis.Bench;

namespace Avedis.Tests.Runner;

/// <summary>
/// Runs units of tests in processes side by side: the emulated driver's order of threads, the driver that is loaded and the instruction set belong to a whole
/// process. A process that dies fails the test that it was at, and the next unit gets a new one.
/// </summary>
internal sealed class TestPool : IDisposable
{
    /// <summary>A single test of the fast tier that takes longer is too slow for it; where others use more than this share of the processors, nobody can tell.</summary>
    private const double FastSeconds = 10, ForeignLimit = 0.1;

    /// <summary>A test that takes longer hangs.</summary>
    private static readonly TimeSpan limit = TimeSpan.FromMinutes(20);

    private const int SlowestShown = 10, LinesKept = 40;

    private readonly TestOptions options;
    private readonly TextWriter output;
    private readonly SharedFolder shared = SharedFolder.Create();
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly double busyBefore = ProcessorLoad.BusySeconds() - ProcessorLoad.FamilySeconds();
    private readonly List<TestMessage> results = [];
    private readonly Coverage coverage = new();
    private readonly HashSet<Process> workers = [];
    private readonly Queue<TestUnit> waiting;
    private readonly int units, tests;
    private int unitsDone;

    public TestPool(TestOptions options, TextWriter output)
    {
        (this.options, this.output) = (options, output);
        // the emulated kernels take longest, so they go first: at the end all processes have work until the last moment
        var ordered = new TestTree(options.Filter).Units.OrderByDescending(unit => unit.Fixture.Contains("emulated", StringComparison.Ordinal)).ThenByDescending(unit => unit.Tests.Length);
        waiting = new(ordered);
        (units, tests) = (waiting.Count, waiting.Sum(unit => unit.Tests.Length));
        Console.CancelKeyPress += Interrupt;
    }

    public TestReport Run()
    {
        int jobs = Math.Min(options.Jobs, units);
        output.WriteLine($"{tests} tests of the {(options.All ? "whole suite" : "fast tier")} in {jobs} process{(jobs == 1 ? "" : "es")}");
        Thread[] threads = [.. Enumerable.Range(0, jobs).Select(_ => new Thread(Work))];
        foreach (var thread in threads)
            thread.Start();
        foreach (var thread in threads)
            thread.Join();
        if (tests == 0)
            output.WriteLine("no test ran: no name matches the filter");
        else
            Check();
        return Report();
    }

    public void Dispose()
    {
        Console.CancelKeyPress -= Interrupt;
        shared.Dispose();
    }

    private void Interrupt(object? sender, ConsoleCancelEventArgs e)
    {
        lock (workers)
            foreach (var worker in workers)
                worker.Kill(entireProcessTree: true);
        shared.Dispose();
        Environment.Exit(130);
    }

    /// <summary>One place in the pool: a process, and another after each that dies.</summary>
    private void Work()
    {
        Worker? worker = null;
        while (Next() is { } unit)
        {
            worker ??= Start();
            var clock = Stopwatch.StartNew();
            var ended = worker.Run(unit, TellFailure, out string? death);
            if (death is not null)
            {
                Stop(worker);
                worker = null;
            }
            Tell(unit, ended, death, clock.Elapsed.TotalSeconds);
        }
        if (worker is null)
            return;
        if (worker.End() is { } counted)
            lock (coverage)
                coverage.Add(counted);
        Stop(worker);
    }

    private TestUnit? Next()
    {
        lock (waiting)
            return waiting.TryDequeue(out var unit) ? unit : null;
    }

    private Worker Start()
    {
        var start = TestProgram.Again(TestWorker.Option, options.Filter);
        (start.RedirectStandardInput, start.RedirectStandardOutput, start.RedirectStandardError) = (true, true, true);
        shared.Describe(start.Environment);
        // emulated kernels run on the cores that the other processes leave
        start.Environment["AVEDIS_EMULATION_THREADS"] = Math.Max(1, Environment.ProcessorCount / options.Jobs).ToString(CultureInfo.InvariantCulture);
        var worker = new Worker(start);
        lock (workers)
            workers.Add(worker.Process);
        return worker;
    }

    private void Stop(Worker worker)
    {
        lock (workers)
            workers.Remove(worker.Process);
        worker.Dispose();
    }

    /// <summary>Notes how the tests of a unit ended. Of one whose process died, the test that it was at and those behind it failed.</summary>
    private void Tell(TestUnit unit, List<TestMessage> ended, string? death, double seconds)
    {
        if (death is not null)
            foreach (string name in unit.Tests.Except(ended.Select(test => test.Name)).ToArray())
            {
                ended.Add(new("ended", name) { Method = unit.Fixture, Outcome = "Failed", Text = death });
                TellFailure(ended[^1]);
            }
        string Count(string outcome) => ended.Count(test => test.Outcome == outcome) is > 0 and var count ? $", {count} {outcome.ToLowerInvariant()}" : "";
        lock (results)
        {
            results.AddRange(ended);
            unitsDone++;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"[{clock.Elapsed:mm\\:ss} {unitsDone}/{units}] {unit.Fixture}: {seconds:F1} s{Count("Passed")}{Count("Failed")}{Count("Skipped")}"));
        }
    }

    private void TellFailure(TestMessage failure)
    {
        lock (results)
            output.WriteLine($"FAILED {failure.Name}\n{failure.Text}");
    }

    /// <summary>What only the whole run can tell: tests that are too slow for the fast tier, and what no test ran.</summary>
    private void Check()
    {
        double foreign = (ProcessorLoad.BusySeconds() - ProcessorLoad.FamilySeconds() - busyBefore) / (clock.Elapsed.TotalSeconds * Environment.ProcessorCount);
        if (foreign > ForeignLimit)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"other programs used {foreign:P0} of the processors: times say little"));
        else if (!options.All)
            foreach (var slow in results.Where(test => test.Seconds > FastSeconds).ToArray())
                Fail($"fast tier: {slow.Name}", string.Create(
                    CultureInfo.InvariantCulture, $"took {slow.Seconds:F1} s, more than {FastSeconds} s: make it faster, or give it [Category(Tier.Long)]"));
        if (options.Filter.Length > 0)
            return;
        coverage.NativeCalls.UnionWith(shared.NativeCalls());
        foreach (string gap in coverage.Gaps())
            Fail("coverage", gap);
        string table = coverage.Markdown();
        if (options.Coverage)
            output.WriteLine($"\n{table}");
        if (options.Coverage && options.Out is { } file)
            File.WriteAllText(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file))!, "coverage.md"), table);
        if (options.All)
            Fail("coverage", Coverage.Difference(table, Coverage.CommittedFile));
    }

    private void Fail(string name, string? text)
    {
        if (text is not null)
            results.Add(new("ended", name) { Method = name.Split(':')[0], Outcome = "Failed", Text = text });
    }

    private TestReport Report()
    {
        int Count(string outcome) => results.Count(test => test.Outcome == outcome);
        foreach (var reason in results.Where(test => test.Outcome == "Skipped").GroupBy(test => test.Text.Split('\n')[0]))
            output.WriteLine($"skipped {reason.Count()}: {reason.Key}");
        TestMethod[] methods =
        [
            .. results.GroupBy(test => test.Method).Select(method => new TestMethod(method.Key, method.Count(), Math.Round(method.Sum(test => test.Seconds), 3)))
                .OrderByDescending(method => method.Seconds),
        ];
        if (tests > SlowestShown)
        {
            output.WriteLine($"\nslowest methods, of {methods.Sum(method => method.Seconds).ToString("F0", CultureInfo.InvariantCulture)} s in all:");
            foreach (var method in methods.Take(SlowestShown))
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{method.Seconds,8:F1} s  {method.Cases,4} cases  {method.Name.Replace("Avedis.Tests.", "")}"));
        }
        TestFailure[] failures = [.. results.Where(test => test.Outcome == "Failed").Select(test => new TestFailure(test.Name, test.Text))];
        if (failures.Length > 0)
            output.WriteLine("\nfailed:");
        foreach (var failure in failures)
            output.WriteLine($"  {failure.Name}\n    {failure.Message.Replace("\n", "\n    ")}");
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Count("Passed")} passed, {failures.Length} failed, {Count("Skipped")} skipped, {clock.Elapsed.TotalMinutes:F1} min"));
        return new TestReport(Count("Passed"), failures.Length, Count("Skipped"), clock.Elapsed.TotalSeconds, failures) { Methods = methods };
    }

    /// <summary>A process that serves units, and what it says.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly Queue<string> said = new();

        public Worker(ProcessStartInfo start)
        {
            Process = new Process { StartInfo = start };
            Process.ErrorDataReceived += (_, line) => Keep(line.Data);
            Process.Start();
            Process.BeginErrorReadLine();
        }

        public Process Process { get; }

        /// <param name="failed">Called with each test that fails, as it ends.</param>
        /// <param name="death">Why the process is of no more use, or null.</param>
        public List<TestMessage> Run(TestUnit unit, Action<TestMessage> failed, out string? death)
        {
            var ended = new List<TestMessage>();
            string at = "its set-up";
            death = null;
            Process.StandardInput.WriteLine(unit.Fixture);
            while (Read(out bool late) is var message)
            {
                if (message is null)
                {
                    Process.Kill(entireProcessTree: true);
                    Process.WaitForExit(5000);
                    death = late ? $"no end of {at} after {limit.TotalMinutes} min" : $"the process of the tests ended with {Process.ExitCode} in {at}\n{Said()}";
                    break;
                }
                if (message.Kind == "done")
                    break;
                if (message.Kind == "started")
                {
                    at = message.Name;
                    continue;
                }
                ended.Add(message);
                if (message.Outcome == "Failed")
                    failed(message);
            }
            return ended;
        }

        /// <summary>Lets the process end; returns what it ran.</summary>
        public Coverage? End()
        {
            Process.StandardInput.Close();
            return Read(out _)?.Coverage;
        }

        public void Dispose()
        {
            if (!Process.HasExited && !Process.WaitForExit(10_000))
                Process.Kill(entireProcessTree: true);
            Process.Dispose();
        }

        /// <summary>The next message; null if the process ended, or is silent for too long.</summary>
        private TestMessage? Read(out bool late)
        {
            var line = Process.StandardOutput.ReadLineAsync();
            late = !line.Wait(limit);
            return late || line.Result is null ? null : JsonSerializer.Deserialize<TestMessage>(line.Result);
        }

        private void Keep(string? line)
        {
            if (line is null)
                return;
            lock (said)
            {
                said.Enqueue(line);
                if (said.Count > LinesKept)
                    said.Dequeue();
            }
        }

        private string Said()
        {
            lock (said)
                return string.Join('\n', said);
        }
    }
}
