using Avedis.Bindings.Cuda;
using Avedis.Tests.Ops;
using NUnit.Framework;

namespace Avedis.Tests.Kernels;

/// <summary>
/// What the emulation says that instructions, warps and shared memory do, against what the PTX ISA says; the tables are written down here once more, in its own terms.
/// Where the tests use a GPU, the same holds of it.
/// </summary>
[TestFixtureSource(nameof(Places))]
public sealed class EmulationTests(string order) : ProbeTests(order)
{
    private const uint Poison = 0xffffffff;

    // PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type": element i of lane, groupID = lane >> 2, threadID_in_group = lane % 4
    private static (int Row, int K) Bf16A(int lane, int i) =>
        (i is 0 or 1 or 4 or 5 ? lane >> 2 : (lane >> 2) + 8, i < 4 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8);

    private static (int K, int Column) Bf16B(int lane, int i) => (i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8, lane >> 2);

    // the same, "mma.m16n8k8", .tf32
    private static (int Row, int K) Tf32A(int lane, int i) => (i is 0 or 2 ? lane >> 2 : (lane >> 2) + 8, i is 0 or 1 ? lane % 4 : lane % 4 + 4);

    private static (int K, int Column) Tf32B(int lane, int i) => (i == 0 ? lane % 4 : lane % 4 + 4, lane >> 2);

    // both: accumulators
    private static (int Row, int Column) C(int lane, int i) => (i < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (i & 1));

    private static uint Bits(float x) => BitConverter.SingleToUInt32Bits(x);

    [Test]
    public void Bf16_fragments_are_those_of_the_isa([Range(1, 5)] int seed)
    {
        // small integers: every product and sum is exact
        var random = new Random(seed);
        int[,] a = Matrix(random, 16, 16), b = Matrix(random, 16, 8), c = Matrix(random, 16, 8);
        uint Half(int value) => Bits(value) >> 16;
        uint[] fragmentsA = PerLane(4, (lane, r) =>
        {
            var (lower, upper) = (Bf16A(lane, 2 * r), Bf16A(lane, 2 * r + 1));
            return Half(a[lower.Row, lower.K]) | Half(a[upper.Row, upper.K]) << 16;
        });
        uint[] fragmentsB = PerLane(2, (lane, r) =>
        {
            var (lower, upper) = (Bf16B(lane, 2 * r), Bf16B(lane, 2 * r + 1));
            return Half(b[lower.K, lower.Column]) | Half(b[upper.K, upper.Column]) << 16;
        });
        Assert.That(Multiply("probe_mma_bf16", fragmentsA, fragmentsB, c), Is.EqualTo(Product(a, b, c)));
    }

    [Test]
    public void Tf32_fragments_are_those_of_the_isa([Range(1, 5)] int seed)
    {
        var random = new Random(seed);
        int[,] a = Matrix(random, 16, 8), b = Matrix(random, 8, 8), c = Matrix(random, 16, 8);
        uint[] fragmentsA = PerLane(4, (lane, i) => Bits(a[Tf32A(lane, i).Row, Tf32A(lane, i).K]));
        uint[] fragmentsB = PerLane(2, (lane, i) => Bits(b[Tf32B(lane, i).K, Tf32B(lane, i).Column]));
        Assert.That(Multiply("probe_mma_tf32", fragmentsA, fragmentsB, c), Is.EqualTo(Product(a, b, c)));
    }

    [Test]
    public void Every_place_of_a_fragment_counts_once([Values("probe_mma_bf16", "probe_mma_tf32")] string kernel)
    {
        // a single one in a, all ones in b: one row of ones
        int depth = kernel == "probe_mma_bf16" ? 16 : 8, elements = depth == 16 ? 8 : 4;
        var ones = new int[depth, 8];
        for (int k = 0; k < depth; k++)
            for (int column = 0; column < 8; column++)
                ones[k, column] = 1;
        uint onesOfB = depth == 16 ? 0x3f803f80 : Bits(1);
        for (int lane = 0; lane < 32; lane += 5)
            for (int i = 0; i < elements; i++)
            {
                var fragments = new uint[32 * 4];
                fragments[lane * 4 + i * 4 / elements] = depth == 16 ? Bits(1) >> 16 << i % 2 * 16 : Bits(1);
                int row = depth == 16 ? Bf16A(lane, i).Row : Tf32A(lane, i).Row;
                double[,] expected = new double[16, 8];
                for (int column = 0; column < 8; column++)
                    expected[row, column] = 1;
                var sum = Multiply(kernel, fragments, PerLane(2, (_, _) => onesOfB), new int[16, 8]);
                Assert.That(sum, Is.EqualTo(expected), $"element {i} of lane {lane}");
            }
    }

    [Test]
    public void The_matrix_unit_cuts_off_what_has_not_been_rounded_to_tf32()
    {
        // 1 + 2^-10 - 2^-23 would round to 1 + 2^-10; cut off it is 1
        uint nearly = 0x3f801fff, one = Bits(1);
        double[,] eights = Filled(8);
        Assert.Multiple(() =>
        {
            Assert.That(Multiply("probe_mma_tf32", PerLane(4, (_, _) => nearly), PerLane(2, (_, _) => one), new int[16, 8]), Is.EqualTo(eights), "a");
            Assert.That(Multiply("probe_mma_tf32", PerLane(4, (_, _) => one), PerLane(2, (_, _) => nearly), new int[16, 8]), Is.EqualTo(eights), "b");
            uint rounded = Round(nearly).Tf32;
            Assert.That(Multiply("probe_mma_tf32", PerLane(4, (_, _) => rounded), PerLane(2, (_, _) => one), new int[16, 8]),
                Is.EqualTo(Filled(8 * (1 + 1.0 / 1024))), "rounded");
        });
    }

    // bits of an F32 number, of its TF32 and of its BF16
    [TestCase(0x3f800000u, 0x3f800000u, 0x3f80u, Description = "1 is exact")]
    [TestCase(0x3f800fffu, 0x3f800000u, 0x3f80u, Description = "below half of TF32's last place")]
    [TestCase(0x3f801000u, 0x3f802000u, 0x3f80u, Description = "a tie goes away from zero, even to an odd neighbour")]
    [TestCase(0xbf801000u, 0xbf802000u, 0xbf80u, Description = "and so it does below zero")]
    [TestCase(0x3f803000u, 0x3f804000u, 0x3f80u, Description = "a tie above an odd neighbour")]
    [TestCase(0x3f808000u, 0x3f808000u, 0x3f80u, Description = "BF16: a tie goes to the even neighbour, here down")]
    [TestCase(0x3f818000u, 0x3f818000u, 0x3f82u, Description = "here up")]
    [TestCase(0x3fffffffu, 0x40000000u, 0x4000u, Description = "the carry runs into the exponent")]
    [TestCase(0x7f7fffffu, 0x7f800000u, 0x7f80u, Description = "the largest becomes infinity")]
    [TestCase(0x7f800000u, 0x7f800000u, 0x7f80u, Description = "infinity stays")]
    [TestCase(0xff800000u, 0xff800000u, 0xff80u, Description = "minus infinity stays")]
    [TestCase(0x7fc00000u, 0x7fffffffu, 0x7fffu, Description = "there is one NaN")]
    [TestCase(0x7f800001u, 0x7fffffffu, 0x7fffu, Description = "whose payload is not cut off to infinity")]
    [TestCase(0x80000000u, 0x80000000u, 0x8000u, Description = "minus zero")]
    public void Rounding(uint single, uint tf32, uint bf16) => Assert.That(Round(single), Is.EqualTo((tf32, bf16)));

    [Test]
    public void Ldmatrix_hands_out_rows([Values] bool transposed)
    {
        // element j of row i of matrix m is 64 m + 8 i + j
        ushort[] rows = [.. Enumerable.Range(0, 256).Select(i => (ushort)i)];
        nint x = Rig.Place(rows), y = Rig.Room(32 * 4 * 4);
        Rig.Launch("probe_ldmatrix", 32, y, x, transposed ? 1 : 0);
        var r = Rig.Read<uint>(y, 32 * 4);
        Assert.Multiple(() =>
        {
            for (int lane = 0; lane < 32; lane++)
                for (int matrix = 0; matrix < 4; matrix++)
                {
                    int line = lane / 4, first = lane % 4 * 2;
                    uint Element(int row, int column) => (uint)(64 * matrix + 8 * row + column);
                    uint expected = transposed
                        ? Element(first, line) | Element(first + 1, line) << 16
                        : Element(line, first) | Element(line, first + 1) << 16;
                    Assert.That(r[lane * 4 + matrix], Is.EqualTo(expected), $"lane {lane}, matrix {matrix}");
                }
        });
    }

    [Test]
    public void Asynchronous_copies_are_there_when_waited_for_and_zero_where_not_valid()
    {
        uint[] values = [.. Enumerable.Range(0, 3 * 32 * 4).Select(i => (uint)i + 1)];
        nint x = Rig.Place(values), y = Rig.Room(9 * 32 * 16);
        Rig.Launch("probe_cp_async", 32, y, x);
        var seen = Rig.Read<uint>(y, 9 * 32 * 4);
        Assert.Multiple(() =>
        {
            for (int wait = 0; wait < 3; wait++)
                for (int group = 0; group < 3; group++)
                    for (int i = 0; i < 128; i++)
                    {
                        uint now = seen[(wait * 3 + group) * 128 + i];
                        if (group <= wait)
                            Assert.That(now, Is.EqualTo(group == 1 ? 0 : values[group * 128 + i]), $"group {group} after wait {wait}, word {i}");
                        else if (!OnGpu)
                            Assert.That(now, Is.EqualTo(Poison), $"group {group} before its wait, word {i}");
                    }
        });
    }

    [Test]
    public void Shuffles_and_votes([Values(32, 64, 45, 1, 7)] int threads)
    {
        int[] x = [.. Enumerable.Range(0, threads).Select(i => i % 3 == 0 || i >= 32 ? 1 : 0)];
        nint y = Rig.Room(7 * threads * 4);
        Rig.Launch("probe_warp", threads, y, Rig.Place(x));
        var seen = Rig.Read<int>(y, 7 * threads);
        Assert.Multiple(() =>
        {
            for (int i = 0; i < threads; i++)
            {
                int start = i / 32 * 32, lanes = Math.Min(32, threads - start), lane = i - start;
                string where = $"thread {i} of {threads}";
                Assert.That(seen[i], Is.EqualTo(start + (lane + 1) % lanes), $"shfl, {where}");
                // from a lane that takes no part, chance: poison under emulation
                ExpectFrom(seen[threads + i], lane + 1 < 32 ? lane + 1 : lane, start, lanes, $"shfl_down, {where}");
                ExpectFrom(seen[2 * threads + i], lane > 0 ? lane - 1 : lane, start, lanes, $"shfl_up, {where}");
                ExpectFrom(seen[3 * threads + i], lane ^ 1, start, lanes, $"shfl_xor, {where}");
                int ballot = Enumerable.Range(0, lanes).Sum(l => x[start + l] << l);
                Assert.That(seen[4 * threads + i], Is.EqualTo(ballot), $"ballot, {where}");
                Assert.That(seen[5 * threads + i], Is.EqualTo(ballot != 0 ? 1 : 0), $"any, {where}");
                Assert.That(seen[6 * threads + i], Is.EqualTo(x.Skip(start).Take(lanes).All(v => v == 1) ? 1 : 0), $"all, {where}");
            }
        });

        void ExpectFrom(int value, int source, int start, int lanes, string what)
        {
            if (source < lanes)
                Assert.That(value, Is.EqualTo(start + source), what);
            else if (!OnGpu)
                Assert.That(value, Is.EqualTo(-1), what);
        }
    }

    [Test]
    public void Parts_of_a_warp_meet_among_themselves()
    {
        nint y = Rig.Room(32 * 4);
        Rig.Launch("probe_halves", 32, y);
        Assert.That(Rig.Read<int>(y, 32), Is.EqualTo(Enumerable.Range(0, 32).Select(i => i < 16 ? 15 - i : 100 + (i ^ 1))));
    }

    [Test]
    public void Sums_and_maxima_over_a_block()
    {
        float[] x = [.. Enumerable.Range(0, 256).Select(i => (float)((i * 37 % 256) - 100))];
        nint y = Rig.Room(512 * 4);
        Rig.Launch("probe_block_sums", 256, y, Rig.Place(x));
        var seen = Rig.Read<float>(y, 512);
        Assert.That(seen[..256], Is.All.EqualTo(x.Sum()));
        Assert.That(seen[256..], Is.All.EqualTo(155f));
    }

    [TestCase(1, 1, 1, 64, 1, 1)]
    [TestCase(7, 3, 2, 4, 3, 5)]
    [TestCase(2000, 1, 1, 2, 1, 2)]
    public void Every_thread_of_a_grid_runs_once(int gx, int gy, int gz, int bx, int by, int bz)
    {
        int blocks = gx * gy * gz, threads = bx * by * bz;
        nint y = Rig.Place(Enumerable.Repeat(-1, blocks * threads).ToArray());
        Rig.Launch("probe_indices", (gx, gy, gz), (bx, by, bz), 0, Rig.Stream, y);
        Assert.That(Rig.Read<int>(y, blocks * threads), Is.EqualTo(Enumerable.Range(0, blocks * threads).Select(i => i / threads * 1000 + i % threads)));
    }

    [Test]
    public void Threads_come_in_the_order_that_was_asked_for()
    {
        if (OnGpu)
            Assert.Ignore("a GPU's order is its own");
        nint y = Rig.Room(2 * 64 * 4);
        Rig.Launch("probe_order", 64, y, Rig.Place(0));
        var seen = Rig.Read<int>(y, 128);
        int[] up = [.. Enumerable.Range(0, 64)], before = seen[..64], after = seen[64..];
        // whatever the order, nobody passes the barrier before all have come
        Assert.That(before, Is.EquivalentTo(up));
        Assert.That(after, Is.EquivalentTo(up.Select(i => i + 64)));
        if (Order == "forward")
            Assert.That(before, Is.EqualTo(up));
        else if (Order == "reverse")
            Assert.That(before, Is.EqualTo(up.Reverse()));
        else
            Assert.That(before, Is.Not.EqualTo(up).And.Not.EqualTo(up.Reverse()));
    }

    [Test]
    public void A_missing_barrier_shows_in_some_order()
    {
        if (OnGpu)
            Assert.Ignore("on a GPU it is chance");
        nint y = Rig.Room(64 * 4);
        Rig.Launch("probe_missing_barrier", 64, y);
        Assert.That(Rig.Read<int>(y, 64), Has.Some.EqualTo(-1), "somebody reads what nobody has written yet");
    }

    [Test]
    public void Every_block_finds_its_shared_memory_poisoned()
    {
        if (OnGpu)
            Assert.Ignore("on a GPU it holds chance");
        nint y = Rig.Room(100 * 64 * 4);
        Rig.Launch("probe_fresh_shared", (100, 1, 1), (32, 1, 1), 128, Rig.Stream, y);
        Assert.That(Rig.Read<uint>(y, 100 * 64), Is.All.EqualTo(Poison));
        Assert.That(BitConverter.UInt32BitsToSingle(Poison), Is.NaN);
    }

    [Test]
    public void Shared_memory_beyond_the_usual_has_to_be_allowed()
    {
        Rig.AllowShared("probe_large_array", 100 << 10);
        nint y = Rig.Room(32 * 4);
        Rig.Launch("probe_large_array", (1, 1, 1), (32, 1, 1), 100 << 10, Rig.Stream, y);
        Assert.That(Rig.Read<uint>(y, 32), Is.EqualTo(Enumerable.Range(0, 32).Select(i => 2u * (uint)i)));
    }

    private (uint Tf32, uint Bf16) Round(uint single)
    {
        nint y = Rig.Room(8);
        Rig.Launch("probe_round", 32, y, Rig.Place(single), 1L);
        var seen = Rig.Read<uint>(y, 2);
        return (seen[0], seen[1]);
    }

    /// <summary>d = a * b + c, a and b given by lane and register.</summary>
    private double[,] Multiply(string kernel, uint[] a, uint[] b, int[,] c)
    {
        float[] fragments = [.. from lane in Enumerable.Range(0, 32) from i in Enumerable.Range(0, 4) select (float)c[C(lane, i).Row, C(lane, i).Column]];
        nint d = Rig.Room(32 * 4 * 4);
        Rig.Launch(kernel, 32, d, Rig.Place(a), Rig.Place(b), Rig.Place(fragments));
        var seen = Rig.Read<float>(d, 32 * 4);
        var result = new double[16, 8];
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++)
                result[C(lane, i).Row, C(lane, i).Column] = seen[lane * 4 + i];
        return result;
    }

    private static double[,] Product(int[,] a, int[,] b, int[,] c)
    {
        var product = new double[16, 8];
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 8; column++)
            {
                product[row, column] = c[row, column];
                for (int k = 0; k < a.GetLength(1); k++)
                    product[row, column] += a[row, k] * b[k, column];
            }
        return product;
    }

    private static int[,] Matrix(Random random, int rows, int columns)
    {
        var matrix = new int[rows, columns];
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                matrix[row, column] = random.Next(-99, 100);
        return matrix;
    }

    private static double[,] Filled(double value)
    {
        var matrix = new double[16, 8];
        for (int i = 0; i < matrix.Length; i++)
            matrix[i / 8, i % 8] = value;
        return matrix;
    }

    private static uint[] PerLane(int registers, Func<int, int, uint> value) =>
        [.. from lane in Enumerable.Range(0, 32) from r in Enumerable.Range(0, registers) select value(lane, r)];
}
