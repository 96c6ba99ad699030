using System.Runtime.InteropServices;
using Avedis.Bindings.Nccl;

namespace Avedis.Engine;

/// <summary>
/// Ranks with a GPU each, whose gradients NCCL sums from memory to memory of the GPUs, on a stream beside the one that computes. Everything else goes by MPI, the
/// number that NCCL's ranks find each other by included.
/// </summary>
public sealed class Nccl : ICollective, IDisposable
{
    private readonly Mpi processes;
    private readonly NcclLibrary library;
    private readonly Lock gate = new(); // NCCL takes one thread at a time
    private nint communicator;
    private string? failed; // what failed because a rank is lost

    /// <exception cref="NcclException">There is no NCCL.</exception>
    public Nccl(Mpi processes)
    {
        (this.processes, library) = (processes, NcclLibrary.Load());
        processes.Rely(Failure, Abort);
    }

    /// <summary>Version of the NCCL that there is.</summary>
    /// <exception cref="NcclException">There is none.</exception>
    public static string Version => NcclLibrary.Load().Version;

    public int Rank => processes.Rank;

    public int Size => processes.Size;

    public int LocalRank => processes.LocalRank;

    public bool Overlaps => processes.Overlaps;

    public bool OnDevice => true;

    public string Description => $"{processes.Description}, NCCL {library.Version}";

    public string NameOf(int rank) => processes.NameOf(rank);

    public void AllReduce(Span<float> values, string name)
    {
        HoldIfFailed();
        processes.AllReduce(values, name);
    }

    public void Broadcast(Span<byte> bytes, string name)
    {
        HoldIfFailed();
        processes.Broadcast(bytes, name);
    }

    public byte[] AllGather(ReadOnlySpan<byte> bytes, string name)
    {
        HoldIfFailed();
        return processes.AllGather(bytes, name);
    }

    /// <summary>Queues a sum over all ranks, in place. The first call is outside of any recording, and meets the other ranks.</summary>
    /// <param name="address">Of F32 values on the GPU whose context is current.</param>
    /// <param name="name">What is summed, for people.</param>
    /// <param name="gpu">That GPU: NCCL may hang if two ranks have the same.</param>
    /// <param name="stream">CUstream that it is queued on.</param>
    /// <exception cref="NcclException">NCCL refuses the call. If a rank is lost, this process ends instead.</exception>
    internal void AllReduce(nint address, long count, string name, Guid gpu, nint stream)
    {
        HoldIfFailed();
        if (communicator == 0)
            Meet(gpu);
        Call(name, () => library.AllReduce(address, count, communicator, stream));
    }

    /// <summary>Waits until queued sums have ended, as in a call of all ranks.</summary>
    /// <param name="wait">What waits: for the stream.</param>
    internal void Await(Action wait)
    {
        using (processes.Enter("sums of a step on the GPUs"))
            wait();
        HoldIfFailed();
    }

    public void Dispose()
    {
        lock (gate)
        {
            if (communicator != 0)
                library.CommDestroy(communicator);
            communicator = 0;
        }
    }

    private void Meet(Guid gpu)
    {
        var gpus = processes.AllGather(gpu.ToByteArray(), "GPUs of the ranks").Chunk(gpu.ToByteArray().Length).Select(bytes => new Guid(bytes)).ToList();
        for (int rank = 1; rank < gpus.Count; rank++)
            if (gpus.IndexOf(gpus[rank]) is var other && other < rank)
                throw new NcclException($"{NameOf(other)} and {NameOf(rank)} have the same GPU: start as many ranks on a machine as it has GPUs, or use training.ranks.reduction=mpi");
        var id = Rank == 0 ? library.GetUniqueId() : default;
        processes.Broadcast(MemoryMarshal.AsBytes(new Span<NcclUniqueId>(ref id)), "number of the NCCL communicator");
        Call("NCCL's communicator", () => communicator = library.CommInitRank(Size, id, Rank));
    }

    // what all ranks do together, alone with the communicator
    private void Call(string name, Action call)
    {
        using (processes.Enter(name))
            lock (gate)
                try
                {
                    if (!processes.Lost) // the communicator is freed then
                        call();
                }
                catch (NcclException failure) when (failure.RanksLost)
                {
                    failed = failure.Message;
                }
        HoldIfFailed();
    }

    /// <summary>What has failed; null: nothing, or a call is under way. While recorded steps run nobody else asks.</summary>
    private string? Failure()
    {
        if (!gate.TryEnter())
            return null;
        try
        {
            return Look() is { } failure ? $"NCCL failed on {NameOf(Rank)}: {failure}" : null;
        }
        finally
        {
            gate.Exit();
        }
    }

    // sums behind a failure are not to be used
    private void HoldIfFailed()
    {
        lock (gate)
            if (Look() is null)
                return;
        Mpi.Hold();
    }

    private string? Look() => failed ??= communicator == 0 ? null : library.Failure(communicator);

    // who is in a call that does not return cannot be freed: the process ends without
    private void Abort()
    {
        lock (gate)
        {
            if (communicator != 0)
                library.CommAbort(communicator);
            communicator = 0;
        }
    }
}
