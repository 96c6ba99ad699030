using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class ElementwiseTests(BackendCase backend) : OpTests(backend)
{
    /// <summary>More than one turn for every thread of a GPU's grid, and an odd end.</summary>
    private const int Large = 70_003;

    [Test]
    public void Zero([Values(1, 7, 64, 1003)] int count, [Values] DType type)
    {
        var x = Op.Output("x", new Shape(count), type);
        Op.Run(device => device.Zero(x));
        Op.ExpectExactly(x, new double[count]);
    }

    [Test]
    public void Copy_of_the_same_type_keeps_every_bit([Values(1, 7, 64, 1003, Large)] int count, [Values(DType.F32, DType.BF16)] DType type)
    {
        double[] values = Numbers.Uniform(Seeded(1), count, type);
        var x = Op.Input("x", new Shape(count), type, values);
        var y = Op.Output("y", new Shape(count), type);
        Op.Run(device => device.Copy(y, x));
        Op.ExpectExactly(y, values);
    }

    [Test]
    public void Copy_from_BF16_to_F32_is_exact([Values(1, 7, 64, 1003, Large)] int count)
    {
        double[] values = Numbers.Uniform(Seeded(2), count, DType.BF16, -1e20, 1e20);
        var x = Op.Input("x", new Shape(count), DType.BF16, values);
        var y = Op.Output("y", new Shape(count), DType.F32);
        Op.Run(device => device.Copy(y, x));
        Op.ExpectExactly(y, values);
    }

    [Test]
    public void Copy_from_F32_to_BF16_rounds_to_nearest([Values(1, 7, 64, 1003, Large)] int count)
    {
        double[] values = Numbers.Uniform(Seeded(3), count, DType.F32, -1e3, 1e3);
        var x = Op.Input("x", new Shape(count), DType.F32, values);
        var y = Op.Output("y", new Shape(count), DType.BF16);
        Op.Run(device => device.Copy(y, x));
        Op.ExpectExactly(y, Numbers.Round(values, DType.BF16));
    }

    /// <summary>Bit patterns with their BF16 by the definition; no subnormals, which processors with BF16 instructions flush.</summary>
    [TestCase(0x3F800000u, 0x3F80u, Description = "1 is exact")]
    [TestCase(0x3F808000u, 0x3F80u, Description = "a tie below an odd neighbour goes down to the even one")]
    [TestCase(0x3F818000u, 0x3F82u, Description = "a tie above an odd neighbour goes up to the even one")]
    [TestCase(0x3F808001u, 0x3F81u, Description = "just above a tie goes up")]
    [TestCase(0x3F817FFFu, 0x3F81u, Description = "just below a tie goes down")]
    [TestCase(0x3FFFFFFFu, 0x4000u, Description = "the carry runs into the exponent")]
    [TestCase(0xBF808000u, 0xBF80u, Description = "negative tie down")]
    [TestCase(0xBF818000u, 0xBF82u, Description = "negative tie up")]
    [TestCase(0x7F7FFFFFu, 0x7F80u, Description = "the largest F32 is nearer to infinity")]
    [TestCase(0x7F7F7FFFu, 0x7F7Fu, Description = "the largest that stays finite")]
    [TestCase(0x7F800000u, 0x7F80u, Description = "infinity")]
    [TestCase(0xFF800000u, 0xFF80u, Description = "minus infinity")]
    [TestCase(0x00000000u, 0x0000u, Description = "zero")]
    [TestCase(0x80000000u, 0x8000u, Description = "minus zero")]
    public void Copy_to_BF16_of_a_bit_pattern(uint single, uint expected) => Assert.That(Convert(single), Is.All.EqualTo((ushort)expected));

    [TestCase(0x7FC00000u, Description = "the usual quiet one")]
    [TestCase(0x7F800001u, Description = "its only payload bit is cut off; must not become infinity")]
    [TestCase(0x7FFFFFFFu, Description = "rounding must not carry into the sign and make it minus zero")]
    [TestCase(0xFFFFFFFFu, Description = "the same, negative")]
    public void Copy_to_BF16_keeps_not_a_number(uint single) =>
        Assert.That(Convert(single).Select(bits => bits & 0x7FFF), Is.All.GreaterThan(0x7F80));

    [Test]
    public void Add([Values(1, 7, 64, 1003, Large)] int count)
    {
        var random = Seeded(4);
        double[] start = Numbers.Uniform(random, count), values = Numbers.Uniform(random, count);
        var x = Op.Input("x", new Shape(count), DType.F32, values);
        var y = Op.Sum("y", new Shape(count), start);
        Op.Run(device => device.Add(y, x));
        // one sum, one rounding: nothing to tolerate
        Op.ExpectExactly(y, Numbers.Round(Reference.Plus(start, values), DType.F32));
    }

    [Test]
    public void Normalise_maps_pixels_to_minus_one_to_one([Values(1, 7, 256, 1003, Large)] int count, [Values(DType.F32, DType.BF16)] DType act)
    {
        const float Scale = 2f / 255, Shift = -1;
        double[] pixels = [.. Enumerable.Range(0, count).Select(i => (double)(255 - i % 256))];
        var x = Op.Input("x", new Shape(count), DType.U8, pixels);
        var y = Op.Output("y", new Shape(count), act);
        Op.Run(device => device.Normalise(y, x, Scale, Shift));
        double[] expected = Array.ConvertAll(pixels, pixel => Scale * pixel + Shift);
        Op.Expect(y, expected, Tolerance.Sum(act, 1, Array.ConvertAll(pixels, pixel => Scale * pixel + 1), expected));
    }

    /// <summary>Parts that start and end off the boundaries of 16 bytes: each on its own, and all one element off.</summary>
    [Test]
    public void Memory_off_the_boundaries_of_vectors([Values(0, 1)] int startY, [Values(0, 1)] int startX, [Values(DType.F32, DType.BF16)] DType act)
    {
        const int Count = 1003, Whole = Count + 2;
        var random = Seeded(7);
        double[] wide = Numbers.Uniform(random, Whole), narrow = Numbers.Uniform(random, Whole, act), start = Numbers.Uniform(random, Whole);
        double[] pixels = Numbers.Integers(random, Whole, 0, 255);
        var tensorWide = Op.Input("wide", new Shape(Whole), DType.F32, wide);
        var tensorNarrow = Op.Input("narrow", new Shape(Whole), act, narrow);
        var tensorPixels = Op.Input("pixels", new Shape(Whole), DType.U8, pixels);
        var lambda = Op.Input("lambda", new Shape(1), DType.F32, [2]);
        Tensor Result(string name, DType type) => Op.Sum(name, new Shape(Whole), Numbers.Round(start, type), type);
        var (converted, sum, image) = (Result("converted", act), Result("sum", DType.F32), Result("image", act));
        var (rectified, gradient, reversed) = (Result("rectified", act), Result("gradient", act), Result("reversed", act));
        var shape = new Shape(Count);
        Tensor Y(Tensor y) => y.Part("y", shape, startY);
        Tensor X(Tensor x) => x.Part("x", shape, startX);

        Op.Run(device =>
        {
            device.Copy(Y(converted), X(tensorWide));
            device.Add(Y(sum), X(tensorWide));
            device.Normalise(Y(image), X(tensorPixels), 2, 1);
            device.ReluForward(Y(rectified), X(tensorNarrow));
            device.ReluBackward(Y(gradient), X(tensorNarrow), X(tensorNarrow));
            device.GradientReversalBackward(Y(reversed), X(tensorNarrow), lambda);
        });

        void Expect(Tensor tensor, Func<int, double> expected)
        {
            double[] values = Numbers.Round(start, tensor.Type);
            for (int i = 0; i < Count; i++)
                values[startY + i] = Numbers.Round(expected(i), tensor.Type);
            Op.ExpectExactly(tensor, values);
        }
        Expect(converted, i => wide[startX + i]);
        Expect(sum, i => start[startY + i] + wide[startX + i]);
        Expect(image, i => 2 * pixels[startX + i] + 1);
        Expect(rectified, i => Math.Max(narrow[startX + i], 0));
        Expect(gradient, i => Math.Max(narrow[startX + i], 0));
        Expect(reversed, i => -2 * narrow[startX + i]);
    }

    [TestCase(1, 1, 1)]
    [TestCase(1, 512, 512)]
    [TestCase(3, 1200, 1032)]
    [TestCase(5, 3, 17)]
    [TestCase(7, 33, 1)]
    public void Concat_and_its_backward(int rows, int columnsA, int columnsB)
    {
        var random = Seeded(5);
        double[] a = Numbers.Uniform(random, rows * columnsA), b = Numbers.Uniform(random, rows * columnsB);
        double[] dY = Numbers.Uniform(random, rows * (columnsA + columnsB));
        var tensorA = Op.Input("a", new Shape(rows, columnsA), DType.F32, a);
        var tensorB = Op.Input("b", new Shape(rows, columnsB), DType.F32, b);
        var tensorDY = Op.Input("dY", new Shape(rows, columnsA + columnsB), DType.F32, dY);
        var y = Op.Output("y", new Shape(rows, columnsA + columnsB), DType.F32);
        var dA = Op.Output("dA", new Shape(rows, columnsA), DType.F32);
        var dB = Op.Output("dB", new Shape(rows, columnsB), DType.F32);

        Op.Run(device =>
        {
            device.ConcatForward(y, tensorA, tensorB);
            device.ConcatBackward(dA, dB, tensorDY);
        });

        Op.ExpectExactly(y, Reference.ConcatForward(a, b, rows));
        var expected = Reference.ConcatBackward(dY, rows, columnsA);
        Op.ExpectExactly(dA, expected.DA);
        Op.ExpectExactly(dB, expected.DB);
    }

    /// <summary>Every so many elements one of the three that are not finite; between them the largest and the smallest that are.</summary>
    [Test]
    public void Count_of_what_is_not_finite(
        [Values(1, 7, 64, 1003, 40001)] int count, [Values(1, 2, 5, 100_000)] int every, [Values(DType.F32, DType.BF16)] DType type)
    {
        double largest = Numbers.Round(type == DType.F32 ? float.MaxValue : 3.38e38, type);
        double[] finite = [0, -0.0, 1, -largest, largest, 1.5e-38], odd = [double.NaN, double.PositiveInfinity, double.NegativeInfinity];
        double[] values = [.. Enumerable.Range(1, count).Select(i => i % every == 0 ? odd[i / every % 3] : Numbers.Round(finite[i % 6], type))];
        var x = Op.Input("x", new Shape(count), type, values);
        var result = Op.Output("count", new Shape(1), DType.I32);
        Op.Run(device => device.CountNonFinite(result, x));
        Op.ExpectExactly(result, [count / every]);
    }

    /// <summary>Nineteen copies, so that vector body and tail both convert it.</summary>
    private ushort[] Convert(uint single)
    {
        const int Count = 19;
        nint source = Backend.Allocate(Count * sizeof(float)), destination = Backend.Allocate(Count * sizeof(ushort));
        var x = new Tensor("x", new Shape(Count), DType.F32, source);
        var y = new Tensor("y", new Shape(Count), DType.BF16, destination);
        var patterns = new uint[Count];
        Array.Fill(patterns, single);
        var result = new ushort[Count];
        Backend.Upload<uint>(x, patterns);
        Backend.Copy(y, x);
        Backend.Download<ushort>(result, y);
        Backend.Free(source);
        Backend.Free(destination);
        return result;
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (count, act) = (Extent(random, 5000), Activation(random));
        return
        [
            () => Zero(count, act),
            () => Copy_of_the_same_type_keeps_every_bit(count, act),
            () => Copy_from_BF16_to_F32_is_exact(count),
            () => Copy_from_F32_to_BF16_rounds_to_nearest(count),
            () => Add(count),
            () => Normalise_maps_pixels_to_minus_one_to_one(count, act),
            () => Concat_and_its_backward(Extent(random, 20), Extent(random, 90), Extent(random, 90)),
            () => Count_of_what_is_not_finite(count, Extent(random, 9), act),
        ];
    });
}
