using Avedis.Bindings;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class MemoryTests(BackendCase backend) : OpTests(backend)
{
    [Test]
    public void Memory_is_zero_and_aligned_to_64_bytes([Values(1, 63, 64, 1000003)] int bytes)
    {
        nint address = Backend.Allocate(bytes);
        var content = new byte[bytes];
        Array.Fill(content, (byte)1);
        Backend.Download<byte>(content, new Tensor("fresh", new Shape(bytes), DType.U8, address));
        Backend.Free(address);

        Assert.That((long)address % 64, Is.Zero);
        Assert.That(content, Is.All.Zero);
    }

    [Test]
    public void More_memory_than_there_is_names_the_size_and_a_way_out()
    {
        const long Bytes = 1L << 60;
        var failure = Assert.Throws<OutOfDeviceMemoryException>(() => Backend.Allocate(Bytes));
        Assert.That(failure.Bytes, Is.EqualTo(Bytes));
        Assert.That(failure.Message, Does.Contain("smaller batch"));
    }

    [Test]
    public void What_is_uploaded_comes_back()
    {
        RoundTrip(DType.F32, [1.5f, float.NaN, -0f, float.Epsilon, float.PositiveInfinity]);
        RoundTrip<ushort>(DType.BF16, [0x3F80, 0x7FC0, 0x8000, 0x0001]);
        RoundTrip<byte>(DType.U8, [0, 1, 127, 128, 255]);
        RoundTrip(DType.I32, [int.MinValue, -1, 0, 1, int.MaxValue]);
    }

    [Test]
    public void The_source_of_an_upload_may_be_reused_on_return()
    {
        const int Count = 100003;
        var tensor = Op.Output("x", new Shape(Count), DType.I32);
        var source = Enumerable.Range(0, Count).ToArray();
        Backend.Upload<int>(tensor, source);
        Array.Clear(source);
        var back = new int[Count];
        Backend.Download<int>(back, tensor);
        Assert.That(back.AsSpan().SequenceEqual(Enumerable.Range(0, Count).ToArray()), Is.True);
    }

    /// <summary>
    /// As a step does it: one behind the other without waiting, at any address, some over others, more than travel at once.
    /// </summary>
    [Test]
    public void Uploads_of_any_size_to_any_place_arrive_in_order([Values(1, 2)] int seed)
    {
        const int Count = 3_000_001; // larger than the smallest ring, so that it is used again and again
        if (!Backend.HostMemory && Emulation.Chosen)
            Emulation.SetOrder(1); // in reverse: the pieces of a launch in another order than they came
        var random = new Random(seed);
        int start = 0;
        var tensor = Op.Output("x", new Shape(Count), DType.U8);
        var expected = new byte[Count];
        Backend.Upload<byte>(tensor, expected);
        for (int i = 0; i < 300; i++)
        {
            start = (i % 4) switch
            {
                0 => random.Next(Count / 16) * 16,
                1 => random.Next(Count),
                _ => Math.Min(Count - 1, start + random.Next(100)),
            };
            int length = Math.Min(Count - start, 1 + random.Next(i % 50 == 49 ? Count : 300));
            var some = new byte[length];
            random.NextBytes(some);
            some.CopyTo(expected, start);
            Backend.Upload<byte>(tensor.Part("part", new Shape(length), start), some);
        }
        var back = new byte[Count];
        Backend.Download<byte>(back, tensor);
        Assert.That(back.AsSpan().SequenceEqual(expected), Is.True);
    }

    [Test]
    public void The_description_says_what_runs() => Assert.That(Backend.Description, Is.Not.Empty);

    private void RoundTrip<T>(DType type, T[] values) where T : unmanaged
    {
        var tensor = Op.Output("x", new Shape(values.Length), type);
        Backend.Upload<T>(tensor, values);
        var back = new T[values.Length];
        Backend.Download<T>(back, tensor);
        Assert.That(back, Is.EqualTo(values), type.ToString());
    }
}
