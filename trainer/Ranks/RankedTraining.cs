using System.Runtime.ExceptionServices;
using Avedis.Bindings.Nccl;
using Avedis.Engine;

namespace Avedis.Trainer.Ranks;

/// <summary>The ranks of a training that this process computes: one, or with <see cref="Reduction.FixedOrder"/> one for each of its slices, on a thread of its own.</summary>
public sealed class RankedTraining(RankProcesses processes)
{
    /// <summary>Settings are there.</summary>
    /// <exception cref="UserException">Exit code 2: they ask for processes that are not there.</exception>
    public void Use(RanksOptions options)
    {
        if (processes.Mpi is null && options.Reduction is Reduction.Mpi or Reduction.Nccl)
            throw new UserException(ExitCode.Usage, $"training.ranks.reduction is {options.Reduction.ToString().ToLowerInvariant()}, but no launcher started this process: mpirun -n 2 avedis train ...");
        processes.Expect(TimeSpan.FromSeconds(options.SilenceSeconds), TimeSpan.FromSeconds(options.PatienceSeconds));
    }

    /// <summary>Runs a training on each rank of this process and gives what the first returns.</summary>
    /// <exception cref="UserException">Exit code 2: the batch has no equal parts for all ranks.</exception>
    public T Run<T>(RanksOptions options, int batchSize, Func<ICollective, T> train)
    {
        int all = processes.Size, size = options.Slices > 0 ? options.Slices : all;
        if (size < all)
            throw new UserException(ExitCode.Usage, $"training.ranks.slices is {size}, fewer than the {all} processes");
        if (batchSize % size != 0)
            throw new UserException(ExitCode.Usage, $"a batch of {batchSize} clips has no {size} equal parts: choose a --batch-size that is a multiple of {size}");
        IReadOnlyList<ICollective> ranks = options.Reduction == Reduction.FixedOrder ? FixedOrder.Create(size, processes.Mpi) : [Whole(options.Reduction)];
        var results = new T[ranks.Count];
        var failures = new ExceptionDispatchInfo?[ranks.Count];
        var threads = Enumerable.Range(1, ranks.Count - 1).Select(i => new Thread(() => Train(i)) { IsBackground = true, Name = $"slice {ranks[i].Rank}" }).ToList();
        foreach (var thread in threads)
            thread.Start();
        Train(0);
        foreach (var thread in threads)
            thread.Join();
        failures.Where(failure => failure is not null).OrderBy(failure => failure!.SourceException is OperationCanceledException).FirstOrDefault()?.Throw();
        (ranks[0] as Nccl)?.Dispose(); // behind a failure it would wait for ranks that do not come
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
        if (processes.Mpi is not { } mpi)
            return new SingleRank();
        try
        {
            if (reduction != Reduction.Mpi)
                return new Nccl(mpi);
        }
        catch (NcclException absence) when (reduction == Reduction.Nccl)
        {
            throw new UserException(ExitCode.DeviceUnavailable, absence.Message, absence);
        }
        catch (NcclException)
        {
            // auto: what there is
        }
        return mpi;
    }
}
