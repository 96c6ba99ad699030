namespace Avedis.Engine;

/// <summary>
/// What the ranks of a training do together. All ranks make the same calls in the same order, each with a name that says for what, for people; a call returns
/// when its result is there. One thread at a time.
/// </summary>
public interface ICollective
{
    /// <summary>Number of this rank, from 0.</summary>
    int Rank { get; }

    int Size { get; }

    /// <summary>Number of this process among those of its machine, whose GPUs they share out.</summary>
    int LocalRank { get; }

    /// <summary>How the ranks reach each other and who they are, for people.</summary>
    string Description { get; }

    /// <summary>A rank, for people, and where it runs.</summary>
    string NameOf(int rank);

    /// <summary>Whether a thread of its own may be inside while another computes.</summary>
    bool Overlaps { get; }

    /// <summary>Whether sums of a GPU's memory need not pass through the host.</summary>
    bool OnDevice => false;

    /// <summary>Replaces <paramref name="values"/>, in host memory, by their sums over all ranks: the same bits in each.</summary>
    void AllReduce(Span<float> values, string name);

    /// <summary>Replaces <paramref name="bytes"/> by those of rank 0.</summary>
    void Broadcast(Span<byte> bytes, string name);

    /// <summary>Bytes of all ranks in their order; each brings as many.</summary>
    byte[] AllGather(ReadOnlySpan<byte> bytes, string name);
}

/// <summary>One rank.</summary>
public sealed class SingleRank : ICollective
{
    public int Rank => 0;

    public int Size => 1;

    public int LocalRank => 0;

    public string Description => "one process";

    public string NameOf(int rank) => $"rank {rank}";

    public bool Overlaps => false;

    public void AllReduce(Span<float> values, string name)
    {
    }

    public void Broadcast(Span<byte> bytes, string name)
    {
    }

    public byte[] AllGather(ReadOnlySpan<byte> bytes, string name) => bytes.ToArray();
}
