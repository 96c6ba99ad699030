namespace Avedis.Engine;

/// <summary>An operation wrote numbers that are NaN or infinite.</summary>
public sealed class NonFiniteResultException(string op, Tensor tensor, long count)
    : Exception($"{op} wrote {tensor.Name} {tensor.Shape}: {count:N0} of {tensor.Count:N0} elements are not finite")
{
    public string Op { get; } = op;

    public Tensor Tensor { get; } = tensor;
}

/// <summary>
/// Another backend that looks at what each operation wrote first, and throws at the first number that is not finite: so it is found where it came up and not
/// where it was noticed. Waits for every operation, so it is for looking into a step that failed.
/// </summary>
public sealed class FiniteWatch : ObservedBackend
{
    private readonly int[] found = new int[1];
    private readonly Tensor count;

    public FiniteWatch(IBackend inner) : base(inner) => count = new Tensor("nonFinite", new Shape(1), DType.I32, inner.Allocate(sizeof(int)));

    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source) => Inner.Upload(destination, source);

    public override void Download<T>(Span<T> destination, Tensor source) => Inner.Download(destination, source);

    public override void Replay(string name, Action work) => work();

    public override void SideBySide(Action first, Action second)
    {
        first();
        second();
    }

    /// <exception cref="NonFiniteResultException"/>
    protected override void Run(Operation operation, Action call, params ReadOnlySpan<Tensor?> tensors)
    {
        call();
        if (tensors[0] is not { Type: DType.F32 or DType.BF16 } written)
            return;
        Inner.CountNonFinite(count, written);
        Inner.Download<int>(found, count);
        if (found[0] > 0)
            throw new NonFiniteResultException(operation.Name, written, found[0]);
    }
}
