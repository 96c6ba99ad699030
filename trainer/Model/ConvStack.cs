using Avedis.Engine;

namespace Avedis.Trainer.Model;

/// <summary>A sliding window: rows x columns, its strides and its zero padding.</summary>
public readonly record struct Window(int R, int S, int StrideH, int StrideW, int PadH = 0, int PadW = 0);

/// <summary>
/// One row of a stack's table: convolution, batch norm, ReLU, and max pooling where given; the first row has it. A convolution window of 0 rows or
/// columns stands for all that is left.
/// </summary>
public readonly record struct ConvRow(Window Conv, Window? Pool = null);

/// <summary>
/// The convolutional stack of one stream. The tables are those of the public audio-visual synchronisation networks that the paper adopts
/// (Nagrani et al. 2020), with 2-D convolutions per face frame.
/// </summary>
public sealed class ConvStack
{
    /// <summary>Face stream, per frame of S x S: conv6 covers what pool5 leaves (6x6 at 224, 1x1 at 64).</summary>
    public static IReadOnlyList<ConvRow> FaceRows { get; } =
    [
        new(new(7, 7, 2, 2), new(3, 3, 2, 2)),
        new(new(5, 5, 2, 2, 1, 1), new(3, 3, 2, 2, 1, 1)),
        new(new(3, 3, 1, 1, 1, 1)),
        new(new(3, 3, 1, 1, 1, 1)),
        new(new(3, 3, 1, 1, 1, 1), new(3, 3, 2, 2)),
        new(new(0, 0, 1, 1)),
    ];

    /// <summary>Voice stream over mel (rows) x time (columns): conv6 covers all rows that are left and keeps the time axis.</summary>
    public static IReadOnlyList<ConvRow> VoiceRows { get; } =
    [
        new(new(5, 7, 1, 1, 2, 2), new(1, 3, 1, 2)),
        new(new(5, 5, 2, 1, 1, 1), new(3, 3, 2, 1)),
        new(new(3, 3, 1, 1, 1, 1)),
        new(new(3, 3, 1, 1, 1, 1)),
        new(new(3, 3, 1, 1, 1, 1), new(3, 3, 2, 2)),
        new(new(0, 1, 1, 1)),
    ];

    private readonly Stem? stem; // null where batch norms are over all ranks: a stem takes the statistics of its own input alone
    private readonly List<(Conv2d Conv, BatchNorm Norm)> blocks = [];

    /// <param name="name">Prefix of all names: name.conv1, name.bn1, ...</param>
    /// <param name="rows">The first becomes the stem, the others blocks of convolution and batch norm; all are blocks on a device that normalises over ranks.</param>
    /// <param name="n">Images per batch; each has one channel.</param>
    /// <exception cref="UserException">The input is too small for the table.</exception>
    public ConvStack(
        Device device, ParameterGroup group, string name, IReadOnlyList<ConvRow> rows, IReadOnlyList<int> channels,
        int n, int height, int width, DType act)
    {
        if (channels.Count != rows.Count)
            throw new UserException(ExitCode.Usage, $"network.{name}Channels needs {rows.Count} numbers, got {channels.Count}");
        InputShape = new Shape(n, height, width, 1);
        var shape = InputShape;
        if (!device.NormalisesOverRanks)
        {
            var first = Row(0, shape);
            stem = new Stem(
                device, group, $"{name}.conv1", $"{name}.bn1", first.Conv, act, relu: true,
                first.Pool ?? throw new ArgumentException($"{name}: the first row of a stack pools"));
            shape = stem.Output.Shape;
        }
        for (int i = stem is null ? 0 : 1; i < rows.Count; i++)
        {
            var (geometry, pool) = Row(i, shape);
            var conv = new Conv2d(device, group, $"{name}.conv{i + 1}", geometry, act, prepared: true);
            bool last = i == rows.Count - 1;
            var norm = new BatchNorm(
                device, group, $"{name}.bn{i + 1}", geometry.Output, act, relu: true, pool, moments: conv.Moments,
                recompute: device.RecomputesActivations && !last);
            blocks.Add((conv, norm));
            shape = norm.Output.Shape;
        }

        (Conv2dGeometry Conv, Pool2dGeometry? Pool) Row(int i, Shape x)
        {
            var geometry = Geometry(rows[i].Conv, x, channels[i]);
            if (geometry.P <= 0 || geometry.Q <= 0)
                throw TooSmall(name, $"conv{i + 1}", height, width);
            Pool2dGeometry? pool = rows[i].Pool is { } w ? Geometry(w, geometry.Output) : null;
            return pool is { } p && (p.P <= 0 || p.Q <= 0) ? throw TooSmall(name, $"pool{i + 1}", height, width) : (geometry, pool);
        }
    }

    public Shape InputShape { get; }

    /// <summary>[N, P, Q, C] of the last block.</summary>
    public Tensor Output => blocks[^1].Norm.Output;

    /// <summary>State of every batch norm, in order.</summary>
    public IEnumerable<RunningStatistics> Norms => [.. stem is null ? [] : new[] { stem.Statistics }, .. blocks.Select(b => b.Norm.Statistics)];

    /// <summary>Weights of the convolutions that are to be prepared before <see cref="Forward"/>; of a stem there are none.</summary>
    public IEnumerable<Conv2dWeights> Weights => blocks.Select(block => block.Conv.Prepared).OfType<Conv2dWeights>();

    /// <summary>Valid output columns for so many valid input columns: the extents of the table, at least one.</summary>
    public static int ValidSteps(IReadOnlyList<ConvRow> rows, int columns)
    {
        foreach (var row in rows)
        {
            columns = Conv2dGeometry.Extent(columns, row.Conv.S, row.Conv.StrideW, row.Conv.PadW);
            if (row.Pool is { } pool)
                columns = Conv2dGeometry.Extent(columns, pool.S, pool.StrideW, pool.PadW);
            if (columns <= 0)
                return 1;
        }
        return columns;
    }

    public Tensor Forward(Tensor x, Phase phase)
    {
        x = stem?.Forward(x, phase) ?? x;
        foreach (var (conv, norm) in blocks)
            x = norm.Forward(conv.Forward(x, phase), phase);
        return x;
    }

    public void Backward(Tensor dY)
    {
        for (int i = blocks.Count - 1; i >= 0; i--)
        {
            // the first block's input is the data, which takes no gradient
            var gradients = stem is null && i == 0 ? Gradients.Parameters : Gradients.Both;
            dY = blocks[i].Norm.Backward(dY)!;
            if (i > 0 && blocks[i - 1].Norm.Recompute() is { } input)
                blocks[i].Conv.ReadInputFrom(input);
            dY = blocks[i].Conv.Backward(dY, gradients)!;
        }
        stem?.Backward(dY);
    }

    private static Conv2dGeometry Geometry(Window w, Shape x, int channels) =>
        new(x[0], x[1], x[2], x[3], channels, w.R == 0 ? x[1] : w.R, w.S == 0 ? x[2] : w.S, w.StrideH, w.StrideW, w.PadH, w.PadW);

    private static Pool2dGeometry Geometry(Window w, Shape x) =>
        new(x[0], x[1], x[2], x[3], w.R, w.S, w.StrideH, w.StrideW, w.PadH, w.PadW);

    private static UserException TooSmall(string name, string layer, int height, int width) =>
        new(ExitCode.Usage, $"{name} input of {height} x {width} is too small: nothing is left at {name}.{layer}; " +
            "the face stream takes 63 pixels or more (features.faceSize), the voice stream 40 mels and 32 time steps or more");
}
