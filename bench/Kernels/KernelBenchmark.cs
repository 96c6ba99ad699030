using System.Globalization;
using Avedis.Engine;
using Avedis.Trainer.Benchmark;

namespace Avedis.Bench.Kernels;

/// <summary>What to measure.</summary>
/// <param name="Rounds">Fewest runs of each contestant; the median counts.</param>
/// <param name="Passes">Operations, by what their names contain; empty for all.</param>
/// <param name="Layers">Layers, likewise.</param>
/// <param name="Workspace">Bytes that cuDNN may use besides its operands.</param>
public sealed record KernelOptions(int Rounds, IReadOnlyList<string> Passes, IReadOnlyList<string> Layers, long Workspace = 1 << 30)
{
    public bool Wants(string layer, string operation) =>
        (Layers.Count == 0 || Layers.Any(part => layer.Contains(part, StringComparison.Ordinal))) &&
        (Passes.Count == 0 || Passes.Any(part => operation.Contains(part, StringComparison.Ordinal)));
}

/// <summary>
/// Checks and times the operations of a training step one by one, at the shapes that they have in the step: convolutions and linear layers against sums in double
/// precision and beside cuDNN and cuBLAS, everything else against the CPU backend.
/// </summary>
/// <param name="processor">What the other operations are checked with.</param>
internal sealed class KernelBenchmark(CudaBackend backend, IBackend processor, PeerLibraries peers, KernelOptions options, TextWriter log) : IDisposable
{
    // results of the two backends differ by the order of their sums, or by a rounding to BF16 to either side
    private const double F32Share = 1e-3, Bf16Share = 1.0 / (1 << 6);

    private readonly KernelClock clock = new(backend);

    /// <param name="precision">That the backend was opened in.</param>
    /// <param name="keep">Gets all rows so far, each time that there is one more.</param>
    public IReadOnlyList<KernelRow> Run(string preset, int batch, string precision, Action<IReadOnlyList<KernelRow>> keep)
    {
        var prediction = GpuCeilings.Of(backend.Description) is { } gpu ? KernelPrediction.Of(gpu, preset, batch, precision) : null;
        double? Floor(string layer, params string[] passes) =>
            prediction?.Passes.Where(pass => pass.Layer == layer && passes.Contains(pass.Pass)).Sum(pass => pass.Peak);
        var rows = new List<KernelRow>();

        foreach (var layer in StepLayers.Convolutions(preset, batch).Where(layer => !layer.Stem))
        {
            Conv2dPass[] passes = [.. Enum.GetValues<Conv2dPass>().Where(pass => options.Wants(layer.Name, ConvolutionRig.NameOf(pass)))];
            if (passes.Length == 0)
                continue;
            using var rig = new ConvolutionRig(backend, precision, layer.Geometry);
            var workspace = peers.Cudnn is null ? null : rig.Tensors.Bytes("cuDNN workspace", options.Workspace);
            foreach (var pass in passes)
                Measure(
                    layer.Name, ConvolutionRig.NameOf(pass), $"{layer.Geometry.Input} by {layer.Geometry.Weight}",
                    Floor(layer.Name, pass switch { Conv2dPass.Forward => "forward", Conv2dPass.BackwardData => "gradient of x", _ => "gradient of weights" }),
                    () => rig.Run(pass), () => rig.Check(pass), rig.Result(pass), peers.Cudnn?.Call(rig, pass, workspace!));
        }

        foreach (var layer in StepLayers.Linears(preset, batch))
        {
            LinearPass[] passes = [.. Enum.GetValues<LinearPass>().Where(pass => options.Wants(layer.Name, LinearRig.NameOf(pass)))];
            if (passes.Length == 0)
                continue;
            using var rig = new LinearRig(backend, precision, layer);
            // these layers multiply in FP32, so that is their floor
            double? floor = GpuCeilings.Of(backend.Description)?.Microseconds("fp32", rig.Flops, rig.Bytes);
            foreach (var pass in passes)
                Measure(
                    layer.Name, LinearRig.NameOf(pass), $"[{layer.Rows}, {layer.Inputs}] by [{layer.Outputs}, {layer.Inputs}]", floor,
                    () => rig.Run(pass), () => rig.Check(pass), rig.Result(pass), peers.Cublas?.Call(rig, pass));
        }

        foreach (var operation in OtherOperations.Of(preset, batch, precision).Where(operation => options.Wants(operation.Layer, operation.Name)))
        {
            using var tensors = new BenchTensors(backend);
            var built = operation.Build(tensors);
            Measure(
                operation.Layer, operation.Name, operation.Shape,
                operation.Passes.Length > 0 ? Floor(operation.Layer, operation.Passes) : GpuCeilings.Of(backend.Description)?.Microseconds(precision, 0, operation.Bytes),
                built.Run, () => CompareWithProcessor(operation, built), built.Results[0], null);
        }
        return rows;

        void Measure(string layer, string name, string shape, double? floor, Action run, Func<double> check, Tensor result, PeerCall? peer)
        {
            var row = new KernelRow(preset, precision, batch, layer, name, shape, [], FloorMicroseconds: floor);
            row = this.Measure(row, run, check, result, peer);
            log.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{precision} {layer} {name}: {(row.Failure is { } wrong ? $"WRONG: {wrong}" : $"{row.Microseconds:F1} us")}{string.Concat(row.Peers.Select(p => $"; {p.Library} {(p.Failure is { } failure ? failure : $"{p.Microseconds:F1} us")}"))}"));
            rows.Add(row);
            keep(rows);
        }
    }

    public void Dispose() => clock.Dispose();

    private KernelRow Measure(KernelRow row, Action run, Func<double> check, Tensor result, PeerCall? peer)
    {
        try
        {
            double error;
            try
            {
                backend.Mark(); // launches are noted from the first mark on
                backend.TakeLaunches();
                error = check();
            }
            catch (WrongResultException wrong)
            {
                return row with { Failure = wrong.Message };
            }
            row = row with { Launches = string.Join(", ", backend.TakeLaunches()) };
            var other = peer is null ? null : TakePart(peer, result, error);
            double[] times = clock.Median(other is { Failure: null } ? [run, peer!.Run] : [run], options.Rounds);
            return row with { Microseconds = times[0], Peers = other is null ? [] : [times.Length > 1 ? other with { Microseconds = times[1] } : other] };
        }
        finally
        {
            peer?.Release?.Invoke();
        }
    }

    /// <summary>Lets a library compute the same once, and compares: with the reference, and every element with ours.</summary>
    private PeerRow TakePart(PeerCall peer, Tensor ours, double error)
    {
        string? algorithm = null;
        try
        {
            algorithm = peer.Prepare();
            peer.Run();
            ResultCheck.Alike(backend, ours, peer.Result, Math.Max(error, peer.Check()));
            return new(peer.Library, peer.Version, algorithm);
        }
        catch (Exception failure) when (failure is PeerException or WrongResultException)
        {
            return new(peer.Library, peer.Version, algorithm, Failure: failure.Message);
        }
    }

    private double CompareWithProcessor(OtherOperation operation, BuiltOperation ours)
    {
        using var tensors = new BenchTensors(processor);
        var theirs = operation.Build(tensors);
        ours.Run();
        theirs.Run();
        foreach (var (result, expected) in ours.Results.Zip(theirs.Results))
            ResultCheck.Within(result.Type == DType.BF16 ? Bf16Share : F32Share, backend, result, processor, expected);
        return 0;
    }
}
