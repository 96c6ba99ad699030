namespace Avedis.Engine;

/// <summary>
/// Computes nothing and notes which operation, in order, uses which tensor: so the memory plan follows from the step itself and cannot
/// disagree with it.
/// </summary>
internal sealed class PlanningBackend(IBackend target) : ObservedBackend(target)
{
    private readonly List<Dictionary<Tensor, MemoryPlan.Lifetime>> steps = [];
    private int tick;
    private bool beside; // in what SideBySide runs second

    public IReadOnlyList<Dictionary<Tensor, MemoryPlan.Lifetime>> Steps => steps;

    public long WorkspaceBytes { get; private set; }

    /// <summary>What those operations need that <see cref="SideBySide"/> runs second: it is not shared with the others.</summary>
    public long SideWorkspaceBytes { get; private set; }

    /// <summary>Bytes of the largest upload.</summary>
    public long LargestUpload { get; private set; }

    public void BeginStep()
    {
        steps.Add([]);
        tick = 0;
    }

    protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
    {
        WorkspaceBytes = Math.Max(WorkspaceBytes, operation.Workspace);
        if (beside)
            SideWorkspaceBytes = Math.Max(SideWorkspaceBytes, operation.Workspace);
        foreach (var tensor in tensors)
        {
            if (tensor is null)
                continue;
            int first = steps[^1].TryGetValue(tensor.Root, out var life) ? life.First : tick;
            steps[^1][tensor.Root] = new(first, tick);
        }
        tick++;
    }

    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
    {
        LargestUpload = Math.Max(LargestUpload, destination.Bytes);
        Run(new("upload"), () => { }, destination);
    }

    public override void Download<T>(Span<T> destination, Tensor source) => Run(new("download"), () => { }, source);

    public override nint Allocate(long bytes, long margin = 0) => throw new InvalidOperationException("a step allocates nothing");

    public override void Free(nint address) => throw new InvalidOperationException("a step frees nothing");

    public override void SetWorkspace(nint address, long bytes, long side) =>
        throw new InvalidOperationException("the plan sets the workspace");

    public override void Synchronize() { }

    public override void Replay(string name, Action work) => work();

    /// <summary>What the second uses lives from the beginning of the first: at no time is it in memory that the first uses.</summary>
    public override void SideBySide(Action first, Action second)
    {
        int begin = tick;
        first();
        int middle = tick;
        beside = !HostMemory; // where every call has finished when it returns, nothing runs beside another
        second();
        if (!beside)
            return;
        beside = false;
        var step = steps[^1];
        foreach (var (tensor, life) in step.Where(used => used.Value.Last >= middle).ToList())
            step[tensor] = life with { First = Math.Min(life.First, begin) };
    }
}
