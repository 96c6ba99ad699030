using System.Diagnostics;
using Avedis.Bindings;
using Avedis.Bindings.Mpi;
using Avedis.Engine;

namespace Avedis.Trainer.Ranks;

/// <summary>The processes that a launcher started, of which this is one; this one alone if none did. Whoever fails ends all.</summary>
public sealed class RankProcesses : IDisposable
{
    /// <summary>Open MPI's launcher and its helpers.</summary>
    private static readonly HashSet<string> Launchers = ["mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"];

    private static readonly TimeSpan LongestLook = TimeSpan.FromSeconds(2);

    private RankProcesses(Mpi? mpi) => Mpi = mpi;

    /// <summary>Meets the other processes, if a launcher started this one, and works with them.</summary>
    /// <param name="goOn">What to do after a rank was lost, for people; asked when one was, on another thread.</param>
    /// <param name="error">Where a failure that ends all is told.</param>
    /// <exception cref="UserException">Exit code 2 or 5: the launcher and MPI disagree, or there is no MPI.</exception>
    public static int Run(Func<string> goOn, TextWriter error, Func<RankProcesses, int> work)
    {
        using var processes = Start(goOn);
        try
        {
            return work(processes);
        }
        catch (Exception failure)
        {
            processes.Abort(failure, error);
            throw;
        }
    }

    private static RankProcesses Start(Func<string> goOn)
    {
        if (Launcher.Find() is not { } launcher)
            return new(null);
        try
        {
            var mpi = new Mpi(missing => Say(missing, goOn), End);
            if (mpi.Size != launcher.Size || mpi.Rank != launcher.Rank)
                throw new UserException(
                    ExitCode.Usage, $"{launcher.Name} started {launcher.Size} processes and this as rank {launcher.Rank}, but MPI sees {mpi.Size} and rank {mpi.Rank}: {launcher.Hint}");
            return new(mpi);
        }
        catch (MpiException failure)
        {
            throw new UserException(ExitCode.DeviceUnavailable, failure.Message, failure);
        }
    }

    /// <summary>Null if no launcher started this process.</summary>
    public Mpi? Mpi { get; }

    /// <summary>What all processes do together.</summary>
    public ICollective Collective => (ICollective?)Mpi ?? new SingleRank();

    public int Rank => Mpi?.Rank ?? 0;

    public int Size => Mpi?.Size ?? 1;

    /// <summary>Whether this is the process that talks and writes.</summary>
    public bool Leads => Rank == 0;

    /// <summary>Null where no launcher started this process.</summary>
    public string? Description => Mpi?.Description;

    /// <summary>Processors of the machine that are this process's.</summary>
    public int Processors => Shares ? Math.Max(1, Environment.ProcessorCount / Mpi!.LocalSize) : Environment.ProcessorCount;

    /// <param name="silence">Longest without a sign of life from another rank.</param>
    /// <param name="patience">Longest wait for others that live; null: there is none too long.</param>
    public void Expect(TimeSpan silence, TimeSpan? patience) => Mpi?.Expect(silence, patience ?? TimeSpan.MaxValue);

    /// <summary>What the process of rank 0 has.</summary>
    public T Broadcast<T>(T value, string name) => Mpi is null ? value : Mpi.Broadcast(value, name);

    /// <summary>Threads of a process that has the machine with others of its rank.</summary>
    public int Threads(int asked) => asked > 0 || !Shares ? asked : Processors;

    /// <summary>Waits for all ranks.</summary>
    public void Dispose() => Mpi?.Dispose();

    // a launcher that binds its processes has given each its own cores
    private bool Shares => Mpi is { LocalSize: > 1 } && Environment.ProcessorCount == ProcessorsOfTheMachine();

    // ends the other processes behind a failure of this one, with its exit code; what all fail for alike is rank 0's to say
    private void Abort(Exception failure, TextWriter error)
    {
        if (Mpi is null)
            return;
        var waitForTheFirst = TimeSpan.FromSeconds(5);
        using var line = new StringWriter();
        if (!Leads)
        {
            Thread.Sleep(waitForTheFirst);
            line.Write($"{Mpi.NameOf(Mpi.Rank)}: ");
        }
        int code = Program.Report(failure, line);
        error.Write(line.ToString()); // at once: what the launcher says of the end may come between two writes
        error.Flush();
        Mpi.Abort(code);
        DurableFiles.ExitNow(code);
    }

    private static int ProcessorsOfTheMachine() => File.ReadLines("/proc/cpuinfo").Count(line => line.StartsWith("processor", StringComparison.Ordinal));

    private static void Say(string missing, Func<string> goOn)
    {
        // the disk may be beyond the same line as the rank
        var asked = Task.Run(goOn);
        bool answers = Task.WaitAny([asked], LongestLook) == 0 && asked.IsCompletedSuccessfully;
        string advice = answers ? asked.Result : "the run folder does not answer; go on with --resume";
        Console.Error.WriteLine($"avedis: {Printable.Line($"{missing}; every rank ends; {advice}")}");
        Console.Error.Flush();
    }

    private static void End()
    {
        EndTheLauncher();
        DurableFiles.ExitNow(ExitCode.RanksLost);
    }

    // mpirun ends a job when a rank fails, but waits for ever for its helper on a machine that it no longer reaches, and the helper there for mpirun
    private static void EndTheLauncher()
    {
        string parent = File.ReadAllText("/proc/self/stat").Split(") ", 2)[1].Split(' ')[1];
        if (!Launchers.Contains(File.ReadAllText($"/proc/{parent}/comm").Trim()))
            return; // srun's sees to that itself
        using var helper = Process.Start(new ProcessStartInfo("setsid", ["sh", "-c", $"exec >/dev/null 2>&1; sleep 4; kill -TERM {parent}; sleep 2; kill -KILL {parent}"]));
    }
}
