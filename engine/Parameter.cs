namespace Avedis.Engine;

/// <summary>
/// A learnt tensor with its gradient, both F32 and both a part of their group's flat memory. Weights of convolutions are K, R, S, C here and
/// K, C, R, S in files (PyTorch's order); everything else is the same in both.
/// </summary>
public sealed class Parameter
{
    private readonly float start;
    private readonly float spread;

    internal Parameter(string name, Shape shape, float start, float spread)
    {
        (Name, Shape, this.start, this.spread) = (name, shape, start, spread);
    }

    public string Name { get; }

    public Shape Shape { get; }

    public Tensor Value { get; internal set; } = null!;

    public Tensor Gradient { get; internal set; } = null!;

    /// <summary>
    /// Initial values: uniform within start +- spread, drawn in PyTorch's element order from a stream keyed by the name, so that they do not depend on
    /// what else the network has.
    /// </summary>
    public float[] Initial(ulong seed)
    {
        var values = new float[Shape.Count];
        if (spread == 0)
        {
            Array.Fill(values, start);
            return values;
        }
        var random = new Philox(seed, StableHash.Of(Name));
        for (int i = 0; i < values.Length; i++)
            values[i] = start + spread * (2 * random.NextFloat() - 1);
        return PyTorchLayout.FromFile(Shape, values);
    }
}

/// <summary>Converts between the engine's weight order K, R, S, C and PyTorch's K, C, R, S. Tensors of other ranks are the same in both.</summary>
public static class PyTorchLayout
{
    public static int[] FileShape(Shape shape) =>
        shape.Rank == 4 ? [shape[0], shape[3], shape[1], shape[2]] : shape.ToArray();

    /// <summary>Engine order from file order; returns the same array when there is nothing to do.</summary>
    public static float[] FromFile(Shape shape, float[] values) => Permute(shape, values, toFile: false);

    /// <summary>File order from engine order; returns the same array when there is nothing to do.</summary>
    public static float[] ToFile(Shape shape, float[] values) => Permute(shape, values, toFile: true);

    private static float[] Permute(Shape shape, float[] source, bool toFile)
    {
        if (source.Length != shape.Count)
            throw new ArgumentException($"{source.Length} values for shape {shape}");
        if (shape.Rank != 4 || shape[3] == 1)
            return source;
        int area = shape[1] * shape[2], channels = shape[3], kernel = area * channels;
        var result = new float[source.Length];
        for (int k = 0; k < shape[0]; k++)
            for (int position = 0; position < area; position++)
                for (int c = 0; c < channels; c++)
                {
                    int engine = k * kernel + position * channels + c, file = k * kernel + c * area + position;
                    if (toFile)
                        result[file] = source[engine];
                    else
                        result[engine] = source[file];
                }
        return result;
    }
}
