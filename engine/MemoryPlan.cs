using System.Text;

namespace Avedis.Engine;

/// <summary>
/// The offset of every tensor in the one arena of a <see cref="Device"/>: persistent tensors first, then transient ones packed so that two share
/// memory only if no step uses both at the same time, then the backend's workspace. Packing is greedy by size (Pisarchyk and Lee 2020).
/// </summary>
public sealed class MemoryPlan
{
    private const long Alignment = 256;

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

        // largest first, each at the lowest offset that is free throughout its life; ties keep the order of declaration
        var placed = new List<(Tensor Tensor, long Begin, long End)>();
        foreach (var tensor in transient.Where(t => steps.Any(s => s.ContainsKey(t))).OrderByDescending(t => t.Bytes))
        {
            long begin = 0, bytes = Align(tensor.Bytes);
            foreach (var other in placed.Where(o => Overlap(tensor, o.Tensor, steps)).OrderBy(o => o.Begin))
            {
                if (other.Begin >= begin + bytes)
                    break;
                begin = Math.Max(begin, other.End);
            }
            placed.Add((tensor, begin, begin + bytes));
            plan.places.Add((tensor, plan.PersistentBytes + begin));
            plan.TransientBytes = Math.Max(plan.TransientBytes, begin + bytes);
            plan.TransientBytesUnshared += bytes;
        }
        return plan;
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
