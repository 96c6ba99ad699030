using Avedis.Engine;

namespace Avedis.Tests;

/// <summary>
/// Another backend behind hooks, for tests that let a device fail, lie or be watched: <see cref="Before"/> and <see cref="After"/> are called with the
/// name of each operation; what else a test changes it overrides.
/// </summary>
internal class WatchedBackend(IBackend inner) : ObservedBackend(inner)
{
    /// <summary>Called in front of every operation and transfer, with its name: conv2d forward, adam, upload, replay train, ...</summary>
    public Action<string> Before { get; init; } = _ => { };

    /// <summary>Called in front of every operation, with its name and its tensors.</summary>
    public Action<string, Tensor?[]> BeforeWith { get; init; } = (_, _) => { };

    /// <summary>Called behind every operation, with its name and its tensors.</summary>
    public Action<string, Tensor?[]> After { get; init; } = (_, _) => { };

    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
    {
        Before("upload");
        Inner.Upload(destination, source);
    }

    public override void Download<T>(Span<T> destination, Tensor source)
    {
        Before("download");
        Inner.Download(destination, source);
    }

    public override void Synchronize()
    {
        Before("synchronize");
        Inner.Synchronize();
    }

    public override void Replay(string name, Action work)
    {
        Before($"replay {name}");
        Inner.Replay(name, work);
    }

    protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
    {
        Before(operation.Name);
        BeforeWith(operation.Name, tensors.ToArray());
        call();
        After(operation.Name, tensors.ToArray());
    }
}
