using System.Diagnostics;
using Avedis.Bench.Kernels;
using Avedis.Engine;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Avedis.Bench.Peers.TorchSharp.Operations;

/// <summary>An operation as one of the two libraries computes it, on inputs that are in memory.</summary>
internal interface ISide : IDisposable
{
    /// <summary>Allocates what the library wants allocated before it is called.</summary>
    void Ready();

    void Run();

    /// <summary>Gives back what <see cref="Ready"/> allocated.</summary>
    void Release();
}

/// <summary>Ours: results and workspace are planned before the call.</summary>
/// <param name="build">Makes the inputs, and then from further tensors, of results and workspace, the operation.</param>
internal sealed class OurSide : ISide
{
    private readonly BenchTensors inputs;
    private readonly Func<BenchTensors, BuiltOperation> build;
    private BenchTensors? outputs;
    private BuiltOperation? operation;

    public OurSide(IBackend backend, Func<BenchTensors, Func<BenchTensors, BuiltOperation>> build)
    {
        inputs = new BenchTensors(backend);
        this.build = build(inputs);
    }

    public void Ready()
    {
        outputs = new BenchTensors(inputs.Backend);
        operation = build(outputs);
    }

    public void Run() => operation!.Run();

    public void Release()
    {
        outputs?.Dispose();
        (outputs, operation) = (null, null);
    }

    /// <summary>What one run computes.</summary>
    public float[][] Results()
    {
        operation!.Run();
        return [.. operation.Results.Select(result => BenchTensors.Read(inputs.Backend, result, 0, checked((int)result.Count)))];
    }

    public void Dispose()
    {
        Release();
        inputs.Dispose();
    }
}

/// <summary>Memory order of TorchSharp's images and convolution weights.</summary>
internal enum Layout
{
    /// <summary>The operation has no images.</summary>
    None,
    ChannelsFirst,
    ChannelsLast,
}

/// <summary>TorchSharp's: it allocates results and workspace itself.</summary>
internal sealed class TheirSide : ISide
{
    private readonly DisposeScope inputs = NewDisposeScope();
    private readonly Func<Tensor[]> run;

    /// <param name="build">Makes the inputs, and where the call is a backward pass alone its graph; returns what is timed.</param>
    public TheirSide(Layout layout, Func<Layout, Func<Tensor[]>> build)
    {
        run = build(layout);
        Layout = layout;
    }

    public Layout Layout { get; }

    public void Ready()
    {
    }

    public void Run()
    {
        // what the call makes is given back with it
        using var scope = NewDisposeScope();
        run();
    }

    public void Release()
    {
    }

    /// <summary>What one run computes, images and weights in the engine's layouts.</summary>
    public float[][] Results()
    {
        using var scope = NewDisposeScope();
        static Tensor InOurLayout(Tensor result) => result.Dimensions == 4 ? result.permute(0, 2, 3, 1) : result;
        return [.. run().Select(result => InOurLayout(result).detach().contiguous().data<float>().ToArray())];
    }

    public void Dispose() => inputs.Dispose();

    /// <summary>In the faster of the layouts that the operation may have.</summary>
    public static TheirSide Fastest(IReadOnlyList<Layout> layouts, Func<Layout, Func<Tensor[]>> build)
    {
        const int Runs = 3;
        var times = new Dictionary<Layout, TimeSpan>();
        foreach (var layout in layouts.Count > 1 ? layouts : [])
        {
            using var side = new TheirSide(layout, build);
            side.Run();
            times[layout] = Enumerable.Range(0, Runs).Min(_ =>
            {
                var watch = Stopwatch.StartNew();
                side.Run();
                return watch.Elapsed;
            });
        }
        return new TheirSide(layouts.Count > 1 ? layouts.MinBy(layout => times[layout]) : layouts[0], build);
    }
}
