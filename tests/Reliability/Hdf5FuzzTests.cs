using System.Text.Json;
using Avedis.Engine;
using Avedis.Trainer;
using Avedis.Trainer.Corpora;
using NUnit.Framework;

namespace Avedis.Tests;

/// <summary>
/// Damaged MATLAB files of version 7.3. Their library believes the file, so the program reads each in a process of its own first, which takes a fifth of a second.
/// Here one process reads thousands; the few files that end it, or keep it, are then read as the program reads them.
/// </summary>
[Category(Soak.Category)]
[Category(Tier.Long)]
public sealed class Hdf5FuzzTests
{
    /// <summary>
    /// Makes <see cref="Runner.TestProgram"/> a process of <see cref="Thousands_in_a_process"/>; its value is a <see cref="Part"/>.
    /// </summary>
    internal const string PartOption = "--read-hdf5";

    private const string InputFile = "input", ProgressFile = "progress.json";
    private const int FilesOfProcess = 10_000;

    /// <summary>Bytes of MATLAB's own before those of HDF5.</summary>
    private const int UserBlock = 512;

    /// <summary>The first number whose file its library fills the memory with, for half a minute.</summary>
    private const int Endless = 221_412;

    private string folder = "";

    /// <summary>Inputs of these numbers are put into a folder and read there.</summary>
    private sealed record Part(string Folder, int First, int Count);

    [SetUp]
    public void MakeFolder() => folder = Fuzzer.NewFolder();

    [TearDown]
    public void RemoveFolder() => Directory.Delete(folder, recursive: true);

    [Test]
    public void Each_in_a_process_of_its_own()
    {
        int inputs = Soak.Count(20, 1000);
        var result = new Fuzzer(Program()).Run(inputs);
        Soak.Say($"mat 7.3, a process each: {result.Inputs:N0} damaged files, {result.Rejected:N0} refused, {result.Accepted:N0} read, slowest {result.SlowestMs:F0} ms");
        Assert.That(result.Fault, Is.Null);
        Assert.That(result.Rejected, Is.GreaterThan(inputs / 20));
    }

    [Test]
    public void One_that_its_library_hardly_comes_to_an_end_with_is_refused_soon()
    {
        var reader = Program();
        File.WriteAllBytes(reader.Place!, new Mutator(reader.Samples[0]).Mutate(Endless));
        Assert.That(() => reader.Read(reader.Place!), Throws.TypeOf<UserException>().With.Message.Contains("did not come to an end"));
    }

    [Test]
    public void Thousands_in_a_process()
    {
        int inputs = Soak.Count(20_000, 1_000_000), done = 0, read = 0, refused = 0, broken = 0;
        double slowest = 0, slowestBroken = 0, share = 0, seconds = 0;
        while (done < inputs)
        {
            var part = new Part(folder, done + 1, Math.Min(FilesOfProcess, inputs - done));
            Run(part);
            var result = Load();
            (done, read, refused) = (done + result.Inputs, read + result.Accepted, refused + result.Rejected);
            (slowest, share, seconds) = (Math.Max(slowest, result.SlowestMs), Math.Max(share, result.AllocatedShare), seconds + result.Seconds);
            if (result.Inputs == part.Count)
                continue;
            Assert.That(result.Fault, Is.Null.Or.Contains(Fuzzer.NoEnd));
            byte[] input = File.ReadAllBytes(Path.Combine(folder, InputFile));
            var alone = new Fuzzer(Program()).Run(1, first: done + 1);
            Assert.That(File.ReadAllBytes(Path.Combine(folder, InputFile)), Is.EqualTo(input), "the number makes the file again");
            Assert.That(alone.Fault, Is.Null);
            slowestBroken = Math.Max(slowestBroken, alone.SlowestMs);
            broken++;
            done++;
        }
        Soak.Say($"mat 7.3: {done:N0} damaged files, {refused:N0} refused, {read:N0} read, slowest {slowest:F0} ms, at most {share:P0} of the memory allowed; {broken} broke their process, and are refused within {slowestBroken:F0} ms by the program; {seconds:F0} s");
        Assert.That(refused, Is.GreaterThan(inputs / 20));
        Assert.That(broken, Is.GreaterThan(0), "number 7,612 walks in a circle until the stack is full");
    }

    /// <summary>What the program would not let its own process do is a fault here.</summary>
    internal static void ReadPart(string json)
    {
        var part = JsonSerializer.Deserialize<Part>(json)!;
        var reader = Reader(part.Folder, path =>
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            MatFile73.ReadHere(path, null, FuzzTests.Blocks);
            // the program reads again, in its own memory, what did its process no harm
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before, most = (2 * new FileInfo(path).Length) + FuzzTests.Blocks;
            if (allocated > most)
                throw new InvalidOperationException($"allocated {allocated} bytes, of {most} allowed");
        }, failure => failure is InvalidDataException, MatFile73.LeastMemory) with { MostMs = double.PositiveInfinity }; // the second of which Run is told ends it
        Save(part, new Fuzzer(reader) { Progress = soFar => Save(part, soFar) }.Run(part.Count, TimeSpan.FromSeconds(1), part.First));
    }

    // the start of a process, on a machine with other things to do, may take more than the second that a reading may
    private FuzzedReader Program() =>
        Reader(folder, path => MatFile.Read(path, budget: FuzzTests.Blocks), failure => failure is UserException { Code: ExitCode.BadInput }, FuzzTests.Blocks) with { MostMs = 10_000 };

    private static FuzzedReader Reader(string folder, Action<string> read, Func<Exception, bool> documented, long allowance)
    {
        string path = Path.Combine(folder, InputFile);
        MatWriter.Write(path, MatForm.Hdf5, FuzzTests.MatValues);
        byte[] bytes = File.ReadAllBytes(path);
        var sample = new FuzzSample(bytes) { Fields = [.. Enumerable.Range(UserBlock / 4, (bytes.Length - UserBlock) / 4).Select(i => (i * 4, 4))] };
        return new("mat 7.3", [sample], read, documented, allowance) { Place = path };
    }

    private static void Run(Part part)
    {
        var (program, arguments) = OwnProgram.Command(typeof(Hdf5FuzzTests).Assembly, PartOption, JsonSerializer.Serialize(part));
        ChildProgram.Run("env", [$"DOTNET_GCHeapHardLimit={MatFile73.LeastMemory:x}", program, .. arguments], TimeSpan.FromHours(1));
    }

    private static void Save(Part part, FuzzResult result) => File.WriteAllText(Path.Combine(part.Folder, ProgressFile), JsonSerializer.Serialize(result));

    private FuzzResult Load() => JsonSerializer.Deserialize<FuzzResult>(File.ReadAllText(Path.Combine(folder, ProgressFile)))!;
}
