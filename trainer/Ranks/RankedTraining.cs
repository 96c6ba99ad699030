using System.Diagnostics;
using System.Runtime.ExceptionServices;
using Avedis.Bindings;
using Avedis.Bindings.Mpi;
using Avedis.Bindings.Nccl;
using Avedis.Engine;

namespace Avedis.Trainer.Ranks;

/// <summary>
/// The ranks of this process: one, or with <see cref="Reduction.FixedOrder"/> one for each slice that it computes, on a thread of its own. Whoever fails ends all.
/// </summary>
public sealed class RankedTraining : IDisposable
{
    /// <summary>Open MPI's launcher and its helpers.</summary>
    private static readonly HashSet<string> Launchers = ["mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"];

    private readonly Mpi? processes;
    private Nccl? nccl;
    private bool failed;

    private RankedTraining(Mpi? processes) => this.processes = processes;

    /// <summary>Meets the other processes, if a launcher started this one.</summary>
    /// <exception cref="UserException">Exit code 2 or 5: the launcher and MPI disagree, or there is no MPI.</exception>
    public static RankedTraining Start()
    {
        if (Launcher.Find() is not { } launcher)
            return new(null);
        try
        {
            var processes = new Mpi(GiveUp);
            if (processes.Size != launcher.Size || processes.Rank != launcher.Rank)
                throw new UserException(
                    ExitCode.Usage, $"{launcher.Name} started {launcher.Size} processes and this as rank {launcher.Rank}, but MPI sees {processes.Size} and rank {processes.Rank}: {launcher.Hint}");
            return new(processes);
        }
        catch (MpiException failure)
        {
            throw new UserException(ExitCode.DeviceUnavailable, failure.Message, failure);
        }
    }

    /// <summary>Settings are there.</summary>
    /// <exception cref="UserException">Exit code 2: they ask for processes that are not there.</exception>
    public void Use(RanksOptions options)
    {
        if (processes is null && options.Reduction is Reduction.Mpi or Reduction.Nccl)
            throw new UserException(ExitCode.Usage, $"training.ranks.reduction is {options.Reduction.ToString().ToLowerInvariant()}, but no launcher started this process: mpirun -n 2 avedis train ...");
        processes?.Expect(TimeSpan.FromSeconds(options.SilenceSeconds), TimeSpan.FromSeconds(options.PatienceSeconds));
    }

    /// <summary>Whether this is the process that talks and writes.</summary>
    public bool Leads => processes is null or { Rank: 0 };

    /// <summary>Null where there is one process.</summary>
    public string? Description => processes?.Description;

    /// <summary>What the process of rank 0 has.</summary>
    public T Broadcast<T>(T value, string name) => processes is null ? value : processes.Broadcast(value, name);

    /// <summary>Threads of a process that has the machine with others of its rank.</summary>
    public int Threads(int asked)
    {
        // a launcher that binds its processes has given each its own cores
        bool shares = processes is { LocalSize: > 1 } && Environment.ProcessorCount == ProcessorsOfTheMachine();
        return asked > 0 || !shares ? asked : Math.Max(1, Environment.ProcessorCount / processes!.LocalSize);
    }

    /// <summary>Runs a training on each rank of this process and gives what the first returns.</summary>
    /// <exception cref="UserException">Exit code 2: the batch has no equal parts for all ranks.</exception>
    public T Run<T>(RanksOptions options, int batchSize, Func<ICollective, T> train)
    {
        int all = processes?.Size ?? 1, size = options.Slices > 0 ? options.Slices : all;
        if (size < all)
            throw new UserException(ExitCode.Usage, $"training.ranks.slices is {size}, fewer than the {all} processes");
        if (batchSize % size != 0)
            throw new UserException(ExitCode.Usage, $"a batch of {batchSize} clips has no {size} equal parts: choose a --batch-size that is a multiple of {size}");
        IReadOnlyList<ICollective> ranks = options.Reduction == Reduction.FixedOrder ? FixedOrder.Create(size, processes) : [Whole(options.Reduction)];
        var results = new T[ranks.Count];
        var failures = new ExceptionDispatchInfo?[ranks.Count];
        var threads = Enumerable.Range(1, ranks.Count - 1).Select(i => new Thread(() => Train(i)) { IsBackground = true, Name = $"slice {ranks[i].Rank}" }).ToList();
        foreach (var thread in threads)
            thread.Start();
        Train(0);
        foreach (var thread in threads)
            thread.Join();
        if (failures.Where(failure => failure is not null).OrderBy(failure => failure!.SourceException is OperationCanceledException).FirstOrDefault() is { } first)
        {
            failed = true;
            first.Throw();
        }
        return results[0];

        void Train(int i)
        {
            try
            {
                results[i] = train(ranks[i]);
            }
            catch (Exception failure)
            {
                failures[i] = ExceptionDispatchInfo.Capture(failure);
                (ranks[i] as FixedOrder)?.Fail();
            }
            (ranks[i] as FixedOrder)?.Leave();
        }
    }

    // the rank of a process that computes one part of a batch; a processor's sums go by MPI even with NCCL
    private ICollective Whole(Reduction reduction)
    {
        if (processes is null)
            return new SingleRank();
        try
        {
            if (reduction != Reduction.Mpi)
                return nccl = new Nccl(processes);
        }
        catch (NcclException absence) when (reduction == Reduction.Nccl)
        {
            throw new UserException(ExitCode.DeviceUnavailable, absence.Message, absence);
        }
        catch (NcclException)
        {
            // auto: what there is
        }
        return processes;
    }

    /// <summary>Ends the other processes behind a failure of this one, with its exit code. What all fail for alike is rank 0's to say.</summary>
    public void Abort(Exception failure, TextWriter error)
    {
        if (processes is null)
            return;
        var waitForTheFirst = TimeSpan.FromSeconds(5);
        if (!Leads)
        {
            Thread.Sleep(waitForTheFirst);
            error.Write($"{processes.NameOf(processes.Rank)}: ");
        }
        int code = Program.Report(failure, error);
        error.Flush();
        processes.Abort(code);
        DurableFiles.ExitNow(code);
    }

    public void Dispose()
    {
        if (failed)
            return;
        nccl?.Dispose();
        processes?.Dispose();
    }

    private static int ProcessorsOfTheMachine() => File.ReadLines("/proc/cpuinfo").Count(line => line.StartsWith("processor", StringComparison.Ordinal));

    private static void GiveUp(string missing)
    {
        Console.Error.WriteLine($"avedis: {missing}; every rank ends; go on from the last checkpoint with --resume");
        Console.Error.Flush();
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
