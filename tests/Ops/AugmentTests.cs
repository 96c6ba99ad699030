using System.Runtime.InteropServices;
using Avedis.Engine;
using NUnit.Framework;

namespace Avedis.Tests.Ops;

public sealed class AugmentTests(BackendCase backend) : OpTests(backend)
{
    private const int Clips = 7;
    private const float Scale = 2f / 255, Shift = -1;

    /// <summary>Frames and side; rows that end within 16 bytes, at them, and behind more than a block's turn.</summary>
    private static readonly (int Frames, int Side)[] pictures = [(1, 1), (3, 2), (2, 8), (4, 13), (5, 16), (2, 33), (1, 130)];

    private static readonly (int Bins, int Steps)[] spectra = [(1, 1), (3, 7), (40, 33), (5, 300), (2, 1001)];

    [TestCaseSource(nameof(pictures))]
    public void Faces_agree_with_double_precision((int Frames, int Side) shape) =>
        CheckFaces(shape.Frames, shape.Side, Plans(Seeded(1), shape.Frames, shape.Side, 1, 1));

    [TestCase(1f, 0f, 0f)]
    [TestCase(0f, 3f, -5f)]
    [TestCase(1f, -2f, 4f)]
    [TestCase(1f, 15f, -15f)]
    [TestCase(0f, -40f, 40f, Description = "nothing but the corner is left")]
    [TestCase(1f, 40f, 40f, Description = "nothing but the other corner is left")]
    public void Faces_are_mirrored_and_moved(float flip, float cropY, float cropX) =>
        CheckFaces(2, 16, [.. Enumerable.Repeat(new AugmentPlan { Flip = flip, CropY = cropY, CropX = cropX }, Clips)]);

    [Test]
    public void Faces_begin_later_and_end_in_padding([Values(0, 1, 4, 5, 9)] int shift) =>
        CheckFaces(5, 3, [.. Enumerable.Repeat(new AugmentPlan { FaceShift = shift, PadPixel = 77, Flip = 1, CropX = 1 }, Clips)]);

    [Test]
    public void A_plan_of_nothing_is_normalise_to_the_bit([Values(1, 13, 16, 64)] int side, [Values(DType.F32, DType.BF16)] DType act)
    {
        double[] x = Numbers.Integers(Seeded(2), Clips * side * side, 0, 255);
        var shape = new Shape(Clips, side, side, 1);
        var (tensor, plans) = (Op.Input("x", shape, DType.U8, x), Plans(new AugmentPlan[Clips]));
        var (y, expected) = (Op.Output("y", shape, act), Op.Output("expected", shape, act));
        Op.Run(device =>
        {
            device.AugmentFaces(y, tensor, plans, Scale, Shift);
            device.Normalise(expected, tensor, Scale, Shift);
        });
        Op.ExpectExactly(y, Op.Read(expected));
    }

    [TestCaseSource(nameof(spectra))]
    public void Mels_agree_with_double_precision((int Bins, int Steps) shape) =>
        CheckMels(shape.Bins, shape.Steps, Plans(Seeded(6), 1, 1, shape.Bins, shape.Steps));

    [Test]
    public void Mels_get_the_gain_on_valid_frames_only([Values(0, 3)] int shift, [Values(0, 1, 20, 40)] int frames) =>
        CheckMels(4, 40, [.. Enumerable.Repeat(new AugmentPlan { MelShift = shift, MelFrames = frames, Gain = -0.7f, Silence = -13.8f }, Clips)]);

    /// <summary>Every two of these, as bins and as frames.</summary>
    [Test]
    public void Masks_may_touch_overlap_be_empty_and_reach_the_end()
    {
        AugmentMask[] masks = [new(0, 0), new(0, 1), new(2, 3), new(3, 2), new(5, 1), new(7, 1), new(0, 8)];
        var pairs = masks.SelectMany(a => masks.Select(b => (a, b))).ToList();
        CheckMels(8, 8,
        [
            .. pairs.Select(pair => new AugmentPlan { Silence = -1, Bins0 = pair.a, Bins1 = pair.b }),
            .. pairs.Select(pair => new AugmentPlan { Silence = -2, Frames0 = pair.a, Frames1 = pair.b }),
        ]);
    }

    [Test]
    public void A_plan_of_nothing_copies_the_mels() => CheckMels(40, 33, new AugmentPlan[Clips]);

    /// <summary>Pictures and spectra that start one element off the boundaries of 16 bytes.</summary>
    [Test]
    public void Memory_off_the_boundaries_of_vectors([Values(DType.F32, DType.BF16)] DType act)
    {
        const int Frames = 2, Side = 16, Bins = 3, Steps = 33;
        const int Pixels = Clips * Frames * Side * Side, Values = Clips * Bins * Steps;
        var random = Seeded(4);
        double[] pixels = Numbers.Integers(random, Pixels + 2, 0, 255), mels = Numbers.Uniform(random, Values + 2);
        var plans = Plans(random, Frames, Side, Bins, Steps);
        double[] startFaces = Numbers.Uniform(random, Pixels + 2, act), startMels = Numbers.Uniform(random, Values + 2, act);
        var (tensorPixels, tensorMels, tensorPlans) = (Op.Input("pixels", new Shape(Pixels + 2), DType.U8, pixels), Op.Input("mels", new Shape(Values + 2), DType.F32, mels), Plans(plans));
        var (yFaces, yMels) = (Op.Sum("faces", new Shape(Pixels + 2), startFaces, act), Op.Sum("mels", new Shape(Values + 2), startMels, act));
        var (pictureShape, melShape) = (new Shape(Clips * Frames, Side, Side, 1), new Shape(Clips, Bins, Steps, 1));
        Op.Run(device =>
        {
            // integers come out exact
            device.AugmentFaces(yFaces.Part("y", pictureShape, 1), tensorPixels.Part("x", pictureShape, 1), tensorPlans, 1, -128);
            device.AugmentMels(yMels.Part("y", melShape, 1), tensorMels.Part("x", melShape, 1), tensorPlans);
        });
        Op.ExpectExactly(yFaces, [startFaces[0], .. Reference.AugmentFaces(pixels[1..^1], plans, Frames, Side, 1, -128), startFaces[^1]]);
        Op.ExpectExactly(yMels, [startMels[0], .. Rounded(Reference.AugmentMels(mels[1..^1], plans, Bins, Steps), act), startMels[^1]]);
    }

    [Test]
    public void Random_shapes() => OnRandomShapes(random =>
    {
        var (frames, side, bins, steps) = (Extent(random, 5), Extent(random, 40), Extent(random, 40), Extent(random, 200));
        var plans = Plans(random, frames, side, bins, steps);
        return [() => CheckFaces(frames, side, plans), () => CheckMels(bins, steps, plans)];
    });

    private void CheckFaces(int frames, int side, AugmentPlan[] plans)
    {
        double[] x = Numbers.Integers(Seeded(3), (long)plans.Length * frames * side * side, 0, 255);
        var shape = new Shape(plans.Length * frames, side, side, 1);
        var (tensor, tensorPlans) = (Op.Input("x", shape, DType.U8, x), Plans(plans));
        Tensor[] results = [.. Activations.Select(act => Op.Output($"y {act}", shape, act))];
        Op.Run(device =>
        {
            foreach (var y in results)
                device.AugmentFaces(y, tensor, tensorPlans, Scale, Shift);
        });
        double[] expected = Reference.AugmentFaces(x, plans, frames, side, Scale, Shift);
        foreach (var y in results)
            Op.Expect(y, expected, Tolerance.Sum(y.Type, 1, Reference.AugmentFaces(x, plans, frames, side, Scale, 1), expected));
    }

    private void CheckMels(int bins, int steps, AugmentPlan[] plans)
    {
        double[] x = Numbers.Uniform(Seeded(5), (long)plans.Length * bins * steps, DType.F32, -14, 3);
        var shape = new Shape(plans.Length, bins, steps, 1);
        var (tensor, tensorPlans) = (Op.Input("x", shape, DType.F32, x), Plans(plans));
        Tensor[] results = [.. Activations.Select(act => Op.Output($"y {act}", shape, act))];
        Op.Run(device =>
        {
            foreach (var y in results)
                device.AugmentMels(y, tensor, tensorPlans);
        });
        foreach (var y in results)
            Op.ExpectExactly(y, Rounded(Reference.AugmentMels(x, plans, bins, steps), y.Type));
    }

    // one sum in F32, then the activation type: nothing to tolerate
    private static double[] Rounded(double[] values, DType act) => Numbers.Round(Numbers.Round(values, DType.F32), act);

    private Tensor Plans(AugmentPlan[] plans) =>
        Op.Input("plans", new Shape(plans.Length, AugmentPlan.Width), DType.F32, Array.ConvertAll(MemoryMarshal.Cast<AugmentPlan, float>(plans).ToArray(), value => (double)value));

    /// <summary>For each clip another, everything in it at once; the first does nothing.</summary>
    private static AugmentPlan[] Plans(Random random, int frames, int side, int bins, int steps)
    {
        AugmentMask Mask(int all)
        {
            int count = random.Next(all / 3 + 1);
            return new(random.Next(all - count + 1), count);
        }
        return [default, .. Enumerable.Range(1, Clips - 1).Select(n => new AugmentPlan
        {
            Flip = n % 2,
            CropY = random.Next(-side, side + 1),
            CropX = random.Next(-side, side + 1),
            FaceShift = random.Next(frames),
            PadPixel = 128,
            MelShift = random.Next(steps),
            MelFrames = random.Next(steps + 1),
            Gain = random.NextSingle() - 0.5f,
            Silence = -13.8f,
            Bins0 = Mask(bins),
            Bins1 = Mask(bins),
            Frames0 = Mask(steps),
            Frames1 = Mask(steps),
        })];
    }
}
