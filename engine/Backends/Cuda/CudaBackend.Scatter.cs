namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int ScatterThreads = 256;

    [Kernels("scatter")]
    private readonly record struct ScatterArguments(nint Pieces);

    /// <summary>Puts what an upload has brought in its places.</summary>
    /// <param name="pieces">On the device: an array of <see cref="ScatterPiece"/>.</param>
    /// <param name="largest">Bytes of the largest piece.</param>
    private void Scatter(nint pieces, int count, long largest) =>
        Launch(
            "scatter", Strided((largest + BytesPerLoad - 1) / BytesPerLoad, ScatterThreads) with { Y = count }, ScatterThreads,
            new ScatterArguments(pieces));
}

/// <summary>ScatterPiece of kernels/scatter.cu, field by field: so many bytes and where they go, both on the device.</summary>
internal readonly record struct ScatterPiece(nint To, nint From, long Bytes);
