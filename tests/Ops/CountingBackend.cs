using Avedis.Engine;
using Avedis.Tests.Runner;

namespace Avedis.Tests.Ops;

/// <summary>Another backend, every operation of which is counted in <see cref="Coverage"/> under the backend's name in the tests.</summary>
internal sealed class CountingBackend(IBackend inner, string name) : ObservedBackend(inner)
{
    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source) => Inner.Upload(destination, source);

    public override void Download<T>(Span<T> destination, Tensor source) => Inner.Download(destination, source);

    protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
    {
        Coverage.Count(operation.Name, name, tensors);
        call();
    }
}
