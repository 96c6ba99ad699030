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
    private nint communicator;

    /// <exception cref="NcclException">There is no NCCL.</exception>
    public Nccl(Mpi processes) => (this.processes, library) = (processes, NcclLibrary.Load());

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

    public void AllReduce(Span<float> values, string name) => processes.AllReduce(values, name);

    public void Broadcast(Span<byte> bytes, string name) => processes.Broadcast(bytes, name);

    public byte[] AllGather(ReadOnlySpan<byte> bytes, string name) => processes.AllGather(bytes, name);

    /// <summary>Queues a sum over all ranks, in place. The first call is outside of any recording, and meets the other ranks.</summary>
    /// <param name="address">Of F32 values on the GPU whose context is current.</param>
    /// <param name="gpu">That GPU: NCCL may hang if two ranks have the same.</param>
    /// <param name="stream">CUstream that it is queued on.</param>
    internal void AllReduce(nint address, long count, Guid gpu, nint stream)
    {
        if (communicator == 0)
            Meet(gpu);
        else
            library.CheckAsync(communicator);
        library.AllReduce(address, count, communicator, stream);
    }

    public void Dispose()
    {
        if (communicator != 0)
            library.CommDestroy(communicator);
        communicator = 0;
    }

    private void Meet(Guid gpu)
    {
        var gpus = processes.AllGather(gpu.ToByteArray(), "GPUs of the ranks").Chunk(gpu.ToByteArray().Length).Select(bytes => new Guid(bytes)).ToList();
        for (int rank = 1; rank < gpus.Count; rank++)
            if (gpus.IndexOf(gpus[rank]) is var other && other < rank)
                throw new NcclException($"{NameOf(other)} and {NameOf(rank)} have the same GPU: start as many ranks on a machine as it has GPUs, or use training.ranks.reduction=mpi");
        var id = Rank == 0 ? library.GetUniqueId() : default;
        processes.Broadcast(MemoryMarshal.AsBytes(new Span<NcclUniqueId>(ref id)), "number of the NCCL communicator");
        communicator = library.CommInitRank(Size, id, Rank);
    }
}
