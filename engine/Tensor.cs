namespace Avedis.Engine;

/// <summary>
/// A named dense block of memory of one backend. Tensors are declared before they have an address; <see cref="Device.Plan"/> gives each one
/// its place in the arena. They are never resized, strided or broadcast.
/// </summary>
public sealed class Tensor
{
    private readonly Tensor? parent;
    private readonly long offset;
    private nint address;

    public Tensor(string name, Shape shape, DType type, nint address = 0)
    {
        Name = name;
        Shape = shape;
        Type = type;
        this.address = address;
    }

    private Tensor(string name, Shape shape, DType type, Tensor parent, long offset)
        : this(name, shape, type)
    {
        this.parent = parent;
        this.offset = offset;
    }

    public string Name { get; }

    public Shape Shape { get; }

    public DType Type { get; }

    /// <summary>Address in the backend's memory; 0 until placed.</summary>
    public nint Address
    {
        get => parent is null ? address : parent.Address == 0 ? 0 : parent.Address + (nint)offset;
        internal set => address = value;
    }

    public long Count => Shape.Count;

    public long Bytes => Count * Type.Bytes();

    /// <summary>The tensor that owns the memory: this one, unless it is a part of another.</summary>
    internal Tensor Root => parent?.Root ?? this;

    /// <summary>The same memory read with other extents.</summary>
    public Tensor Reshape(params ReadOnlySpan<int> extents)
    {
        var shape = new Shape(extents);
        return shape.Count == Count
            ? new Tensor(Name, shape, Type, this, 0)
            : throw new ArgumentException($"{this} has {Count} elements, {shape} has {shape.Count}");
    }

    /// <summary>A named tensor inside this one, from an offset in elements.</summary>
    public Tensor Part(string name, Shape shape, long start) =>
        start >= 0 && start + shape.Count <= Count
            ? new Tensor(name, shape, Type, this, start * Type.Bytes())
            : throw new ArgumentException($"{name} {shape} at {start} does not fit in {this}");

    public override string ToString() => $"{Name} {Shape} {Type}";
}
