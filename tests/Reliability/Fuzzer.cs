using System.Diagnostics;
using System.Globalization;

namespace Avedis.Tests;

/// <summary>A reader and what it may do with a file, whatever the file holds.</summary>
/// <param name="Read">Reads the file at a path.</param>
/// <param name="Documented">Whether an exception is one that the reader says it throws.</param>
/// <param name="Allowance">Bytes that it may allocate besides twice the file's.</param>
internal sealed record FuzzedReader(string Name, IReadOnlyList<FuzzSample> Samples, Action<string> Read, Func<Exception, bool> Documented, long Allowance)
{
    /// <summary>Where the file is put; a reader of folders has its place there.</summary>
    public string? Place { get; init; }

    /// <summary>Milliseconds that reading may take.</summary>
    public double MostMs { get; init; } = 1000;
}

/// <summary>What came of it. Fault is null, or says which input did what and where it was saved.</summary>
internal sealed record FuzzResult(int Inputs, int Accepted, int Rejected, double SlowestMs, double AllocatedShare, double Seconds, string? Fault);

/// <summary>
/// Gives a reader damaged files, one after the other on a thread of its own, and looks at how each ends. An input that did what no input may is saved; its seed
/// makes it again.
/// </summary>
internal sealed class Fuzzer(FuzzedReader reader)
{
    /// <summary>A reading that takes longer is one that never ends; a machine may stop this process for a minute or two.</summary>
    private static readonly TimeSpan Forever = TimeSpan.FromMinutes(5);

    /// <summary>What a fault says of a reading that does not end.</summary>
    public const string NoEnd = "did not come back";

    /// <summary>For when a reading began, while there is none.</summary>
    private const long NotReading = long.MaxValue;

    /// <summary>Of slow readings, so many repetitions: another process cannot have disturbed each of them.</summary>
    private const int Repetitions = 3;

    private readonly Mutator[] mutators = [.. reader.Samples.Select(sample => new Mutator(sample))];
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly Lock verdict = new();
    private int accepted, rejected;
    private long seed, started = NotReading;
    private double slowest, share;
    private string? fault;

    /// <summary>Is told before each input what came of those before it.</summary>
    public Action<FuzzResult>? Progress { get; init; }

    /// <summary>In memory where the system has a place there: a disk would be written to for every input.</summary>
    public static string NewFolder() =>
        Directory.CreateDirectory(Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"avedis-fuzz-{Guid.NewGuid():N}")).FullName;

    public byte[] Input(ulong number) => mutators[number % (ulong)mutators.Length].Mutate(number);

    /// <summary>Reads the inputs of so many numbers from the first on.</summary>
    public FuzzResult Run(int inputs, TimeSpan? forever = null, int first = 1)
    {
        string folder = NewFolder();
        string path = reader.Place ?? Path.Combine(folder, "input");
        var thread = new Thread(() => Work(first, inputs, path)) { IsBackground = true };
        thread.Start();
        bool late = false;
        while (!late && !thread.Join(TimeSpan.FromMilliseconds(50)))
            lock (verdict)
            {
                late = started != NotReading && Stopwatch.GetElapsedTime(started, clock.ElapsedTicks) > (forever ?? Forever);
                if (late)
                    Fail(NoEnd, Input((ulong)seed));
            }
        if (!thread.IsAlive)
            Directory.Delete(folder, recursive: true);
        return Result;
    }

    private FuzzResult Result => new(accepted + rejected, accepted, rejected, slowest, share, clock.Elapsed.TotalSeconds, fault);

    private void Work(int first, int inputs, string path)
    {
        foreach (var sample in reader.Samples)
        {
            // what a first reading sets up stays; a sample that is not read would make of every mutation a rejected one
            File.WriteAllBytes(path, sample.Seal(sample.Bytes));
            if (Try(path, out _, out _) is { } refused)
            {
                Fail($"refused its sample: {refused}", sample.Bytes);
                return;
            }
        }
        for (int i = first; i < first + inputs && fault is null; i++)
        {
            Progress?.Invoke(Result);
            byte[] input = Input((ulong)i);
            File.WriteAllBytes(path, input);
            lock (verdict)
                (seed, started) = (i, clock.ElapsedTicks);
            var failure = Try(path, out double ms, out long allocated);
            lock (verdict)
            {
                if (fault is not null)
                    return; // it did come back, but too late to count
                started = NotReading;
            }
            for (int again = 0; again < Repetitions && ms > reader.MostMs; again++)
            {
                File.WriteAllBytes(path, input);
                Try(path, out double repeated, out _);
                ms = Math.Min(ms, repeated);
            }
            slowest = Math.Max(slowest, ms);
            long most = (2 * input.LongLength) + reader.Allowance;
            share = Math.Max(share, (double)allocated / most);
            if (failure is null)
                accepted++;
            else if (reader.Documented(failure))
                rejected++;
            else
                Fail($"threw {failure}", input);
            if (allocated > most)
                Fail($"allocated {allocated} bytes for {input.Length}", input);
            if (ms > reader.MostMs)
                Fail($"took {ms:F0} ms", input);
        }
    }

    private Exception? Try(string path, out double ms, out long allocated)
    {
        long before = GC.GetAllocatedBytesForCurrentThread(), start = clock.ElapsedTicks;
        Exception? failure = null;
        try
        {
            reader.Read(path);
        }
        catch (Exception thrown)
        {
            failure = thrown;
        }
        allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        ms = Stopwatch.GetElapsedTime(start, clock.ElapsedTicks).TotalMilliseconds;
        return failure;
    }

    private void Fail(string what, byte[] input)
    {
        string kept = Path.Combine(Path.GetTempPath(), $"avedis-fuzz-{reader.Name.Replace(' ', '-')}-{seed}");
        fault ??= string.Create(CultureInfo.InvariantCulture, $"{reader.Name}, seed {seed}: {what}; the input is in {kept}");
        File.WriteAllBytes(kept, input);
    }
}
