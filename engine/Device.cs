using Avedis.Bindings;

namespace Avedis.Engine;

/// <summary>
/// One backend and the arena in which all tensors of a network live. First everything is declared (<see cref="Persistent"/>,
/// <see cref="Transient"/>), then <see cref="Plan"/> runs each kind of step once on a backend that only looks on, and places the tensors; from then
/// on nothing is allocated.
/// </summary>
public sealed class Device : IDisposable
{
    private readonly IBackend backend;
    private readonly List<Tensor> persistent = [];
    private readonly List<Tensor> transient = [];
    private GradientReduction? reduction;
    private nint arena;

    /// <summary>The device takes over the backend and disposes it.</summary>
    /// <param name="collective">The ranks that train together; null: one. It is not disposed.</param>
    public Device(IBackend backend, ICollective? collective = null)
    {
        (this.backend, Collective) = (backend, collective ?? new SingleRank());
        Ops = backend;
    }

    /// <summary>The operations: the backend's, or during <see cref="Plan"/> those of the planner. Layers ask anew for every call.</summary>
    public IBackend Ops { get; private set; }

    /// <summary>Where everything went, or would have gone if it had fitted; null before <see cref="Plan"/>.</summary>
    public MemoryPlan? Memory { get; private set; }

    public string Description => backend.Description;

    public ICollective Collective { get; }

    /// <summary>Sums gradients over ranks; null where there is one.</summary>
    public GradientReduction? Reduction { get; private set; }

    /// <summary>Whether batch norms take the statistics of all ranks' inputs in training, or each its own. Before layers are built.</summary>
    public bool NormalisesOverRanks { get; init; }

    /// <summary>
    /// Whether activations of batch norms are computed again in the backward pass instead of kept: on a processor, where other programs
    /// need the memory too. At the demo preset that takes a hundredth of a step's time.
    /// </summary>
    public bool RecomputesActivations => backend.HostMemory;

    /// <summary>
    /// Whether it leaves the backend's <see cref="IBackend.Margin"/> free; whoever lives for a moment beside a network takes of it instead.
    /// </summary>
    public bool LeavesMargin { get; init; } = true;

    /// <summary>x F32 = its sum over all ranks, in the middle of a step; in order with the gradients' sums.</summary>
    public void Sum(Tensor x) => Reduction?.Sum(x);

    /// <summary>From now on the gradients of these groups, sealed, are sums over all ranks when they are used. Call before <see cref="Plan"/>.</summary>
    public void Reduce(IEnumerable<ParameterGroup> groups, int bucketBytes = GradientReduction.DefaultBucketBytes)
    {
        if (Collective.Size == 1)
            return;
        reduction = new GradientReduction(backend, Collective, bucketBytes);
        foreach (var group in groups)
            reduction.Add(group);
    }

    /// <inheritdoc cref="IBackend.Replay"/>
    public void Replay(string name, Action work)
    {
        // what passes through the host cannot be recorded
        if (Reduction is not null && !backend.HostMemory && !Collective.OnDevice)
            work();
        else
            Ops.Replay(name, work);
    }

    /// <inheritdoc cref="IBackend.SideBySide"/>
    public void SideBySide(Action first, Action second)
    {
        if (reduction is null)
        {
            Ops.SideBySide(first, second);
            return;
        }
        // gradients travel behind the one stream that fills them, and all ranks send in one order
        first();
        second();
    }

    /// <summary>Declares a tensor whose contents outlive the step: parameters, moments, statistics. Starts as zeros.</summary>
    public Tensor Persistent(string name, Shape shape, DType type) => Declare(persistent, name, shape, type);

    /// <summary>Declares a tensor whose contents live from its first use in a step to its last; its memory is shared with others.</summary>
    public Tensor Transient(string name, Shape shape, DType type) => Declare(transient, name, shape, type);

    /// <summary>
    /// Records each kind of step (training, evaluation, ...), places all tensors and allocates the arena.
    /// <exception cref="OutOfDeviceMemoryException"/>
    /// </summary>
    public void Plan(params ReadOnlySpan<Action> steps)
    {
        Measure(steps);
        arena = backend.Allocate(Memory!.TotalBytes, Memory.MarginBytes);
        Memory.SetAddresses(arena);
        backend.SetWorkspace(arena + (nint)Memory.WorkspaceOffset, Memory.WorkspaceBytes, Memory.SideWorkspaceBytes);
    }

    /// <summary>The first part of <see cref="Plan"/>: says in <see cref="Memory"/> what it would take, and allocates nothing.</summary>
    public void Measure(params ReadOnlySpan<Action> steps)
    {
        if (Memory is not null)
            throw new InvalidOperationException("a device is planned once");
        var recorder = new PlanningBackend(backend);
        Ops = recorder;
        foreach (var step in steps)
        {
            recorder.BeginStep();
            step();
        }
        Ops = backend;
        Reduction = reduction;

        // a checkpoint is uploaded tensor by tensor
        long largest = persistent.Select(tensor => tensor.Bytes).Append(recorder.LargestUpload).Max();
        Memory = MemoryPlan.Create(
            persistent, transient, recorder.Steps, recorder.WorkspaceBytes, recorder.SideWorkspaceBytes,
            LeavesMargin ? backend.Margin(largest) : 0);
    }

    public void Dispose()
    {
        reduction?.Dispose();
        if (arena != 0)
            backend.Free(arena);
        arena = 0;
        backend.Dispose();
    }

    private Tensor Declare(List<Tensor> list, string name, Shape shape, DType type)
    {
        if (Memory is not null)
            throw new InvalidOperationException($"{name}: tensors are declared before the device is planned");
        var tensor = new Tensor(name, shape, type);
        list.Add(tensor);
        return tensor;
    }
}
