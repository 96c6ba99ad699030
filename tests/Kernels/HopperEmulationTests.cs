using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>
/// What the emulation says that Hopper's barriers, copy engine and warpgroup products do, against what the PTX ISA says; its layouts are written down here once more, as
/// it gives them (in CuTe's terms). Where the tests use a Hopper, the same holds of it.
/// </summary>
[TestFixtureSource(nameof(Places))]
public sealed class HopperEmulationTests(string order) : ProbeTests(order)
{
    /// <summary>Where element (row, depth) of an operand lies, in bytes from its start, which is that of an atom: "Canonical layouts" and "Swizzling".</summary>
    private readonly record struct Operand(bool Transposed, int Swizzle, int Leading, int Stride)
    {
        /// <summary>Descriptor without the start.</summary>
        public long Descriptor => (Leading >> 4 & 0x3fffL) << 16 | (Stride >> 4 & 0x3fffL) << 32 | (Swizzle switch { 128 => 1L, 64 => 2, _ => 3 }) << 62;

        public int Place(int row, int depth)
        {
            const int T = 8; // elements in 16 bytes
            int wide = Swizzle / 16, elements = Transposed
                ? row % T + row / T % wide * T + depth % 8 * wide * T
                : row % 8 * wide * T + depth % T + depth / T * T;
            int bytes = elements * 2 + (Transposed ? row / (T * wide) * Leading + depth / 8 * Stride : row / 8 * Stride);
            return bytes ^ (bytes >> 7 & (wide - 1)) << 4;
        }
    }

    // "Matrix fragments for wgmma.mma_async.m64nNk16", accumulator D: d[i] of a thread of the warpgroup
    private static (int Row, int Column) D(int thread, int i) => (thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, i / 4 * 8 + thread % 4 * 2 + i % 2);

    [SetUp]
    public void RequireHopper()
    {
        if (OnGpu && Rig.ComputeCapability != (9, 0))
            Assert.Ignore("not a Hopper");
    }

    [Test]
    public void Bytes_of_the_copy_engine_are_there_when_their_barrier_says_so()
    {
        uint[] x = [.. Enumerable.Range(1, 128).Select(i => (uint)i)];
        nint y = Rig.Room(2 * 128 * 4);
        Rig.Launch("probe_bulk_copy", 32, y, Rig.Place(x));
        var seen = Rig.Read<uint>(y, 256);
        Assert.That(seen[128..], Is.EqualTo(x));
        if (!OnGpu)
            Assert.That(seen[..128], Is.All.EqualTo(0xffffffff), "and not before");
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(25)]
    public void Barriers_in_memory_keep_turns(int rounds)
    {
        nint y = Rig.Room(4);
        Rig.Launch("probe_mbarrier", 64, y, rounds);
        Assert.That(Rig.Read<int>(y, 1).Single(), Is.EqualTo(2 * rounds));
    }

    // the depth that an operand starts at within its tile: where 16 of it are part of a line
    [TestCase("probe_wgmma_64", 64, false, 128, 0)]
    [TestCase("probe_wgmma_64", 64, false, 128, 16)]
    [TestCase("probe_wgmma_64", 64, false, 128, 48)]
    [TestCase("probe_wgmma_64", 64, false, 64, 16)]
    [TestCase("probe_wgmma_64", 64, false, 32, 0)]
    [TestCase("probe_wgmma_256", 256, false, 128, 32)]
    [TestCase("probe_wgmma_96_transposed", 96, true, 128, 0)]
    [TestCase("probe_wgmma_96_transposed", 96, true, 64, 0)]
    [TestCase("probe_wgmma_96_transposed", 96, true, 32, 0)]
    [TestCase("probe_wgmma_256_transposed", 256, true, 128, 32)]
    public void A_product_of_a_warpgroup_is_that_of_the_isa(string kernel, int columns, bool transposed, int swizzle, int depth)
    {
        var random = new Random(columns + swizzle + depth);
        int[,] a = Matrix(random, 64), b = Matrix(random, columns);
        foreach (bool twice in (bool[])[false, true])
        {
            var (sums, early) = Multiply(kernel, columns, transposed, swizzle, depth, a, b, twice);
            for (int thread = 0; thread < 128; thread++)
                for (int i = 0; i < columns / 2; i++)
                {
                    var (row, column) = D(thread, i);
                    int expected = Enumerable.Range(0, 16).Sum(k => a[row, k] * b[column, k]) * (twice ? 2 : 1);
                    if (sums[thread * columns / 2 + i] != expected)
                        Assert.Fail($"d[{i}] of thread {thread}: {sums[thread * columns / 2 + i]}, not {expected}");
                }
            if (!OnGpu)
                Assert.That(early, Is.All.NaN, "sums before they were waited for");
        }
    }

    [TestCase(0, "starts within an atom", 0x10, Description = "16 bytes too far, of a transposed operand")]
    [TestCase(0, "starts within an atom", 0x80, Description = "a line too far")]
    [TestCase(1L << 49, "starts within an atom", 0, Description = "a base offset")]
    [TestCase(1L << 62, "starts within an atom", 0x200, Description = "half an atom too far, with the longer swizzle")]
    [TestCase(2L << 62, "not in the block's", 0, Description = "no line of an atom is wrong, but a stride that leads out of the memory")]
    public void Wrong_descriptors_are_reported(long change, string message, int offset)
    {
        if (OnGpu)
            Assert.Ignore("a GPU reads what is there");
        var operand = new Operand(true, 128, 8192, change >> 62 == 0 ? 1024 : change >> 62 == -2 ? 0x3fff << 4 : 512);
        long descriptor = change >> 62 == 0 ? operand.Descriptor | change : operand.Descriptor & ~(3L << 62) | change;
        nint d = Rig.Room(128 * 128 * 4), early = Rig.Room(512), x = Rig.Place(new byte[49152]);
        Rig.AllowShared("probe_wgmma_256_transposed", 50 << 10);
        Rig.Launch("probe_wgmma_256_transposed", (1, 1, 1), (128, 1, 1), 50 << 10, Rig.Stream, d, early, x, 49152, operand.Descriptor, descriptor, 0, 8192 + offset, 0);
        var error = Assert.Throws<CudaException>(Rig.Synchronize)!;
        Assert.That(error.Message, Does.Contain(message).And.Contain("probe_wgmma_256_transposed"));
    }

    [TestCase(0, "has not been initialised")]
    [TestCase(1, "no __syncthreads since|has not been initialised", Description = "in an order in which the others come first, it is not even that")]
    [TestCase(2, "more than the 1 arrivals")]
    [TestCase(3, "has not called fence_async_proxy")]
    [TestCase(4, "24 bytes")]
    [TestCase(5, "copy engine came that nobody has waited for")]
    [TestCase(6, "128 wait for an mbarrier")]
    [TestCase(7, "no wgmma_fence")]
    [TestCase(8, "the warps of a warpgroup give different operands")]
    [TestCase(9, "the lanes of a warp give different operands")]
    [TestCase(10, "has not waited for it")]
    [TestCase(11, "has not called fence_async_proxy")]
    [TestCase(12, "products of a warpgroup that nobody has waited for")]
    [TestCase(13, "not all of its warps have started")]
    [TestCase(15, "took more registers than it gave back")]
    [TestCase(16, "from 248 to 250 registers")]
    public void Misuse_is_reported(int which, string message)
    {
        if (OnGpu)
            Assert.Ignore("a GPU hangs or gives chance results");
        Misuse(which);
        var error = Assert.Throws<CudaException>(Rig.Synchronize)!;
        TestContext.Out.WriteLine(error.Message);
        Assert.That(error.Message, Does.Match(message).And.Contain("probe_hopper_misuse"));
    }

    [Test]
    public void Right_use_is_not()
    {
        if (OnGpu)
            Assert.Ignore("for the emulation's reports");
        Misuse(14);
        Assert.That(Rig.Synchronize, Throws.Nothing);
    }

    private void Misuse(int which) =>
        Rig.Launch("probe_hopper_misuse", (1, 1, 1), (128, 1, 1), 16384, Rig.Stream, Rig.Room(512), Rig.Place(new byte[16384]), which);

    private (float[] Sums, float[] Early) Multiply(string kernel, int columns, bool transposed, int swizzle, int depth, int[,] a, int[,] b, bool twice)
    {
        // tiles of 64 of the depth: eight lines an atom; transposed, panels of as many rows as a line holds
        int wide = swizzle / 2, bytesOfB = columns * 128, stride = 8 * swizzle;
        var operand = new Operand(transposed, swizzle, transposed ? 64 / 8 * stride : 16, stride);
        int startB = 64 * 128, advance = transposed ? depth / 8 * stride : depth * 2, bytes = startB + (bytesOfB + 16383) / 16384 * 16384;
        var image = new ushort[bytes / 2];
        Array.Fill(image, (ushort)0x7fff);
        Fill(operand, 0, a);
        Fill(operand, startB, b);
        nint sums = Rig.Room(128L * columns / 2 * 4), early = Rig.Room(128 * 4);
        Rig.AllowShared(kernel, bytes + 1024);
        Rig.Launch(kernel, (1, 1, 1), (128, 1, 1), bytes + 1024, Rig.Stream, sums, early, Rig.Place(image), bytes, operand.Descriptor, operand.Descriptor,
            advance, startB + advance, twice ? 1 : 0);
        return (Rig.Read<float>(sums, 128 * columns / 2), Rig.Read<float>(early, 128));

        void Fill(Operand to, int start, int[,] values)
        {
            Assert.That(transposed || depth + 16 <= wide, Is.True, "the operand lies within its line");
            for (int row = 0; row < values.GetLength(0); row++)
                for (int k = 0; k < 16; k++)
                    image[(start + to.Place(row, depth + k)) / 2] = (ushort)(BitConverter.SingleToUInt32Bits(values[row, k]) >> 16);
        }
    }

    private static int[,] Matrix(Random random, int rows)
    {
        var matrix = new int[rows, 16];
        for (int row = 0; row < rows; row++)
            for (int k = 0; k < 16; k++)
                matrix[row, k] = random.Next(-8, 9);
        return matrix;
    }
}
