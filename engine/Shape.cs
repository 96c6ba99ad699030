namespace Avedis.Engine;

/// <summary>
/// Extents of a dense row-major tensor, one to four dimensions. Images are N, H, W, C (channels last); weights of a
/// convolution K, R, S, C (output channels, rows, columns, input channels); matrices rows, columns.
/// </summary>
public readonly record struct Shape
{
    private readonly int d0, d1, d2, d3;

    public Shape(params ReadOnlySpan<int> extents)
    {
        if (extents.Length is 0 or > 4)
            throw new ArgumentException($"a shape has 1 to 4 dimensions, got {extents.Length}");
        foreach (int extent in extents)
            if (extent <= 0)
                throw new ArgumentException($"every extent of a shape is positive, got [{string.Join(", ", extents.ToArray())}]");
        Rank = extents.Length;
        d0 = extents[0];
        d1 = Rank > 1 ? extents[1] : 1;
        d2 = Rank > 2 ? extents[2] : 1;
        d3 = Rank > 3 ? extents[3] : 1;
    }

    public int Rank { get; }

    /// <summary>Number of elements.</summary>
    public long Count => (long)d0 * d1 * d2 * d3;

    public int this[int dimension] => dimension switch
    {
        _ when (uint)dimension >= (uint)Rank => throw new ArgumentOutOfRangeException(nameof(dimension), $"dimension {dimension} of {this}"),
        0 => d0,
        1 => d1,
        2 => d2,
        _ => d3,
    };

    public int[] ToArray()
    {
        var extents = new int[Rank];
        for (int i = 0; i < Rank; i++)
            extents[i] = this[i];
        return extents;
    }

    public override string ToString() => $"[{string.Join(", ", ToArray())}]";
}
