using System.Text;

namespace Avedis.Engine;

/// <summary>
/// The offset of every tensor in the one arena of a <see cref="Device"/>: persistent tensors first, then transient ones packed so that two share
/// memory only if no step uses both at the same time, then the backend's workspace. Packing is greedy (Pisarchyk and Lee 2020), in several
/// orders.
/// </summary>
public sealed class MemoryPlan
{
    private const long Alignment = 256;

    // orders that are tried from each start: the demo preset's arena of 32 clips takes 135 MiB after 32 of them, 131 after 100
    private const int Tries = 100;

    private readonly List<(Tensor Tensor, long Offset)> places = [];

    public long PersistentBytes { get; private set; }

    /// <summary>Peak of the transient tensors, shared memory counted once.</summary>
    public long TransientBytes { get; private set; }

    /// <summary>What the transient tensors would take without sharing.</summary>
    public long TransientBytesUnshared { get; private set; }

    public long WorkspaceBytes { get; private set; }

    /// <summary>The last part of the workspace, for what runs beside other operations; 0 where nothing does.</summary>
    public long SideWorkspaceBytes { get; private set; }

    public long WorkspaceOffset => PersistentBytes + TransientBytes;

    public long TotalBytes => WorkspaceOffset + WorkspaceBytes;

    /// <summary>What has to stay free beside it; <see cref="IBackend.Margin"/>.</summary>
    public long MarginBytes { get; private init; }

    /// <summary>First and last use of a tensor within one step, in ticks of that step.</summary>
    internal readonly record struct Lifetime(int First, int Last);

    internal static MemoryPlan Create(
        IReadOnlyList<Tensor> persistent, IReadOnlyList<Tensor> transient,
        IReadOnlyList<Dictionary<Tensor, Lifetime>> steps, long workspaceBytes, long sideWorkspaceBytes, long marginBytes)
    {
        long side = Align(sideWorkspaceBytes);
        var plan = new MemoryPlan { WorkspaceBytes = Align(workspaceBytes) + side, SideWorkspaceBytes = side, MarginBytes = marginBytes };
        foreach (var tensor in persistent)
        {
            plan.places.Add((tensor, plan.PersistentBytes));
            plan.PersistentBytes += Align(tensor.Bytes);
        }

        Tensor[] used = [.. transient.Where(t => steps.Any(s => s.ContainsKey(t)))];
        long[] offsets = Pack(used, steps);
        for (int i = 0; i < used.Length; i++)
        {
            plan.places.Add((used[i], plan.PersistentBytes + offsets[i]));
            plan.TransientBytes = Math.Max(plan.TransientBytes, offsets[i] + Align(used[i].Bytes));
            plan.TransientBytesUnshared += Align(used[i].Bytes);
        }
        return plan;
    }

    /// <summary>
    /// Offsets of the tightest of some packings. The first orders are by size and by length of life; each next one has the tensor that
    /// reached furthest in front.
    /// </summary>
    private static long[] Pack(Tensor[] tensors, IReadOnlyList<Dictionary<Tensor, Lifetime>> steps)
    {
        int[] all = [.. Enumerable.Range(0, tensors.Length)];
        int[][] meets = [.. tensors.Select(a => all.Where(i => tensors[i] != a && Overlap(a, tensors[i], steps)).ToArray())];
        long[] bytes = [.. tensors.Select(tensor => Align(tensor.Bytes))];
        long[] lives = [.. tensors.Select(t => steps.Max(step => step.TryGetValue(t, out var life) ? (long)life.Last - life.First : 0))];
        long[] offsets = new long[bytes.Length], best = [];
        long least = long.MaxValue;
        foreach (long[] keys in (long[][])[bytes, lives])
        {
            int[] order = [.. all.OrderByDescending(i => keys[i])]; // ties keep the order of declaration
            for (int i = 0; i < Tries && order.Length > 0; i++)
            {
                int furthest = PackInOrder(offsets, bytes, order, meets);
                if (offsets[furthest] + bytes[furthest] < least)
                    (least, best) = (offsets[furthest] + bytes[furthest], [.. offsets]);
                int at = Array.IndexOf(order, furthest);
                Array.Copy(order, 0, order, 1, at);
                order[0] = furthest;
            }
        }
        return best;
    }

    /// <summary>Gives each the lowest offset that is free throughout its life; returns the one that reaches furthest.</summary>
    /// <param name="meets">Of each, those that live when it does.</param>
    private static int PackInOrder(long[] offsets, long[] bytes, int[] order, int[][] meets)
    {
        Array.Fill(offsets, -1);
        int furthest = order[0];
        foreach (int i in order)
        {
            long begin = 0;
            for (int again = 0; again < meets[i].Length;)
            {
                int j = meets[i][again];
                bool collides = offsets[j] >= 0 && offsets[j] < begin + bytes[i] && begin < offsets[j] + bytes[j];
                (begin, again) = collides ? (offsets[j] + bytes[j], 0) : (begin, again + 1);
            }
            offsets[i] = begin;
            if (begin + bytes[i] > offsets[furthest] + bytes[furthest])
                furthest = i;
        }
        return furthest;
    }

    internal void SetAddresses(nint arena)
    {
        foreach (var (tensor, offset) in places)
            tensor.Address = arena + (nint)offset;
    }

    /// <summary>One line: what the plan takes, and what sharing saves.</summary>
    public override string ToString() =>
        $"memory plan: {Mib(TotalBytes)} in one arena (parameters and state {Mib(PersistentBytes)}, activations and gradients " +
        $"{Mib(TransientBytes)} instead of {Mib(TransientBytesUnshared)} unshared, workspace {Mib(WorkspaceBytes)})" +
        (MarginBytes > 0 ? $", {Mib(MarginBytes)} left free beside it" : "");

    /// <summary>A table of every tensor: offset, bytes, name and shape, in order of address.</summary>
    public string ToTable()
    {
        var table = new StringBuilder();
        foreach (var (tensor, offset) in places.OrderBy(p => p.Offset).ThenBy(p => p.Tensor.Name, StringComparer.Ordinal))
            table.AppendLine($"{offset,14:N0} {tensor.Bytes,14:N0}  {tensor}");
        return table.Append(this).ToString();
    }

    private static string Mib(long bytes) => $"{bytes / 1048576.0:N1} MiB";

    private static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private static bool Overlap(Tensor a, Tensor b, IReadOnlyList<Dictionary<Tensor, Lifetime>> steps)
    {
        foreach (var step in steps)
            if (step.TryGetValue(a, out var lifeA) && step.TryGetValue(b, out var lifeB) && lifeA.First <= lifeB.Last && lifeB.First <= lifeA.Last)
                return true;
        return false;
    }
}
