using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Avedis.Bench;
using Avedis.Trainer.Benchmark;

namespace Avedis.Tests.Runner;

/// <summary>
/// Runs units of tests in processes side by side: the emulated driver's order of threads, the driver that is loaded and the instruction set belong to a whole
/// process. A process that dies fails the test that it was at, and another takes the tests behind it, three at most for a unit; behind a
/// test that hangs, the rest of its unit is not tried.
/// </summary>
internal sealed partial class TestPool : IDisposable
{
    /// <summary>A single test of the fast tier that takes longer is too slow for it; where others use more than this share of the processors, nobody can tell.</summary>
    private const double FastSeconds = 10, ForeignLimit = 0.1;

    private const int SlowestShown = 10, LinesKept = 40, ProcessesOfUnit = 3;

    /// <summary>For a process to load the tests, which has nothing to do with what they test.</summary>
    private static readonly TimeSpan startLimit = TimeSpan.FromMinutes(5);

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
    private readonly StreamWriter? log;
    private int unitsDone;

    public TestPool(TestOptions options, TextWriter output)
    {
        (this.options, this.output) = (options, output);
        // the emulated kernels take longest, so they go first: at the end all processes have work until the last moment
        var ordered = new TestTree(options.Filter).Units
            .OrderBy(unit => Place(unit.Fixture))
            .ThenByDescending(unit => unit.Fixture.Contains("emulated", StringComparison.Ordinal))
            .ThenByDescending(unit => unit.Tests.Length);
        waiting = new(ordered);
        (units, tests) = (waiting.Count, waiting.Sum(unit => unit.Tests.Length));
        if (options.Log is { } file)
            log = new StreamWriter(file, append: true) { AutoFlush = true };
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
        log?.Dispose();
    }

    /// <summary>In <see cref="TestOptions.Order"/>; behind all for a fixture that it does not name.</summary>
    private int Place(string fixture) =>
        Array.FindIndex(options.Order, name => fixture.Contains(name, StringComparison.Ordinal)) is >= 0 and var place ? place
            : options.Order.Length;

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
        Worker? worker = null, spare = null;
        while (Next() is { } unit)
        {
            var clock = Stopwatch.StartNew();
            var ended = new List<TestMessage>();
            for (int processes = 1; ; processes++)
            {
                if (worker is null)
                    (worker, spare) = (spare ?? Start(), null);
                if (options.Apart && spare is null && More)
                    spare = Start(); // loads the tests meanwhile, and leaves the device alone
                if (worker.Run(unit, ended) is not { } death)
                    break;
                Stop(worker);
                worker = null;
                string[] rest = [.. unit.Tests.Except(ended.Select(test => test.Name))];
                if (rest.Length == 0)
                    break;
                if (death.Goes && processes < ProcessesOfUnit)
                    continue;
                foreach (string name in rest)
                    Note(ended, new("ended", name)
                    {
                        Method = unit.Fixture, Outcome = TestEvent.NotTried, Text = $"not tried: {death.Reason}",
                    });
                break;
            }
            Tell(unit, ended, clock.Elapsed.TotalSeconds);
            if (options.Apart)
                End(ref worker);
        }
        End(ref worker);
        End(ref spare);
    }

    private void End(ref Worker? worker)
    {
        if (worker is null)
            return;
        if (worker.End() is { } counted)
            lock (coverage)
                coverage.Add(counted);
        Stop(worker);
        worker = null;
    }

    private TestUnit? Next()
    {
        lock (waiting)
            return waiting.TryDequeue(out var unit) ? unit : null;
    }

    private bool More
    {
        get
        {
            lock (waiting)
                return waiting.Count > 0;
        }
    }

    private Worker Start()
    {
        var start = TestProgram.Again(TestWorker.Option, options.Filter);
        (start.RedirectStandardInput, start.RedirectStandardOutput, start.RedirectStandardError) = (true, true, true);
        shared.Describe(start.Environment);
        // emulated kernels run on the cores that the other processes leave
        start.Environment["AVEDIS_EMULATION_THREADS"] = Math.Max(1, Environment.ProcessorCount / options.Jobs).ToString(CultureInfo.InvariantCulture);
        var worker = new Worker(start, this);
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

    /// <summary>Adds how a test ended, and says so at once where it did not end well.</summary>
    private void Note(List<TestMessage> ended, TestMessage test)
    {
        ended.Add(test);
        Log(new("ended", test.Name, test.Outcome, Math.Round(test.Seconds, 3), test.Text.Length > 0 ? test.Text : null));
        if (Wrong(test) && test.Outcome != TestEvent.NotTried)
            lock (results)
                output.WriteLine($"FAILED {test.Name}\n{test.Text}");
    }

    private void Log(TestEvent line)
    {
        if (log is not null)
            lock (log)
                log.WriteLine(JsonSerializer.Serialize(line, BenchJson.Options));
    }

    private static bool Wrong(TestMessage test) => test.Outcome is not ("Passed" or "Skipped");

    private void Tell(TestUnit unit, List<TestMessage> ended, double seconds)
    {
        string counts = string.Concat(ended.GroupBy(test => test.Outcome).Select(outcome =>
            $", {outcome.Count()} {(outcome.Key == TestEvent.NotTried ? "not tried" : outcome.Key.ToLowerInvariant())}"));
        lock (results)
        {
            results.AddRange(ended);
            unitsDone++;
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"[{clock.Elapsed:mm\\:ss} {unitsDone}/{units}] {unit.Fixture}: {seconds:F1} s{counts}"));
        }
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
        TestFailure[] failures = [.. results.Where(Wrong).Select(test => new TestFailure(test.Name, test.Text))];
        if (failures.Length > 0)
            output.WriteLine("\nfailed:");
        foreach (var failure in failures)
            output.WriteLine($"  {failure.Name}\n    {failure.Message.Replace("\n", "\n    ")}");
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Count("Passed")} passed, {failures.Length} failed, {Count("Skipped")} skipped, {clock.Elapsed.TotalMinutes:F1} min"));
        return new TestReport(Count("Passed"), failures.Length, Count("Skipped"), clock.Elapsed.TotalSeconds, failures)
        {
            Methods = methods,
            Kernels = [.. coverage.Launches.Where(kernel => kernel.Value > 0).Select(kernel => kernel.Key).Order(StringComparer.Ordinal)],
        };
    }

    /// <summary>An error that stays until the process ends, as <see cref="Bindings.Cuda.CudaException"/> has it in its message: whatever
    /// the process does next fails as well.</summary>
    [GeneratedRegex(@"\bcu\w+: \w+ \((214|220|226|7\d\d|999)\)|DeviceFailedException")]
    private static partial Regex DeviceLost();

    /// <summary>A process that serves units, and what it says.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly Queue<string> said = new();

        private readonly TestPool pool;
        private bool ready;

        public Worker(ProcessStartInfo start, TestPool pool)
        {
            this.pool = pool;
            Process = new Process { StartInfo = start };
            Process.ErrorDataReceived += (_, line) => Keep(line.Data);
            Process.Start();
            Process.BeginErrorReadLine();
        }

        public Process Process { get; }

        /// <summary>Runs what of a unit has not ended yet.</summary>
        /// <param name="ended">Grows by how each test ended.</param>
        /// <returns>Why the process is of no more use, and whether another may go on behind the test that it was at; null if it
        /// is.</returns>
        public (string Reason, bool Goes)? Run(TestUnit unit, List<TestMessage> ended)
        {
            string? at = null;
            Process.StandardInput.WriteLine(JsonSerializer.Serialize(new TestOrder(unit.Fixture, [.. ended.Select(test => test.Name)])));
            while (true)
            {
                if (Read(ready ? pool.options.Limit : startLimit, out bool late) is not { } message)
                {
                    Kill();
                    string where = at ?? "what comes before it",
                        blamed = at ?? unit.Tests.Except(ended.Select(test => test.Name)).FirstOrDefault() ?? unit.Fixture;
                    string reason = late
                        ? $"no end of {where} after {pool.options.Limit.TotalSeconds} s"
                        : $"the process of the tests ended with {ExitCode} in {where}\n{Said()}";
                    pool.Note(ended, new("ended", blamed)
                    {
                        Method = unit.Fixture, Outcome = late ? TestEvent.Hung : "Failed", Text = reason,
                    });
                    return (late ? $"{blamed} hung" : $"the process ended in {blamed}", !late);
                }
                switch (message.Kind)
                {
                    case "done":
                        return null;
                    case TestMessage.Ready:
                        ready = true;
                        break;
                    case "started":
                        at = message.Name;
                        pool.Log(new("started", at));
                        break;
                    default:
                        if (at == message.Name)
                            at = null; // the next may have begun before the end of this one was told
                        pool.Note(ended, message);
                        if (message.Outcome == "Failed" && DeviceLost().IsMatch(message.Text))
                        {
                            Kill();
                            return ($"the device failed in {message.Name}", true);
                        }
                        break;
                }
            }
        }

        private string ExitCode => Process.HasExited ? Process.ExitCode.ToString(CultureInfo.InvariantCulture) : "no exit code";

        private void Kill()
        {
            Process.Kill(entireProcessTree: true);
            Process.WaitForExit(5000);
        }

        /// <summary>Lets the process end; returns what it ran.</summary>
        public Coverage? End()
        {
            Process.StandardInput.Close();
            return Read(startLimit, out _)?.Coverage;
        }

        public void Dispose()
        {
            if (!Process.HasExited && !Process.WaitForExit(10_000))
                Kill();
            Process.Dispose();
        }

        /// <summary>The next message; null if the process ended, or is silent for too long.</summary>
        private TestMessage? Read(TimeSpan limit, out bool late)
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
