namespace Avedis.Engine;

/// <summary>
/// A named dense block of memory of one backend. Tensors are declared before they have an address; the
/// <see cref="MemoryPlan"/> gives each one its place in the arena. They are never resized, strided or broadcast.
/// </summary>
public sealed class Tensor(string name, Shape shape, DType type, nint address = 0)
{
    public string Name { get; } = name;

    public Shape Shape { get; } = shape;

    public DType Type { get; } = type;

    /// <summary>Address in the backend's memory; 0 until placed.</summary>
    public nint Address { get; internal set; } = address;

    public long Count => Shape.Count;

    public long Bytes => Count * Type.Bytes();

    public override string ToString() => $"{Name} {Shape} {Type}";
}
