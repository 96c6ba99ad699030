using Avedis.Engine;

namespace Avedis.Trainer.Features;

/// <summary>
/// The log-mel energies of <see cref="LogMel"/>, computed on a device: spectra in double precision, energies and logarithms in F32. May be
/// called from any
/// thread, one at a time computes.
/// </summary>
public sealed class DeviceLogMel : IDisposable
{
    /// <summary>
    /// How a device computes it, in words that go into the hash of prepared data; to be changed with the kernel's numbers.
    /// </summary>
    public const string Arithmetic = "double spectra";

    private readonly IBackend backend;
    private readonly LogMel definition;
    private readonly Lock gate = new();
    private readonly List<nint> memory = [];
    private readonly Tensor samples, basis, filters, mels;
    private readonly float[] staged;

    /// <param name="backend">Where it runs; stays the caller's.</param>
    /// <param name="options">How a clip becomes numbers.</param>
    public DeviceLogMel(IBackend backend, FeatureOptions options)
    {
        (this.backend, definition) = (backend, new LogMel(options));
        staged = new float[definition.Reach];
        samples = Place("samples", new Shape(1, staged.Length));
        mels = Place("mels", new Shape(1, options.MelBins, options.MelFrames));
        basis = Filled("basis", definition.Basis());
        filters = Filled("filters", definition.FilterMatrix());
    }

    /// <summary>What <see cref="LogMel.Compute"/> does.</summary>
    public int Compute(ReadOnlySpan<float> clip, Span<float> output)
    {
        int valid = definition.ValidFrames(clip.Length, output);
        if (valid > 0)
            lock (gate)
            {
                definition.Stage(clip, staged);
                backend.Upload<float>(samples, staged);
                backend.LogMel(mels, samples, basis, filters, definition.Geometry);
                backend.Download(output, mels);
            }
        definition.Finish(output, valid);
        return valid;
    }

    public void Dispose()
    {
        foreach (nint address in memory)
            backend.Free(address);
    }

    private Tensor Filled(string name, (float[] Values, Shape Shape) content)
    {
        var tensor = Place(name, content.Shape);
        backend.Upload<float>(tensor, content.Values);
        return tensor;
    }

    private Tensor Place(string name, Shape shape)
    {
        var tensor = new Tensor(name, shape, DType.F32);
        memory.Add(backend.Allocate(tensor.Bytes));
        return new Tensor(name, shape, DType.F32, memory[^1]);
    }
}
