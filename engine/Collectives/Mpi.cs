using System.Diagnostics;
using System.Text;
using Avedis.Bindings.Mpi;

namespace Avedis.Engine;

/// <summary>
/// Ranks that are processes which an MPI launcher has started, one each. Sums have MPI's order: the same bits for the same number of ranks in practice, which no
/// standard promises (<see cref="FixedOrder"/> does).
/// <para>
/// MPI waits for ever for a rank that does not come. So every rank tells all others twice a second that it lives and how many collective calls it has made, and
/// who waits for one that is silent, or has fallen behind for too long, names it and ends the training.
/// </para>
/// </summary>
public sealed unsafe class Mpi : ICollective, IDisposable
{
    private const int HostBytes = 64;
    private const int Words = 2; // of a sign of life: its number, calls made

    private static readonly TimeSpan BetweenBeats = TimeSpan.FromMilliseconds(500);

    private readonly Action<string> giveUp;
    private readonly Thread watch;
    private readonly ManualResetEventSlim ending = new();
    private readonly Lock gate = new();
    private readonly Stopwatch waiting = new();
    private TimeSpan silence = TimeSpan.FromSeconds(15), patience = TimeSpan.FromHours(1);
    private string? call; // that is waited in
    private long calls;

    /// <param name="giveUp">Told which rank is missing; does not return in earnest. Called on another thread.</param>
    /// <exception cref="MpiException">There is no MPI, or it failed.</exception>
    public Mpi(Action<string> giveUp)
    {
        this.giveUp = giveUp;
        MpiNative.Check(MpiNative.Init(out int rank, out int size, out int localRank, out int localSize), "MPI_Init");
        (Rank, Size, LocalRank, LocalSize) = (rank, size, localRank, localSize);
        var host = new byte[HostBytes];
        byte[] name = Encoding.UTF8.GetBytes(Environment.MachineName);
        name.AsSpan(0, Math.Min(name.Length, HostBytes)).CopyTo(host);
        byte[] hosts = AllGather(host, "names of the hosts");
        Hosts = [.. Enumerable.Range(0, size).Select(r => Encoding.UTF8.GetString(hosts, r * HostBytes, HostBytes).TrimEnd('\0'))];
        watch = new Thread(Watch) { IsBackground = true, Name = "signs of life" };
        watch.Start();
    }

    /// <summary>Name and version of the MPI that processes would meet by.</summary>
    /// <exception cref="MpiException">There is none.</exception>
    public static string Version => MpiNative.Version;

    public int Rank { get; }

    public int Size { get; }

    public int LocalRank { get; }

    /// <summary>Processes on this machine.</summary>
    public int LocalSize { get; }

    /// <summary>Machine of each rank.</summary>
    public IReadOnlyList<string> Hosts { get; }

    public bool Overlaps => true;

    public string Description => $"{Size} processes on {string.Join(", ", Hosts.GroupBy(host => host).Select(host => host.Count() == 1 ? host.Key : $"{host.Key} ({host.Count()})"))}, {Version}";

    /// <param name="silence">Longest without a sign of life from another rank.</param>
    /// <param name="patience">Longest that a collective call may wait for others that live.</param>
    public void Expect(TimeSpan silence, TimeSpan patience)
    {
        lock (gate)
            (this.silence, this.patience) = (silence, patience);
    }

    public string NameOf(int rank) => $"rank {rank} on {Hosts[rank]}";

    public void AllReduce(Span<float> values, string name)
    {
        fixed (float* address = values)
            using (Enter(name))
                MpiNative.Check(MpiNative.AllReduce(address, values.Length), name);
    }

    public void Broadcast(Span<byte> bytes, string name)
    {
        fixed (byte* address = bytes)
            using (Enter(name))
                MpiNative.Check(MpiNative.Broadcast(address, bytes.Length), name);
    }

    public byte[] AllGather(ReadOnlySpan<byte> bytes, string name)
    {
        var all = new byte[bytes.Length * Size];
        var counts = new int[Size];
        Array.Fill(counts, bytes.Length);
        AllGather(bytes, all, counts, name);
        return all;
    }

    /// <summary>As <see cref="AllGather(ReadOnlySpan{byte}, string)"/>, but each rank brings as many bytes as <paramref name="counts"/> says.</summary>
    internal void AllGather(ReadOnlySpan<byte> bytes, Span<byte> all, ReadOnlySpan<int> counts, string name)
    {
        fixed (byte* mine = bytes, everything = all)
        fixed (int* each = counts)
            using (Enter(name))
                MpiNative.Check(MpiNative.AllGather(mine, everything, each), name);
    }

    /// <summary>Sends each rank values of its own, and brings what each has for this one, both in the order of the ranks.</summary>
    internal void AllToAll(ReadOnlySpan<float> send, ReadOnlySpan<int> sendCounts, Span<float> receive, ReadOnlySpan<int> receiveCounts, string name)
    {
        fixed (float* from = send, to = receive)
        fixed (int* fromCounts = sendCounts, toCounts = receiveCounts)
            using (Enter(name))
                MpiNative.Check(MpiNative.AllToAll(from, fromCounts, to, toCounts), name);
    }

    /// <summary>Ends the other ranks, because this one fails.</summary>
    public void Abort(int exitCode) => MpiNative.Abort(exitCode);

    /// <summary>Waits for all ranks.</summary>
    public void Dispose()
    {
        AllGather([0], "the end");
        ending.Set();
        watch.Join();
        MpiNative.Check(MpiNative.Finalise(), "MPI_Finalize");
        ending.Dispose();
    }

    /// <summary>A rank that has not come, and why it is thought so; null: all is well.</summary>
    /// <param name="silent">Time since each rank's last sign of life.</param>
    /// <param name="made">Calls that each has made.</param>
    /// <param name="name">The call in which this rank waits; null: it does not.</param>
    internal static string? Missing(
        int rank, IReadOnlyList<string> hosts, ReadOnlySpan<TimeSpan> silent, ReadOnlySpan<long> made, string? name, TimeSpan waited, TimeSpan silence, TimeSpan patience)
    {
        string where = name is null ? "" : $"; rank {rank} waits for it in {name} (call {made[rank]})";
        for (int r = 0; r < silent.Length; r++)
            if (r != rank && silent[r] > silence)
                return $"rank {r} on {hosts[r]} has given no sign of life for {silent[r].TotalSeconds:N0} s{where}";
        if (name is null || waited <= patience)
            return null;
        var behind = new List<int>();
        for (int r = 0; r < made.Length; r++)
            if (made[r] < made[rank])
                behind.Add(r);
        return behind.Count == 0
            ? $"all ranks are in {name} (call {made[rank]}) since {waited.TotalSeconds:N0} s, which does not end: look at the network between {string.Join(", ", hosts.Distinct())}"
            : $"{string.Join(", ", behind.Select(r => $"rank {r} on {hosts[r]}"))} lives but has not come to {name} (call {made[rank]}; it has made {made[behind[0]]}) for {waited.TotalSeconds:N0} s";
    }

    private Waiting Enter(string name)
    {
        lock (gate)
        {
            calls++;
            call = name;
            waiting.Restart();
        }
        return new(this);
    }

    private readonly ref struct Waiting(Mpi owner)
    {
        public void Dispose()
        {
            lock (owner.gate)
                owner.call = null;
        }
    }

    private void Watch()
    {
        var told = new long[Size * Words];
        long number = 0;
        var seen = new long[Size];
        var made = new long[Size];
        var heard = new long[Size];
        Array.Fill(heard, Stopwatch.GetTimestamp());
        Span<long> mine = stackalloc long[Words];
        var silent = new TimeSpan[Size];
        while (!ending.Wait(BetweenBeats))
        {
            string? name;
            TimeSpan waited, longest, most;
            lock (gate)
                (mine[0], mine[1], name, waited, longest, most) = (++number, calls, call, waiting.Elapsed, silence, patience);
            fixed (long* own = mine, all = told)
                if (MpiNative.Beat(own, all, Words) != 0)
                    continue; // a line that fails is silent soon
            for (int r = 0; r < Size; r++)
            {
                if (told[r * Words] != seen[r])
                    heard[r] = Stopwatch.GetTimestamp();
                (seen[r], made[r], silent[r]) = (told[r * Words], told[(r * Words) + 1], Stopwatch.GetElapsedTime(heard[r]));
            }
            if (Missing(Rank, Hosts, silent, made, name, waited, longest, most) is { } missing)
            {
                giveUp(missing);
                return;
            }
        }
    }
}
