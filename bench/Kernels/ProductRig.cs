using Avedis.Engine;

namespace Avedis.Bench.Kernels;

/// <summary>The passes of one layer that multiplies, on tensors of their own, whose elements can be computed in double precision.</summary>
/// <param name="precision">fp32, tf32, bf16: how the backend was opened.</param>
internal abstract class ProductRig<TPass>(IBackend backend, string precision) : IDisposable
    where TPass : struct, Enum
{
    public BenchTensors Tensors { get; } = new(backend);

    public string Precision { get; } = precision;

    /// <summary>Where a pass leaves its result.</summary>
    public abstract Tensor Result(TPass pass);

    public abstract Shape ShapeOf(TPass pass);

    public abstract void Run(TPass pass);

    /// <summary>Runs a pass once and checks what came.</summary>
    /// <inheritdoc cref="Check(TPass, Tensor)"/>
    public double Check(TPass pass)
    {
        Tensors.Backend.Zero(Result(pass)); // the gradient of the weights adds
        Run(pass);
        return Check(pass, Result(pass));
    }

    /// <summary>Checks somebody's result of a pass.</summary>
    /// <returns>The error that it may have; see <see cref="ResultCheck.Sampled"/>.</returns>
    /// <exception cref="WrongResultException"/>
    public double Check(TPass pass, Tensor result) => ResultCheck.Sampled(Tensors.Backend, result, Precision != "fp32", Element(pass));

    public void Dispose() => Tensors.Dispose();

    /// <summary>An element of a pass's result by its index.</summary>
    protected abstract Func<long, SumOfProducts> Element(TPass pass);
}
