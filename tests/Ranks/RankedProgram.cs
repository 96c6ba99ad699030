using System.Diagnostics;
using System.Globalization;
using System.Text;
using Avedis.Bindings.Mpi;
using NUnit.Framework;

namespace Avedis.Tests.Ranks;

/// <summary>The program on several ranks of this machine, by mpirun. What still runs when a test is over, whatever ended it, is killed.</summary>
internal sealed class RankedProgram : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly StringBuilder text = new();
    private readonly Process mpirun;

    private RankedProgram(IEnumerable<string> arguments) =>
        mpirun = TinyCorpus.Start(text, "mpirun", ["--allow-run-as-root", "--oversubscribe", .. arguments]);

    /// <summary>Of mpirun.</summary>
    public int Id => mpirun.Id;

    /// <summary>What all ranks have printed.</summary>
    public string Text
    {
        get
        {
            lock (text)
                return text.ToString().Replace("\u001b[?1h\u001b=", "", StringComparison.Ordinal); // mpirun gives ranks a terminal, which .NET greets
        }
    }

    /// <summary>Leaves out tests on a machine without MPI.</summary>
    public static void Require()
    {
        try
        {
            MpiNative.Load();
            using var mpirun = Process.Start(new ProcessStartInfo("mpirun", ["--version"]) { RedirectStandardOutput = true });
            mpirun!.WaitForExit();
        }
        catch (Exception absence) when (absence is MpiException or System.ComponentModel.Win32Exception)
        {
            Assert.Ignore(absence.Message);
        }
    }

    /// <summary>So many ranks with the same command line.</summary>
    public static RankedProgram Start(int ranks, params string[] arguments) => new(["-n", ranks.ToString(CultureInfo.InvariantCulture), "dotnet", TinyCorpus.ProgramPath, .. arguments]);

    /// <summary>Two ranks, each with a command line of its own.</summary>
    public static RankedProgram StartUnlike(string[] first, string[] second) =>
        // one command that asks for its rank: on "first : second", mpirun 5.0.7 of Debian 13 itself ends with a segmentation fault
        new(["-n", "2", "sh", "-c", $"if [ \"$OMPI_COMM_WORLD_RANK\" = 0 ]; then exec {Quoted(first)}; else exec {Quoted(second)}; fi"]);

    private static string Quoted(string[] arguments)
    {
        string[] command = ["dotnet", TinyCorpus.ProgramPath, .. arguments];
        return string.Join(' ', command.Select(argument => $"'{argument.Replace("'", "'\\''")}'"));
    }

    public static Ended Run(int ranks, params string[] arguments)
    {
        using var program = Start(ranks, arguments);
        return program.Finish();
    }

    public Ended Finish()
    {
        Assert.That(mpirun.WaitForExit(Limit), $"mpirun still runs: {Text}");
        mpirun.WaitForExit(); // for the last lines
        return new(mpirun.ExitCode, Text);
    }

    /// <summary>Waits for something that happens while the ranks work.</summary>
    public void Await(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.That(!mpirun.HasExited && clock.Elapsed < Limit, $"{what}: {Text}");
            Thread.Sleep(10);
        }
    }

    /// <summary>Process of a rank.</summary>
    public int ProcessOf(int rank) => Ranks().First(id => Variable(id, "OMPI_COMM_WORLD_RANK") == $"{rank}");

    public void Dispose() => mpirun.Dispose();

    // children of mpirun
    private IEnumerable<int> Ranks() => Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(name => int.TryParse(name, out _)).Select(name => int.Parse(name!, CultureInfo.InvariantCulture))
        .Where(id => Read(id, "stat").Split(") ")[^1].Split(' ') is [_, var parent, ..] && parent == $"{mpirun.Id}");

    private static string? Variable(int process, string name) =>
        Read(process, "environ").Split('\0').FirstOrDefault(line => line.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..];

    private static string Read(int process, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/{file}");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return ""; // it ended meanwhile
        }
    }
}
