using System.Diagnostics;
using System.Text;
using Avedis.Bindings.Mpi;

namespace Avedis.Engine;

/// <summary>
/// Ranks that are processes which an MPI launcher has started, one each. Sums have MPI's order: the same bits for the same number of ranks in practice, which no
/// standard promises (<see cref="FixedOrder"/> does).
/// <para>
/// MPI waits for ever for a rank that does not come. So every rank tells all others twice a second that it lives and how many collective calls it has made, and
/// who waits for one that is silent, or has fallen behind for too long, names it and ends the training. So does
/// who cannot reach others by what else the ranks rely on (<see cref="Rely"/>).
/// </para>
/// </summary>
public sealed unsafe class Mpi : ICollective, IDisposable
{
    private const int HostBytes = 64;
    private const int Words = 2; // of a sign of life: its number, calls made

    private static readonly TimeSpan BetweenBeats = TimeSpan.FromMilliseconds(500);

    /// <summary>After which a rank that has just died is told from those that live.</summary>
    private static readonly TimeSpan ToFallSilent = 3 * BetweenBeats;

    /// <summary>NCCL's may wait for what does not come any more.</summary>
    private static readonly TimeSpan LongestAbort = TimeSpan.FromSeconds(1);

    private readonly Action<string> say;
    private readonly Action end;
    private readonly Thread watch;
    private readonly ManualResetEventSlim ending = new();
    private readonly Lock gate = new();
    private readonly Stopwatch waiting = new();
    private TimeSpan silence = TimeSpan.FromSeconds(15), patience = TimeSpan.FromHours(1);
    private string? call; // that is waited in
    private long calls;
    private Func<string?> failure = () => null;
    private Action abort = () => { };
    private volatile bool lost;

    /// <param name="say">Told which rank is missing, or what has failed. Called on another thread, as is <paramref name="end"/>.</param>
    /// <param name="end">Ends this process thereafter; does not return in earnest.</param>
    /// <exception cref="MpiException">There is no MPI, or it failed.</exception>
    public Mpi(Action<string> say, Action end)
    {
        (this.say, this.end) = (say, end);
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

    /// <summary>What the ranks reach each other by besides. Once it fails, or a rank is lost, this process ends.</summary>
    /// <param name="failure">What has failed; null: nothing. Called twice a second on another thread; must not wait for anybody.</param>
    /// <param name="abort">Frees who waits in it, before the process ends; on another thread. No result counts: <see cref="Lost"/>.</param>
    internal void Rely(Func<string?> failure, Action abort)
    {
        lock (gate)
            (this.failure, this.abort) = (failure, abort);
    }

    /// <summary>
    /// Whether this process ends because a rank is lost. Nothing that ranks did together counts then: who comes to their next call does not
    /// return.
    /// </summary>
    internal bool Lost => lost;

    /// <summary>For who has found out what <see cref="Rely"/> tells as well: does not return, since this process ends.</summary>
    internal static void Hold() => Thread.Sleep(Timeout.Infinite);

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
                return Quiet(r, hosts[r], silent[r]) + where;
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

    /// <summary>"; rank 1 on left has given no sign of life for 2 s": whoever is silent, behind another reason; "": nobody.</summary>
    internal static string Silent(int rank, IReadOnlyList<string> hosts, ReadOnlySpan<TimeSpan> silent, TimeSpan longest)
    {
        string text = "";
        for (int r = 0; r < silent.Length; r++)
            if (r != rank && silent[r] > longest)
                text += $"; {Quiet(r, hosts[r], silent[r])}";
        return text;
    }

    /// <summary>All ranks wait for each other, in a call of this name, until the result is disposed.</summary>
    internal Waiting Enter(string name)
    {
        HoldIfLost();
        lock (gate)
        {
            calls++;
            call = name;
            waiting.Restart();
        }
        return new(this);
    }

    internal readonly ref struct Waiting(Mpi owner)
    {
        public void Dispose()
        {
            lock (owner.gate)
                owner.call = null;
            owner.HoldIfLost();
        }
    }

    private void HoldIfLost()
    {
        if (lost)
            Hold();
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
        string? failed = null;
        long failedAt = 0;
        while (!ending.Wait(BetweenBeats))
        {
            string? name;
            TimeSpan waited, longest, most;
            Func<string?> look;
            lock (gate)
            {
                (mine[0], mine[1], name, waited) = (++number, calls, call, waiting.Elapsed);
                (longest, most, look) = (silence, patience, failure);
            }
            fixed (long* own = mine, all = told)
                _ = MpiNative.Beat(own, all, Words); // a line that fails is silent soon
            for (int r = 0; r < Size; r++)
            {
                if (told[r * Words] != seen[r])
                    heard[r] = Stopwatch.GetTimestamp();
                (seen[r], made[r], silent[r]) = (told[r * Words], told[(r * Words) + 1], Stopwatch.GetElapsedTime(heard[r]));
            }
            if (failed is null && (failed = look()) is not null)
                failedAt = Stopwatch.GetTimestamp();
            string? missing = Missing(Rank, Hosts, silent, made, name, waited, longest, most);
            if (missing is null && failed is not null && Stopwatch.GetElapsedTime(failedAt) > ToFallSilent)
                missing = failed + Silent(Rank, Hosts, silent, ToFallSilent);
            if (missing is not null)
            {
                GiveUp(missing);
                return;
            }
        }
    }

    private static string Quiet(int rank, string host, TimeSpan silent) =>
        $"rank {rank} on {host} has given no sign of life for {silent.TotalSeconds:N0} s";

    private void GiveUp(string missing)
    {
        lost = true; // before anything is freed whose result is wrong
        say(missing);
        var aborting = new Thread(() => abort()) { IsBackground = true, Name = "abort" };
        aborting.Start();
        aborting.Join(LongestAbort);
        end();
    }
}
