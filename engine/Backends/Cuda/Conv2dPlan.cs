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

/// <summary>Weights of one class of the gradient of x: taps FirstR, FirstR + stride, ..., Rows of them, and likewise columns; either may be none.</summary>
internal readonly record struct Conv2dTaps(int FirstR, int FirstS, int Rows, int Columns);

/// <summary>
/// A forward pass or a gradient of x: its cut and its classes of positions. Both are a pure function of the geometry and of whether the GPU is a Hopper, so that
/// the order of every sum is the same on every GPU of a family; but for a cut that was measured (Conv2dTuning.cs), which is the same on every GPU of an architecture.
/// </summary>
internal sealed class Conv2dGatherPlan
{
    /// <summary>So many blocks fill a large GPU: two on each of some 132 multiprocessors. With half of them there is nothing to gain from slices.</summary>
    private const int Blocks = 264;

    private const int TileHeight = 128;

    /// <summary>Widths of tiles, and what a sum costs in each: a narrower tile reads more bytes for it (estimates).</summary>
    private static readonly (int Columns, double Cost)[] tiles = [(128, 1), (96, 1.05), (64, 1.15), (32, 1.5)];

    /// <summary>Those of conv2d_hopper.cu, as large as the sums fit the registers.</summary>
    private static readonly (int Rows, int Columns)[] hopperTiles = [(128, 256), (128, 192), (256, 128), (256, 96), (256, 64)];

    private Conv2dGatherPlan(Conv2dGather[] classes, Conv2dTaps[] taps, int columns, int channels, long results, DType act, bool hopper, Conv2dCut? cut)
    {
        (Classes, Taps, Columns, Results) = (classes, taps, columns, results);
        General = channels % (Conv2dPlan.CopyBytes / act.Bytes()) != 0;
        HopperFits = hopper && act == DType.BF16 && !General && columns % Conv2dPlan.HopperVector == 0 && columns >= hopperTiles[^1].Columns;
        Cut = cut is { } measured
            ? Conv2dPlan.Possible(measured, Families, MostSlices(measured.Hopper, act), results)
            : Choose(classes, columns, act, HopperFits);
        int step = Step(Hopper, act);
        for (int i = 0; i < classes.Length; i++)
        {
            int pitch = Conv2dPlan.RoundUp(classes[i].Depth, step);
            classes[i] = classes[i] with { Weights = PreparedElements, Pitch = pitch };
            PreparedElements += pitch * (long)(Hopper ? ColumnTiles * TileColumns : columns);
        }
    }

    public Conv2dGather[] Classes { get; }

    /// <summary>Of each class.</summary>
    public Conv2dTaps[] Taps { get; }

    public int Columns { get; }

    public Conv2dCut Cut { get; }

    public int TileRows => Cut.TileRows;

    public int TileColumns => Cut.TileColumns;

    public int ColumnTiles => CountOf(Columns, TileColumns);

    public int Slices => Cut.Slices;

    /// <summary>Elements of the result.</summary>
    public long Results { get; }

    public long PreparedElements { get; }

    /// <summary>Whether channels fill no 16 bytes, so that elements are loaded one by one.</summary>
    public bool General { get; }

    /// <summary>Whether it runs on the kernels of conv2d_hopper.cu.</summary>
    public bool Hopper => Cut.Hopper;

    /// <summary>Whether these kernels can do it here.</summary>
    private bool HopperFits { get; }

    /// <summary>Every family of kernels and tile that can do it here.</summary>
    public IEnumerable<(bool Hopper, int Rows, int Columns)> Families =>
        [.. hopperTiles.Where(_ => HopperFits).Select(tile => (true, tile.Rows, tile.Columns)), .. tiles.Select(tile => (false, TileHeight, tile.Columns))];

    /// <summary>Slices of one step each.</summary>
    public int MostSlices(bool hopper, DType act) => CountOf(Math.Max(1, Classes.Max(each => each.Depth)), Step(hopper, act));

    /// <summary>Tiles of a class.</summary>
    public long Tiles(in Conv2dGather each) => (long)CountOf(each.Positions, TileRows) * ColumnTiles;

    public static Conv2dGatherPlan Forward(in Conv2dGeometry g, DType act, bool hopper, Conv2dCut? cut)
    {
        var gather = new Conv2dGather(
            0, FastDivisor.Of(g.P * g.Q), FastDivisor.Of(g.Q), FastDivisor.Of(g.S), FastDivisor.Of(g.C), checked(g.N * g.P * g.Q), checked(g.R * g.S * g.C), 0,
            g.H, g.W, g.StrideH, g.StrideW, -g.PadH, -g.PadW, g.P, g.Q, 1, 1, 0, 0);
        return new([gather], [new(0, 0, g.R, g.S)], g.K, g.C, g.Output.Count, act, hopper, cut);
    }

    /// <summary>
    /// Class (a, b): the pixels of x whose (h + PadH) leaves a when divided by StrideH, and so on. Pixel h = first + stride * i meets tap a + stride * u in
    /// row (h + PadH - a) / stride - u of dY; with the taps in reverse that is a window that starts at i + offset.
    /// </summary>
    public static Conv2dGatherPlan BackwardData(in Conv2dGeometry g, DType act, bool hopper, Conv2dCut? cut)
    {
        var classes = new List<Conv2dGather>();
        var taps = new List<Conv2dTaps>();
        for (int a = 0; a < g.StrideH; a++)
            for (int b = 0; b < g.StrideW; b++)
            {
                var (firstH, rows, tapRows, offsetH) = Class(a, g.H, g.R, g.StrideH, g.PadH);
                var (firstW, columns, tapColumns, offsetW) = Class(b, g.W, g.S, g.StrideW, g.PadW);
                if (rows == 0 || columns == 0)
                    continue;
                classes.Add(new(
                    0, FastDivisor.Of(rows * columns), FastDivisor.Of(columns), FastDivisor.Of(Math.Max(1, tapColumns)), FastDivisor.Of(g.K),
                    checked(g.N * rows * columns), checked(tapRows * tapColumns * g.K), 0, g.P, g.Q, 1, 1, offsetH, offsetW,
                    g.H, g.W, g.StrideH, g.StrideW, firstH, firstW));
                taps.Add(new(a, b, tapRows, tapColumns));
            }
        return new([.. classes], [.. taps], g.C, g.K, g.Input.Count, act, hopper, cut);
    }

    private static int CountOf(int extent, int tile) => (extent + tile - 1) / tile;

    /// <summary>Elements of a row in one step of the pipeline.</summary>
    private static int Step(bool hopper, DType act) => (hopper ? Conv2dPlan.HopperStepBytes : Conv2dPlan.StepBytes) / act.Bytes();

    /// <summary>The tile and slices that suit the shape.</summary>
    private static Conv2dCut Choose(Conv2dGather[] classes, int columns, DType act, bool hopper)
    {
        var (rows, width) = hopper
            ? hopperTiles.MinBy(tile => HopperCost(classes, columns, tile))
            : (TileHeight, tiles.MinBy(tile => CountOf(columns, tile.Columns) * tile.Columns * tile.Cost).Columns);
        return new(hopper, rows, width, SlicesOf(classes, rows, CountOf(columns, width), Step(hopper, act), hopper ? Conv2dPlan.HopperBlocks : Blocks));
    }

    private static int SlicesOf(Conv2dGather[] classes, int tileRows, int columnTiles, int step, int blocks)
    {
        long tiles = classes.Max(each => (long)CountOf(each.Positions, tileRows)) * columnTiles;
        return tiles * 2 > blocks ? 1 : Conv2dPlan.SlicesOf(blocks / tiles, classes.Max(each => each.Depth), step);
    }

    /// <summary>
    /// Rounds of a block on each multiprocessor, times the steps of a slice, times the cycles of a step: what it fetches at 32 bytes a cycle, which takes longer than its
    /// products, 2,048 a cycle, and half of these, since not all overlaps (estimates).
    /// </summary>
    private static double HopperCost(Conv2dGather[] classes, int columns, (int Rows, int Columns) tile)
    {
        const int Step = Conv2dPlan.HopperStepBytes / 2;
        int columnTiles = CountOf(columns, tile.Columns), slices = SlicesOf(classes, tile.Rows, columnTiles, Step, Conv2dPlan.HopperBlocks);
        return classes.Sum(each =>
        {
            long blocks = (long)CountOf(each.Positions, tile.Rows) * columnTiles * slices;
            double rounds = Math.Ceiling((double)blocks / Conv2dPlan.HopperBlocks);
            int fetch = (tile.Rows + tile.Columns) * Conv2dPlan.HopperStepBytes / 32, products = tile.Rows * tile.Columns * Step / 2048;
            return rounds * CountOf(CountOf(each.Depth, Step), slices) * (fetch + products / 2);
        });
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

    /// <summary>Bytes of a line of the kernels of conv2d_hopper.cu, and the channels that their copies and stores take at once.</summary>
    public const int HopperStepBytes = 128, HopperVector = 8;

    /// <summary>Multiprocessors of a Hopper: its kernels have a block on each.</summary>
    public const int HopperBlocks = 132;

    /// <summary>Blocks that a weight pass should have: two waves of the gather's, since the tail of a wave weighs more here.</summary>
    private const int WeightBlocks = 528;

    private const int HopperWeightRows = 128;

    /// <summary>Bytes that the slices of a pass may store.</summary>
    private const long MostSliceBytes = 1L << 30;

    /// <summary>Steps below which a slice is not worth its sums in memory.</summary>
    private const int FewestSteps = 8;

    private static readonly int[] hopperWeightTiles = [256, 128], weightTiles = [128, 64];

    private readonly bool weightHopperFits;

    /// <param name="hopper">Whether the kernels for Hopper may be chosen.</param>
    /// <param name="cuts">Those that were measured.</param>
    /// <exception cref="ArgumentException">One of them is impossible.</exception>
    public Conv2dPlan(in Conv2dGeometry geometry, DType act, bool hopper, in Conv2dCuts cuts = default)
    {
        var g = Simplify(geometry);
        Geometry = g;
        Forward = Conv2dGatherPlan.Forward(g, act, hopper, cuts.Forward);
        BackwardData = Conv2dGatherPlan.BackwardData(g, act, hopper, cuts.BackwardData);
        Weight = new(
            FastDivisor.Of(g.P * g.Q), FastDivisor.Of(g.Q), FastDivisor.Of(g.S), FastDivisor.Of(g.C), checked(g.N * g.P * g.Q), g.K,
            checked(g.R * g.S * g.C), g.H, g.W, g.StrideH, g.StrideW, g.PadH, g.PadW);
        int vector = CopyBytes / act.Bytes();
        WeightGeneral = g.C % vector != 0 || g.K % vector != 0;
        weightHopperFits = hopper && act == DType.BF16 && !WeightGeneral && Math.Min(g.K, Weight.Columns) >= HopperWeightRows / 2;
        WeightCut = cuts.BackwardWeight is { } measured
            ? Possible(measured, WeightFamilies, MostWeightSlices(measured.Hopper, act), g.Weight.Count)
            : ChooseWeight(act);
        WorkspaceBytes = Math.Max(
            Math.Max(PreparedBytes(Forward, act) + SliceBytes(Forward), PreparedBytes(BackwardData, act) + SliceBytes(BackwardData)),
            WeightSlices == 1 ? 0 : WeightSlices * Weight.Rows * (long)Weight.Columns * sizeof(float));
    }

    /// <summary>The same convolution in its simplest form.</summary>
    public Conv2dGeometry Geometry { get; }

    public Conv2dGatherPlan Forward { get; }

    public Conv2dGatherPlan BackwardData { get; }

    /// <summary>Rows of y whose moments the forward pass leaves together; 0 where slices keep it from it.</summary>
    public int MomentRows => Forward.Slices == 1 ? Forward.TileRows : 0;

    public Conv2dWeightPass Weight { get; }

    public bool WeightGeneral { get; }

    public Conv2dCut WeightCut { get; }

    /// <summary>Whether the weight pass runs on the kernels of conv2d_hopper.cu.</summary>
    public bool WeightHopper => WeightCut.Hopper;

    /// <summary>Columns of a tile of the weight pass, and but for conv2d_hopper.cu rows too.</summary>
    public int WeightTile => WeightCut.TileColumns;

    public long WeightTiles =>
        (long)((Weight.Rows + WeightCut.TileRows - 1) / WeightCut.TileRows) * ((Weight.Columns + WeightTile - 1) / WeightTile);

    public int WeightSlices => WeightCut.Slices;

    /// <summary>Every family of kernels and tile that can do the weight pass here.</summary>
    public IEnumerable<(bool Hopper, int Rows, int Columns)> WeightFamilies =>
        [.. hopperWeightTiles.Where(_ => weightHopperFits).Select(tile => (true, HopperWeightRows, tile)), .. weightTiles.Select(tile => (false, tile, tile))];

    public long WorkspaceBytes { get; }

    /// <summary>Bytes from the start of the workspace to a gather's slices.</summary>
    public static long PreparedBytes(Conv2dGatherPlan pass, DType act) => (pass.PreparedElements * act.Bytes() + 255) / 256 * 256;

    /// <summary>As many slices as wanted, but none shorter than is worth it.</summary>
    public static int SlicesOf(long wanted, int depth, int step) => (int)Math.Clamp(wanted, 1, Math.Max(1, depth / (step * FewestSteps)));

    /// <summary>Slices of the weight pass of one step each.</summary>
    public int MostWeightSlices(bool hopper, DType act)
    {
        int step = (hopper ? HopperStepBytes : StepBytes) / act.Bytes();
        return (Weight.Pixels + step - 1) / step;
    }

    /// <summary>Whether so many slices leave the batch room for anything else.</summary>
    public static bool SumsFit(int slices, long results) => slices == 1 || slices * results * sizeof(float) <= MostSliceBytes;

    /// <summary>The cut that is given.</summary>
    /// <param name="results">Elements of the result, of which every slice stores an FP32 sum.</param>
    /// <exception cref="ArgumentException">It is impossible.</exception>
    public static Conv2dCut Possible(Conv2dCut cut, IEnumerable<(bool Hopper, int Rows, int Columns)> families, int mostSlices, long results)
    {
        if (!families.Contains((cut.Hopper, cut.TileRows, cut.TileColumns)))
            throw new ArgumentException(
                $"{cut}: there is no such tile here, but {string.Join(", ", families.Select(f => $"{(f.Hopper ? "Hopper " : "")}{f.Rows}x{f.Columns}"))}");
        if (cut.Slices < 1 || cut.Slices > mostSlices)
            throw new ArgumentException($"{cut}: the depth has 1 to {mostSlices} slices");
        if (!SumsFit(cut.Slices, results))
            throw new ArgumentException($"{cut}: its sums take {cut.Slices * results * sizeof(float)} bytes of workspace, more than {MostSliceBytes}");
        return cut;
    }

    public static int RoundUp(int x, int to) => checked((x + to - 1) / to * to);

    private Conv2dCut ChooseWeight(DType act)
    {
        if (weightHopperFits)
        {
            var (width, slices) = HopperWeight(Weight);
            return new(true, HopperWeightRows, width, slices);
        }
        int tile = Math.Min(Weight.Rows, Weight.Columns) <= 64 ? 64 : 128;
        long tiles = (long)((Weight.Rows + tile - 1) / tile) * ((Weight.Columns + tile - 1) / tile);
        return new(false, tile, tile, SlicesOf(WeightBlocks / tiles, Weight.Pixels, StepBytes / act.Bytes()));
    }

    private static long HopperWeightTiles(in Conv2dWeightPass pass, int width) =>
        (long)((pass.Rows + HopperWeightRows - 1) / HopperWeightRows) * ((pass.Columns + width - 1) / width);

    /// <summary>
    /// The tile and slices of the least cost: rounds of a block on each multiprocessor, times the steps of a slice, times what a step fetches; and the slices'
    /// sums, written and read again, at some 1,700 bytes in the time that a multiprocessor fetches 32 (estimates).
    /// </summary>
    private static (int Width, int Slices) HopperWeight(Conv2dWeightPass pass)
    {
        int steps = (pass.Pixels + HopperStepBytes / 2 - 1) / (HopperStepBytes / 2);
        var choices =
            from width in hopperWeightTiles
            from slices in Enumerable.Range(1, Math.Max(1, Math.Min(HopperBlocks, steps / FewestSteps)))
            let rounds = (HopperWeightTiles(pass, width) * slices + HopperBlocks - 1) / HopperBlocks
            let products = rounds * ((steps + slices - 1) / slices) * (HopperWeightRows + width) * HopperStepBytes / 32.0
            let sums = slices == 1 ? 0 : slices * 2.0 * sizeof(float) * pass.Rows * pass.Columns / 1700
            select (Width: width, Slices: slices, Cost: products + sums);
        var best = choices.MinBy(choice => choice.Cost);
        return (best.Width, best.Slices);
    }

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
