namespace Avedis.Engine;

/// <summary>Conv2dGather of kernels/conv2d.cu: one class of positions, field by field.</summary>
internal readonly record struct Conv2dGather(
    long Weights,
    FastDivisor Image, FastDivisor Row, FastDivisor Taps, FastDivisor Channels,
    int Positions, int Depth, int Pitch,
    int Height, int Width,
    int StrideH, int StrideW, int OffsetH, int OffsetW,
    int OutHeight, int OutWidth, int OutStrideH, int OutStrideW, int OutOffsetH, int OutOffsetW);

/// <summary>Conv2dWeightPass of kernels/conv2d.cu.</summary>
internal readonly record struct Conv2dWeightPass(
    FastDivisor Image, FastDivisor Row, FastDivisor Taps, FastDivisor Channels,
    int Pixels, int Rows, int Columns,
    int Height, int Width,
    int StrideH, int StrideW, int PadH, int PadW);

/// <summary>Weights of one class of the gradient of x: taps FirstR, FirstR + stride, ..., Rows of them, and likewise columns.</summary>
internal readonly record struct Conv2dTaps(long Start, int FirstR, int FirstS, int Rows, int Columns, int Pitch);

/// <summary>
/// A forward pass or a gradient of x: the tile and slices that suit its shape, and its classes of positions. All is a pure function of the geometry, so that
/// the order of every sum is the same on every GPU.
/// </summary>
internal sealed class Conv2dGatherPlan
{
    private const int TileRows = 128;

    /// <summary>So many blocks fill a large GPU: two on each of some 132 multiprocessors. With half of them there is nothing to gain from slices.</summary>
    private const int Blocks = 264;

    /// <summary>Widths of tiles, and what a sum costs in each: a narrower tile reads more bytes for it (estimates).</summary>
    private static readonly (int Columns, double Cost)[] tiles = [(128, 1), (96, 1.05), (64, 1.15), (32, 1.5)];

    private Conv2dGatherPlan(Conv2dGather[] classes, Conv2dTaps[] taps, int columns, int channels, long results, int step, int vector)
    {
        (Classes, Taps, Columns, Results) = (classes, taps, columns, results);
        General = channels % vector != 0;
        TileColumns = tiles.MinBy(tile => (columns + tile.Columns - 1) / tile.Columns * tile.Columns * tile.Cost).Columns;
        ColumnTiles = (columns + TileColumns - 1) / TileColumns;
        long blocks = classes.Max(each => (long)Tiles(each)) * ColumnTiles;
        Slices = blocks * 2 > Blocks ? 1 : Conv2dPlan.SlicesOf(Blocks / blocks, classes.Max(each => each.Depth), step);
        PreparedElements = taps.Sum(each => (long)each.Pitch) * columns;
    }

    public Conv2dGather[] Classes { get; }

    /// <summary>Of the classes that have any.</summary>
    public Conv2dTaps[] Taps { get; }

    public int Columns { get; }

    public int TileColumns { get; }

    public int ColumnTiles { get; }

    public int Slices { get; }

    /// <summary>Elements of the result.</summary>
    public long Results { get; }

    public long PreparedElements { get; }

    /// <summary>Whether channels fill no 16 bytes, so that elements are loaded one by one.</summary>
    public bool General { get; }

    public static int Tiles(in Conv2dGather each) => (each.Positions + TileRows - 1) / TileRows;

    /// <param name="step">Depth of a pipeline step: 64 bytes.</param>
    /// <param name="vector">Elements in 16 bytes.</param>
    public static Conv2dGatherPlan Forward(in Conv2dGeometry g, int step, int vector)
    {
        int depth = checked(g.R * g.S * g.C), pitch = Conv2dPlan.RoundUp(depth, step);
        var gather = new Conv2dGather(
            0, FastDivisor.Of(g.P * g.Q), FastDivisor.Of(g.Q), FastDivisor.Of(g.S), FastDivisor.Of(g.C), checked(g.N * g.P * g.Q), depth, pitch,
            g.H, g.W, g.StrideH, g.StrideW, -g.PadH, -g.PadW, g.P, g.Q, 1, 1, 0, 0);
        return new([gather], [new(0, 0, 0, g.R, g.S, pitch)], g.K, g.C, g.Output.Count, step, vector);
    }

    /// <summary>
    /// Class (a, b): the pixels of x whose (h + PadH) leaves a when divided by StrideH, and so on. Pixel h = first + stride * i meets tap a + stride * u in
    /// row (h + PadH - a) / stride - u of dY; with the taps in reverse that is a window that starts at i + offset.
    /// </summary>
    public static Conv2dGatherPlan BackwardData(in Conv2dGeometry g, int step, int vector)
    {
        var classes = new List<Conv2dGather>();
        var taps = new List<Conv2dTaps>();
        long start = 0;
        for (int a = 0; a < g.StrideH; a++)
            for (int b = 0; b < g.StrideW; b++)
            {
                var (firstH, rows, tapRows, offsetH) = Class(a, g.H, g.R, g.StrideH, g.PadH);
                var (firstW, columns, tapColumns, offsetW) = Class(b, g.W, g.S, g.StrideW, g.PadW);
                if (rows == 0 || columns == 0)
                    continue;
                int depth = checked(tapRows * tapColumns * g.K), pitch = Conv2dPlan.RoundUp(depth, step);
                classes.Add(new(
                    start, FastDivisor.Of(rows * columns), FastDivisor.Of(columns), FastDivisor.Of(Math.Max(1, tapColumns)), FastDivisor.Of(g.K),
                    checked(g.N * rows * columns), depth, pitch, g.P, g.Q, 1, 1, offsetH, offsetW, g.H, g.W, g.StrideH, g.StrideW, firstH, firstW));
                if (depth > 0)
                    taps.Add(new(start, a, b, tapRows, tapColumns, pitch));
                start += (long)pitch * g.C;
            }
        return new([.. classes], [.. taps], g.C, g.K, g.Input.Count, step, vector);
    }

    private static (int First, int Positions, int Taps, int Offset) Class(int residue, int size, int window, int stride, int pad)
    {
        int first = ((residue - pad) % stride + stride) % stride;
        int taps = Math.Max(0, (window - residue + stride - 1) / stride);
        return (first, Math.Max(0, (size - first + stride - 1) / stride), taps, (first + pad - residue) / stride - (taps - 1));
    }
}

/// <summary>How the three passes of one convolution run.</summary>
internal sealed class Conv2dPlan
{
    /// <summary>Bytes of a row in one step of the pipeline, and in one copy.</summary>
    public const int StepBytes = 64, CopyBytes = 16;

    /// <summary>Blocks that a weight pass should have: two waves of the gather's, since the tail of a wave weighs more here.</summary>
    private const int WeightBlocks = 528;

    /// <summary>Steps below which a slice is not worth its sums in memory.</summary>
    private const int FewestSteps = 8;

    public Conv2dPlan(in Conv2dGeometry geometry, DType act)
    {
        var g = Simplify(geometry);
        int step = StepBytes / act.Bytes(), vector = CopyBytes / act.Bytes();
        Geometry = g;
        Forward = Conv2dGatherPlan.Forward(g, step, vector);
        BackwardData = Conv2dGatherPlan.BackwardData(g, step, vector);
        Weight = new(
            FastDivisor.Of(g.P * g.Q), FastDivisor.Of(g.Q), FastDivisor.Of(g.S), FastDivisor.Of(g.C), checked(g.N * g.P * g.Q), g.K,
            checked(g.R * g.S * g.C), g.H, g.W, g.StrideH, g.StrideW, g.PadH, g.PadW);
        WeightGeneral = g.C % vector != 0 || g.K % vector != 0;
        WeightTile = g.K <= 64 || Weight.Columns <= 64 ? 64 : 128;
        WeightTiles = (long)((g.K + WeightTile - 1) / WeightTile) * ((Weight.Columns + WeightTile - 1) / WeightTile);
        WeightSlices = SlicesOf(WeightBlocks / WeightTiles, Weight.Pixels, step);
        WorkspaceBytes = Math.Max(
            Math.Max(PreparedBytes(Forward, act) + SliceBytes(Forward), PreparedBytes(BackwardData, act) + SliceBytes(BackwardData)),
            WeightSlices == 1 ? 0 : WeightSlices * Weight.Rows * (long)Weight.Columns * sizeof(float));
    }

    /// <summary>The same convolution in its simplest form.</summary>
    public Conv2dGeometry Geometry { get; }

    public Conv2dGatherPlan Forward { get; }

    public Conv2dGatherPlan BackwardData { get; }

    public Conv2dWeightPass Weight { get; }

    public bool WeightGeneral { get; }

    /// <summary>Rows and columns of a tile of the weight pass.</summary>
    public int WeightTile { get; }

    public long WeightTiles { get; }

    public int WeightSlices { get; }

    public long WorkspaceBytes { get; }

    /// <summary>Bytes from the start of the workspace to a gather's slices.</summary>
    public static long PreparedBytes(Conv2dGatherPlan pass, DType act) => (pass.PreparedElements * act.Bytes() + 255) / 256 * 256;

    /// <summary>As many slices as wanted, but none shorter than is worth it.</summary>
    public static int SlicesOf(long wanted, int depth, int step) => (int)Math.Clamp(wanted, 1, Math.Max(1, depth / (step * FewestSteps)));

    public static int RoundUp(int x, int to) => checked((x + to - 1) / to * to);

    private static long SliceBytes(Conv2dGatherPlan pass) => pass.Slices == 1 ? 0 : pass.Slices * pass.Results * sizeof(float);

    /// <summary>
    /// A window as large as its input is a product of matrices: one pixel with more channels. Where the window fits only once in one direction, its stride there
    /// does not matter to the result; with the longest, the gradient of x splits into classes that each meet one tap, instead of one
    /// that multiplies padding most of the time.
    /// </summary>
    private static Conv2dGeometry Simplify(Conv2dGeometry g)
    {
        if (g is { P: 1, Q: 1, PadH: 0, PadW: 0 } && g.R == g.H && g.S == g.W)
            return new(g.N, 1, 1, checked(g.H * g.W * g.C), g.K, 1, 1, 1, 1, 0, 0);
        return g with
        {
            StrideH = g.P == 1 ? Math.Max(g.R, g.H + 2 * g.PadH - g.R + 1) : g.StrideH,
            StrideW = g.Q == 1 ? Math.Max(g.S, g.W + 2 * g.PadW - g.S + 1) : g.StrideW,
        };
    }
}
