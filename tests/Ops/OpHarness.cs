using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

/// <summary>
/// The memory of one operation test. Every tensor lies between guard bytes at an address that is aligned to 64 bytes and no more.
/// <see cref="Run"/> executes the operation twice, from different garbage in outputs and scratch, and fails unless both runs agree in
/// every bit, every guard is intact and no input has changed: outputs are overwritten, and equal input gives equal bits. Under emulation it runs once for
/// each order of the threads, and the bits must agree as well.
/// Values travel as doubles and are stored in the tensor's type.
/// </summary>
internal sealed class OpHarness(IBackend backend) : IDisposable
{
    private const int LeadingGuard = 3 * 64;
    private const int TrailingGuard = 64 + 16;
    private const byte GuardByte = 0xA5;

    // NaN in F32 and in BF16; then a large finite number in both
    private static readonly byte[] garbageBytes = [0xFF, 0x5A];

    private enum Role { Input, Output, Sum, Scratch }

    private sealed record Block(Tensor Tensor, Role Role, byte[] Start, nint Base)
    {
        public byte[] Content { get; set; } = [];
    }

    private readonly List<Block> blocks = [];

    /// <summary>A tensor that the operation reads. Its type must hold the values exactly: the reference sees the same.</summary>
    public Tensor Input(string name, Shape shape, DType type, double[] values) =>
        Place(name, shape, type, Role.Input, Numbers.Encode(values, type));

    /// <summary>A tensor that the operation must overwrite.</summary>
    public Tensor Output(string name, Shape shape, DType type) => Place(name, shape, type, Role.Output, []);

    /// <summary>A tensor that the operation adds to or otherwise updates.</summary>
    public Tensor Sum(string name, Shape shape, double[] start, DType type = DType.F32) =>
        Place(name, shape, type, Role.Sum, Numbers.Encode(start, type));

    /// <summary>Memory of exactly so many bytes that the operation may leave in any state; null for none.</summary>
    public Tensor? Scratch(string name, long bytes) =>
        bytes == 0 ? null : Place(name, new Shape(checked((int)bytes)), DType.U8, Role.Scratch, []);

    /// <summary>Gives the backend exactly the scratch that a convolution asks for.</summary>
    public void UseWorkspace(in Conv2dGeometry geometry, DType act) => UseWorkspace(backend.Conv2dWorkspace(geometry, act));

    /// <summary>Gives the backend exactly so much of the scratch that its operations share.</summary>
    public void UseWorkspace(long bytes) => backend.SetWorkspace(Scratch("workspace", bytes)?.Address ?? 0, bytes);

    public void Run(Action<IBackend> operation)
    {
        byte[][]? first = null;
        bool emulated = !backend.HostMemory && Emulation.Chosen;
        for (int run = 0; run < (emulated ? Emulation.OrdersOfTests.Count : garbageBytes.Length); run++)
        {
            byte garbage = garbageBytes[run % garbageBytes.Length];
            if (emulated)
                Emulation.SetOrder(Emulation.OrdersOfTests[run]);
            foreach (var block in blocks)
                Fill(block, garbage);
            operation(backend);
            backend.Synchronize();
            foreach (var block in blocks)
                FetchAndCheck(block);
            var results = blocks.Where(block => block.Role != Role.Scratch).Select(block => block.Content).ToArray();
            if (first is not null)
                foreach (var (before, now, block) in first.Zip(results, blocks.Where(block => block.Role != Role.Scratch)))
                    Assert.That(now.AsSpan().SequenceEqual(before), Is.True,
                        $"{block.Tensor}: run {run} differs{(emulated ? $" (threads in {Emulation.Orders[Emulation.OrdersOfTests[run]]} order)" : "")}: it depends on what outputs or scratch held before, on the order of threads, or on chance");
            first = results;
        }
    }

    /// <summary>What the tensor held after <see cref="Run"/>.</summary>
    public double[] Read(Tensor tensor) => Numbers.Decode(BlockOf(tensor).Content, tensor.Type);

    /// <summary>Fails unless every element is within its allowance of the expected value, and names the worst.</summary>
    public void Expect(Tensor tensor, double[] expected, double[] allowed)
    {
        double[] actual = Read(tensor);
        Assert.That(expected, Has.Length.EqualTo(actual.Length), $"{tensor}: elements of the reference");
        int worst = -1, failures = 0;
        double worstExcess = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double difference = Math.Abs(actual[i] - expected[i]);
            if (difference <= allowed[i] || actual[i].Equals(expected[i]))
                continue;
            failures++;
            double excess = double.IsNaN(difference) ? double.PositiveInfinity : difference / allowed[i];
            if (worst < 0 || excess > worstExcess)
                (worst, worstExcess) = (i, excess);
        }
        if (failures > 0)
            Assert.Fail($"{tensor} at {Position(tensor.Shape, worst)}: got {actual[worst]:R}, expected {expected[worst]:R}, " +
                $"allowed difference {allowed[worst]:g3}; {failures} of {actual.Length} elements are off");
    }

    public void ExpectExactly(Tensor tensor, double[] expected) => Expect(tensor, expected, new double[expected.Length]);

    public void Dispose()
    {
        backend.SetWorkspace(0, 0);
        foreach (var block in blocks)
            backend.Free(block.Base);
    }

    private Tensor Place(string name, Shape shape, DType type, Role role, byte[] start)
    {
        long bytes = shape.Count * type.Bytes();
        if (role is Role.Input or Role.Sum)
            Assert.That(start, Has.Length.EqualTo(bytes), $"{name} {shape}: values that the test supplies, in bytes");
        nint address = backend.Allocate(LeadingGuard + bytes + TrailingGuard);
        var tensor = new Tensor(name, shape, type, address + LeadingGuard);
        blocks.Add(new Block(tensor, role, start, address));
        return tensor;
    }

    private Block BlockOf(Tensor tensor) => blocks.Single(block => ReferenceEquals(block.Tensor, tensor));

    private static Tensor Everything(Block block) =>
        new(block.Tensor.Name + " with guards", new Shape((int)(LeadingGuard + block.Tensor.Bytes + TrailingGuard)), DType.U8, block.Base);

    private void Fill(Block block, byte garbage)
    {
        var everything = Everything(block);
        var bytes = new byte[everything.Bytes];
        Array.Fill(bytes, GuardByte);
        var payload = bytes.AsSpan(LeadingGuard, (int)block.Tensor.Bytes);
        if (block.Role is Role.Output or Role.Scratch)
            payload.Fill(garbage);
        else
            block.Start.CopyTo(payload);
        backend.Upload<byte>(everything, bytes);
    }

    private void FetchAndCheck(Block block)
    {
        var everything = Everything(block);
        var bytes = new byte[everything.Bytes];
        backend.Download<byte>(bytes, everything);
        int end = LeadingGuard + (int)block.Tensor.Bytes;
        bool front = bytes.AsSpan(0, LeadingGuard).ContainsAnyExcept(GuardByte), back = bytes.AsSpan(end).ContainsAnyExcept(GuardByte);
        Assert.That(front, Is.False, $"{block.Tensor}: written in front of its first byte");
        Assert.That(back, Is.False, $"{block.Tensor}: written behind its last byte");
        block.Content = bytes[LeadingGuard..end];
        if (block.Role == Role.Input)
            Assert.That(block.Content.AsSpan().SequenceEqual(block.Start), Is.True, $"{block.Tensor}: an input was changed");
    }

    private static string Position(Shape shape, int index)
    {
        var position = new int[shape.Rank];
        for (int d = shape.Rank - 1; d >= 0; d--)
            (index, position[d]) = Math.DivRem(index, shape[d]);
        return $"[{string.Join(", ", position)}]";
    }
}
