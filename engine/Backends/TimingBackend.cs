namespace Avedis.Engine;

/// <summary>One call of an operation within a step: what, where in the network, how long, how much.</summary>
/// <param name="Op">The operation's noun and pass: conv2d forward, batch_norm backward, ...</param>
/// <param name="Tensor">The tensor that it wrote first.</param>
/// <param name="Seconds">Time on the device.</param>
/// <param name="Flops">Multiplications and additions; 0 where memory traffic is what counts.</param>
/// <param name="Bytes">Of all tensors that it reads and of all that it writes.</param>
/// <param name="Launches">What it launched on the device; see <see cref="IBackend.TakeLaunches"/>.</param>
public readonly record struct OpCall(string Op, Tensor Tensor, double Seconds, double Flops, long Bytes, IReadOnlyList<string> Launches);

/// <summary>
/// Another backend with a stop watch: passes every operation on between two marks, and afterwards tells how long each took. So operations
/// are timed at the network's shapes, in the network's order, with the caches in the state that a step leaves them in, and without waiting
/// between them: the device is held until all of a step is queued, or it would wait for the host between short operations. Nothing is
/// replayed, because a replay has no single operations.
/// </summary>
public sealed class TimingBackend(IBackend inner) : ObservedBackend(inner)
{
    private readonly List<(OpCall Call, long From, long To)> calls = [];
    private bool replaying;

    /// <summary>Every operation since the last time, in order; waits for all of them.</summary>
    public IReadOnlyList<OpCall> TakeCalls()
    {
        OpCall[] timed = [.. calls.Select(c => c.Call with { Seconds = Inner.Microseconds(c.From, c.To) / 1e6 })];
        calls.Clear();
        Inner.ForgetMarks();
        return timed;
    }

    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
    {
        long start = Inner.Mark();
        Inner.Upload(destination, source);
        Note(new("upload"), start, destination);
    }

    public override void Download<T>(Span<T> destination, Tensor source)
    {
        long start = Inner.Mark();
        Inner.Download(destination, source);
        Note(new("download"), start, source);
    }

    public override void Replay(string name, Action work)
    {
        Inner.Hold();
        replaying = true;
        try
        {
            work();
        }
        finally
        {
            replaying = false;
            Inner.Release();
        }
    }

    public override void SideBySide(Action first, Action second)
    {
        first();
        second();
    }

    protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
    {
        if (!replaying)
            Inner.Hold();
        long start = Inner.Mark();
        call();
        Note(operation, start, tensors);
        if (!replaying)
            Inner.Release();
    }

    private void Note(Operation operation, long start, params ReadOnlySpan<Tensor?> tensors)
    {
        long end = Inner.Mark(), bytes = 0;
        foreach (var tensor in tensors)
            bytes += tensor?.Bytes ?? 0;
        calls.Add((new OpCall(operation.Name, tensors[0]!, 0, operation.Flops, bytes, Inner.TakeLaunches()), start, end));
    }
}
