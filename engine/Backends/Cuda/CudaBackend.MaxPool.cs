namespace Avedis.Engine;

public sealed partial class CudaBackend
{
    private const int PoolThreads = 256;

    /// <summary>PoolGeometry of kernels/pool_window.cuh.</summary>
    private readonly record struct PoolGeometry(int N, int H, int W, int C, int R, int S, int StrideH, int StrideW, int PadH, int PadW, int P, int Q);

    /// <summary>PixelTiles of kernels/pool_window.cuh.</summary>
    private readonly record struct PixelTiles(int Height, int Width, int Groups, int Columns, int Rows, int Across, int Down, int Tiles, int PerBlock);

    [Kernels("max_pool_forward_f32", "max_pool_forward_bf16")]
    private readonly record struct MaxPoolForwardArguments(nint Y, nint Argmax, nint X, PoolGeometry Geometry, PixelTiles Tiles);

    [Kernels("max_pool_backward_f32", "max_pool_backward_bf16")]
    private readonly record struct MaxPoolBackwardArguments(nint DX, nint DY, nint Argmax, PoolGeometry Geometry, PixelTiles Tiles);

    public void MaxPoolForward(Tensor y, Tensor argmax, Tensor x, in Pool2dGeometry geometry)
    {
        var (tiles, grid) = Tile(geometry, geometry.P, geometry.Q, y.Type, MostApplyBlocks);
        Launch($"max_pool_forward_{Suffix(y)}", grid, PoolThreads,
            new MaxPoolForwardArguments(y.Address, argmax.Address, x.Address, Native(geometry), tiles));
    }

    public void MaxPoolBackward(Tensor dX, Tensor dY, Tensor argmax, in Pool2dGeometry geometry)
    {
        var (tiles, grid) = Tile(geometry, geometry.H, geometry.W, dX.Type, MostApplyBlocks);
        Launch($"max_pool_backward_{Suffix(dX)}", grid, PoolThreads,
            new MaxPoolBackwardArguments(dX.Address, dY.Address, argmax.Address, Native(geometry), tiles));
    }

    private static PoolGeometry Native(in Pool2dGeometry g) =>
        new(g.N, g.H, g.W, g.C, g.R, g.S, g.StrideH, g.StrideW, g.PadH, g.PadW, g.P, g.Q);

    /// <summary>
    /// Cuts images of so many pixels, the inputs or the outputs of a pooling, into the tiles of a launch of about <paramref name="mostBlocks"/> blocks
    /// at most.
    /// </summary>
    private static (PixelTiles Tiles, Grid Grid) Tile(in Pool2dGeometry geometry, int height, int width, DType act, int mostBlocks)
    {
        int lanes = Lanes(geometry.C, act), all = geometry.C / lanes;
        // 128 bytes, or 32 channels one by one
        int chunks = Parts(all, lanes == 1 ? 32 : 8), groups = Parts(all, chunks);
        int down = Parts(height, 4), rows = Parts(height, down);
        int across = Parts(width, PoolThreads / (groups * rows)), columns = Parts(width, across);
        int tiles = checked(geometry.N * down * across), perBlock = Parts(tiles, Math.Max(1, mostBlocks / chunks));
        return (new(height, width, groups, columns, rows, across, down, tiles, perBlock), new(Parts(tiles, perBlock), chunks));
    }

    /// <summary>Channels that a thread does at once, as with_lanes of kernels/kernel.cuh has it.</summary>
    private static int Lanes(long channels, DType act)
    {
        int vector = 16 / act.Bytes();
        return channels % vector == 0 ? vector : 1;
    }

    private static int Parts(int size, int part) => (size + part - 1) / part;
}
